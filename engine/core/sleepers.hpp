// Actors that have messages and are not in memory: after a start all that have work, later those
// that found no room.
//
//   sleepers.of(id).backlog = true;       // what it has lies in the backlog
//   auto sleeper = sleepers.take(id);     // it wakes: by a message, or …
//   const ActorId id = sleepers.next();   // … when its turn comes
//
// In the order of the journal's keys, because a head is read fast soon after its neighbour's; the
// turn goes round. Belongs to the shard's strand.
#pragma once

#include <array>
#include <list>
#include <map>
#include <optional>
#include <string>

#include "engine/core/activation.hpp"

namespace muster::engine {

struct Sleeper {
  ActorId id;
  bool backlog = false;  ///< Messages of it lie there.
  /// What a start found in the inbox. Older than anything that came since.
  std::array<std::list<WindowEntry>, kLanes> kept;
};

class Sleepers {
 public:
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] std::size_t size() const { return all_.size(); }
  /// Falls asleep when it does not sleep yet.
  Sleeper& of(const ActorId& id);
  std::optional<Sleeper> take(const ActorId& id);
  /// Whose turn it is. Not of none.
  const ActorId& next();
  template <class F>
  void each(F&& f) {
    for (auto& [key, sleeper] : all_) f(sleeper);
  }
  void clear() { all_.clear(); }

 private:
  std::map<std::string, Sleeper> all_;  ///< By the journal's key.
  std::string turn_;                    ///< Who had the last one.
};

}  // namespace muster::engine
