// Planners: what they add, who waits for it, notes, wrong plans; and messages to agents.
#include <catch2/catch.hpp>

#include "actors/ports/effects_generated.h"
#include "kind_stage.hpp"

using namespace muster;
using namespace muster::actors;
using namespace swarm_stage;

namespace {

/// f0 plans, f1 needs it.
fbs::PlanPageT with_planner(std::uint32_t rounds = 1) {
  fbs::PlanPageT page = chained(2);
  page.facets[0]->planner = true;
  page.facets[0]->rounds = rounds;
  page.facets[0]->attempts = 2;
  return page;
}

void ends(Stage<Swarm>& stage, std::uint32_t number, RunState state, const std::string& result,
          const std::string& head = "") {
  fbs::SwarmRunEndedT ended;
  ended.run = facet(stage, number).run;
  ended.state = state;
  ended.base_sha = line(stage).green;
  ended.head_sha = head;
  ended.result = result;
  ended.message = state == RunState::failed ? "agent exited with 1" : "";
  stage.tell(ended);
}

fbs::AdoptPlanT adopting(Stage<Swarm>& stage) {
  REQUIRE(stage.decision().effects.size() == 1);
  const auto effect = must_decode<fbs::EffectT>(stage.decision().effects[0].bytes);
  REQUIRE(effect.body.AsAdoptPlan() != nullptr);
  return *effect.body.AsAdoptPlan();
}

/// Facets `first` and on, of the planner 0.
fbs::PlanAdoptedT adopted(Stage<Swarm>& stage, std::uint32_t first, std::uint32_t count) {
  fbs::PlanAdoptedT m;
  m.number = stage.state().adoptions;
  m.digest = std::string(64, 'e');
  for (std::uint32_t i = first; i < first + count; ++i) {
    auto entry = std::make_unique<fbs::PlanFacetT>();
    entry->id = "f0.p" + std::to_string(i);
    entry->owner = 1;
    entry->attempts = 1;
    m.facets.push_back(std::move(entry));
  }
  return m;
}

fbs::CreateRunT given(Stage<Swarm>& stage, const std::string& run) {
  for (const auto& out : stage.decision().sends) {
    if (out.to.kind != "fleet") continue;
    const auto message = Fleet::Messages::decode(out.payload);
    const auto* add = std::get_if<fbs::AddRunT>(&*message);
    if (add != nullptr && add->run == run) return *add->create;
  }
  FAIL("no run " << run << " was made");
  return {};
}

std::vector<std::string> notes(Stage<Swarm>& stage) {
  std::vector<std::string> all;
  for (const auto& [key, bytes] : stage.rows().rows("note/", "note0", 100)) {
    const auto note = must_decode<fbs::NoteRowT>(bytes);
    all.push_back(key + " " + note.facet + ": " + note.text + (note.given != 0 ? " (given)" : ""));
  }
  return all;
}

}  // namespace

TEST_CASE("what a planner plans becomes facets, and it is over when they are") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2, false), with_planner());
  CHECK(given(stage, facet(stage, 0).run).policy->delivery == fbs::DeliveryMode::none);
  ends(stage, 0, RunState::unchanged, R"({"facets": []})");
  const auto order = adopting(stage);
  CHECK(order.planner == "f0");
  CHECK(order.plan_digest == std::string(64, 'd'));
  CHECK(order.result == R"({"facets": []})");
  CHECK_FALSE(order.again);
  stage.tell(adopted(stage, 2, 2));
  CHECK(acts(stage) == "fleet AddRun\nfleet AddRun\ntimer stall\n");
  CHECK(stage.state().facets == 4);
  CHECK(given(stage, facet(stage, 2).run).spec_digest == std::string(64, 'e'));
  CHECK(facet(stage, 0).children == 2);
  ends(stage, 2, RunState::unchanged, "");
  CHECK(facet(stage, 0).state == FacetState::trying);
  CHECK(facet(stage, 1).state == FacetState::waiting);
  ends(stage, 3, RunState::unchanged, "");
  tell_all(stage);
  CHECK(facet(stage, 0).state == FacetState::unchanged);
  CHECK(facet(stage, 1).state == FacetState::working);
  ends(stage, 1, RunState::unchanged, "");
  CHECK(stage.state().state == SwarmState::completed);
  CHECK(stage.state().owners == 0);
}

