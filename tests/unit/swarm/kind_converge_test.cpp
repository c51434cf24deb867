// Results: what does not fit is tried again; enough may end a swarm; a reducer run makes one of
// all. And limits.
#include <catch2/catch.hpp>

#include "kind_stage.hpp"

using namespace muster;
using namespace muster::actors;
using namespace swarm_stage;

namespace {

void says(Stage<Swarm>& stage, std::uint32_t number, const std::string& result,
          std::uint64_t tokens = 0, std::uint64_t cost = 0) {
  fbs::SwarmRunEndedT ended;
  ended.run = facet(stage, number).run;
  ended.state = RunState::unchanged;
  ended.result = result;
  ended.tokens = tokens;
  ended.cost_micros = cost;
  stage.tell(ended);
}

fbs::AddRunT last_run(Stage<Swarm>& stage) {
  for (auto out = stage.decision().sends.rbegin(); out != stage.decision().sends.rend(); ++out) {
    if (out->to.kind != "fleet") continue;
    const auto message = Fleet::Messages::decode(out->payload);
    if (const auto* add = std::get_if<fbs::AddRunT>(&*message)) return *add;
  }
  FAIL("no run was made");
  return {};
}

/// Each of three facets votes on /verdict.
fbs::CreateSwarmT voting(std::uint32_t quorum) {
  fbs::CreateSwarmT m = create(3, false);
  m.converge_vote = "/verdict";
  m.converge_quorum = quorum;
  return m;
}

}  // namespace

TEST_CASE("a result that does not fit its schema is a failed try, with the reason as feedback") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT m = create(1, false);
  m.result_schema = R"({"required": ["count"]})";
  fbs::PlanPageT page = plan(1);
  page.facets[0]->attempts = 2;
  begin(stage, m, page);
  SECTION("of one that changed nothing") {
    says(stage, 0, R"({"cuont": 1})");
    const auto again = json::parse(last_run(stage).create->feedback_json);
    CHECK(again["class"] == "result");
    CHECK(again["output"].get<std::string>().find("count") != std::string::npos);
    SECTION("right then") {
      says(stage, 0, R"({"count": 1})");
      CHECK(stage.state().state == SwarmState::completed);
    }
    SECTION("wrong again") {
      says(stage, 0, "{}");
      CHECK(facet(stage, 0).state == FacetState::rejected);
      CHECK(facet(stage, 0).why.starts_with("its result does not fit the schema"));
    }
  }
  SECTION("of one that hands in, whose commit the next supersedes") {
    fbs::SwarmRunEndedT ended;
    ended.run = facet(stage, 0).run;
    ended.state = RunState::delivered;
    ended.base_sha = line(stage).green;
    ended.head_sha = "c1";
    ended.result = "{}";
    stage.tell(ended);
    CHECK(facet(stage, 0).state == FacetState::working);
    CHECK(commit(stage, "c1").fate == fbs::CommitFate::open);
    ended.run = facet(stage, 0).run;
    ended.head_sha = "c2";
    ended.result = R"({"count": 2})";
    stage.tell(ended);
    CHECK(facet(stage, 0).state == FacetState::trying);
    CHECK(commit(stage, "c1").successor == "c2");
  }
}

TEST_CASE("a result that does not fit costs the attempts that its run took, and no more are given than the file says") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT m = create(1, false);
  m.result_schema = R"({"required": ["count"]})";
  fbs::PlanPageT page = plan(1);
  page.facets[0]->attempts = 4;
  begin(stage, m, page);
  CHECK(last_run(stage).create->policy->max_attempts == 4);
  fbs::SwarmRunEndedT ended;
  ended.run = facet(stage, 0).run;
  ended.state = RunState::unchanged;
  ended.result = "{}";
  ended.attempts = 3;  // the first two failed
  stage.tell(ended);
  CHECK(last_run(stage).create->policy->max_attempts == 1);
  ended.run = facet(stage, 0).run;
  ended.attempts = 1;
  stage.tell(ended);
  CHECK(facet(stage, 0).state == FacetState::rejected);
  CHECK(facet(stage, 0).runs == 2);
}

TEST_CASE("so many results are enough, and who is missing is rejected") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT m = create(3, false);
  m.converge_answers = 2;
  begin(stage, m, plan(3));
  says(stage, 0, "");  // unchanged, but no answer
  says(stage, 1, "{}");
  CHECK(stage.state().state == SwarmState::running);
  SECTION("by number") {
    says(stage, 2, "{}");
    CHECK(stage.state().state == SwarmState::completed);
  }
  SECTION("a retry wants all") {
    stage.tell(fbs::CancelSwarmT{});
    stage.tell(fbs::RetrySwarmT{});
    tell_all(stage);
    CHECK(stage.state().converge_answers == 0);
    CHECK(facet(stage, 2).state == FacetState::working);
  }
}

