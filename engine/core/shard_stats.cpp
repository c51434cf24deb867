#include <algorithm>

#include "engine/core/shard.hpp"

namespace muster::engine {

ShardStats Shard::stats() const {
  ShardStats now = stats_;
  now.shard = config_.place.shard;
  now.active_actors = directory_.size();
  now.idle_actors = idle_.size();
  now.sleeping_actors = sleepers_.size();
  now.window_bytes = window_bytes_;
  for (const auto& [id, activation] : directory_) {
    const std::uint64_t depth = activation->lanes[0].pending() + activation->lanes[1].pending();
    now.mailbox_messages += depth;
    now.mailbox_deepest = std::max(now.mailbox_deepest, depth);
  }
  return now;
}

}  // namespace muster::engine
