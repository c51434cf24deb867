// What operators' tools see of a running shard: who is in memory and what waits there. On the
// strand, like everything of a shard; a look at all activations costs one pass over them.
#include <algorithm>

#include "engine/core/shard.hpp"

namespace muster::engine {

namespace {

ActivationLook look_of(const Activation& a) {
  ActivationLook look;
  look.id = a.id;
  look.queued = a.queued;
  look.idle = a.idle.has_value();
  look.since = a.since;
  look.steps = a.steps;
  look.steps_us = a.steps_us;
  look.longest_us = a.longest_us;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const LaneWindow& window = a.lanes[lane];
    look.pending[lane] = window.pending();
    if (window.window.empty()) continue;
    const Instant came = window.window.front().message.enqueued_at;
    look.oldest = look.oldest ? std::min(*look.oldest, came) : came;
  }
  return look;
}

}  // namespace

std::vector<ActivationLook> Shard::look(std::size_t limit) const {
  std::vector<ActivationLook> looks;
  const auto add = [&](bool busy) {
    for (const auto& a : directory_)
      if (a->pending() == busy && looks.size() < limit) looks.push_back(look_of(*a));
  };
  add(true);
  add(false);
  return looks;
}

std::optional<ActivationLook> Shard::look(const ActorId& id) const {
  const auto found = directory_.find(id);
  if (found == directory_.end()) return std::nullopt;
  return look_of(**found);
}

}  // namespace muster::engine
