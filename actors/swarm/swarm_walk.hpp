// Reading one facet: of a swarm file, or of what a planner said. Private to this folder.
#pragma once

#include "actors/spec/json_walk.hpp"
#include "actors/swarm/swarm_spec.hpp"

namespace muster::actors::swarm {

/// Adds it to spec.facets with its id and needs as they stand there. Null: it stands in the file.
void read_facet(const nlohmann::json& value, const std::string& at, SwarmSpec& spec,
                std::vector<Problem>& problems, const Facet* planner);

}  // namespace muster::actors::swarm