TEST_CASE("a wrong plan goes back with what is wrong, as often as an attempt may fail") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2, false), with_planner());
  ends(stage, 0, RunState::unchanged, "");  // no plan at all
  const auto again = given(stage, facet(stage, 0).run);
  CHECK(again.feedback_json.find("result.json is missing") != std::string::npos);
  ends(stage, 0, RunState::unchanged, "{}");
  fbs::PlanAdoptedT wrong;
  wrong.number = stage.state().adoptions;
  wrong.problems = "/facets: is missing";
  stage.tell(wrong);
  CHECK(facet(stage, 0).state == FacetState::rejected);
  CHECK(facet(stage, 0).why == "its plan is wrong: /facets: is missing");
  CHECK(facet(stage, 1).why == "it needs f0, which was rejected");
}

TEST_CASE("plans are adopted one after the other, and an answer to an older order counts no more") {
  Stage<Swarm> stage("docs");
  fbs::PlanPageT page = plan(2);
  for (auto& one : page.facets) one->planner = true;
  begin(stage, create(2, false), page);
  ends(stage, 0, RunState::unchanged, "{}");
  ends(stage, 1, RunState::unchanged, "{}");
  CHECK(acts(stage).empty());
  fbs::PlanAdoptedT stale = adopted(stage, 2, 1);
  stale.number = 7;
  stage.tell(stale);
  CHECK(acts(stage).empty());
  stage.tell(adopted(stage, 2, 1));
  CHECK(adopting(stage).planner == "f1");
  CHECK(adopting(stage).plan_digest == std::string(64, 'e'));
}

TEST_CASE("notes go up to a planner that plans again, else to the report; late ones too") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2, false), with_planner(2));
  ends(stage, 0, RunState::unchanged, R"({"notes": "begun"})");
  CHECK(notes(stage) == std::vector<std::string>{"note/report/000000 f0: begun"});
  stage.tell(adopted(stage, 2, 2));
  const std::string late = facet(stage, 3).run;
  ends(stage, 2, RunState::unchanged, R"({"notes": ["one", "two"]})");
  ends(stage, 3, RunState::failed, "");
  tell_all(stage);
  // f0 plans again: it is told the notes, and what became of its facets.
  CHECK(facet(stage, 0).state == FacetState::working);
  const std::string run = facet(stage, 0).run;
  const auto all = notes(stage);
  REQUIRE(all.size() == 3);
  CHECK(all[0] == "note/00000/000001 f0.p2: one (given)");
  fbs::SwarmRunEndedT heard;  // of a run that nobody waits for any more
  heard.run = late;
  heard.state = RunState::unchanged;
  heard.result = R"({"notes": "late"})";
  stage.tell(heard);
  CHECK(notes(stage).size() == 3);  // its end was heard already
  ends(stage, 0, RunState::unchanged, R"({"facets": []})");
  CHECK(adopting(stage).again);
  stage.tell(adopted(stage, 4, 0));
  tell_all(stage);
  CHECK(facet(stage, 0).run == run);
  CHECK(facet(stage, 0).state == FacetState::unchanged);
  CHECK(facet(stage, 1).state == FacetState::working);
}

TEST_CASE("a planner that plans again is given its notes and its facets") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2, false), with_planner(2));
  ends(stage, 0, RunState::unchanged, "{}");
  stage.tell(adopted(stage, 2, 1));
  ends(stage, 2, RunState::unchanged, R"({"notes": "look at b"})");
  std::string input;
  for (int i = 0; i < 5 && input.empty(); ++i) {
    if (facet(stage, 0).state == FacetState::working)
      input = given(stage, facet(stage, 0).run).input_json;
    else
      stage.tell(fbs::ContinueSwarmT{});
  }
  const auto told = json::parse(input);
  CHECK(told["round"] == 2);
  CHECK(told["notes"] == json::parse(R"([{"facet": "f0.p2", "text": "look at b"}])"));
  CHECK(told["facets"][0]["state"] == "unchanged");
}

