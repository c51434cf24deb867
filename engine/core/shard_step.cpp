// Stepping: one message through its kind, and the decision into the batch that is being filled.
#include <algorithm>
#include <utility>

#include "engine/core/archive.hpp"
#include "engine/core/keys.hpp"
#include "engine/core/revision.hpp"
#include "engine/core/shard.hpp"

namespace muster::engine {

using storage::Family;

struct Shard::Stepped {
  Instant at;  ///< What the step took for now: a replay takes the same.
  std::shared_ptr<void> state;
  Decision decision;
};

namespace {

/// Encoding after every step would cost more than it tells: only states that come near are watched, and those
/// that this message could make large.
Result<void> check_state(const Activation& a, const Envelope& m, const void* state,
                         std::size_t limit) {
  if (a.state_bytes + m.payload.bytes.size() <= limit / 2) return {};
  const std::size_t bytes = a.kind->encode_state(state).size();
  if (bytes > limit && bytes > a.state_bytes)
    return fail(Errc::internal, "a state may take " + std::to_string(limit) +
                                    " bytes: keep the rest in rows");
  return {};
}

}  // namespace

/// Rows of one actor: the activation's cache over what is decided and what is committed.
class Shard::ActorRows : public RowReader {
 public:
  ActorRows(Shard& shard, Activation& a) : shard_(shard), a_(a) {}

  std::optional<std::string> row(std::string_view key) override {
    const auto cached = a_.rows.find(key);
    if (cached != a_.rows.end()) return cached->second;
    auto value = sure(shard_.rows_.get(Family::state, keys::row(a_.id, key)));
    if (a_.rows.size() >= shard_.limits_.rows_cached) a_.rows.clear();
    a_.rows.emplace(key, value);
    return value;
  }

  std::vector<std::pair<std::string, std::string>> rows(std::string_view lower,
                                                        std::string_view upper,
                                                        std::size_t limit) override {
    const auto [from, to] = keys::rows(a_.id, lower, upper);
    auto found = sure(shard_.rows_.scan(Family::state, from, to, limit));
    for (auto& [key, value] : found) key = std::string(keys::row_name(key, a_.id));
    return found;
  }

