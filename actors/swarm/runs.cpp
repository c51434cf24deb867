// Runs of facets, and what their ends mean. Verifications are runs too, made in line.cpp.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "actors/fleet/fleet.hpp"
#include "actors/swarm/life.hpp"
#include "actors/swarm/result_schema.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors {

using fbs::CommitFate;
using fbs::FacetState;
using fbs::FailureClass;
using fbs::RunState;

namespace {

/// The versions that a resolver was shown, for whoever does the facet again.
std::string conflict_of(const std::string& feedback) {
  const auto told = nlohmann::json::parse(feedback, nullptr, false);
  return told.is_object() ? told.value("output", "") : std::string();
}

}  // namespace

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
  const std::uint32_t at_work = in(FacetState::working) + s_.extra_agents;
  if (at_work >= s_.agents) return;
  const std::size_t room = std::min<std::size_t>(s_.agents - at_work, swarm::kRunsPerStep);
  std::size_t bytes = 0, given = 0;
  for (const auto& [key, value] : ctx_.rows("free/", "free0", room)) {
    if (bytes > swarm::kFeedbackPerStep) break;
    if (given > 0 && in(FacetState::working) + s_.extra_agents >= s_.agents) break;
    bytes += launch(static_cast<std::uint32_t>(std::stoul(key.substr(key.rfind('/') + 1))));
    ++given;
  }
  if (in(FacetState::working) + s_.extra_agents < s_.agents && given > 0 &&
      !ctx_.rows("free/", "free0", 1).empty())
    more_ = true;
}

/// The next run of a facet, up to what tells its purposes apart.
fbs::CreateRunT SwarmLife::facet_run(std::uint32_t number, fbs::FacetRowT& row,
                                     const fbs::PlanFacetT& planned, const char* role) {
  fbs::CreateRunT create;
  create.base_branch = swarm::green_branch(name());
  nlohmann::json labels = {{"facet", row.id}};
  if (*role != '\0') labels["role"] = role;
  create.labels_json = labels.dump();
  create.generation = ++row.runs;
  create.policy = std::make_unique<fbs::RunPolicyT>(policy());
  // What an unfit result cost counts too.
  create.policy->max_attempts = std::max(1U, planned.attempts - std::min(row.unfit, planned.attempts));
  create.policy->retry_on = {FailureClass::infrastructure, FailureClass::agent,
                             FailureClass::verification};
  create.policy->attempt_timeout_ms = planned.timeout_ms;
  create.policy->delivery = fbs::DeliveryMode::branch;
  create.policy->branch = swarm::facet_branch(name(), row.id);
  create.messages = messages_for(row.id);
  if (auto feedback = ctx_.row(swarm::numbered("feedback/", number)))
    create.feedback_json = std::move(*feedback);
  return create;
}

/// What it sends, about, in bytes.
std::size_t SwarmLife::launch(std::uint32_t number) {
  fbs::FacetRowT row = facet(number);
  const fbs::PlanFacetT planned = plan(number);
  row.base = line(row.line).green;
  row.candidates.clear();
  const std::string marked_key = swarm::numbered("marked/", number);
  const auto marked = ctx_.row(marked_key);
  if (!marked && !planned.planner && planned.candidates > 1 && !row.chosen)
    return launch_candidates(number, row, planned);
  fbs::RunUseT use;
  use.facet = number;
  use.line = row.line;
  use.purpose = marked            ? fbs::RunPurpose::resolve
                : planned.planner ? fbs::RunPurpose::plan
                                  : fbs::RunPurpose::work;
  fbs::CreateRunT create = facet_run(number, row, planned,
                                     marked            ? "resolve"
                                     : planned.planner ? "plan"
                                                       : "");
  use.number = row.runs;
  row.run = run_id(name(), "facet/" + row.id, row.runs);
  if (marked) {
    row.base = *marked;
    create.base_branch = swarm::marked_branch(name(), row.id);
    create.policy->attempt_timeout_ms = created().resolve_timeout_ms;
    ctx_.erase_row(marked_key);
  }
  if (planned.planner) {
    create.policy->delivery = fbs::DeliveryMode::none;
    create.input_json = planner_input(number, row);
  }
  const std::size_t bytes = create.feedback_json.size() + create.input_json.size();
  add_run(row.run, use, line(row.line), std::move(create));
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
  create.policy->cpus_milli = whole.cpus_milli;
  create.policy->memory_bytes = whole.memory_bytes;
  create.spec_digest = s_.plan_digest.empty() ? whole.plan_digest : s_.plan_digest;
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
  auto use = must_decode<fbs::RunUseT>(*bytes);
  if (!use.over) hear(use, m);
  if (use.check) return check_ended(use, m);
  switch (use.purpose) {
    case fbs::RunPurpose::work:
    case fbs::RunPurpose::resolve:
      return facet_run_ended(use, m);
    case fbs::RunPurpose::plan:
      return plan_run_ended(use, m);
    case fbs::RunPurpose::candidate:
      return candidate_ended(use, m);
    case fbs::RunPurpose::score:
      return score_ended(use, m);
    case fbs::RunPurpose::judge:
      return judge_ended(use, m);
    case fbs::RunPurpose::reduce:
      return reduce_ended(m);
  }
}

