// What operators do to the engine itself: dead letters, and actors that pause. A command is journaled like a
// call: its key with the reply, what it changes, and its audit entry are one batch.
#include "engine/core/keys.hpp"
#include "engine/core/shard.hpp"

namespace muster::engine {

using storage::Family;

void Shard::operate(OperatorCommand command, CallDone done) {
  if (auto ok = serving(); !ok) {
    done(tl::unexpected<Error>(ok.error()));
    return;
  }
  try {
    admit_operation(std::move(command), done);
  } catch (const JournalTrouble& trouble) {
    done(fail(Errc::unknown, trouble.error.message + ": repeat with the same key"));
    fall_over(trouble.error);
  }
}

void Shard::admit_operation(OperatorCommand command, CallDone done) {
  if (auto ok = check_key(command.key); !ok) {
    done(tl::unexpected<Error>(ok.error()));
    return;
  }
  if (known_key(command.key, command.digest, done)) return;
  const Result<std::string> outcome = carry_out(command);
  if (!outcome && outcome.error().code == Errc::overloaded) {
    done(outcome);  // Not an answer to keep: the same key may try again.
    return;
  }
  expect_answer(command.key, std::move(command.digest), std::move(done));
  answer(command.key, outcome ? Reply{std::nullopt, *outcome}
                              : Reply{outcome.error().code, outcome.error().message});
  schedule_turn();
}

/// The reply. An error has changed nothing.
Result<std::string> Shard::carry_out(const OperatorCommand& command) {
  switch (command.action) {
    case OperatorCommand::Action::replay: return replay(command);
    case OperatorCommand::Action::discard: return discard(command);
    case OperatorCommand::Action::pause: return pause(command);
    case OperatorCommand::Action::resume: return resume(command);
    case OperatorCommand::Action::passivate: return passivate(command.actor);
  }
  return fail(Errc::invalid, "no such command");
}

/// A position of its own orders the entry among those of the steps. Followers of changes see it as a gap, unless a
/// letter is closed.
void Shard::audit_operation(const OperatorCommand& command, const ActorId& actor) {
  fbs::AuditRecordT record;
  record.actor = record_of(actor);
  record.sequence = next_sequence_++;
  record.at_unix_ms = now().unix_ms;
  record.who = command.who;
  record.action = name_of(command.action);
  record.detail = command.letter == LetterId{} ? command.why
                                               : command.letter.to_string() + ": " + command.why;
  record.correlation = command.key;
  rows_.append(Family::audit, keys::audit(++position_, 0), encode_record(record));
}

// ---- dead letters ----

Result<fbs::DeadRecordT> Shard::open_letter(LetterId id) {
  const auto bytes = sure(rows_.get(Family::dead, keys::sequence(id.sequence)));
  if (!bytes || id.shard != config_.place.shard)
    return fail(Errc::not_found, "there is no dead letter " + id.to_string());
  auto record = sure(decode_record<fbs::DeadRecordT>(*bytes));
  if (record.state != fbs::LetterState::open)
    return fail(Errc::refused,
                "dead letter " + id.to_string() + " was " +
                    (record.state == fbs::LetterState::replayed
                         ? "replayed as message " + std::to_string(record.replayed_as)
                         : std::string("discarded")) +
                    " by " + record.closed_by + " at " + to_rfc3339({record.closed_unix_ms}));
  return record;
}

/// The row stays: to recovery it is the proof that its message was consumed.
void Shard::close_letter(const OperatorCommand& command, const ActorId& to,
                         fbs::DeadRecordT record) {
  record.state = command.action == OperatorCommand::Action::replay ? fbs::LetterState::replayed
                                                                   : fbs::LetterState::discarded;
  record.closed_by = command.who;
  record.closed_why = command.why;
  record.closed_unix_ms = now().unix_ms;
  rows_.put(Family::dead, keys::sequence(command.letter.sequence), encode_record(record));
  visible_.push_back({position_, to, 0, {}, command.letter.sequence});
}

Result<std::string> Shard::replay(const OperatorCommand& command) {
  auto record = open_letter(command.letter);
  if (!record) return tl::unexpected<Error>(record.error());
  Envelope message = sure(decode_envelope(bytes_of(record->envelope)));
  if (auto ok = open_for(message.to, message.lane); !ok) return tl::unexpected<Error>(ok.error());
  audit_operation(command, message.to);
  // Its caller was answered when it was parked, the timer that it may be has fired, and what its caller saw is
  // long past: an operator means it as things are now.
  message.dedup_key.clear();
  message.timer.clear();
  message.only_if.clear();
  message.causation = command.letter.sequence;
  const ActorId to = message.to;
  record->replayed_as = enqueue(std::move(message), now()).sequence;
  const std::string reply = std::to_string(record->replayed_as);
  close_letter(command, to, std::move(*record));
  return reply;
}

Result<std::string> Shard::discard(const OperatorCommand& command) {
  auto record = open_letter(command.letter);
  if (!record) return tl::unexpected<Error>(record.error());
  const ActorId to = sure(decode_envelope(bytes_of(record->envelope))).to;
  audit_operation(command, to);
  close_letter(command, to, std::move(*record));
  return std::string();
}

// ---- actors ----

/// The actor in memory, loaded.
Result<Activation*> Shard::existing(const ActorId& id) {
  Activation* a = rouse(id, Lane::operator_);
  if (a == nullptr)
    return fail(Errc::overloaded, "too many actors are active; retry after " +
                                      to_string(limits_.retry_after));
  load(*a);
  if (a->state != nullptr) return a;
  passivate_if_idle(*a);
  return fail(Errc::not_found, "there is no actor " + id.to_string());
}

Result<std::string> Shard::pause(const OperatorCommand& command) {
  const auto found = existing(command.actor);
  if (!found) return tl::unexpected<Error>(found.error());
  Activation& a = **found;
  audit_operation(command, a.id);
  a.paused = true;
  spill(a);
  touch(a);
  return std::string("paused");
}

Result<std::string> Shard::resume(const OperatorCommand& command) {
  const auto found = existing(command.actor);
  if (!found) return tl::unexpected<Error>(found.error());
  Activation& a = **found;
  audit_operation(command, a.id);
  a.paused = false;
  touch(a);
  refill(a, Lane::normal);
  return std::string("resumed");
}

Result<std::string> Shard::passivate(const ActorId& id) {
  const auto found = directory_.find(id);
  if (found == directory_.end()) return std::string("not in memory");
  if (!(*found)->idle)
    return fail(Errc::refused, id.to_string() + " has work: it leaves memory when it is idle");
  idle_.erase(*(*found)->idle);
  directory_.erase(found);
  return std::string("passivated");
}

/// To the backlog, as far as it is not there.
void Shard::shelve(std::list<WindowEntry>& window) {
  for (const WindowEntry& entry : window) {
    window_bytes_ -= entry.bytes;
    if (entry.in_backlog) continue;
    to_backlog(entry.message);
    pending_.remove(entry.message.sequence);
  }
  window.clear();
}

/// What waits for an actor that pauses goes to the backlog, so that it holds neither memory nor the low-water
/// mark. Whatever comes later lies behind it.
void Shard::spill(Activation& a) {
  LaneWindow& lane = a.lane(Lane::normal);
  shelve(lane.window);
  lane.read_upto = lane.consumed;
  lane.unread = sure(rows_.scan(Family::backlog, keys::backlog(a.id, Lane::normal, 0),
                                keys::backlog(a.id, Lane::normal, ~Sequence{0}),
                                limits_.pending_per_actor))
                    .size();
  lane.more = true;
}

}  // namespace muster::engine