TEST_CASE("a planner whose facet is rejected is rejected, and a retry tries both again") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2, false), with_planner());
  ends(stage, 0, RunState::unchanged, "{}");
  stage.tell(adopted(stage, 2, 1));
  ends(stage, 2, RunState::failed, "");
  tell_all(stage);
  CHECK(facet(stage, 0).why == "1 of its facets were rejected");
  CHECK(stage.state().state == SwarmState::completed_with_rejections);
  stage.tell(fbs::RetrySwarmT{});
  tell_all(stage);
  CHECK(facet(stage, 0).state == FacetState::trying);
  CHECK(facet(stage, 2).state == FacetState::working);
  ends(stage, 2, RunState::unchanged, "");
  tell_all(stage);
  CHECK(facet(stage, 0).state == FacetState::unchanged);
  ends(stage, 1, RunState::unchanged, "");
  CHECK(stage.state().state == SwarmState::completed);
}

TEST_CASE("a swarm that is cancelled while it adopts a plan, and tried again, plans again") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2, false), with_planner());
  ends(stage, 0, RunState::unchanged, "{}");
  const fbs::PlanAdoptedT answer = adopted(stage, 2, 1);
  stage.tell(fbs::CancelSwarmT{});
  CHECK(stage.state().state == SwarmState::cancelled);
  stage.tell(fbs::RetrySwarmT{});
  tell_all(stage);
  CHECK(facet(stage, 0).state == FacetState::working);
  stage.tell(answer);
  CHECK(stage.state().facets == 2);
  ends(stage, 0, RunState::unchanged, "{}");
  stage.tell(adopted(stage, 2, 1));
  CHECK(stage.state().facets == 3);
}

TEST_CASE("a drained swarm does not wait for a planner whose facets never begin") {
  Stage<Swarm> stage("docs");
  begin(stage, create(2, false), with_planner());
  stage.tell(fbs::DrainSwarmT{});
  ends(stage, 0, RunState::unchanged, "{}");
  stage.tell(adopted(stage, 2, 1));
  CHECK(stage.state().state == SwarmState::stopped);
}

TEST_CASE("a message goes to those at work, and with all that begin later") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT m = create(3, false);
  m.agents = 1;
  begin(stage, m, plan(3));
  fbs::SteerSwarmT say;
  say.by = "ann";
  say.text = "use tabs";
  stage.tell(say);
  CHECK(acts(stage) == "fleet TellRun\nreply \n");
  say.text = "only you";
  say.facet = "f1";
  stage.tell(say);
  CHECK(acts(stage) == "reply \n");
  say.facet = "f9";
  stage.tell(say);
  CHECK(acts(stage) == "refuse swarm docs has no facet f9\n");
  ends(stage, 0, RunState::unchanged, "");
  const auto next = given(stage, facet(stage, 1).run);
  REQUIRE(next.messages.size() == 2);
  CHECK(next.messages[1]->text == "only you");
  CHECK(next.messages[1]->number == 1);
  ends(stage, 1, RunState::unchanged, "");
  CHECK(given(stage, facet(stage, 2).run).messages.size() == 1);
  say.text.clear();
  say.facet.clear();
  stage.tell(say);
  CHECK(acts(stage).starts_with("refuse a message has 1 to"));
}

TEST_CASE("a message to hundreds of agents goes in pages") {
  Stage<Swarm> stage("docs");
  fbs::CreateSwarmT m = create(200, false);
  m.agents = 200;
  stage.tell(m);
  stage.tell(plan(200));
  stage.tell(started());
  tell_all(stage);
  fbs::SteerSwarmT say;
  say.text = "stop";
  stage.tell(say);
  std::string all = acts(stage) + tell_all(stage);
  std::size_t tells = 0;
  for (std::size_t at = 0; (at = all.find("TellRun", at)) != std::string::npos; ++at) ++tells;
  CHECK(tells == 200);
}
