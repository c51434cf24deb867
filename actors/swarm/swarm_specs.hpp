// Swarm and fleet files that are in use, read once: what the port "swarm" and the hosts look up by
// digest. Any thread.
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
  /// The last `kMost` that were read.
  template <class T, std::size_t kMost>
  class Kept {
   public:
    [[nodiscard]] std::shared_ptr<const T> find(const std::string& digest) const {
      for (const auto& [name, file] : files_)
        if (name == digest) return file;
      return nullptr;
    }
    void keep(const std::string& digest, std::shared_ptr<const T> file) {
      files_.emplace_front(digest, std::move(file));
      if (files_.size() > kMost) files_.pop_back();
    }

   private:
    std::deque<std::pair<std::string, std::shared_ptr<const T>>> files_;
  };
  Result<std::shared_ptr<const SwarmPlan>> read(const std::string& digest, std::string_view json);
  Result<std::shared_ptr<const FleetSpec>> read_fleet(const std::string& digest,
                                                      std::string_view json);

  Blobs& blobs_;
  std::mutex mutex_;
  Kept<SwarmPlan, 8> swarms_;    ///< Megabytes, with thousands of facets.
  Kept<FleetSpec, 256> fleets_;  ///< Some KiB each.
};

}  // namespace muster::actors::swarm
