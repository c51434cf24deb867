#include "tests/simulation/seeds.hpp"

#include <algorithm>
#include <atomic>
#include <iostream>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/simulation/swarm_world.hpp"
#include "tests/simulation/world.hpp"

namespace muster::sim {

namespace {

template <class W>
Outcome outcome_of(W& world) {
  Outcome outcome;
  try {
    world.run();
  } catch (const std::exception& broken) {
    outcome.broken = broken.what();
  }
  outcome.story = world.story();
  outcome.steps = world.steps();
  outcome.digest = world.digest();
  outcome.crashes = world.crashes();
  return outcome;
}

}  // namespace

Workload workload_of(std::uint64_t seed) {
  return seed % 8 == 0 ? Workload::swarms : seed % 8 == 4 ? Workload::fleets : Workload::ledger;
}

namespace {

/// Who must find a variant; of none, what the seed says.
Workload workload_against(Sabotage sabotage, std::uint64_t seed) {
  const auto in = [sabotage](const std::vector<Sabotage>& some) {
    return std::find(some.begin(), some.end(), sabotage) != some.end();
  };
  if (in(domain_sabotages())) return Workload::fleets;
  if (in(swarm_sabotages())) return Workload::swarms;
  return sabotage == Sabotage::none ? workload_of(seed) : Workload::ledger;
}

}  // namespace

Outcome run_seed(std::uint64_t seed, Workload workload, Sabotage sabotage, int most_faults) {
  FleetOptions options;
  options.most_faults = std::min(options.most_faults, most_faults);
  if (workload == Workload::fleets) {
    FleetWorld world(seed, sabotage, options);
    return outcome_of(world);
  }
  if (workload == Workload::swarms) {
    SwarmWorld world(seed, sabotage, options);
    return outcome_of(world);
  }
  World world(seed, sabotage);
  world.limit_faults(most_faults);
  return outcome_of(world);
}

std::uint64_t first_failure(std::uint64_t first, std::uint64_t count, int& crashes) {
  std::atomic<std::uint64_t> next{first};
  std::mutex mutex;
  std::uint64_t failed = 0;
  const auto work = [&] {
    for (;;) {
      const std::uint64_t seed = next++;
      if (seed >= first + count) return;
      const Outcome outcome = run_seed(seed, workload_of(seed));
      const std::lock_guard lock(mutex);
      crashes += outcome.crashes;
      if (outcome.broken.empty()) continue;
      if (failed == 0 || seed < failed) failed = seed;
      next = first + count;  // Enough.
    }
  };
  std::vector<std::thread> threads;
  for (unsigned n = std::max(1u, std::thread::hardware_concurrency()); n > 0; --n)
    threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  return failed;
}

int shrink(const Settings& settings) {
  const Sabotage sabotage = sabotage_named(settings.broken);
  const Workload workload = workload_against(sabotage, settings.first);
  const Outcome whole = run_seed(settings.first, workload, sabotage);
  if (whole.broken.empty()) {
    std::cout << "seed " << settings.first << " keeps every promise\n";
    return 1;
  }
  Outcome least = whole;
  for (int faults = 0; faults < kAllFaults; ++faults) {
    const Outcome outcome = run_seed(settings.first, workload, sabotage, faults);
    if (outcome.broken.empty()) continue;
    least = outcome;
    break;
  }
  std::cout << "seed " << settings.first << ": " << least.broken << "\nafter " << least.steps
            << " events and\n"
            << (least.story.empty() ? "  no fault\n" : least.story);
  return 0;
}

}  // namespace muster::sim
