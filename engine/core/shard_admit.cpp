// What comes into a shard: admission with its bounds, idempotency keys, channels, windows and the backlog.
#include <algorithm>
#include <cctype>

#include "engine/core/keys.hpp"
#include "engine/core/shard.hpp"
#include "storage/base/ids.hpp"

namespace muster::engine {

using storage::Family;

// ---- bounds on what comes from outside ----

Result<void> Shard::serving() const {
  switch (phase_) {
    case Phase::serving: return {};
    case Phase::created:
    case Phase::recovering: return fail(Errc::unreachable, "the engine is recovering: repeat soon");
    case Phase::stopping:
    case Phase::stopped: return fail(Errc::unreachable, "the engine is stopping");
    case Phase::failed: return fail(Errc::unreachable, "the engine could not start");
  }
  return fail(Errc::internal, "no such phase");
}

Result<void> Shard::open_for(const ActorId& to, Lane lane) const {
  if (auto ok = serving(); !ok) return ok;
  const auto full = [this](const std::string& what) {
    return fail(Errc::overloaded, what + "; retry after " + to_string(limits_.retry_after));
  };
  // The bytes of the operator lane are few, and it exists to get through.
  if (lane == Lane::normal &&
      window_bytes_ + rows_.bytes() + (flight_ ? flight_->bytes : 0) >= limits_.bytes_in_flight)
    return full("the engine has too much work in flight");
  const auto active = directory_.find(to);
  if (active != directory_.end()) {
    const LaneWindow& window = (*active)->lanes[static_cast<std::size_t>(lane)];
    if (window.pending() >= limits_.pending_per_actor)
      return full("too many messages wait for " + to.to_string());
    return {};
  }
  if (lane == Lane::normal && directory_.size() >= limits_.active_actors && idle_.empty())
    return full("too many actors are active");
  return {};
}

// ---- calls ----

void Shard::call(Call call, CallDone done) {
  if (auto ok = serving(); !ok) {
    done(tl::unexpected<Error>(ok.error()));
    return;
  }
  try {
    admit_call(std::move(call), done);
  } catch (const JournalTrouble& trouble) {
    done(fail(Errc::unknown, trouble.error.message + ": repeat with the same key"));
    fall_over(trouble.error);
  }
}

Result<void> Shard::check_key(std::string& key) {
  // One spelling per key: expiry drops them by their text, which begins with the time.
  std::transform(key.begin(), key.end(), key.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  auto made = uuid_v7_time(key);
  if (!made) return fail(made.error(), "idempotency key");
  if (now() - *made > limits_.call_retention)
    return fail(Errc::refused, "this idempotency key has expired: it was made at " +
                                   to_rfc3339(*made) + ", replies are kept for " +
                                   to_string(limits_.call_retention));
  if (*made - now() > limits_.call_retention)
    return fail(Errc::invalid, "this idempotency key was made in the future: " + to_rfc3339(*made));
  return {};
}

void Shard::admit_call(Call call, CallDone done) {
  if (auto ok = check_key(call.key); !ok) {
    done(tl::unexpected<Error>(ok.error()));
    return;
  }
  if (known_key(call.key, call.digest, done)) return;
  if (auto ok = open_for(call.to, call.lane); !ok) {
    done(tl::unexpected<Error>(ok.error()));
    return;
  }
  expect_answer(call.key, std::move(call.digest), std::move(done));
  Envelope message;
  message.to = std::move(call.to);
  message.lane = call.lane;
  message.payload = std::move(call.payload);
  message.correlation = call.correlation.empty() ? call.key : std::move(call.correlation);
  message.dedup_key = std::move(call.key);
  message.only_if = std::move(call.only_if);
  message.only_if_rows = std::move(call.only_if_rows);
  enqueue(std::move(message), now());
  schedule_turn();
}

/// Notes the key as used, with its caller as the first who waits.
void Shard::expect_answer(const std::string& api_key, std::string digest, CallDone done) {
  fbs::CallRecordT record;
  record.digest = std::move(digest);
  record.at_unix_ms = now().unix_ms;
  rows_.put(Family::dedup, keys::call(api_key), encode_record(record));
  attach(api_key, std::move(done));
}

/// True: the key was used before, and `done` is answered or will be.
bool Shard::known_key(const std::string& api_key, const std::string& digest, CallDone& done) {
  const std::string key = keys::call(api_key);
  const auto bytes = sure(rows_.get(Family::dedup, key));
  if (!bytes) return false;
  const auto record = sure(decode_record<fbs::CallRecordT>(*bytes));
  if (record.digest != digest) {
    done(fail(Errc::key_reused, "this idempotency key was used for another request"));
  } else if (record.state == fbs::CallState::pending || rows_.uncommitted(Family::dedup, key)) {
    attach(api_key, std::move(done));
  } else if (record.failed) {
    done(fail(static_cast<Errc>(record.error), bytes_of(record.reply)));
  } else {
    done(bytes_of(record.reply));
  }
  return true;
}

void Shard::attach(const std::string& key, CallDone done) {
  auto& callers = waiting_[key];
  if (callers.size() < limits_.waiters_per_key) {
    callers.push_back(std::move(done));
  } else {
    done(fail(Errc::overloaded, "too many callers wait for this idempotency key; retry after " +
                                    to_string(limits_.retry_after)));
  }
}

// ---- channels and tells ----

void Shard::deliver(ChannelMessage message, ChannelDone done) {
  if (auto ok = serving(); !ok) {
    done(ok);
    return;
  }
  try {
    admit_channel(std::move(message), done);
  } catch (const JournalTrouble& trouble) {
    done(fail(Errc::unknown, trouble.error.message));
    fall_over(trouble.error);
  }
}

void Shard::admit_channel(ChannelMessage message, ChannelDone done) {
  const std::string key = keys::channel(message.channel);
  const auto stored = sure(rows_.get(Family::dedup, key));
  const std::uint64_t mark = stored ? storage::get_be64(*stored) : 0;
  const auto when_safe = [done](const Error* failure) {
    done(failure != nullptr ? Result<void>(tl::unexpected<Error>(*failure)) : Result<void>());
  };
  if (message.number <= mark) {
    when_durable(when_safe);  // What the mark says may still be on its way to the disk.
    return;
  }
  if (message.number > mark + 1) {
    done(fail(Errc::conflict, "channel " + message.channel + ": number " +
                                  std::to_string(message.number) + " after " +
                                  std::to_string(mark)));
    return;
  }
  const bool here = shard_of(message.to, config_.place.shards) == config_.place.shard;
  if (auto ok = here ? open_for(message.to, Lane::normal) : serving(); !ok) {
    done(ok);
    return;
  }
  std::string next;
  storage::put_be64(next, message.number);
  rows_.put(Family::dedup, key, std::move(next));
  Envelope envelope;
  envelope.to = std::move(message.to);
  envelope.payload = std::move(message.payload);
  envelope.correlation = message.channel + "#" + std::to_string(message.number);
  dispatch(std::move(envelope), now());
  when_durable(when_safe);
  schedule_turn();
}

void Shard::tell(ActorId to, Payload payload, Lane lane, std::function<void(Result<void>)> done) {
  if (auto ok = open_for(to, lane); !ok) {
    done(ok);
    return;
  }
  guarded([&] {
    Envelope envelope;
    envelope.to = std::move(to);
    envelope.lane = lane;
    envelope.payload = std::move(payload);
    enqueue(std::move(envelope), now());
    when_durable([done](const Error* failure) {
      done(failure != nullptr ? Result<void>(tl::unexpected<Error>(*failure)) : Result<void>());
    });
    schedule_turn();
  });
}

void Shard::effect_done(const PendingEffect& effect, Payload result) {
  if (phase_ != Phase::serving) return;  // Recovery hands the effect out again.
  guarded([&] {
    const std::string key = keys::effect(effect.actor, effect.sequence, effect.ordinal);
    const auto row = sure(rows_.get(Family::effects, key));
    if (!row) return;  // It counts once.
    const auto record = sure(decode_record<fbs::EffectRecordT>(*row));
    rows_.erase(Family::effects, key);
    timers_.cancel(keys::timer({record.deadline_unix_ms}, effect.actor, "\x01" + key));
    Envelope message;
    message.to = effect.actor;
    message.payload = std::move(result);
    message.correlation = record.correlation;
    message.causation = effect.sequence;
    enqueue(std::move(message), now());
    schedule_turn();
  });
}

// ---- into the mailbox ----

/// To its shard. The sequence: 0 when that is another one.
Shard::Placed Shard::dispatch(Envelope&& message, Instant at) {
  const std::uint32_t destination = shard_of(message.to, config_.place.shards);
  if (destination == config_.place.shard) return enqueue(std::move(message), at);
  message.enqueued_at = at;
  return {send_away(destination, message), nullptr};
}

/// Journals a message and puts it where its receiver will find it. Never refuses.
Shard::Placed Shard::enqueue(Envelope&& message, Instant at) {
  message.sequence = next_sequence_++;
  message.enqueued_at = at;
  const std::string_view bytes = encode_envelope(envelope_, message);
  const std::size_t size = bytes.size();
  const Sequence sequence = message.sequence;
  rows_.append(Family::inbox, keys::sequence(sequence), bytes);
  return {sequence, place(std::move(message), size)};
}

void Shard::to_backlog(const Envelope& message) {
  rows_.put(Family::backlog, keys::backlog(message.to, message.lane, message.sequence),
            std::string(encode_envelope(envelope_, message)));
}

/// Messages that one window holds: many, because the way through the backlog costs three writes and a read, unless all
/// windows together take much memory.
std::size_t Shard::window_limit() const {
  const bool full = window_bytes_ >= limits_.bytes_in_flight / 2;
  const std::size_t limit =
      full ? std::min(limits_.window, limits_.window_when_full) : limits_.window;
  return std::max<std::size_t>(1, limit);
}

/// Into the window when the window is the whole lane so far and has room; else behind it.
Activation* Shard::place(Envelope&& message, std::size_t bytes) {
  Activation* a = rouse(message.to, message.lane);
  if (a == nullptr) {
    to_backlog(message);
    sleepers_.of(message.to).backlog = true;
    return nullptr;
  }
  LaneWindow& lane = a->lane(message.lane);
  if (lane.more || !a->open(message.lane) ||
      lane.window.size() >= window_limit()) {
    to_backlog(message);
    lane.more = true;
    ++lane.unread;
    passivate_if_idle(*a);  // It is, when it is paused; and may be gone.
    return nullptr;
  }
  pending_.add(message.sequence);
  window_bytes_ += bytes;
  lane.window.emplace_back(std::move(message), bytes, false);
  queue(*a);
  return a;
}

/// Null when there is no room for one more.
Activation* Shard::activate(const ActorId& id, Lane lane) {
  const auto found = directory_.find(id);
  if (found != directory_.end()) {
    Activation& a = **found;
    if (a.idle) {
      idle_.erase(*a.idle);
      a.idle.reset();
    }
    return &a;
  }
  if (directory_.size() >= limits_.active_actors && !idle_.empty()) forget_oldest();
  const std::size_t reserve = lane == Lane::operator_ ? limits_.operator_actors : 0;
  if (directory_.size() >= std::max<std::size_t>(1, limits_.active_actors + reserve)) return nullptr;
  auto a = std::make_unique<Activation>();
  a->id = id;
  a->slot = id.slot();
  const auto kind = kinds_.find(id.kind);
  if (kind != kinds_.end()) {
    a->kind = &kind->second;
    a->kind_steps_us = &stats_.steps_us[id.kind];
  }
  return directory_.insert(std::move(a)).first->get();
}

/// As activate(), with the messages that a sleeper has.
Activation* Shard::rouse(const ActorId& id, Lane lane) {
  Activation* a = activate(id, lane);
  if (a == nullptr || sleepers_.empty()) return a;
  auto sleeper = sleepers_.take(id);
  if (!sleeper) return a;
  for (std::size_t each = 0; each < kLanes; ++each)
    a->lanes[each].window.splice(a->lanes[each].window.end(), sleeper->kept[each]);
  load(*a);
  for (const Lane each : {Lane::operator_, Lane::normal}) {
    if (!sleeper->backlog) break;
    a->lane(each).more = true;
    refill(*a, each);
  }
  queue(*a);
  return a;
}

/// Gives those their turn who sleep: a few at a time, and never the last of the room, so that whoever is called now
/// neither waits behind all of them nor is refused for their sake. True: the next turn has some, too.
bool Shard::wake_sleepers() {
  const std::size_t room = std::max<std::size_t>(1, limits_.active_actors - limits_.active_actors / 8);
  const std::size_t turn = std::max<std::size_t>(1, limits_.steps_per_turn);
  const std::size_t share = std::max<std::size_t>(1, turn / 4);
  for (std::size_t woken = 0; !sleepers_.empty() && credit(); ++woken) {
    if (woken >= (run_queue_.size() < turn ? turn : share)) return true;
    if (directory_.size() >= room && idle_.empty()) return false;
    Activation* a = rouse(ActorId(sleepers_.next()), Lane::normal);
    if (a == nullptr) return false;
    passivate_if_idle(*a);
  }
  return false;
}

void Shard::refill(Activation& a, Lane lane) {
  LaneWindow& window = a.lane(lane);
  const std::size_t limit = window_limit();
  if (!window.more || !a.open(lane) || window.window.size() > limit / 2) return;
  const std::size_t room = limit - window.window.size();
  auto rows = sure(rows_.scan(Family::backlog, keys::backlog(a.id, lane, window.read_upto + 1),
                              keys::backlog(a.id, lane, ~Sequence{0}), room));
  window.more = rows.size() == room;
  window.unread = window.more ? window.unread - std::min(window.unread, rows.size()) : 0;
  for (auto& [key, value] : rows) {
    Envelope message = sure(decode_envelope(value));
    window.read_upto = message.sequence;
    window_bytes_ += value.size();
    window.window.emplace_back(std::move(message), value.size(), true);
  }
  if (window.more && window.unread == 0) {  // After a start nobody has counted them.
    window.unread = sure(rows_.scan(Family::backlog, keys::backlog(a.id, lane, window.read_upto + 1),
                                    keys::backlog(a.id, lane, ~Sequence{0}),
                                    limits_.pending_per_actor))
                        .size();
    window.more = window.unread > 0;
  }
  queue(a);
}

void Shard::queue(Activation& a) {
  if (a.queued || !a.runnable()) return;
  a.queued = true;
  run_queue_.push_back(&a);
}

// ---- out of memory ----

void Shard::touch(Activation& a) {
  if (a.touched != rows_.number()) {
    a.touched = rows_.number();
    touched_.push_back(&a);
  }
  if (a.archived) take_out(a);
}

/// Call when its last commit is durable, or when it had none.
void Shard::passivate_if_idle(Activation& a) {
  if (a.pending() || a.queued || a.idle) return;
  if (a.touched == rows_.number() || (flight_ && a.touched == flight_->number)) return;
  if (a.loaded && (a.state == nullptr || a.archived)) {  // Only addressed, or done with: not worth keeping.
    directory_.erase(directory_.find(a.id));
    return;
  }
  a.idle = idle_.insert(idle_.end(), &a);
  shrink_idle();
}

void Shard::shrink_idle() {
  while (idle_.size() > limits_.idle_actors) forget_oldest();
}

void Shard::forget_oldest() {
  const Activation* oldest = idle_.front();
  idle_.pop_front();
  directory_.erase(directory_.find(oldest->id));
}

}  // namespace muster::engine
