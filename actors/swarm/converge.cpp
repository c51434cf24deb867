// When enough is there, and the run that makes one result of all results.
#include <chrono>
#include <nlohmann/json.hpp>

#include "actors/swarm/life.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors {

using fbs::FailureClass;
using fbs::RunState;
using nlohmann::json;

namespace {

constexpr std::size_t kNamedMissing = 1'000;
constexpr std::uint32_t kReduceAttempts = 3;

/// A facet's ballot: what stands at the pointer in its result; empty when nothing does.
std::string ballot_in(const std::string& result, const std::string& pointer) {
  const json said = json::parse(result, nullptr, false);
  const json::json_pointer at(pointer);  // the swarm file's reader took it
  return said.is_structured() && said.contains(at) ? said.at(at).dump() : std::string();
}

}  // namespace

/// A facet is merged or unchanged; its result counts from now on.
void SwarmLife::answered(std::uint32_t number) {
  const auto result = ctx_.row(swarm::numbered(swarm::kResultPrefix, number));
  if (!result) return;
  ++s_.answers;
  if (s_.converge_answers != 0 && s_.answers >= s_.converge_answers)
    enough_ = std::to_string(s_.answers) + " results are enough";
  if (s_.converge_quorum == 0) return;
  const std::string ballot = ballot_in(*result, created().converge_vote);
  if (ballot.empty()) return;
  const std::string key = "ballot/" + sha256_hex(ballot);
  const std::uint32_t votes =
      1 + static_cast<std::uint32_t>(std::stoul(ctx_.row(key).value_or("0")));
  ctx_.put_row(key, std::to_string(votes));
  if (votes >= s_.converge_quorum)
    enough_ = "the vote is decided by " + std::to_string(votes) + " equal ballots";
}

/// What is not there by now is rejected and named; what is there is delivered as any outcome.
void SwarmLife::converge(const std::string& why) {
  if (s_.stopping || ended()) return;
  stop("it converges with what is there: " + why);
  s_.converged = true;
}

/// Whether the end waits for the reducer run.
bool SwarmLife::reducing() {
  if (s_.reduced || s_.cancelled || (s_.stopping && !s_.converged)) return false;
  if (created().reduce_timeout_ms == 0) return false;
  if (s_.reduce_run.empty()) start_reducer();
  return true;
}

void SwarmLife::start_reducer() {
  json results = json::object(), missing = json::array(), left_out = json::array();
  std::size_t bytes = 0;
  const auto facets = ctx_.rows(swarm::kFacetPrefix, swarm::kFacetEnd, s_.loaded);
  for (std::uint32_t i = 0; i < facets.size(); ++i) {
    const auto row = must_decode<fbs::FacetRowT>(facets[i].second);
    if (row.planner) continue;
    const auto result = ctx_.row(swarm::numbered(swarm::kResultPrefix, i));
    const bool fits = result && bytes + result->size() <= swarm::kReducerBytes;
    if (fits) {
      bytes += result->size();
      results[row.id] = json::parse(*result, nullptr, false);
    } else if (json& to = result ? left_out : missing; to.size() < kNamedMissing) {
      to.push_back(row.id);
    }
  }
  const fbs::CreateSwarmT whole = created();
  fbs::CreateRunT create;
  create.base_branch = swarm::green_branch(name());
  create.labels_json = json{{"reduce", name()}}.dump();
  create.generation = ++s_.reduce_tries;
  create.input_json = json{{"results", results}, {"missing", missing}, {"left_out", left_out}}.dump(
      -1, ' ', false, json::error_handler_t::replace);
  create.messages = messages_for("");
  create.policy = std::make_unique<fbs::RunPolicyT>(policy());
  create.policy->max_attempts = kReduceAttempts;
  create.policy->retry_on = {FailureClass::infrastructure, FailureClass::agent};
  create.policy->branch = swarm::green_branch(name());
  create.policy->attempt_timeout_ms = whole.reduce_timeout_ms;
  fbs::RunUseT use;
  use.purpose = fbs::RunPurpose::reduce;
  use.number = s_.reduce_tries;
  s_.reduce_run = run_id(name(), "reduce", s_.reduce_tries);
  add_run(s_.reduce_run, use, line(0), std::move(create));
  progress();
}

void SwarmLife::reduce_ended(const fbs::SwarmRunEndedT& m) {
  if (s_.reduce_run != m.run || s_.reduced) return;
  const bool done = m.state == RunState::unchanged || m.state == RunState::delivered ||
                    m.state == RunState::skipped;
  const std::string said = m.message.empty() ? m.reason : m.message;
  s_.reduced = true;
  if (done && !m.result.empty())
    ctx_.put_row(std::string(swarm::kReduced), m.result);
  else
    s_.reduce_error = done ? "the reducer left no result.json"
                           : "the reducer " + std::string(to_string(m.state)) +
                                 (said.empty() ? "" : ": " + one_line(said, swarm::kWhyBytes));
}

}  // namespace muster::actors
