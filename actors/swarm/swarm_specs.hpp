// Swarm files that are in use, read once: what the port "swarm" and the hosts look up by digest. Any thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "actors/ports/effects_generated.h"
#include "actors/spec/fleet_spec.hpp"
#include "actors/swarm/swarm_generated.h"
#include "actors/swarm/swarm_spec.hpp"
#include "storage/base/blobs.hpp"
#include "storage/schema/wire_generated.h"

namespace muster::actors::swarm {

/// A swarm file with its plan in the order of integration.
struct SwarmPlan {
  SwarmSpec spec;
  std::vector<std::size_t> order;             ///< Positions in spec.facets.
  std::vector<fbs::PlanFacetT> facets;        ///< In that order.
  std::map<std::string, std::size_t> places;  ///< Of a facet's id in spec.facets.
};
SwarmPlan make_plan(SwarmSpec spec);

/// One attempt of a facet as a fleet file says it: intent, agent, verification, commit.
FleetSpec facet_fleet(const SwarmSpec& swarm, const Facet& facet);
/// A run beside the facets: the reducer, a judge, what scores a try.
FleetSpec helper_fleet(const SwarmSpec& swarm, const std::string& prompt, const Command& run,
                       Duration timeout);
/// The verification of the integrated tree of one repository: an agent that runs every check, and exits 1 when one
/// fails, whatever it exits with.
FleetSpec check_fleet(const SwarmSpec& swarm);

class SwarmSpecs {
 public:
  explicit SwarmSpecs(Blobs& blobs) : blobs_(blobs) {}

  /// Errc::corrupt when the blob is no valid swarm file.
  Result<std::shared_ptr<const SwarmPlan>> find(const std::string& digest);

  /// Keeps the plan with what a planner added; its digest.
  Result<std::string> keep(const std::string& digest, const std::string& planner,
                           const std::string& said);

  /// HostsNeeds::make_spec for runs of fleets and of swarms: which it is, the file itself says.
  Result<wire::SandboxSpecT> make_spec(std::string_view json, const fbs::StartSandboxT& given);

 private:
  static constexpr std::size_t kKept = 8;
  struct Known {
    std::string digest;
    std::shared_ptr<const SwarmPlan> plan;  ///< Null: a fleet's file.
  };
  Result<std::shared_ptr<const SwarmPlan>> read(const std::string& digest, std::string_view json);

  Blobs& blobs_;
  std::mutex mutex_;
  std::deque<Known> known_;  ///< The last used in front.
};

}  // namespace muster::actors::swarm
