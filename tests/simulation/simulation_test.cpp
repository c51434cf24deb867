#include <catch2/catch.hpp>

#include "tests/simulation/settings.hpp"
#include "tests/simulation/world.hpp"

using namespace muster::sim;

namespace {

/// Empty: every promise was kept.
std::string violation(std::uint64_t seed, Sabotage sabotage, int* crashes = nullptr) {
  try {
    World world(seed, sabotage);
    world.run();
    if (crashes != nullptr) *crashes += world.crashes();
    return {};
  } catch (const std::exception& broken) {
    return broken.what();
  }
}

}  // namespace

TEST_CASE("Every transfer that was acknowledged took place exactly once, whatever failed") {
  const Settings& asked = settings();
  int crashes = 0;
  for (std::uint64_t seed = asked.first; seed < asked.first + asked.seeds; ++seed) {
    const std::string broken = violation(seed, Sabotage::none, &crashes);
    INFO("again with: test_simulation --seeds 1 --seed " << seed);
    REQUIRE(broken == "");
  }
  // A simulation without faults would prove nothing.
  if (asked.seeds >= 100) CHECK(crashes > 100);
}

TEST_CASE("A seed always comes to the same end") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World first(seed, Sabotage::none);
    World second(seed, Sabotage::none);
    first.run();
    second.run();
    INFO("seed " << seed);
    CHECK(first.steps() == second.steps());
    CHECK(first.digest() == second.digest());
  }
}

TEST_CASE("Every deliberately broken variant is found") {
  constexpr std::uint64_t kSeeds = 400;
  for (const Sabotage sabotage : all_sabotages()) {
    std::string found;
    std::uint64_t seed = 1;
    for (; found.empty() && seed <= kSeeds; ++seed) found = violation(seed, sabotage);
    INFO(to_string(sabotage) << ": seed " << seed - 1 << ": " << found);
    CHECK_FALSE(found.empty());
    if (!found.empty())
      WARN(to_string(sabotage) << ": found by seed " << seed - 1 << ": " << found.substr(0, 120));
  }
}
