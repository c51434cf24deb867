// The swarm alone, message by message.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "actors/ports/effects_generated.h"
#include "actors/run/run.hpp"
#include "kind_stage.hpp"

using namespace muster;
using namespace muster::actors;
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
  // The person has all of it, says something, and has it tried again by an agent that knows both.
  CHECK(stage.rows().row("feedback/00000")->find("<<<<<<<") != std::string::npos);
  fbs::SteerSwarmT say;
  say.text = "keep both";
  say.facet = "f0";
  stage.tell(say);
  CHECK(acts(stage) == "reply \n");
  stage.tell(fbs::RetrySwarmT{});
  const std::string next = facet(stage, 0).run;
  for (const auto& out : stage.decision().sends) {
    if (out.to.kind != "fleet") continue;
    const auto told = Fleet::Messages::decode(out.payload);
    const auto* again = std::get_if<fbs::AddRunT>(&*told);
    if (again == nullptr) continue;
    CHECK(again->run == next);
    CHECK(again->create->feedback_json.find("<<<<<<<") != std::string::npos);
    REQUIRE(again->create->messages.size() == 1);
    CHECK(again->create->messages[0]->text == "keep both");
  }
  CHECK(acts(stage).find("fleet AddRun\n") != std::string::npos);
  hand_in(stage, 0, "c3");
  stage.tell(merged(stage));
  stage.tell(checked(stage, true));
  stage.tell(moved(stage));
  stage.tell(opened());
  REQUIRE(stage.state().state == SwarmState::completed);
  CHECK_FALSE(stage.rows().row("feedback/00000"));
  stage.tell(say);
  CHECK(acts(stage) == "refuse swarm docs has ended, and nothing of it can be tried again\n");
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

