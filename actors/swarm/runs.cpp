// Runs of facets, and what their ends mean. Verifications are runs too, made in line.cpp.
#include <chrono>
#include <nlohmann/json.hpp>

#include "actors/fleet/fleet.hpp"
#include "actors/swarm/life.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors {

using fbs::CommitFate;
using fbs::FacetState;
using fbs::FailureClass;
using fbs::RunState;

/// What all runs of a swarm share.
fbs::RunPolicyT SwarmLife::policy() const {
  fbs::RunPolicyT policy;
  policy.retry_on = {FailureClass::infrastructure};
  policy.delivery = fbs::DeliveryMode::none;
  policy.conflict_strategy = fbs::ConflictStrategy::replace;
  policy.runs_per_repo = s_.agents + 1;  // a verification works beside the agents
  policy.concurrency = s_.agents + s_.lines;
  return policy;
}

/// In the order of the plan, as many as may work at once.
void SwarmLife::give_work() {
  const std::uint32_t at_work = in(FacetState::working);
  if (at_work >= s_.agents) return;
  const std::size_t room = std::min<std::size_t>(s_.agents - at_work, swarm::kRunsPerStep);
  std::size_t bytes = 0, given = 0;
  for (const auto& [key, value] : ctx_.rows("free/", "free0", room)) {
    if (bytes > swarm::kFeedbackPerStep) break;
    bytes += launch(static_cast<std::uint32_t>(std::stoul(key.substr(key.rfind('/') + 1))));
    ++given;
  }
  if (in(FacetState::working) < s_.agents && given > 0 && !ctx_.rows("free/", "free0", 1).empty())
    more_ = true;
}

std::size_t SwarmLife::launch(std::uint32_t number) {
  fbs::FacetRowT row = facet(number);
  const fbs::PlanFacetT planned = plan(number);
  const fbs::LineRowT& where = line(row.line);
  fbs::RunUseT use;
  use.facet = number;
  use.line = row.line;
  use.number = ++row.runs;
  row.run = run_id(name(), "facet/" + row.id, row.runs);
  row.base = where.green;

  fbs::CreateRunT create;
  create.base_branch = swarm::green_branch(name());
  create.labels_json = nlohmann::json{{"facet", row.id}}.dump();
  create.generation = row.runs;
  create.policy = std::make_unique<fbs::RunPolicyT>(policy());
  create.policy->max_attempts = std::max(1U, planned.attempts);
  create.policy->retry_on = {FailureClass::infrastructure, FailureClass::agent,
                             FailureClass::verification};
  create.policy->attempt_timeout_ms = planned.timeout_ms;
  create.policy->delivery = fbs::DeliveryMode::branch;
  create.policy->branch = swarm::facet_branch(name(), row.id);
  if (auto feedback = ctx_.row(swarm::numbered("feedback/", number)))
    create.feedback_json = std::move(*feedback);
  const std::size_t bytes = create.feedback_json.size();
  add_run(row.run, use, where, std::move(create));
  move(number, row, FacetState::working);
  return bytes;
}

void SwarmLife::add_run(const std::string& run, const fbs::RunUseT& use, const fbs::LineRowT& where,
                        fbs::CreateRunT create) {
  const fbs::CreateSwarmT whole = created();
  create.fleet = name();
  create.repository = where.line->repository;
  create.url = where.line->url;
  create.canonical_url = where.line->canonical_url;
  create.policy->deadline_unix_ms = s_.deadline_unix_ms;
  create.spec_digest = whole.plan_digest;
  create.agent_bundle = whole.agent_bundle;
  create.author = s_.author;
  create.swarm = true;
  fbs::AddRunT add;
  add.run = run;
  add.create = std::make_unique<fbs::CreateRunT>(std::move(create));
  ctx_.put_row("run/" + run, engine::encode_table(use));
  ctx_.send<Fleet>(name(), add);
  ++s_.runs;
}

void SwarmLife::on(const fbs::SwarmRunEndedT& m) {
  if (!exists()) return;
  const auto bytes = ctx_.row("run/" + m.run);
  if (!bytes) return;
  const auto use = must_decode<fbs::RunUseT>(*bytes);
  if (use.check)
    check_ended(use, m);
  else
    facet_run_ended(use, m);
}

void SwarmLife::facet_run_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m) {
  fbs::FacetRowT row = facet(use.facet);
  const bool commits = m.state == RunState::delivered && !m.head_sha.empty();
  if (commits) received(use.facet, m.run, m.base_sha, m.head_sha);
  if (row.state != FacetState::working || row.run != m.run) {
    if (commits && row.commit != m.head_sha)  // else it is said a second time
      settle(m.head_sha, CommitFate::rejected, "late: run " + m.run + " was no longer waited for");
    return;
  }
  const std::string said = m.message.empty() ? m.reason : m.message;
  const bool done = commits || m.state == RunState::unchanged || m.state == RunState::skipped;
  if (done) keep_result(use.facet, m.result);
  if (commits) {
    handed_in(use.facet, row, m);
  } else if (done) {
    row.why = one_line(m.state == RunState::skipped && !said.empty() ? said : "nothing to change",
                       swarm::kWhyBytes);
    if (!row.commit.empty())
      settle(row.commit, CommitFate::rejected, "done again, there was nothing to change any more");
    ctx_.erase_row(swarm::numbered("feedback/", use.facet));
    move(use.facet, row, FacetState::unchanged);
    progress();
  } else {
    reject(
        use.facet, row,
        "run " + m.run + " " + std::string(to_string(m.state)) + (said.empty() ? "" : ": " + said));
  }
}

/// What the newest run says stands for what earlier ones said.
void SwarmLife::keep_result(std::uint32_t number, const std::string& result) {
  const std::string key = swarm::numbered(swarm::kResultPrefix, number);
  if (!result.empty())
    ctx_.put_row(key, result);
  else if (ctx_.row(key))
    ctx_.erase_row(key);
}

void SwarmLife::handed_in(std::uint32_t number, fbs::FacetRowT& row, const fbs::SwarmRunEndedT& m) {
  if (!row.commit.empty() && row.commit != m.head_sha)
    settle(row.commit, CommitFate::superseded, m.head_sha);
  row.commit = m.head_sha;
  row.base = m.base_sha;
  ctx_.erase_row(swarm::numbered("feedback/", number));
  move(number, row, FacetState::handed_in);
}

}  // namespace muster::actors
