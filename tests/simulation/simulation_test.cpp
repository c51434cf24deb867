#include <catch2/catch.hpp>

#include "tests/simulation/seeds.hpp"
#include "tests/simulation/swarm_world.hpp"

using namespace muster;
using namespace muster::sim;

TEST_CASE("Ledgers and whole domains keep every promise, whatever fails") {
  const Settings& asked = settings();
  int crashes = 0;
  const std::uint64_t failed = first_failure(asked.first, asked.seeds, crashes);
  if (failed != 0) {
    const Outcome outcome = run_seed(failed, workload_of(failed));
    FAIL(outcome.broken << "\n"
                        << outcome.story << "again with: test_simulation --seeds 1 --seed " << failed
                        << "\nits fewest faults: test_simulation --shrink --seed " << failed);
  }
  // A simulation without faults would prove nothing.
  if (asked.seeds >= 100) CHECK(crashes > 100);
}

TEST_CASE("A seed always comes to the same end") {
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    const Outcome first = run_seed(seed, workload_of(seed));
    const Outcome second = run_seed(seed, workload_of(seed));
    INFO("seed " << seed);
    CHECK(first.steps == second.steps);
    CHECK(first.digest == second.digest);
    CHECK(first.story == second.story);
  }
}

namespace {

void must_be_found(Sabotage sabotage, Workload workload, std::uint64_t seeds) {
  std::string found;
  std::uint64_t seed = 1;
  for (; found.empty() && seed <= seeds; ++seed) found = run_seed(seed, workload, sabotage).broken;
  INFO(to_string(sabotage) << ": seed " << seed - 1 << ": " << found);
  CHECK_FALSE(found.empty());
  if (!found.empty())
    WARN(to_string(sabotage) << ": found by seed " << seed - 1 << ": " << found.substr(0, 120));
}

}  // namespace

TEST_CASE("Every deliberately broken variant of the engine is found") {
  for (const Sabotage sabotage : engine_sabotages()) must_be_found(sabotage, Workload::ledger, 400);
}

TEST_CASE("Every deliberately broken variant of the domain is found") {
  for (const Sabotage sabotage : domain_sabotages()) must_be_found(sabotage, Workload::fleets, 100);
}

TEST_CASE("Every deliberately broken variant of swarms is found") {
  for (const Sabotage sabotage : swarm_sabotages()) must_be_found(sabotage, Workload::swarms, 100);
}

TEST_CASE("A swarm that nothing disturbs integrates all that can be integrated") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    FleetOptions options;
    options.faults = false;
    options.removal = false;
    SwarmWorld world(seed, Sabotage::none, options);
    INFO("seed " << seed);
    REQUIRE_NOTHROW(world.run());
    CHECK(world.unfinished_business() == "");
  }
}

TEST_CASE("Ten minutes without the engine, or a jump of its clock, lose no host and place no run again") {
  const auto [downtime, jump] = GENERATE(table<Duration, Duration>({
      {Duration{600'000}, Duration{0}},
      {Duration{0}, Duration{7'200'000}},
      {Duration{0}, Duration{-7'200'000}},
      {Duration{600'000}, Duration{7'200'000}},
      {Duration{600'000}, Duration{-7'200'000}},
  }));
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    FleetOptions options;
    options.faults = false;
    options.removal = false;
    options.downtime = downtime;
    options.jump = jump;
    FleetWorld world(seed, Sabotage::none, options);
    INFO("seed " << seed);
    REQUIRE_NOTHROW(world.run());
    CHECK(world.crashes() == 1);
    CHECK(world.lease_ends() == 0);
    CHECK(world.sandboxes_lost() == 0);
    CHECK(world.most_attempts() == 1);
  }
}
