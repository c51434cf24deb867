// Admission: which waiting run goes to which host next. Pure: demand and supply in, proposals out. The host
// actor decides; a lost proposal is made again from the same inputs.
//
// Weighted fair between fleets (the one with the least running per weight goes first, so a fleet of 5,000 does
// not starve a fleet of one), within limits per host, organisation, fleet, repository and forge; within a
// fleet by priority, then by age. A host is picked by a warm mirror first, then by most free slots;
// the one that the run's last attempt was on comes after every other that has room. A run that a person moved
// goes to the host that was named, as long as that takes runs, else to any but the one that it was moved from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/time.hpp"

namespace muster::engine {

struct Demand {
  std::string run;
  std::uint32_t attempt = 1;
  std::string fleet;
  std::string repository;
  std::string canonical_url;
  int priority = 0;
  Instant queued_at;
  std::uint32_t cpus_milli = 1000;
  std::uint64_t memory_bytes = 0;
  std::string left;            ///< The host of the attempt before; empty: none.
  bool moving = false;         ///< A person moved it away from `left`: it does not go back there.
  std::string to;              ///< And wants it on this host, which counts as long as that takes runs.
  bool bound = false;          ///< What it begins with lies on `to`: there or nowhere.
};

struct FleetLoad {
  std::string fleet;
  std::uint32_t running = 0;
  std::uint32_t limit = 50;
  std::uint32_t weight = 1;
  bool held = false;           ///< Paused, halted or cancelled: nothing new.
};

struct Supply {
  std::string host;
  std::uint64_t session = 0;
  std::uint32_t slots = 0;
  std::uint32_t used = 0;
  std::uint32_t cpus_milli = 0, cpus_used = 0;
  std::uint64_t memory_bytes = 0, memory_used = 0;
  bool accepts = true;         ///< Ready: neither cordoned, draining nor unreachable.
  std::vector<std::string> warm;  ///< Canonical URLs, sorted.
};

struct AdmissionLimits {
  std::uint32_t running_total = 10'000;
  std::uint32_t running_per_repository = 1;
  std::uint32_t proposals = 256;   ///< At most so many a round.
};

struct Proposal {
  std::string run;
  std::uint32_t attempt = 1;
  std::string host;
  std::uint64_t session = 0;
  auto operator<=>(const Proposal&) const = default;
};

/// Why a run was not proposed this round.
enum class WaitReason : std::uint8_t {
  none, no_host, hosts_full, too_large /* no host could ever hold it */, fleet_limit, fleet_held,
  repository_limit, total_limit, next_round, no_other_host /* has room of those that it was moved to */,
  bound_host /* has no room, or takes no runs */
};
std::string_view to_string(WaitReason reason);

struct Waiting {
  std::string run;
  WaitReason reason = WaitReason::none;
};

struct Round {
  std::vector<Proposal> proposals;
  std::vector<Waiting> waiting;
};

Round admit(const std::vector<Demand>& demand, const std::vector<FleetLoad>& fleets,
            const std::vector<Supply>& hosts, const std::vector<std::pair<std::string, std::uint32_t>>& running_by_repository,
            const AdmissionLimits& limits);

}  // namespace muster::engine
