// Running seeds: each is one installation; of eight, one is a whole domain with fleets, one the same with swarms, the
// others a ledger.
#pragma once

#include <cstdint>
#include <string>

#include "tests/simulation/saboteur.hpp"
#include "tests/simulation/settings.hpp"

namespace muster::sim {

struct Outcome {
  std::string broken;      ///< The promise that was broken, in words; empty: none.
  std::string story;       ///< The faults that it had.
  std::uint64_t steps = 0;
  std::size_t digest = 0;  ///< Of the disks at the end.
  int crashes = 0;
};

enum class Workload : std::uint8_t { ledger, fleets, swarms };
Workload workload_of(std::uint64_t seed);

constexpr int kAllFaults = 1'000;
Outcome run_seed(std::uint64_t seed, Workload workload, Sabotage sabotage = Sabotage::none,
                 int most_faults = kAllFaults);

/// On all cores. The smallest seed of those [first, first + count) that fails, or 0; `crashes` counts all.
std::uint64_t first_failure(std::uint64_t first, std::uint64_t count, int& crashes);

/// Prints the fewest faults with which the first seed fails. The exit code: 0 when it does fail.
int shrink(const Settings& settings);

}  // namespace muster::sim
