// Whole fleets with all kinds wired together, in random order, with host losses and repeated effects.
#include <catch2/catch.hpp>

#include "world.hpp"

using namespace muster;
using namespace muster::actors;

namespace {

fbs::CreateFleetT fleet_of(std::uint32_t repositories) {
  fbs::CreateFleetT create;
  create.digest = std::string(64, 'd');
  create.spec_digest = std::string(64, 'e');
  create.repositories = repositories;
  create.waves = {0, 500, 1000};
  create.wave_counts = {3, 0, 0};
  create.timeout_ms = 24 * 3600 * 1000;
  create.policy = std::make_unique<fbs::RunPolicyT>();
  create.policy->retry_on = {fbs::FailureClass::infrastructure, fbs::FailureClass::agent,
                             fbs::FailureClass::verification};
  create.policy->attempt_timeout_ms = 20 * 60 * 1000;
  create.policy->branch = "muster/x";
  create.policy->escalate = {"alice"};
  return create;
}

std::vector<fbs::SnapshotEntryT> repositories_of(std::uint32_t count) {
  std::vector<fbs::SnapshotEntryT> entries;
  for (std::uint32_t i = 0; i < count; ++i) {
    fbs::SnapshotEntryT entry;
    entry.repository = "acme/r" + std::to_string(i);
    entry.url = entry.canonical_url = "/srv/git/acme/r" + std::to_string(i);
    entries.push_back(entry);
  }
  return entries;
}

}  // namespace

TEST_CASE("without trouble a fleet comes to its end, each run delivered or truly failed") {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    INFO("seed " << seed);
    model::World world({.seed = seed, .repositories = 130, .trouble = false});
    world.create_fleet(fleet_of(130), repositories_of(130));
    world.run();
    CHECK(world.problems() == "");
    CHECK(world.rows("fleet").size() == 130);
    CHECK(world.counts("fleet")["delivered"] == world.pulls_made().size());
    CHECK(world.counts("fleet")["delivered"] > 60);
  }
}

TEST_CASE("with hosts lost, silent, reconnecting, effects repeated and unknown, every run ends once") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    model::World world({.seed = seed});
    world.create_fleet(fleet_of(20), repositories_of(20));
    REQUIRE_NOTHROW(world.run());
    REQUIRE(world.problems() == "");
    REQUIRE(world.rows("fleet").size() == 20);
  }
}

TEST_CASE("people pausing, resuming, cancelling runs and retrying change nothing of that") {
  for (std::uint64_t seed = 1001; seed <= 1060; ++seed) {
    INFO("seed " << seed);
    model::World world({.seed = seed, .operators = true});
    world.create_fleet(fleet_of(20), repositories_of(20));
    REQUIRE_NOTHROW(world.run());
    REQUIRE(world.problems() == "");
    const fbs::FleetHeadT& head = world.state<Fleet>("fleet");
    if (head.counts[static_cast<std::size_t>(fbs::RunState::failed)] == 0) continue;
    REQUIRE_FALSE(world.call<Fleet>("fleet", fbs::RetryFleetT{}).error);
    REQUIRE_NOTHROW(world.run());
    REQUIRE(world.problems() == "");
  }
}

TEST_CASE("a fleet cancelled in its middle ends as cancelled, and nothing goes on") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    model::World world({.seed = seed});
    world.create_fleet(fleet_of(20), repositories_of(20));
    REQUIRE_NOTHROW(world.run_some(static_cast<int>(50 + seed * 20)));
    fbs::CancelFleetT cancel;
    cancel.by = "alice";
    const engine::Reply reply = world.call<Fleet>("fleet", cancel);
    REQUIRE_NOTHROW(world.run());
    REQUIRE(world.problems() == "");
    const fbs::FleetState state = world.state<Fleet>("fleet").state;
    if (!reply.error) REQUIRE(state == fbs::FleetState::cancelled);
  }
}
