// A whole swarm through its coordinator, for bench/swarm: the kind's own step over rows in memory,
// its port's work on a real repository, and stub agents that make one real commit each on the base
// they are given.
//
// Not measured: the time that stubs take, with that of delivering their commits, each in a pack of
// its own; and what the engine and the scheduler add: bench/engine and muster-load do.
#pragma once

#include <filesystem>
#include <string>

namespace muster::bench {

struct CoordinatorRun {
  double seconds = 0;         ///< From the plan to the proven ledger, without the stubs.
  double ledger_seconds = 0;  ///< Of these: proving the ledger from git.
  double processor_seconds = 0;  ///< The same without waiting for the disk: what grows by itself.
  double peak_megabytes = 0;  ///< Of this process meanwhile.
  std::size_t batches = 0;
};

/// `facets` of them, each with one file of its own in `repository`, which must be there:
/// "d0/f0.txt" and on, 100 in a directory. Throws when a facet is not merged, or the ledger has a
/// finding.
CoordinatorRun run_coordinator(const std::filesystem::path& repository,
                               const std::filesystem::path& scratch, std::size_t facets);

}  // namespace muster::bench
