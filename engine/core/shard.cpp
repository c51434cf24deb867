#include "engine/core/shard.hpp"

#include <algorithm>

#include "engine/core/keys.hpp"

namespace muster::engine {

Shard::Shard(ShardConfig config, const Kinds& kinds, ShardWorld world)
    : config_(std::move(config)),
      kinds_(kinds),
      world_(world),
      rows_(world.journal),
      timers_(rows_, std::max<std::size_t>(1, limits_.timers_in_memory)),
      peers_(config_.place.shards) {}

// ---- time ----

Instant Shard::now() {
  if (!time_base_) return world_.clock.now();
  last_now_ = std::max(last_now_, *time_base_ + (world_.clock.now() - clock_base_));
  return last_now_;
}

// ---- life ----

void Shard::start(std::function<void(Result<void>)> ready) {
  ready_callback_ = std::move(ready);
  phase_ = Phase::recovering;
  recover_on_writer(false);
}

void Shard::stop(std::function<void()> stopped) {
  stopped_callback_ = std::move(stopped);
  if (phase_ != Phase::serving) {
    phase_ = Phase::stopped;
    ++epoch_;
    finish_stopping();
    return;
  }
  phase_ = Phase::stopping;
  commit_if_idle();
  finish_stopping();
}

void Shard::finish_stopping() {
  if (phase_ == Phase::stopping && flight_ == nullptr && nothing_decided() && outputs_.empty())
    phase_ = Phase::stopped;
  if (phase_ != Phase::stopped || !stopped_callback_) return;
  const Error gone{Errc::unknown, "the engine is stopping: repeat with the same key"};
  for (auto& [key, callers] : std::exchange(waiting_, {}))
    for (CallDone& done : callers) done(tl::unexpected<Error>(gone));
  std::exchange(stopped_callback_, nullptr)();
}

void Shard::recover_on_writer(bool reopen) {
  world_.executor.write([this, reopen, epoch = epoch_] {
    Result<void> open;
    if (reopen) open = world_.journal.reopen();
    auto found = std::make_shared<Result<Recovered>>(
        open ? recover(world_.journal, config_.place, limits_.bytes_in_flight)
             : tl::unexpected<Error>(open.error()));
    world_.executor.post([this, epoch, found] {
      if (epoch == epoch_) recovered(std::move(*found));
    });
  });
}

void Shard::recovered(Result<Recovered> found) {
  if (found) {
    guarded([&] { resume(std::move(*found)); });
    return;
  }
  if (ready_callback_) {  // The first start: whoever starts us decides.
    phase_ = Phase::failed;
    std::exchange(ready_callback_, nullptr)(tl::unexpected<Error>(found.error()));
    return;
  }
  world_.outside.trouble(found.error().message);
  world_.executor.post_after(limits_.reopen_pause, [this, epoch = epoch_] {
    if (epoch == epoch_) recover_on_writer(true);
  });
}

void Shard::resume(Recovered found) {
  if (!time_base_) {
    clock_base_ = world_.clock.now();
    time_base_ = last_now_ = std::max(clock_base_, Instant{found.shard.now_unix_ms});
  }
  if (!found.fresh) {
    generation_ = found.shard.generation;
    next_sequence_ = found.shard.next_sequence;
    position_ = found.shard.position;
    for (std::size_t to = 0; to < peers_.size(); ++to)
      peers_[to] = {found.shard.sent[to], found.acknowledged[to], found.acknowledged[to], now()};
  } else {
    next_sequence_ = 1;
    position_ = 0;
    peers_.assign(peers_.size(), Peer{});
  }
  stats_.position = position_;
  served_since_ = now();
  phase_ = Phase::serving;
  for (const Sequence sequence : found.kept) pending_.add(sequence);
  window_bytes_ = found.kept_bytes;
  sleepers_ = std::move(found.sleepers);
  sleepers_.each([this](Sleeper& sleeper) {
    // With a backlog: some of what was kept comes after it, some before.
    if (!sleeper.backlog && window_bytes_ <= limits_.bytes_in_flight) return;
    sleeper.backlog = true;
    for (auto& kept : sleeper.kept) shelve(kept);
  });
  if (found.fresh) write_shard();
  for (auto& [effect, allowed] : found.effects) {
    effect.repeated = true;
    effect.deadline = std::max(effect.deadline, served_since_ + allowed);
    world_.outside.perform(effect);
  }
  for (std::uint32_t peer = 0; peer < peers_.size(); ++peer)
    if (peer != config_.place.shard)
      world_.link.acknowledge(peer, {config_.place.shard, source_mark(peer), true});
  world_.outside.trouble("");
  if (ready_callback_) std::exchange(ready_callback_, nullptr)({});
  pump_outboxes();
  run_turn();
}

/// A commit failed, and whether it happened is not known; or a read did. Nothing in memory can be trusted.
void Shard::fall_over(const Error& why) {
  if (phase_ != Phase::serving && phase_ != Phase::stopping) return;
  const bool stopping = phase_ == Phase::stopping;
  phase_ = stopping ? Phase::stopped : Phase::recovering;
  ++epoch_;
  world_.outside.trouble(why.message);
  const Error unknown{Errc::unknown,
                      "the journal failed (" + why.message + "): repeat with the same key"};
  std::vector<Durable> outputs = std::exchange(outputs_, {});
  if (flight_)
    outputs.insert(outputs.begin(), std::make_move_iterator(flight_->outputs.begin()),
                   std::make_move_iterator(flight_->outputs.end()));
  for (const Durable& output : outputs) output(&unknown);
  for (auto& [key, callers] : std::exchange(waiting_, {}))
    for (CallDone& done : callers) done(tl::unexpected<Error>(unknown));
  forget_everything();
  if (stopping) {
    finish_stopping();
  } else {
    recover_on_writer(true);
  }
}

void Shard::forget_everything() {
  run_queue_.clear();
  idle_.clear();
  directory_.clear();
  sleepers_.clear();
  rows_.clear();
  timers_.clear();
  pending_.clear();
  window_bytes_ = 0;
  outputs_.clear();
  touched_.clear();
  changes_.clear();
  visible_.clear();
  flight_.reset();
}

// ---- turns ----

void Shard::schedule_turn() {
  if (std::exchange(turn_posted_, true)) return;
  world_.executor.post([this] { turn(); });
}

void Shard::turn() {
  turn_posted_ = false;
  if (phase_ == Phase::serving) guarded([this] { run_turn(); });
}

void Shard::run_turn() {
  fire_timers();
  const bool more_sleep = wake_sleepers();
  for (std::size_t n = 0; n < limits_.steps_per_turn && !run_queue_.empty() && credit(); ++n)
    step_next();
  resend_stalled();
  commit_if_idle();
  if ((more_sleep || !run_queue_.empty()) && credit()) schedule_turn();
  arm_wake();
}

/// At most one wake-up is waited for: the earliest. A later one that was already posted does no harm.
void Shard::arm_wake() {
  std::optional<Instant> next;
  if (credit()) next = sure(timers_.next());  // Without, the commit on its way wakes us.
  for (const Peer& peer : peers_)
    if (peer.sent > peer.acknowledged) {
      const Instant again = peer.progress + limits_.resend;
      next = next ? std::min(*next, again) : again;
    }
  if (!next || (wake_at_ && *wake_at_ <= *next)) return;
  wake_at_ = next;
  const Duration delay = std::max(Duration{0}, *next - now());
  world_.executor.post_after(delay, [this, at = *next] {
    if (wake_at_ == at) wake_at_.reset();
    turn();
  });
}

}  // namespace muster::engine
