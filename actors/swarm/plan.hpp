// Whether facets make a plan, and in which order they are integrated. Pure.
//
// Every path is one facet's at a time: two facets of one repository whose scopes can meet must
// stand in an order, through `needs`, directly or over others. `shared` paths don't count.
#pragma once

#include <vector>

#include "actors/swarm/swarm_spec.hpp"

namespace muster::actors::swarm {

/// At most kMaxPlanProblems; pointers as in the file. Names twice, needs that nobody is, cycles,
/// overlaps.
std::vector<Problem> plan_problems(const SwarmSpec& spec);

/// Positions in spec.facets, each after all that it needs, and else in the file's order: the same
/// each time. Only for a plan without problems.
std::vector<std::size_t> integration_order(const SwarmSpec& spec);

}  // namespace muster::actors::swarm
