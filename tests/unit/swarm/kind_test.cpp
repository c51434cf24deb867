// The swarm alone, message by message.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "kind_stage.hpp"

using namespace muster;
using namespace muster::actors;
using engine::testing::Stage;
using fbs::FacetState;
using fbs::SwarmState;
using namespace swarm_stage;

TEST_CASE("one facet, from the plan to the pull request") {
  Stage<Swarm> stage("docs");
  stage.tell(create(1));
  CHECK(acts(stage) ==
        "fleet CreateFleet\ntimer stall\ntimer deadline\neffect line/docs/r/start\n"
        "effect plan/docs/0\nreply created\n");
  stage.tell(plan(1));
  CHECK(acts(stage).empty());
  stage.tell(started());
  CHECK(acts(stage) == "fleet AddRun\n");
  CHECK(stage.state().state == SwarmState::running);
  CHECK(facet(stage, 0).base == std::string(40, 'b'));
  hand_in(stage, 0, "c");
  CHECK(acts(stage) == "effect line/docs/r/merge/1\n");
  stage.tell(merged(stage));
  CHECK(acts(stage) == "fleet AddRun\n");
  stage.tell(checked(stage, true));
  CHECK(acts(stage) == "effect line/docs/r/green/3\n");
  stage.tell(moved(stage));
  CHECK(acts(stage) == "repo OpenPull\ntimer stall\ncancel deadline\n");
  CHECK(commit(stage, "c").fate == fbs::CommitFate::merged);
  CHECK(commit(stage, "c").merge == "m0");
  stage.tell(opened());
  CHECK(acts(stage) == "fleet CloseFleet\ncancel stall\ncancel deadline\n");
  CHECK(stage.state().state == SwarmState::completed);
  CHECK(line(stage).pull == 5);
  CHECK(stage.timers().empty());
}

TEST_CASE("what a facet found out is kept, the newest of it, and not of one that was rejected") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2, false), plan(2));
  const auto result = [&](std::uint32_t n) {
    return stage.rows().row(swarm::numbered("result/", n));
  };
  fbs::SwarmRunEndedT ended;
  ended.run = facet(stage, 0).run;
  ended.state = fbs::RunState::unchanged;
  ended.result = R"({"lines": 4})";
  stage.tell(ended);
  CHECK(result(0) == R"({"lines": 4})");
  ended.run = facet(stage, 1).run;
  ended.state = fbs::RunState::delivered;
  ended.head_sha = "c1";
  stage.tell(ended);
  CHECK(result(1) == R"({"lines": 4})");
  stage.tell(fbs::CancelSwarmT{});
  CHECK(result(0).has_value());
  CHECK_FALSE(result(1).has_value());
}

TEST_CASE("a swarm without verification merges and moves on") {
  Stage<Swarm> stage("docs");
  begin(stage, create(1, false), plan(1));
  hand_in(stage, 0, "c");
  stage.tell(merged(stage));
  CHECK(acts(stage) == "effect line/docs/r/green/2\n");
}

TEST_CASE("the same again continues, other content is a conflict") {
  Stage<Swarm> stage("docs");
  stage.tell(create(1));
  stage.tell(create(1));
  CHECK(acts(stage) == "reply continued\n");
  fbs::CreateSwarmT other = create(1);
  other.digest = std::string(64, 'e');
  stage.tell(other);
  CHECK(acts(stage).starts_with("refuse swarm docs exists with another content"));
}

TEST_CASE("a conflict goes back with all of it, a bounded number of times, then to a person") {
  Stage<Swarm> stage("docs");
  begin(stage, create(1), plan(1));
  hand_in(stage, 0, "c1");
  stage.tell(merged(stage, {0}));
  CHECK(acts(stage) == "fleet AddRun\n");
  const auto sent = Fleet::Messages::decode(stage.decision().sends[0].payload);
  const auto& add = std::get<fbs::AddRunT>(*sent);
  CHECK(add.create->feedback_json.find("<<<<<<<") != std::string::npos);
  CHECK(add.create->feedback_json.find("\"reason\":\"conflict\"") != std::string::npos);
  CHECK(commit(stage, "c1").fate == fbs::CommitFate::open);
  hand_in(stage, 0, "c2");
  CHECK(commit(stage, "c1").fate == fbs::CommitFate::superseded);
  CHECK(commit(stage, "c1").successor == "c2");
  stage.tell(merged(stage, {0}));
  CHECK(stage.state().state == SwarmState::completed_with_rejections);
  CHECK(facet(stage, 0).state == FacetState::rejected);
  CHECK(commit(stage, "c2").reason == "it conflicts");
}

