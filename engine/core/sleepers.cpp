#include "engine/core/sleepers.hpp"

#include "engine/core/keys.hpp"

namespace muster::engine {

Sleeper& Sleepers::of(const ActorId& id) {
  Sleeper& sleeper = all_[keys::actor(id)];
  if (sleeper.id.kind.empty()) sleeper.id = id;
  return sleeper;
}

std::optional<Sleeper> Sleepers::take(const ActorId& id) {
  auto found = all_.extract(keys::actor(id));
  if (found.empty()) return std::nullopt;
  return std::move(found.mapped());
}

const ActorId& Sleepers::next() {
  auto found = all_.upper_bound(turn_);
  if (found == all_.end()) found = all_.begin();
  turn_ = found->first;
  return found->second.id;
}

}  // namespace muster::engine