/// What it used and what it notes counts once, and also when nobody waits for it any more.
void SwarmLife::hear(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m) {
  s_.tokens += m.tokens;
  s_.cost_micros += m.cost_micros;
  fbs::RunUseT heard = use;
  heard.over = true;
  ctx_.put_row("run/" + m.run, engine::encode_table(heard));
  const bool of_facet = use.purpose != fbs::RunPurpose::score &&
                        use.purpose != fbs::RunPurpose::judge &&
                        use.purpose != fbs::RunPurpose::reduce;
  if (!use.check && of_facet) keep_notes(use.facet, m);
}

std::string SwarmLife::trouble_with(const std::string& result) {
  return result.empty() ? std::string()
                        : swarm::trouble_with_result(result, created().result_schema);
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
  row.unfit += std::max(1U, m.attempts);
  const std::string said = m.message.empty() ? m.reason : m.message;
  const bool done = commits || m.state == RunState::unchanged || m.state == RunState::skipped;
  if (use.purpose == fbs::RunPurpose::resolve && !commits)
    return evict(use.facet, "conflict",
                 "the resolver made nothing" + (said.empty() ? "" : ": " + said),
                 conflict_of(ctx_.row(swarm::numbered("feedback/", use.facet)).value_or("")));
  if (const std::string trouble = done ? trouble_with(m.result) : ""; !trouble.empty()) {
    if (commits) hold_commit(row, m);
    return unfit(use.facet, row, "result", "its result does not fit the schema", trouble);
  }
  // A resolver that says nothing leaves standing what was found out before.
  if (done && (use.purpose != fbs::RunPurpose::resolve || !m.result.empty()))
    keep_result(use.facet, m.result);
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

/// What its agent left as result.json is of no use: it tries again with the reason, with the attempts that are left.
void SwarmLife::unfit(std::uint32_t number, fbs::FacetRowT& row, const char* cls,
                      const std::string& why, const std::string& trouble) {
  const std::string first = trouble.substr(0, trouble.find('\n'));
  row.why = one_line(why + (first.empty() ? "" : ": " + first), swarm::kWhyBytes);
  if (row.unfit >= std::max(1U, plan(number).attempts)) return reject(number, row, row.why);
  const nlohmann::json feedback = {
      {"attempt", row.runs},   {"class", cls},
      {"reason", "unfit"},     {"message", row.why},
      {"step", "result.json"}, {"output", bounded(trouble, swarm::kFeedbackBytes)}};
  ctx_.put_row(swarm::numbered("feedback/", number),
               feedback.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  move(number, row, FacetState::waiting);
}

/// What the newest run says stands for what earlier ones said.
void SwarmLife::keep_result(std::uint32_t number, const std::string& result) {
  const std::string key = swarm::numbered(swarm::kResultPrefix, number);
  if (!result.empty())
    ctx_.put_row(key, result);
  else if (ctx_.row(key))
    ctx_.erase_row(key);
}

/// The facet's newest commit; the one before it is superseded.
void SwarmLife::hold_commit(fbs::FacetRowT& row, const fbs::SwarmRunEndedT& m) {
  if (!row.commit.empty() && row.commit != m.head_sha)
    settle(row.commit, CommitFate::superseded, m.head_sha);
  row.commit = m.head_sha;
  row.base = m.base_sha;
}

void SwarmLife::handed_in(std::uint32_t number, fbs::FacetRowT& row, const fbs::SwarmRunEndedT& m) {
  hold_commit(row, m);
  row.unfit = 0;
  ctx_.erase_row(swarm::numbered("feedback/", number));
  move(number, row, FacetState::handed_in);
}

}  // namespace muster::actors