TEST_CASE("a vote that is decided ends a swarm") {
  Stage<Swarm> stage("docs");
  begin(stage, voting(2), plan(3));
  says(stage, 0, R"({"verdict": "yes"})");
  says(stage, 1, R"({"verdict": "no"})");
  CHECK(stage.state().state == SwarmState::running);
  says(stage, 2, R"({"verdict": "yes"})");
  CHECK(stage.state().state == SwarmState::completed);
  CHECK(stage.state().answers == 3);
  Stage<Swarm> early("early");
  begin(early, voting(1), plan(3));
  says(early, 0, R"({"verdict": "yes"})");
  CHECK(early.state().state == SwarmState::completed_with_rejections);
  CHECK(early.state().reason.find("the vote is decided by 1 equal ballots") != std::string::npos);
  CHECK(facet(early, 1).why.find("the vote is decided") != std::string::npos);
}

TEST_CASE("when the time to converge comes, what is there is delivered") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT m = create(2, false);
  m.converge_after_ms = 30'000;
  begin(stage, m, plan(2));
  hand_in(stage, 0, "c0");
  stage.tell(merged(stage));
  stage.tell(moved(stage));
  stage.fire("converge");
  CHECK(stage.state().state == SwarmState::delivering);
  stage.tell(opened());
  CHECK(stage.state().state == SwarmState::completed_with_rejections);
  CHECK(facet(stage, 1).state == FacetState::rejected);
  CHECK(stage.timers().empty());
}

TEST_CASE("a reducer run is given all results, who is missing, and makes the swarm's") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT m = create(3, false);
  m.reduce_timeout_ms = 60'000;
  begin(stage, m, plan(3));
  says(stage, 0, R"({"n": 1})");
  says(stage, 1, "");
  says(stage, 2, R"({"n": 3})");
  CHECK(stage.state().state == SwarmState::running);
  const fbs::AddRunT reducer = last_run(stage);
  CHECK(json::parse(reducer.create->input_json) ==
        json::parse(R"({"results": {"f0": {"n": 1}, "f2": {"n": 3}}, "missing": ["f1"],
                        "left_out": []})"));
  CHECK(reducer.create->policy->delivery == fbs::DeliveryMode::none);
  fbs::SwarmRunEndedT ended;
  ended.run = reducer.run;
  ended.state = RunState::unchanged;
  SECTION("made") {
    ended.result = R"({"sum": 4})";
    stage.tell(ended);
    CHECK(stage.state().state == SwarmState::completed);
    CHECK(stage.rows().row("reduced") == R"({"sum": 4})");
    stage.tell(ended);
    CHECK(acts(stage).empty());
  }
  SECTION("not made") {
    ended.state = RunState::failed;
    ended.message = "agent exited with 2";
    stage.tell(ended);
    CHECK(stage.state().state == SwarmState::stopped);
    CHECK(stage.state().reason ==
          "the results could not be reduced: the reducer failed: agent exited with 2");
  }
  SECTION("cancelled meanwhile") {
    stage.tell(fbs::CancelSwarmT{});
    CHECK(stage.state().state == SwarmState::cancelled);
  }
}

TEST_CASE("limits of the whole swarm stop it, and it says which") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT m = create(2, false);
  SECTION("tokens") {
    m.most_tokens = 100;
    begin(stage, m, plan(2));
    const std::string run = facet(stage, 0).run;
    says(stage, 0, "", 100);
    fbs::SwarmRunEndedT twice;  // the same end again counts once
    twice.run = run;
    twice.state = RunState::unchanged;
    twice.tokens = 100;
    stage.tell(twice);
    CHECK(stage.state().tokens == 100);
    CHECK(stage.state().state == SwarmState::running);
    says(stage, 1, "", 1);
    CHECK(stage.state().reason == "its runs say that they used 101 tokens, and 100 are allowed");
  }
  SECTION("money") {
    m.most_cost_micros = 1'500'000;
    begin(stage, m, plan(2));
    says(stage, 0, "", 0, 1'500'001);
    CHECK(stage.state().reason ==
          "its runs say that they cost more than the 1.50 dollars that are allowed");
    CHECK(stage.state().state == SwarmState::stopped);
  }
  SECTION("evictions") {
    m.most_evictions = 1;
    m.conflicts = 5;
    begin(stage, m, plan(2));
    hand_in(stage, 0, "c1");
    stage.tell(merged(stage, {0}));
    hand_in(stage, 0, "c2");
    stage.tell(merged(stage, {0}));
    CHECK(stage.state().reason == "more than 1 times facets were sent back");
    CHECK(commit(stage, "c2").fate == fbs::CommitFate::rejected);
  }
}
