// From a swarm file to a swarm that can be started: validated, its repositories resolved, its agents packed. Nothing
// is sent; every problem found is reported, each at its place.
#pragma once

#include <nlohmann/json.hpp>

#include "actors/swarm/swarm_spec.hpp"
#include "tools/muster/prepare.hpp"

namespace muster::cli {

struct PreparedSwarm {
  actors::swarm::SwarmSpec spec;
  nlohmann::json document;             ///< The file, with the agents' commands resolved.
  std::vector<Selected> repositories;  ///< In the file's order.
  AgentBundle bundle;
};

tl::expected<PreparedSwarm, FleetProblems> prepare_swarm(const std::string& file);

}  // namespace muster::cli
