// A facet that several agents try first: the best try becomes the facet's commit, the others are
// superseded by it.
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "actors/swarm/life.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors {

using fbs::CommitFate;
using fbs::FacetState;
using fbs::FailureClass;
using fbs::RunState;
using nlohmann::json;

namespace {

constexpr Duration kShowEffect = std::chrono::minutes(2);
constexpr std::size_t kResultShown = 8u << 10;

std::string result_key(std::uint32_t facet, std::size_t candidate) {
  return swarm::numbered("candidate/", facet) + "/" + std::to_string(candidate);
}

bool is_done(RunState state) {
  return state == RunState::delivered || state == RunState::unchanged || state == RunState::skipped;
}

/// The number under `key` in a result; nothing when there is none.
std::optional<double> number_in(const std::string& result, const char* key) {
  const json said = json::parse(result, nullptr, false);
  if (!said.is_object() || !said.contains(key) || !said[key].is_number()) return std::nullopt;
  return said[key].get<double>();
}

std::vector<std::size_t> with_commit(const fbs::FacetRowT& row) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < row.candidates.size(); ++i)
    if (!row.candidates[i]->commit.empty()) found.push_back(i);
  return found;
}

}  // namespace

std::size_t SwarmLife::launch_candidates(std::uint32_t number, fbs::FacetRowT& row,
                                         const fbs::PlanFacetT& planned) {
  std::size_t bytes = 0;
  for (std::uint32_t i = 0; i < planned.candidates; ++i) {
    fbs::CreateRunT create = facet_run(number, row, planned, "candidate");
    create.policy->branch = swarm::candidate_branch(name(), row.id, i);
    create.input_json = json{{"candidate", i}}.dump();
    fbs::RunUseT use;
    use.facet = number;
    use.line = row.line;
    use.number = row.runs;
    use.purpose = fbs::RunPurpose::candidate;
    use.candidate = i;
    auto candidate = std::make_unique<fbs::CandidateT>();
    candidate->run = run_id(name(), "facet/" + row.id, row.runs);
    bytes += create.feedback_json.size();
    add_run(candidate->run, use, line(row.line), std::move(create));
    row.candidates.push_back(std::move(candidate));
  }
  row.run = row.candidates.front()->run;
  row.choosing.clear();
  move(number, row, FacetState::working);
  return bytes;
}

void SwarmLife::candidate_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m) {
  fbs::FacetRowT row = facet(use.facet);
  const bool commits = m.state == RunState::delivered && !m.head_sha.empty();
  if (commits) received(use.facet, m.run, m.base_sha, m.head_sha);
  const bool waited = row.state == FacetState::working && use.candidate < row.candidates.size() &&
                      row.candidates[use.candidate]->run == m.run;
  if (!waited) {
    if (commits && row.commit != m.head_sha)
      settle(m.head_sha, CommitFate::rejected, "late: run " + m.run + " was no longer waited for");
    return;
  }
  fbs::CandidateT& candidate = *row.candidates[use.candidate];
  if (candidate.over) return;
  candidate.over = true;
  candidate.state = m.state;
  candidate.base = m.base_sha;
  candidate.why = one_line(m.message.empty() ? m.reason : m.message, swarm::kWhyBytes);
  const std::string trouble = is_done(m.state) ? trouble_with(m.result) : "";
  if (!trouble.empty()) {
    candidate.state = RunState::failed;
    candidate.why = one_line("its result does not fit the schema: " + trouble, swarm::kWhyBytes);
    if (commits) settle(m.head_sha, CommitFate::rejected, candidate.why);
  } else if (commits) {
    candidate.commit = m.head_sha;
  }
  if (trouble.empty() && !m.result.empty())
    ctx_.put_row(result_key(use.facet, use.candidate), m.result);
  put(use.facet, row);
  for (const auto& one : row.candidates)
    if (!one->over) return;
  choose(use.facet, row);
}

void SwarmLife::choose(std::uint32_t number, fbs::FacetRowT& row) {
  const auto tries = with_commit(row);
  const fbs::PlanFacetT planned = plan(number);
  if (tries.size() == 1) return take(number, row, tries[0]);
  if (tries.size() > 1 && !planned.judged) return score(number, row, planned);
  if (tries.size() > 1) return ask_judge(number, row);
  for (std::size_t i = 0; i < row.candidates.size(); ++i) {
    if (!is_done(row.candidates[i]->state)) continue;
    keep_result(number, ctx_.row(result_key(number, i)).value_or(""));
    row.why = "nothing to change";
    ctx_.erase_row(swarm::numbered("feedback/", number));
    move(number, row, FacetState::unchanged);
    return progress();
  }
  reject(number, row,
         "none of " + std::to_string(row.candidates.size()) +
             " agents did it: " + row.candidates.front()->why);
}

/// One run on each try, whose result.json says what it is worth.
void SwarmLife::score(std::uint32_t number, fbs::FacetRowT& row, const fbs::PlanFacetT& planned) {
  for (const std::size_t i : with_commit(row)) {
    fbs::CreateRunT create = facet_run(number, row, planned, "score");
    create.base_branch = swarm::candidate_branch(name(), row.id, i);
    create.feedback_json.clear();
    create.policy->delivery = fbs::DeliveryMode::none;
    create.policy->retry_on = {FailureClass::infrastructure};
    create.policy->attempt_timeout_ms = planned.judge_timeout_ms;
    fbs::RunUseT use;
    use.facet = number;
    use.line = row.line;
    use.number = row.runs;
    use.purpose = fbs::RunPurpose::score;
    use.candidate = static_cast<std::uint32_t>(i);
    row.candidates[i]->score_run = run_id(name(), "facet/" + row.id, row.runs);
    add_run(row.candidates[i]->score_run, use, line(row.line), std::move(create));
  }
  put(number, row);
}

