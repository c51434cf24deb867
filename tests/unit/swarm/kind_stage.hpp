// The swarm alone, on a stage: what tests of the kind tell it and ask it.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/common.hpp"
#include "actors/fleet/fleet.hpp"
#include "actors/repo/repo.hpp"
#include "actors/swarm/swarm.hpp"
#include "engine/core/testing.hpp"

namespace muster::actors::swarm_stage {

using engine::testing::Stage;
using fbs::CommitFate;
using fbs::FacetState;
using fbs::RunState;
using fbs::SwarmState;
using nlohmann::json;

inline std::string short_name(std::string text) {
  return text.substr(0, text.find(' '));
}

/// What a decision asks for, one short line each.
inline std::string acts(Stage<Swarm>& stage) {
  std::string text;
  const engine::Decision& d = stage.decision();
  for (const auto& out : d.sends)
    text += out.to.kind + " " +
            short_name(out.to.kind == "fleet"  ? engine::describe_payload<Fleet>(out.payload)
                       : out.to.kind == "repo" ? engine::describe_payload<Repo>(out.payload)
                                               : engine::describe_payload<Swarm>(out.payload)) +
            "\n";
  for (const auto& timer : d.timers) text += (timer.due ? "timer " : "cancel ") + timer.name + "\n";
  for (const auto& effect : d.effects) text += "effect " + effect.key + "\n";
  if (d.reply)
    text += d.reply->error ? "refuse " + d.reply->body + "\n" : "reply " + d.reply->body + "\n";
  return text;
}

inline fbs::CreateSwarmT create(std::uint32_t facets, bool checks = true) {
  fbs::CreateSwarmT m;
  m.digest = m.plan_digest = std::string(64, 'd');
  m.facets = facets;
  m.stall_ms = 60'000;
  m.timeout_ms = 600'000;
  m.conflicts = 1;
  auto line = std::make_unique<fbs::SwarmLineT>();
  line->id = "r";
  line->repository = "acme/r";
  line->url = line->canonical_url = "/srv/r";
  line->checks = checks;
  m.lines.push_back(std::move(line));
  return m;
}

inline fbs::PlanPageT plan(std::uint32_t facets, std::uint32_t first = 0,
                           std::uint32_t count = 10'000) {
  fbs::PlanPageT page;
  page.first = first;
  for (std::uint32_t i = first; i < facets && i < first + count; ++i) {
    auto facet = std::make_unique<fbs::PlanFacetT>();
    facet->id = "f" + std::to_string(i);
    page.facets.push_back(std::move(facet));
  }
  return page;
}

/// The last facet needs the first.
inline fbs::PlanPageT chained(std::uint32_t facets) {
  fbs::PlanPageT page = plan(facets);
  page.facets.front()->needed_by = {facets - 1};
  page.facets.back()->needs = {0};
  return page;
}

inline fbs::LineStartedT started() {
  fbs::LineStartedT m;
  m.begin = std::string(40, 'b');
  return m;
}

inline std::string tell_all(Stage<Swarm>& stage) {
  std::string text;
  for (int i = 0; stage.state().continuing && i < 10'000; ++i) {
    stage.tell(fbs::ContinueSwarmT{});
    text += acts(stage);
  }
  return text;
}

inline fbs::FacetRowT facet(Stage<Swarm>& stage, std::uint32_t number) {
  return must_decode<fbs::FacetRowT>(stage.rows().row(swarm::numbered("facet/", number)).value());
}
inline fbs::LineRowT line(Stage<Swarm>& stage) {
  return must_decode<fbs::LineRowT>(stage.rows().row("line/00000").value());
}
inline fbs::CommitRowT commit(Stage<Swarm>& stage, const std::string& id) {
  return must_decode<fbs::CommitRowT>(stage.rows().row("commit/" + id).value());
}

inline void hand_in(Stage<Swarm>& stage, std::uint32_t number, const std::string& id) {
  fbs::SwarmRunEndedT ended;
  ended.run = facet(stage, number).run;
  ended.state = fbs::RunState::delivered;
  ended.base_sha = line(stage).green;
  ended.head_sha = id;
  stage.tell(ended);
}

/// All heads of the present order merge, but those that are named.
inline fbs::LineMergedT merged(Stage<Swarm>& stage,
                               const std::vector<std::uint32_t>& conflicts = {}) {
  const fbs::LineRowT now = line(stage);
  fbs::LineMergedT m;
  m.number = now.number;
  m.tip = "tip" + std::to_string(now.number);
  for (const std::uint32_t i : now.batch) {
    auto head = std::make_unique<fbs::MergedFacetT>();
    head->facet = i;
    if (std::find(conflicts.begin(), conflicts.end(), i) != conflicts.end()) {
      head->outcome = fbs::HeadOutcome::conflict;
      head->why = "it conflicts";
      head->context = "<<<<<<<";
    } else {
      head->merge = "m" + std::to_string(i);
    }
    m.heads.push_back(std::move(head));
  }
  return m;
}

inline fbs::SwarmRunEndedT checked(Stage<Swarm>& stage, bool good) {
  fbs::SwarmRunEndedT ended;
  ended.run = line(stage).check_run;
  ended.base_sha = line(stage).tip;
  ended.state = good ? fbs::RunState::unchanged : fbs::RunState::failed;
  if (!good) ended.class_ = fbs::FailureClass::agent;
  ended.output = "red";
  return ended;
}

inline fbs::GreenMovedT moved(Stage<Swarm>& stage) {
  fbs::GreenMovedT m;
  m.number = line(stage).number;
  return m;
}

inline fbs::SwarmPullOpenedT opened() {
  fbs::SwarmPullOpenedT m;
  m.repository = "acme/r";
  m.number = 5;
  return m;
}

inline void begin(Stage<Swarm>& stage, const fbs::CreateSwarmT& m, const fbs::PlanPageT& page) {
  stage.tell(m);
  stage.tell(page);
  stage.tell(started());
}

}  // namespace muster::actors::swarm_stage