TEST_CASE("of a batch that fails, the guilty one is found and the others are kept") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT m = create(8);
  m.conflicts = 0;
  begin(stage, m, plan(8));
  for (std::uint32_t i = 0; i < 8; ++i) hand_in(stage, i, "c" + std::to_string(i));
  int verified = 0;
  while (stage.state().state == SwarmState::running) {
    stage.tell(merged(stage));
    const auto tried = line(stage).tried;
    const bool bad =
        std::any_of(tried.begin(), tried.end(), [](const auto& one) { return one->facet == 5; });
    ++verified;
    stage.tell(checked(stage, !bad));
    if (!bad) stage.tell(moved(stage));
    REQUIRE(verified < 20);
  }
  CHECK(verified == 8);  // 0; 1-7 fail; 1-3; 4-7 fail; 4-5 fail; 4; 5 fails; 6-7.
  CHECK(stage.state().state == SwarmState::delivering);
  for (std::uint32_t i = 0; i < 8; ++i)
    CHECK(facet(stage, i).state == (i == 5 ? FacetState::rejected : FacetState::merged));
}

TEST_CASE("who needs a facet waits for it, and is rejected with it") {
  Stage<Swarm> stage("docs");
  begin(stage, create(3), chained(3));
  CHECK(facet(stage, 2).state == FacetState::waiting);
  SECTION("merged") {
    hand_in(stage, 0, "c");
    stage.tell(merged(stage));
    stage.tell(checked(stage, true));
    stage.tell(moved(stage));
    CHECK(facet(stage, 2).state == FacetState::working);
    CHECK(facet(stage, 2).base == line(stage).green);
  }
  SECTION("rejected") {
    fbs::SwarmRunEndedT ended;
    ended.run = facet(stage, 0).run;
    ended.state = fbs::RunState::failed;
    ended.message = "agent exited with 1";
    stage.tell(ended);
    CHECK(facet(stage, 2).why == "it needs f0, which was rejected");
  }
}

TEST_CASE("late, repeated and foreign messages change nothing") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2), plan(2));
  hand_in(stage, 0, "c0");
  hand_in(stage, 0, "c0");
  CHECK(acts(stage).empty());
  CHECK(commit(stage, "c0").fate == fbs::CommitFate::open);
  const auto run = facet(stage, 1).run;
  const fbs::LineMergedT answer = merged(stage);
  stage.tell(answer);
  fbs::LineMergedT stale;
  stale.number = 77;
  stale.error = "x";
  fbs::GreenMovedT green;
  green.number = 2;
  fbs::SwarmRunEndedT nobody;
  nobody.run = "NOBODY";
  for (const Swarm::Message& message : std::vector<Swarm::Message>{
           answer, stale, green, nobody, plan(2), started(), opened(), fbs::FleetTakenT{}})
    if (!std::holds_alternative<fbs::FleetTakenT>(message)) {
      std::visit([&](const auto& m) { stage.tell(m); }, message);
      CHECK(acts(stage).empty());
    }
  stage.tell(fbs::CancelSwarmT{});
  CHECK(stage.state().state == SwarmState::cancelled);
  CHECK(commit(stage, "c0").fate == fbs::CommitFate::rejected);
  fbs::SwarmRunEndedT late;
  late.run = run;
  late.state = fbs::RunState::delivered;
  late.head_sha = "c1";
  stage.tell(late);
  CHECK(commit(stage, "c1").reason == "late: run " + run + " was no longer waited for");
}

TEST_CASE("a swarm in which nothing is integrated stops by itself and says why") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2), plan(2));
  hand_in(stage, 0, "c0");
  stage.fire("stall");
  CHECK(stage.state().state == SwarmState::stopped);
  CHECK(stage.state().reason == "nothing was integrated for 1m");
  CHECK(commit(stage, "c0").reason == "the swarm stopped: nothing was integrated for 1m");
  CHECK(stage.timers().empty());
}

