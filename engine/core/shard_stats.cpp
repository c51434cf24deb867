#include <algorithm>

#include "engine/core/shard.hpp"

namespace muster::engine {

void Shard::note_step(Activation& a, const Envelope& m, std::uint64_t us) {
  a.kind_steps_us->observe(us);
  ++a.steps;
  a.steps_us += us;
  a.longest_us = std::max(a.longest_us, us);
  if (us < limits_.slow_step_us) return;
  stats_.slow_steps.push_back({a.id, m.payload.type, m.sequence, now(), us});
  if (stats_.slow_steps.size() > limits_.slow_steps_kept) stats_.slow_steps.pop_front();
}

ShardStats Shard::stats() const {
  ShardStats now = stats_;
  now.shard = config_.place.shard;
  now.active_actors = directory_.size();
  now.idle_actors = idle_.size();
  now.sleeping_actors = sleepers_.size();
  now.window_bytes = window_bytes_;
  for (const auto& activation : directory_) {
    const std::uint64_t depth = activation->lanes[0].pending() + activation->lanes[1].pending();
    now.mailbox_messages += depth;
    now.mailbox_deepest = std::max(now.mailbox_deepest, depth);
  }
  return now;
}

}  // namespace muster::engine
