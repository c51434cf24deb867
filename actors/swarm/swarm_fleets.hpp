// What the runs of a swarm are to a host, each as a fleet file would say it; their time is
// attempt_timeout of that (actors/spec/derive.hpp). Pure.
#pragma once

#include <string>

#include "actors/swarm/swarm_spec.hpp"

namespace muster::actors::swarm {

/// What all runs of a swarm share, as a fleet file says it: the environment.
FleetSpec swarm_fleet(const SwarmSpec& swarm);
/// One attempt of a facet: intent, agent, verification, commit.
FleetSpec facet_fleet(const SwarmSpec& swarm, const Facet& facet);
/// The resolver in that facet's place.
FleetSpec resolver_fleet(const SwarmSpec& swarm, const Facet& facet);
/// A run beside the facets: the reducer, a judge, what scores a try.
FleetSpec helper_fleet(const SwarmSpec& swarm, const std::string& prompt, const Command& run,
                       Duration timeout);
/// The verification of the integrated tree of one repository: an agent that runs every check, and exits 1 when one
/// fails, whatever it exits with.
FleetSpec check_fleet(const SwarmSpec& swarm);

}  // namespace muster::actors::swarm