TEST_CASE("a paused swarm begins nothing and does not stall; resumed, it goes on") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT one_agent = create(3, false);
  one_agent.agents = 1;
  begin(stage, one_agent, plan(3));
  fbs::PauseSwarmT pause;
  pause.by = "ann";
  pause.reason = "lunch";
  stage.tell(pause);
  CHECK(acts(stage) == "fleet PauseFleet\nreply \n");
  CHECK(stage.state().paused == "paused by ann: lunch");
  hand_in(stage, 0, "c0");  // what works goes on, and nothing begins in its place
  stage.tell(merged(stage));
  stage.tell(moved(stage));
  CHECK(facet(stage, 0).state == FacetState::merged);
  CHECK(stage.state().counts[static_cast<std::size_t>(FacetState::working)] == 0);
  stage.fire("stall");
  CHECK(acts(stage) == "timer stall\n");
  CHECK(stage.state().state == SwarmState::running);
  stage.tell(fbs::ResumeSwarmT{});
  CHECK(acts(stage) == "fleet ResumeFleet\nfleet AddRun\ntimer stall\nreply \n");
  CHECK(stage.state().paused.empty());
  stage.fire("stall");
  CHECK(stage.state().state == SwarmState::delivering);
}

TEST_CASE("a drained swarm integrates what works, and ends without the rest") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT one_agent = create(3, false);
  one_agent.agents = 1;
  begin(stage, one_agent, plan(3));
  stage.tell(fbs::PauseSwarmT{});
  fbs::DrainSwarmT drain;
  drain.by = "ann";
  stage.tell(drain);
  CHECK(acts(stage) == "fleet ResumeFleet\ntimer stall\nreply \n");
  hand_in(stage, 0, "c0");
  CHECK(facet(stage, 1).state == FacetState::waiting);
  stage.tell(merged(stage));
  stage.tell(moved(stage));
  tell_all(stage);
  CHECK(facet(stage, 0).state == FacetState::merged);
  CHECK(facet(stage, 1).why == "the swarm stopped: drained by ann");
  stage.tell(fbs::PauseSwarmT{});
  CHECK(acts(stage) == "refuse swarm docs has ended, or is about to\n");
  stage.tell(opened());
  CHECK(stage.state().state == SwarmState::stopped);
  CHECK(stage.state().reason == "drained by ann");
}

TEST_CASE("a move of green under way is waited for by a cancel") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2), plan(2));
  hand_in(stage, 0, "c0");
  stage.tell(merged(stage));
  stage.tell(checked(stage, true));
  stage.tell(fbs::CancelSwarmT{});
  CHECK(stage.state().state == SwarmState::running);
  CHECK(facet(stage, 0).state == FacetState::trying);
  CHECK(facet(stage, 1).state == FacetState::rejected);
  stage.tell(moved(stage));
  CHECK(stage.state().state == SwarmState::cancelled);
  CHECK(facet(stage, 0).state == FacetState::merged);
}

TEST_CASE("a move of green that nobody answers for is asked for again, also by a swarm that stops") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2), plan(2));
  hand_in(stage, 0, "c0");
  stage.tell(merged(stage));
  stage.tell(checked(stage, true));
  const std::string key = "line/docs/r/green/" + std::to_string(line(stage).number);
  stage.tell(fbs::CancelSwarmT{});
  fbs::EffectUnknownT unknown;
  unknown.key = key;
  for (std::uint32_t i = 1; i < swarm::kMoveTries; ++i) {
    stage.tell(unknown);
    CHECK(acts(stage) == "effect " + key + "\n");
  }
  SECTION("it happened") {
    stage.tell(moved(stage));
    CHECK(stage.state().state == SwarmState::cancelled);
    CHECK(facet(stage, 0).state == FacetState::merged);
  }
  SECTION("nobody ever says") {
    stage.tell(unknown);
    CHECK(stage.state().state == SwarmState::cancelled);
    CHECK(facet(stage, 0).why == "repository r: git gave no answer");
  }
}

TEST_CASE("a swarm that ended drained is retried as a whole") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2), plan(2));
  stage.tell(fbs::DrainSwarmT{});
  fbs::SwarmRunEndedT failed;
  failed.state = fbs::RunState::failed;
  for (const std::uint32_t i : {0U, 1U}) {
    failed.run = facet(stage, i).run;
    stage.tell(failed);
  }
  CHECK(stage.state().state == SwarmState::completed_with_rejections);
  stage.tell(fbs::RetrySwarmT{});
  CHECK(stage.state().state == SwarmState::running);
  CHECK(facet(stage, 0).state == FacetState::working);
}