 private:
  Shard& shard_;
  Activation& a_;
};

/// Room for one more decision of the largest size. With nothing uncommitted there always is.
bool Shard::credit() const {
  if (nothing_decided() && !flight_) return true;
  const std::size_t uncommitted = rows_.bytes() + (flight_ ? flight_->bytes : 0);
  return uncommitted + limits_.decision.bytes <= limits_.uncommitted_bytes;
}

void Shard::step_next() {
  Activation& a = *run_queue_.front();
  run_queue_.pop_front();
  a.queued = false;
  load(a);
  if (!a.runnable()) {  // Paused, or all was consumed before a start: only its head could tell.
    passivate_if_idle(a);
    return;
  }
  const Lane lane = a.runnable(Lane::operator_) ? Lane::operator_ : Lane::normal;
  auto& window = a.lane(lane).window;
  std::list<WindowEntry> taken;
  taken.splice(taken.begin(), window, window.begin());
  step(a, taken.front());
  refill(a, lane);
  queue(a);
}

void Shard::load(Activation& a) {
  if (a.loaded) return;
  // An activation stays until its last head is committed, so the journal has the newest.
  auto bytes = sure(world_.journal.get(Family::state, keys::head(a.id)));
  if (!bytes) {
    bytes = sure(find_archived_head(world_.journal, a.id));
    a.archived = bytes.has_value();
  }
  a.loaded = true;
  a.since = now();
  if (!bytes) return;
  const auto found = head_in(*bytes);
  if (!found) {
    a.broken = found.error();
    return;
  }
  const fbs::HeadRecord& head = **found;
  if (const auto* consumed = head.consumed())
    for (std::uint32_t lane = 0; lane < kLanes && lane < consumed->size(); ++lane)
      a.lanes[lane].consumed = consumed->Get(lane);
  drop_consumed(a);
  if (a.kind == nullptr) return;
  if (head.kind_version() > a.kind->version) {
    a.broken = Error{Errc::refused, "its state was written by a newer version of this kind"};
    return;
  }
  a.removed = head.removed();
  if (!a.removed) {
    auto state = a.kind->decode_state(std::string(state_of(head)));  // A copy is aligned.
    if (!state) {
      a.broken = state.error();
      return;
    }
    a.state = std::move(*state);
  }
  a.incarnation = head.incarnation();
  a.decision = head.decision();
  a.timer_generation = head.timer_generation();
  a.finished = head.finished();
  a.state_bytes = state_of(head).size();
  if (const auto* timers = head.timers())
    for (const fbs::HeadTimer* timer : *timers)
      if (timer->name() != nullptr)
        a.timers[timer->name()->str()] = {timer->generation(), {timer->due_unix_ms()}};
  if (head.paused()) {
    a.paused = true;
    spill(a);
  }
}

/// A start keeps messages of which only the head can tell whether they were consumed.
void Shard::drop_consumed(Activation& a) {
  for (LaneWindow& lane : a.lanes)
    while (!lane.window.empty() && lane.window.front().message.sequence <= lane.consumed) {
      window_bytes_ -= lane.window.front().bytes;
      pending_.remove(lane.window.front().message.sequence);
      lane.window.pop_front();
    }
}

void Shard::step(Activation& a, const WindowEntry& entry) {
  const Envelope& m = entry.message;
  consume(a, entry);
  if (stale_timer(a, m)) return;
  Stepped stepped;
  const Stopwatch watch;
  if (auto ok = marked_step(a, m, stepped); ok) {
    apply(a, m, stepped);
  } else {
    park(a, m, ok.error());
  }
  if (a.kind != nullptr) note_step(a, m, watch.us());
}

void Shard::consume(Activation& a, const WindowEntry& entry) {
  const Envelope& m = entry.message;
  a.lane(m.lane).consumed = m.sequence;
  window_bytes_ -= entry.bytes;
  if (entry.in_backlog) {
    rows_.erase(Family::backlog, keys::backlog(a.id, m.lane, m.sequence));
  } else {
    pending_.remove(m.sequence);
  }
  touch(a);
}

/// Set again or cancelled after it fired and before it was stepped.
bool Shard::stale_timer(Activation& a, const Envelope& m) {
  if (m.timer.empty() || a.state == nullptr) return false;
  const auto timer = a.timers.find(m.timer);
  if (timer == a.timers.end() || timer->second.generation != m.timer_generation) return true;
  a.timers.erase(timer);
  return false;
}

/// With a mark of what is running, for the case that the process ends of it.
Result<void> Shard::marked_step(Activation& a, const Envelope& m, Stepped& stepped) {
  StepMark* mark = world_.mark;
  if (mark == nullptr) return try_step(a, m, stepped);
  const std::uint64_t name = fingerprint(m);
  if (mark->condemned(name))
    return fail(Errc::internal, "the process ended twice while this message was stepped");
  struct Running {
    explicit Running(StepMark& its_mark, std::uint64_t its_name) : mark(its_mark) {
      mark.enter(its_name);
    }
    ~Running() { mark.leave(); }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    StepMark& mark;
  };
  const Running running(*mark, name);
  return try_step(a, m, stepped);
}

/// The kind works on a copy of the state: when it throws, nothing has to be undone.
Result<void> Shard::try_step(Activation& a, const Envelope& m, Stepped& stepped) {
  if (a.kind == nullptr) return fail(Errc::not_found, "there is no kind " + a.id.kind);
  if (a.broken) return fail(*a.broken, "state of " + a.id.to_string());
  if (a.state == nullptr) {
    const auto creates = a.kind->creates(m.payload);
    if (!creates) return tl::unexpected<Error>(creates.error());
    if (!*creates) return fail(Errc::not_found, "there is no " + a.id.kind + " " + a.id.key);
    stepped.state = a.kind->make_state();
  } else {
    stepped.state = a.kind->copy_state(a.state);
  }
  ActorRows reader(*this, a);
  stepped.at = now();
  if (a.state != nullptr)
    if (auto outdated = check_only_if(m, *a.kind, stepped.state.get(), reader)) {
      stepped.decision.reply = std::move(outdated);
      return {};
    }
  Context ctx(a.id, m, stepped.at, reader, limits_.decision);
  try {
    if (auto ok = a.kind->step(stepped.state.get(), m.payload, ctx); !ok) return ok;
  } catch (const JournalTrouble&) {
    throw;
  } catch (const std::exception& thrown) {
    return fail(Errc::internal, std::string("the step failed: ") + thrown.what());
  } catch (...) {
    return fail(Errc::internal, "the step failed with an unknown exception");
  }
  stepped.decision = ctx.take();
  if (auto ok = check_state(a, m, stepped.state.get(), limits_.state_bytes); !ok) return ok;
  return within_limits(a, stepped);
}

Result<void> Shard::within_limits(const Activation& a, const Stepped& stepped) const {
  std::size_t timers = a.timers.size() - a.timers.count(kArchiveTimer);
  for (const TimerChange& change : stepped.decision.timers)
    if (change.due && !a.timers.contains(change.name)) ++timers;
  if (timers > limits_.decision.timers)
    return fail(Errc::internal, "an actor may have " + std::to_string(limits_.decision.timers) +
                                    " timers pending");
  if (!stepped.decision.removed) return {};
  const std::size_t most = limits_.decision.removed_rows;
  const auto [lower, upper] = keys::rows(a.id, "", "");
  if (sure(rows_.scan(Family::state, lower, upper, most + 1)).size() > most)
    return fail(Errc::internal, "an actor with more than " + std::to_string(most) +
                                    " rows can't be removed at once");
  return {};
}

// ---- decisions ----

/// Ends what was noted of this decision since the last one.
void Shard::record_change(Activation& a, const Envelope& m, Instant at, bool dead,
                          std::vector<IndexChange> indexes) {
  changes_.close({++position_, m.sequence, m.lane, m.payload.type, at, dead}, a);
  visible_.push_back({position_, a.id, m.payload.type, std::move(indexes)});
}

void Shard::apply(Activation& a, const Envelope& m, Stepped& stepped) {
  if (a.state == nullptr) make(a, m);
  a.state = std::move(stepped.state);
  ++a.decision;
  Decision& d = stepped.decision;
  a.finished = a.finished || d.finished;
  apply_sends(a, m, stepped.at, d);
  apply_timers(a, m, d);
  if (a.finished) set_archive_timer(a);
  apply_effects(a, m, d);
  apply_rows(a, d);
  apply_indexes(a, d);
  record_change(a, m, stepped.at, false, std::move(d.indexes));
  std::uint32_t ordinal = 0;
  for (AuditEntry& entry : d.audits) {
    fbs::AuditRecordT record;
    record.actor = record_of(a.id);
    record.sequence = m.sequence;
    record.at_unix_ms = now().unix_ms;
    record.who = std::move(entry.who);
    record.action = std::move(entry.action);
    record.detail = std::move(entry.detail);
    record.correlation = m.correlation;
    rows_.append(Family::audit, keys::audit(position_, ordinal++), encode_record(record));
  }
  if (d.removed)
    remove(a);
  else
    snapshot_if_due(a, m, stepped.at);
  answer(m.dedup_key, d.reply);
}

/// Also one that takes a removed actor's name.
void Shard::make(Activation& a, const Envelope& m) {
  a.incarnation = m.sequence;
  if (!std::exchange(a.removed, false)) return;
  a.decision = 0;
  change_timer(a, {std::string(kArchiveTimer), std::nullopt, {}}, {});
}

void Shard::apply_sends(Activation& a, const Envelope& m, Instant at, Decision& d) {
  for (Outgoing& out : d.sends) {
    Envelope message;
    message.from = a.id;
    message.to = out.to;
    message.lane = out.lane;
    message.payload = std::move(out.payload);
    message.correlation = m.correlation;
    message.causation = m.sequence;
    const std::uint16_t type = message.payload.type;
    const Placed placed = dispatch(std::move(message), at);
    changes_.sent(out.to, placed.receiver, type, placed.sequence);
  }
}

void Shard::apply_timers(Activation& a, const Envelope& m, Decision& d) {
  for (TimerChange& change : d.timers) change_timer(a, std::move(change), m.correlation);
}

void Shard::change_timer(Activation& a, TimerChange change, const std::string& correlation) {
  const auto old = a.timers.find(change.name);
  if (old != a.timers.end()) {
    timers_.cancel(keys::timer(old->second.due, a.id, change.name));
    a.timers.erase(old);
  }
  if (!change.due) return;
  ++a.timer_generation;
  timers_.set(keys::timer(*change.due, a.id, change.name),
              std::string(encode_timer(scratch_, a.id, change.name, a.timer_generation,
                                       change.payload, correlation)));
  a.timers[std::move(change.name)] = {a.timer_generation, *change.due};
}

void Shard::apply_effects(const Activation& a, const Envelope& m, Decision& d) {
  std::uint32_t ordinal = 0;
  for (EffectRequest& request : d.effects) {
    const Duration limit =
        request.deadline > Duration{0} ? request.deadline : limits_.default_effect_deadline;
    PendingEffect effect{a.id, m.sequence, ordinal++, std::move(request.port),
                         std::move(request.key), std::move(request.bytes), now() + limit, false};
    const std::string key = keys::effect(a.id, effect.sequence, effect.ordinal);
    rows_.put(Family::effects, key,
              std::string(encode_effect(scratch_, effect, request.on_unknown, limit, m.correlation)));
    const std::string deadline = "\x01" + key;
    timers_.set(keys::timer(effect.deadline, a.id, deadline),
                std::string(encode_deadline(scratch_, effect, deadline)));

    changes_.effect(effect.key);
    outputs_.push_back([this, effect = std::move(effect)](const Error* failure) {
      if (failure == nullptr) world_.outside.perform(effect);
    });
  }
}

void Shard::apply_rows(Activation& a, Decision& d) {
  for (RowChange& row : d.rows) {
    if (row.value) {
      rows_.put(Family::state, keys::row(a.id, row.key), *row.value);
    } else {
      rows_.erase(Family::state, keys::row(a.id, row.key));
    }
    if (a.rows.size() >= limits_.rows_cached) a.rows.clear();
    a.rows.insert_or_assign(std::move(row.key), std::move(row.value));
  }
}

void Shard::apply_indexes(const Activation& a, Decision& d) {
  for (const IndexChange& entry : d.indexes) {
    const std::string key = keys::index(entry.index, entry.key, a.id);
    if (entry.value) {
      rows_.append(Family::index, key, *entry.value);
    } else {
      rows_.append_erase(Family::index, key);
    }
    changes_.index(entry);
  }
}

/// The API's caller gets the step's reply; a step that gives none has said yes.
void Shard::answer(const std::string& api_key, const std::optional<Reply>& reply) {
  if (api_key.empty()) return;
  const std::string key = keys::call(api_key);
  const auto bytes = sure(rows_.get(Family::dedup, key));
  fbs::CallRecordT record;
  if (bytes) record = sure(decode_record<fbs::CallRecordT>(*bytes));
  record.state = fbs::CallState::done;
  record.failed = reply && reply->error;
  record.error = record.failed ? static_cast<std::uint8_t>(*reply->error) : std::uint8_t{0};
  record.reply = record_of(std::string_view(reply ? reply->body : std::string()));
  rows_.put(Family::dedup, key, encode_record(record));

  Result<std::string> result = reply ? reply->body : std::string();
  if (record.failed) result = fail(*reply->error, reply->body);
  outputs_.push_back([this, key = api_key, result = std::move(result)](const Error* failure) {
    if (failure != nullptr) return;  // Falling over answers everybody who waits.
    const auto callers = waiting_.extract(key);
    if (callers.empty()) return;
    for (CallDone& done : callers.mapped()) done(result);
  });
}

/// Dead letters: the message is consumed, kept with the reason, and the actor goes on.
void Shard::park(Activation& a, const Envelope& m, const Error& why) {
  fbs::DeadRecordT record;
  record.envelope = record_of(std::string_view(encode_envelope(m)));
  record.reason = why.message;
  record.at_unix_ms = now().unix_ms;
  record.kind_version = a.kind != nullptr ? a.kind->version : std::uint16_t{0};
  rows_.append(Family::dead, keys::sequence(m.sequence), encode_record(record));
  record_change(a, m, now(), true, {});
  visible_.back().letter = m.sequence;
  ++stats_.dead_letters[a.kind != nullptr ? a.kind->name : "unknown"];
  answer(m.dedup_key, Reply{why.code, why.message});
}

// ---- timers ----

void Shard::fire_timers() {
  for (std::size_t n = 0; n < limits_.fired_per_turn && credit(); ++n) {
    const auto record = sure(timers_.take_due(now()));
    if (!record) return;
    const auto timer = sure(decode_record<fbs::TimerRecordT>(*record));
    if (timer.effect_sequence != 0) {
      give_unknown(timer);
    } else if (timer.name == kArchiveTimer) {
      archive(timer);
    } else {
      fire(timer);
    }
  }
}

void Shard::fire(const fbs::TimerRecordT& timer) {
  Envelope message;
  message.to = actor_of(timer.actor);
  message.payload = payload_of(timer.payload);
  message.correlation = timer.correlation;
  message.timer = timer.name;
  message.timer_generation = timer.generation;
  enqueue(std::move(message), now());
}

/// The deadline of an effect passed: unknown, not failed. A result that comes later finds no row.
void Shard::give_unknown(const fbs::TimerRecordT& timer) {
  const ActorId id = actor_of(timer.actor);
  std::string key = keys::effect(id, timer.effect_sequence, timer.effect_ordinal);
  const auto row = sure(rows_.get(Family::effects, key));
  if (!row) return;
  auto record = sure(decode_record<fbs::EffectRecordT>(*row));
  // Handed out again when the shard began to serve: its time has begun anew.
  const Instant again = served_since_ + Duration{record.allowed_ms};
  if (now() < again) {
    timers_.set(keys::timer(again, id, timer.name), encode_record(timer));
    record.deadline_unix_ms = again.unix_ms;
    rows_.put(Family::effects, std::move(key), encode_record(record));
    return;
  }
  rows_.erase(Family::effects, std::move(key));
  Envelope message;
  message.to = id;
  message.payload = payload_of(record.on_unknown);
  message.correlation = record.correlation;
  message.causation = timer.effect_sequence;
  enqueue(std::move(message), now());
}

}  // namespace muster::engine
