// Several agents at one facet, of which the best is kept; and the resolver of a conflict.
#include <catch2/catch.hpp>

#include "actors/ports/effects_generated.h"
#include "kind_stage.hpp"

using namespace muster;
using namespace muster::actors;
using namespace swarm_stage;

namespace {

fbs::PlanPageT tried_by(std::uint32_t agents, bool judged) {
  fbs::PlanPageT page = plan(1);
  page.facets[0]->candidates = agents;
  page.facets[0]->judged = judged;
  return page;
}

void tries(Stage<Swarm>& stage, std::size_t which, const std::string& commit,
           RunState state = RunState::delivered) {
  fbs::SwarmRunEndedT ended;
  ended.run = facet(stage, 0).candidates.at(which)->run;
  ended.state = state;
  ended.base_sha = line(stage).green;
  ended.head_sha = commit;
  ended.result = json{{"try", which}}.dump();
  stage.tell(ended);
}

void scores(Stage<Swarm>& stage, std::size_t which, const std::string& result) {
  const fbs::FacetRowT row = facet(stage, 0);
  const auto& candidate = *row.candidates.at(which);
  fbs::SwarmRunEndedT ended;
  ended.run = candidate.score_run;
  ended.state = RunState::unchanged;
  ended.base_sha = candidate.commit;
  ended.result = result;
  stage.tell(ended);
}

fbs::LineMergedT marked(Stage<Swarm>& stage, const std::string& commit) {
  fbs::LineMergedT m = merged(stage, {0});
  m.heads[0]->marked = commit;
  return m;
}

}  // namespace

TEST_CASE("of several tries the one with the best score is kept, and supersedes the others") {
  Stage<Swarm> stage("docs");
  begin(stage, create(1, false), tried_by(3, false));
  CHECK(acts(stage) == "fleet AddRun\nfleet AddRun\nfleet AddRun\n");
  CHECK(stage.state().extra_agents == 2);
  tries(stage, 0, "c0");
  tries(stage, 1, "c1");
  CHECK(acts(stage).empty());
  SECTION("by score") {
    tries(stage, 2, "c2");
    CHECK(acts(stage) == "fleet AddRun\nfleet AddRun\nfleet AddRun\n");
    scores(stage, 0, R"({"score": 1})");
    scores(stage, 1, R"({"score": 2.5})");
    scores(stage, 1, R"({"score": 0})");
    scores(stage, 2, "");
    CHECK(acts(stage) == "effect line/docs/r/merge/1\n");
    CHECK(facet(stage, 0).commit == "c1");
    CHECK(commit(stage, "c0").successor == "c1");
    CHECK(commit(stage, "c2").fate == CommitFate::superseded);
    CHECK(commit(stage, "c1").fate == CommitFate::open);
    CHECK(stage.rows().row("result/00000") == R"({"try":1})");
    CHECK(stage.state().extra_agents == 0);
    stage.tell(merged(stage, {0}));  // sent back: one agent does it again
    CHECK(acts(stage) == "fleet AddRun\n");
  }
  SECTION("only one did it") {
    tries(stage, 2, "", RunState::failed);
    CHECK(acts(stage) == "fleet AddRun\nfleet AddRun\n");
    scores(stage, 0, "");
    scores(stage, 1, "");
    CHECK(facet(stage, 0).commit == "c0");
  }
  SECTION("cancelled: all are rejected, a late one too") {
    const std::string late = facet(stage, 0).candidates[2]->run;
    stage.tell(fbs::CancelSwarmT{});
    CHECK(commit(stage, "c0").fate == CommitFate::rejected);
    CHECK(commit(stage, "c1").fate == CommitFate::rejected);
    CHECK(stage.state().extra_agents == 0);
    fbs::SwarmRunEndedT ended;
    ended.run = late;
    ended.state = RunState::delivered;
    ended.head_sha = "c2";
    stage.tell(ended);
    CHECK(commit(stage, "c2").reason.starts_with("late"));
  }
}

TEST_CASE("of several tries one that nobody made or that changed nothing") {
  Stage<Swarm> stage("docs");
  begin(stage, create(1, false), tried_by(2, false));
  SECTION("none") {
    tries(stage, 0, "", RunState::failed);
    tries(stage, 1, "", RunState::failed);
    CHECK(facet(stage, 0).state == FacetState::rejected);
  }
  SECTION("nothing to change") {
    tries(stage, 0, "", RunState::failed);
    tries(stage, 1, "", RunState::unchanged);
    CHECK(facet(stage, 0).state == FacetState::unchanged);
  }
  SECTION("a single one needs no choice") {
    tries(stage, 0, "", RunState::failed);
    tries(stage, 1, "c1");
    CHECK(acts(stage) == "effect line/docs/r/merge/1\n");
  }
}

