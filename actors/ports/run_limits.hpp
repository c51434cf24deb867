// What an operator sets over what fleets ask for: how many runs at once, in all and of a fleet, and
// a fleet's weight in the sharing. Pure; the dispatcher applies it to each round.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/scheduler/admission.hpp"

namespace muster::actors {

struct RunLimits {
  struct Fleet {
    std::optional<std::uint32_t> concurrency;  ///< Absent: as the fleet's file says.
    std::uint32_t weight = 1;

    bool operator==(const Fleet&) const = default;
  };
  std::uint32_t total = engine::AdmissionLimits{}.running_total;
  std::map<std::string, Fleet, std::less<>> fleets;

  bool operator==(const RunLimits&) const = default;
};

/// Into the loads of a round. What runs already goes on, however many there are.
inline void apply(const RunLimits& limits, std::vector<engine::FleetLoad>& loads) {
  if (limits.fleets.empty()) return;
  for (engine::FleetLoad& load : loads) {
    const auto found = limits.fleets.find(load.fleet);
    if (found == limits.fleets.end()) continue;
    load.limit = found->second.concurrency.value_or(load.limit);
    load.weight = found->second.weight;
  }
}

}  // namespace muster::actors