TEST_CASE("a verification that can't be run is repeated, and then stops the swarm") {
  Stage<Swarm> stage("docs");
  begin(stage, create(1), plan(1));
  hand_in(stage, 0, "c0");
  stage.tell(merged(stage));
  std::set<std::string> runs;
  for (std::uint32_t i = 0; i < swarm::kOrderTries; ++i) {
    REQUIRE(stage.state().state == SwarmState::running);
    runs.insert(line(stage).check_run);
    fbs::SwarmRunEndedT lost = checked(stage, false);
    lost.class_ = fbs::FailureClass::infrastructure;
    lost.message = "no host";
    stage.tell(lost);
  }
  CHECK(runs.size() == swarm::kOrderTries);
  CHECK(stage.state().state == SwarmState::stopped);
  CHECK(stage.state().reason == "repository r: the verification could not be run: no host");
  CHECK(facet(stage, 0).evictions == 0);
}

TEST_CASE("a verification of another commit than the tip does not count") {
  Stage<Swarm> stage("docs");
  begin(stage, create(1), plan(1));
  hand_in(stage, 0, "c0");
  stage.tell(merged(stage));
  fbs::SwarmRunEndedT other = checked(stage, true);
  other.base_sha = "another";
  stage.tell(other);
  CHECK(acts(stage) == "fleet AddRun\n");
  CHECK(line(stage).state == fbs::LineState::verifying);
}

TEST_CASE("green that somebody else moved stops the swarm") {
  Stage<Swarm> stage("docs");
  begin(stage, create(1), plan(1));
  hand_in(stage, 0, "c0");
  stage.tell(merged(stage));
  stage.tell(checked(stage, true));
  fbs::GreenMovedT lost = moved(stage);
  lost.lost = true;
  lost.error = "somebody else moved it";
  stage.tell(lost);
  CHECK(stage.state().state == SwarmState::stopped);
  CHECK(commit(stage, "c0").fate == fbs::CommitFate::rejected);
}

TEST_CASE("a name that a fleet has already, a plan that can't be read, a line that can't begin") {
  Stage<Swarm> stage("docs");
  stage.tell(create(1));
  SECTION("fleet") {
    stage.tell(fbs::FleetTakenT{});
    stage.tell(started());
    CHECK(stage.state().reason ==
          "a fleet is called docs already: choose another name for the swarm");
  }
  SECTION("plan") {
    fbs::PlanPageT page;
    page.error = "it is gone";
    stage.tell(page);
    stage.tell(started());
    CHECK(stage.state().reason == "the plan can't be read: it is gone");
  }
  SECTION("line") {
    fbs::LineStartedT not_begun;
    not_begun.error = "no such branch";
    stage.tell(not_begun);
    CHECK(stage.state().reason == "repository r: no such branch");
  }
  CHECK(stage.state().state == SwarmState::stopped);
}

TEST_CASE("what concerns many facets goes in pages that fit a decision") {
  Stage<Swarm> stage("docs");
  constexpr std::uint32_t kFacets = 950;
  fbs::CreateSwarmT m = create(kFacets);
  m.agents = 10'000;  // more than may work at once
  stage.tell(m);
  stage.tell(started());
  for (std::uint32_t first = 0; first < kFacets; first += 100) {
    fbs::PlanPageT page = plan(kFacets, first, 100);
    if (first == 0)
      for (std::uint32_t i = 500; i < kFacets; ++i) page.facets[0]->needed_by.push_back(i);
    for (auto& facet_of : page.facets)
      if (std::stoul(facet_of->id.substr(1)) >= 500) facet_of->needs = {0};
    REQUIRE(stage.tell(page).find("throws") == std::string::npos);
  }
  tell_all(stage);
  CHECK(stage.state().counts[static_cast<std::size_t>(FacetState::working)] == swarm::kMaxAgents);
  fbs::SwarmRunEndedT failed;
  failed.run = facet(stage, 0).run;
  failed.state = fbs::RunState::failed;
  stage.tell(failed);
  tell_all(stage);
  CHECK(facet(stage, kFacets - 1).state == FacetState::rejected);
  stage.tell(fbs::CancelSwarmT{});
  tell_all(stage);
  CHECK(stage.state().state == SwarmState::cancelled);
  CHECK(stage.state().counts[static_cast<std::size_t>(FacetState::rejected)] == kFacets);
}