void SwarmLife::score_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m) {
  fbs::FacetRowT row = facet(use.facet);
  if (row.state != FacetState::working || use.candidate >= row.candidates.size()) return;
  fbs::CandidateT& candidate = *row.candidates[use.candidate];
  if (candidate.score_run != m.run || candidate.scored) return;
  candidate.scored = true;
  candidate.score = std::numeric_limits<double>::lowest();
  if (is_done(m.state) && m.base_sha == candidate.commit)
    candidate.score = number_in(m.result, "score").value_or(candidate.score);
  put(use.facet, row);
  const auto tries = with_commit(row);
  std::size_t best = tries.front();
  for (const std::size_t i : tries) {
    if (!row.candidates[i]->scored) return;
    if (row.candidates[i]->score > row.candidates[best]->score) best = i;
  }
  take(use.facet, row, best);
}

/// First what the tries changed; then a run that is given all of it.
void SwarmLife::ask_judge(std::uint32_t number, const fbs::FacetRowT& row) {
  fbs::ShowCandidatesT show;
  show.facet = number;
  show.run = row.run;
  show.url = line(row.line).line->url;
  for (const std::size_t i : with_commit(row)) {
    show.bases.push_back(row.candidates[i]->base);
    show.commits.push_back(row.candidates[i]->commit);
  }
  const std::string key = "candidates/" + name() + "/" + std::to_string(number) + "/" + row.run;
  ctx_.perform({"swarm", key, encode_effect(std::move(show)), kShowEffect, unknown<Swarm>(key)});
}

void SwarmLife::ask_judge_of(std::uint32_t number) {
  const fbs::FacetRowT row = facet(number);
  if (row.state == FacetState::working && row.choosing.empty() && with_commit(row).size() > 1)
    ask_judge(number, row);
}

void SwarmLife::on(const fbs::CandidatesShownT& m) {
  if (!exists() || ended() || s_.stopping || m.facet >= s_.loaded) return;
  fbs::FacetRowT row = facet(m.facet);
  if (row.state != FacetState::working || row.run != m.run || !row.choosing.empty()) return;
  const auto tries = with_commit(row);
  if (tries.empty()) return;
  if (!m.error.empty() || m.diffs.size() != tries.size()) return take(m.facet, row, tries.front());
  const fbs::PlanFacetT planned = plan(m.facet);
  json all = json::array();
  for (std::size_t i = 0; i < tries.size(); ++i)
    all.push_back(
        {{"number", tries[i]},
         {"commit", row.candidates[tries[i]]->commit},
         {"diff", m.diffs[i]},
         {"result", bounded(ctx_.row(result_key(m.facet, tries[i])).value_or(""), kResultShown)}});
  fbs::CreateRunT create = facet_run(m.facet, row, planned, "judge");
  create.feedback_json.clear();
  create.input_json =
      json{{"candidates", all}}.dump(-1, ' ', false, json::error_handler_t::replace);
  create.policy->delivery = fbs::DeliveryMode::none;
  create.policy->attempt_timeout_ms = planned.judge_timeout_ms;
  fbs::RunUseT use;
  use.facet = m.facet;
  use.line = row.line;
  use.number = row.runs;
  use.purpose = fbs::RunPurpose::judge;
  row.choosing = run_id(name(), "facet/" + row.id, row.runs);
  add_run(row.choosing, use, line(row.line), std::move(create));
  put(m.facet, row);
}

/// Who says nothing that counts takes the first.
void SwarmLife::judge_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m) {
  fbs::FacetRowT row = facet(use.facet);
  if (row.state != FacetState::working || row.choosing != m.run) return;
  const auto tries = with_commit(row);
  const auto said = is_done(m.state) ? number_in(m.result, "best") : std::nullopt;
  std::size_t best = tries.front();
  for (const std::size_t i : tries)
    if (said && *said == static_cast<double>(i)) best = i;
  take(use.facet, row, best);
}

void SwarmLife::take(std::uint32_t number, fbs::FacetRowT& row, std::size_t best) {
  const fbs::CandidateT winner = *row.candidates[best];
  for (const std::size_t i : with_commit(row))
    if (row.candidates[i]->commit != winner.commit)
      settle(row.candidates[i]->commit, CommitFate::superseded, winner.commit);
  if (!row.commit.empty() && row.commit != winner.commit)
    settle(row.commit, CommitFate::superseded, winner.commit);
  keep_result(number, ctx_.row(result_key(number, best)).value_or(""));
  for (std::size_t i = 0; i < row.candidates.size(); ++i) ctx_.erase_row(result_key(number, i));
  row.run = winner.run;
  row.commit = winner.commit;
  row.base = winner.base;
  row.choosing.clear();
  row.chosen = true;
  ctx_.erase_row(swarm::numbered("feedback/", number));
  move(number, row, FacetState::handed_in);
}

}  // namespace muster::actors