TEST_CASE("a verification that leaves files behind passes, and what it left is no commit of the line") {
  Stage<Swarm> stage("docs");
  begin(stage, create(1), plan(1));
  hand_in(stage, 0, "c0");
  stage.tell(merged(stage));
  const std::string tip = line(stage).tip;
  fbs::SwarmRunEndedT left = checked(stage, true);
  left.state = RunState::delivered;
  left.reason = kNotPushed;
  left.head_sha = "left";
  SECTION("in time") {
    stage.tell(left);
    const auto effect = must_decode<fbs::EffectT>(stage.decision().effects.at(0).bytes);
    CHECK(effect.body.AsMoveGreen()->to == tip);
    stage.tell(moved(stage));
    CHECK(line(stage).green == tip);
    CHECK(facet(stage, 0).state == FacetState::merged);
  }
  SECTION("late") {
    stage.tell(fbs::CancelSwarmT{});
    stage.tell(left);
  }
  CHECK_FALSE(stage.rows().row("commit/left"));
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

namespace {

fbs::ForgetSwarmT forget(Stage<Swarm>& stage, bool own_fleet = true) {
  fbs::ForgetSwarmT m;
  m.ended_unix_ms = stage.state().ended_unix_ms;
  m.own_fleet = own_fleet;
  return m;
}

/// A swarm of so many facets that was cancelled.
Stage<Swarm> cancelled(std::uint32_t facets) {
  Stage<Swarm> stage("docs");
  stage.tell(create(facets));
  stage.tell(started());
  for (std::uint32_t first = 0; first < facets; first += 100) stage.tell(plan(facets, first, 100));
  stage.tell(fbs::CancelSwarmT{});
  tell_all(stage);
  REQUIRE(stage.state().state == SwarmState::cancelled);
  return stage;
}

}  // namespace

TEST_CASE("long after its end a swarm goes behind its fleet, page by page, and takes nothing else") {
  Stage<Swarm> stage("docs");
  stage.tell(create(1));
  stage.tell(forget(stage));
  CHECK(acts(stage) == "refuse swarm docs has not ended at that time\n");
  stage = cancelled(350);
  fbs::ForgetSwarmT other = forget(stage);
  --other.ended_unix_ms;
  stage.tell(other);
  CHECK(acts(stage) == "refuse swarm docs has not ended at that time\n");

  stage.tell(forget(stage));
  CHECK(acts(stage) == "fleet ForgetFleet\nreply \n");
  CHECK(stage.decision().audits.at(0).action == "swarm.forget");
  stage.tell(fbs::RetrySwarmT{});
  CHECK(acts(stage) == "refuse the old swarm docs is being removed: try again in a moment\n");
  stage.tell(create(350));
  CHECK(acts(stage) == "refuse the old swarm docs is being removed: try again in a moment\n");

  fbs::FleetForgottenT kept;
  kept.kept = "it still has its contents";
  stage.tell(kept);
  CHECK_FALSE(stage.state().forgetting);
  CHECK_FALSE(stage.rows().all.empty());
  stage.tell(forget(stage));

  stage.tell(fbs::FleetForgottenT{});
  CHECK(stage.decision().indexes.at(0).index == "swarm");
  CHECK_FALSE(stage.decision().indexes.at(0).value);
  int pages = 1;
  for (; !stage.decision().removed && pages < 100; ++pages) {
    CHECK(acts(stage) == "swarm ContinueSwarm\n");
    fbs::SwarmRunEndedT late;  // Of rows that are gone.
    late.run = "7K2M";
    CHECK(stage.tell(late).find("throws") == std::string::npos);
    stage.tell(fbs::ContinueSwarmT{});
  }
  CHECK(pages > 3);
  CHECK(stage.decision().removed);
  CHECK(stage.rows().all.size() < 200);  // The last page goes with the actor.
}

TEST_CASE("a swarm whose fleet was another's goes by itself") {
  Stage<Swarm> stage = cancelled(1);
  stage.tell(forget(stage, false));
  CHECK(acts(stage) == "reply \n");
  CHECK(stage.decision().removed);
}

namespace {

/// The batch merges, and a program has to make these files anew.
void merges_with(Stage<Swarm>& stage, std::vector<std::string> remake) {
  fbs::LineMergedT m = merged(stage);
  m.remake = std::move(remake);
  for (const auto& head : m.heads) head->by_driver = m.remake;
  stage.tell(m);
}

fbs::SwarmRunEndedT remade(Stage<Swarm>& stage, const std::string& commit) {
  fbs::SwarmRunEndedT ended = checked(stage, true);
  ended.state = RunState::delivered;
  ended.head_sha = commit;
  return ended;
}

fbs::MoveGreenT move_ordered(Stage<Swarm>& stage) {
  const auto effect = must_decode<fbs::EffectT>(stage.decision().effects.at(0).bytes);
  return *effect.body.AsMoveGreen();
}

}  // namespace

TEST_CASE("files that a program writes are made anew by the verification's run, and their commit is in the ledger") {
  Stage<Swarm> stage("docs");
  const bool checks = GENERATE(true, false);
  begin(stage, create(2, checks), plan(2));
  for (std::uint32_t i : {0U, 1U}) hand_in(stage, i, "c" + std::to_string(i));
  if (facet(stage, 1).state == FacetState::handed_in) {  // the first was merged alone
    stage.tell(merged(stage));
    if (checks) stage.tell(checked(stage, true));
    stage.tell(moved(stage));
  }
  merges_with(stage, {"package-lock.json"});
  REQUIRE(acts(stage) == "fleet AddRun\n");
  const auto sent = Fleet::Messages::decode(stage.decision().sends[0].payload);
  const auto& create_run = *std::get<fbs::AddRunT>(*sent).create;
  CHECK(json::parse(create_run.input_json) == json::parse(R"({"remake": ["package-lock.json"]})"));
  CHECK(create_run.policy->delivery == fbs::DeliveryMode::branch);
  CHECK(create_run.policy->branch == "muster-swarm/docs/remade");
  const std::string tip = line(stage).tip;
  SECTION("it is kept") {
    stage.tell(remade(stage, "r1"));
    CHECK(commit(stage, "r1").fate == CommitFate::open);
    CHECK(move_ordered(stage).merged == tip);
    CHECK(move_ordered(stage).to == "r1");
    CHECK(move_ordered(stage).made == std::vector<std::string>{"package-lock.json"});
    stage.tell(moved(stage));
    CHECK(commit(stage, "r1").fate == CommitFate::merged);
    CHECK(commit(stage, "r1").merge == "r1");
    CHECK(commit(stage, "r1").made == std::vector<std::string>{"package-lock.json"});
    CHECK(line(stage).green == "r1");
    CHECK(line(stage).remade == 1);
    CHECK(facet(stage, 1).by_driver == std::vector<std::string>{"package-lock.json"});
    CHECK(stage.state().state == SwarmState::delivering);
  }
  SECTION("there was nothing to make") {
    stage.tell(checked(stage, true));
    CHECK(move_ordered(stage).to == tip);
    CHECK(move_ordered(stage).made.empty());
  }
  SECTION("it can't be made: who merged alone is sent back") {
    stage.tell(checked(stage, false));
    CHECK(facet(stage, 1).evictions == 1);
    CHECK(facet(stage, 1).why.starts_with("files that a program writes could not be made anew"));
    CHECK(facet(stage, 1).state == FacetState::working);
  }
  SECTION("it is made, and the verification fails") {
    fbs::SwarmRunEndedT failed = checked(stage, false);
    failed.class_ = fbs::FailureClass::verification;
    stage.tell(failed);
    CHECK(facet(stage, 1).why.starts_with("the verification of the integrated tree failed"));
  }
  SECTION("it makes more than it should") {
    stage.tell(remade(stage, "r1"));
    fbs::GreenMovedT more = moved(stage);
    more.unfit = "it changed others too";
    stage.tell(more);
    CHECK(commit(stage, "r1").fate == CommitFate::rejected);
    CHECK(commit(stage, "r1").reason == "it changed others too");
    CHECK(line(stage).green != "r1");
    CHECK(facet(stage, 1).evictions == 1);
  }
  SECTION("somebody else moved green") {
    stage.tell(remade(stage, "r1"));
    fbs::GreenMovedT lost = moved(stage);
    lost.lost = true;
    lost.error = "moved";
    stage.tell(lost);
    CHECK(commit(stage, "r1").fate == CommitFate::rejected);
    CHECK(stage.state().stopping);
    CHECK(facet(stage, 1).state == FacetState::rejected);
  }
  SECTION("it comes late, and twice") {
    const fbs::SwarmRunEndedT late = remade(stage, "r1");
    stage.tell(fbs::CancelSwarmT{});
    CHECK(stage.state().state == SwarmState::cancelled);
    stage.tell(late);
    CHECK(commit(stage, "r1").fate == CommitFate::rejected);
    stage.tell(late);
    CHECK(commit(stage, "r1").reason == "late: run " + late.run + " was no longer waited for");
  }
}