TEST_CASE("a judge sees all tries and says which is best") {
  Stage<Swarm> stage("docs");
  begin(stage, create(1, false), tried_by(2, true));
  tries(stage, 0, "c0");
  tries(stage, 1, "c1");
  const std::string run = facet(stage, 0).run;
  CHECK(acts(stage) == "effect candidates/docs/0/" + run + "\n");
  fbs::EffectUnknownT unknown;
  unknown.key = "candidates/docs/0/" + run;
  stage.tell(unknown);
  CHECK(acts(stage) == "effect candidates/docs/0/" + run + "\n");
  fbs::CandidatesShownT shown;
  shown.run = run;
  shown.diffs = {"+a", "+b"};
  stage.tell(shown);
  const auto sent = Fleet::Messages::decode(stage.decision().sends.at(0).payload);
  const auto& judge = std::get<fbs::AddRunT>(*sent);
  const auto input = json::parse(judge.create->input_json);
  CHECK(input["candidates"][1]["diff"] == "+b");
  CHECK(input["candidates"][1]["number"] == 1);
  stage.tell(shown);
  CHECK(acts(stage).empty());
  fbs::SwarmRunEndedT ended;
  ended.run = judge.run;
  ended.state = RunState::unchanged;
  SECTION("the second") {
    ended.result = R"({"best": 1})";
    stage.tell(ended);
    CHECK(facet(stage, 0).commit == "c1");
    CHECK(commit(stage, "c0").successor == "c1");
  }
  SECTION("nonsense: the first") {
    ended.result = R"({"best": 7})";
    stage.tell(ended);
    CHECK(facet(stage, 0).commit == "c0");
  }
}

TEST_CASE("a conflict goes to the resolver first, on both sides merged and marked") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT m = create(1, false);
  m.resolves = 1;
  m.resolve_timeout_ms = 1000;
  begin(stage, m, plan(1));
  hand_in(stage, 0, "c1");
  const auto order = must_decode<fbs::EffectT>(stage.decision().effects.at(0).bytes);
  CHECK(order.body.AsMergeFacets()->heads[0]->mark);
  stage.tell(marked(stage, "mark"));
  CHECK(acts(stage) == "fleet AddRun\n");
  CHECK(facet(stage, 0).evictions == 0);
  const auto sent = Fleet::Messages::decode(stage.decision().sends[0].payload);
  const auto& resolver = std::get<fbs::AddRunT>(*sent);
  CHECK(resolver.create->base_branch == "muster-swarm/docs/marked/f0");
  CHECK(resolver.create->labels_json == R"({"facet":"f0","role":"resolve"})");
  CHECK(resolver.create->feedback_json.find("<<<<<<<") != std::string::npos);
  SECTION("resolved: it is merged as any commit") {
    fbs::SwarmRunEndedT ended;
    ended.run = resolver.run;
    ended.state = RunState::delivered;
    ended.base_sha = "mark";
    ended.head_sha = "c2";
    stage.tell(ended);
    CHECK(acts(stage) == "effect line/docs/r/merge/2\n");
    CHECK(commit(stage, "c1").successor == "c2");
    stage.tell(marked(stage, ""));  // again: now it is sent back
    CHECK(facet(stage, 0).evictions == 1);
    CHECK(facet(stage, 0).state == FacetState::working);
  }
  SECTION("not resolved: it is sent back") {
    fbs::SwarmRunEndedT ended;
    ended.run = resolver.run;
    ended.state = RunState::unchanged;
    stage.tell(ended);
    CHECK(acts(stage) == "fleet AddRun\n");
    CHECK(facet(stage, 0).evictions == 1);
    CHECK(commit(stage, "c1").fate == CommitFate::open);
  }
}

TEST_CASE("a conflict with what is only tried is merged once more as it is") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT m = create(1, false);
  m.resolves = 1;
  begin(stage, m, plan(1));
  hand_in(stage, 0, "c1");
  stage.tell(merged(stage, {0}));
  CHECK(acts(stage) == "effect line/docs/r/merge/2\n");
  CHECK(facet(stage, 0).resolves == 0);
  CHECK(facet(stage, 0).state == FacetState::trying);
}
