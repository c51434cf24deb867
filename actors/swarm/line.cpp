// What happens to a line: merge a batch onto green, verify the tip, move green, split what failed.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "actors/run/run.hpp"
#include "actors/swarm/life.hpp"
#include "actors/swarm/swarm_spec.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors {

using fbs::CommitFate;
using fbs::FacetState;
using fbs::FailureClass;
using fbs::HeadOutcome;
using fbs::LineState;
using fbs::RunState;

namespace {

constexpr Duration kStartEffect = std::chrono::minutes(2);
constexpr Duration kMergeEffect = std::chrono::minutes(10);
constexpr Duration kGreenEffect = std::chrono::minutes(2);

const char* reason_of(HeadOutcome outcome) {
  switch (outcome) {
    case HeadOutcome::merged:
      return "merged";
    case HeadOutcome::conflict:
      return "conflict";
    case HeadOutcome::out_of_scope:
      return "out_of_scope";
    case HeadOutcome::nothing_new:
      return "nothing_new";
  }
  return "?";
}

}  // namespace

fbs::LineRowT& SwarmLife::line(std::uint32_t number) {
  const auto known = lines_.find(number);
  if (known != lines_.end()) return known->second;
  auto row = must_decode<fbs::LineRowT>(ctx_.row(swarm::numbered("line/", number)).value());
  return lines_.emplace(number, std::move(row)).first->second;
}

void SwarmLife::save_lines() {
  for (const std::uint32_t number : touched_)
    ctx_.put_row(swarm::numbered("line/", number), engine::encode_table(lines_.at(number)));
}

std::string SwarmLife::line_key(std::uint32_t number, const std::string& what) const {
  return "line/" + name() + "/" + lines_.at(number).line->id + "/" + what;
}

void SwarmLife::start_line(std::uint32_t number) {
  fbs::LineRowT& row = lines_.at(number);
  touched_.insert(number);
  row.state = LineState::starting;
  ++s_.lines_starting;
  fbs::StartLineT start;
  start.line = number;
  start.url = row.line->url;
  start.base_branch = row.line->base_branch;
  start.green_branch = swarm::green_branch(name());
  const std::string key = line_key(number, "start");
  ctx_.perform({"swarm", key, encode_effect(std::move(start)), kStartEffect, unknown<Swarm>(key)});
}

void SwarmLife::on(const fbs::LineStartedT& m) {
  if (!exists() || m.line >= s_.lines) return;
  fbs::LineRowT& row = line(m.line);
  if (row.state != LineState::starting) return;
  touched_.insert(m.line);
  row.state = LineState::idle;
  row.tries = 0;
  --s_.lines_starting;
  if (!m.error.empty()) return stop("repository " + row.line->id + ": " + m.error);
  row.begin = row.green = m.begin;
  if (row.line->base_branch.empty()) row.line->base_branch = m.base_branch;
}

/// A half of a failed batch, else what was handed in, in the order of the plan.
std::vector<std::uint32_t> SwarmLife::next_batch(std::uint32_t number) {
  fbs::LineRowT& row = line(number);
  if (!row.halves.empty()) {
    std::vector<std::uint32_t> half = std::move(row.halves.back()->facets);
    row.halves.pop_back();
    return half;
  }
  std::vector<std::uint32_t> batch;
  const std::string prefix = swarm::numbered("in/", number);
  for (const auto& [key, value] : ctx_.rows(prefix + "/", prefix + "0", s_.batch))
    batch.push_back(static_cast<std::uint32_t>(std::stoul(key.substr(key.rfind('/') + 1))));
  for (const std::uint32_t i : batch) {
    fbs::FacetRowT row_of = facet(i);
    move(i, row_of, FacetState::trying);
  }
  return batch;
}

/// Under a number of its own: an answer to an earlier order no longer counts.
fbs::LineRowT& SwarmLife::begin_order(std::uint32_t number, LineState state) {
  fbs::LineRowT& row = line(number);
  touched_.insert(number);
  row.state = state;
  row.tries = 0;
  ++row.number;
  return row;
}

void SwarmLife::feed(std::uint32_t number) {
  if (line(number).state != LineState::idle) return;
  if (line(number).halves.empty()) release_held(number);
  auto batch = next_batch(number);
  if (batch.empty()) return;
  fbs::LineRowT& row = begin_order(number, LineState::merging);
  row.batch = std::move(batch);
  row.onto = row.green;
  row.at_unix_s = now() / 1000;
  merge(number);
}

void SwarmLife::merge(std::uint32_t number) {
  const fbs::LineRowT& row = lines_.at(number);
  fbs::MergeFacetsT order;
  order.swarm = name();
  order.line = number;
  order.number = row.number;
  order.url = row.line->url;
  order.plan_digest = s_.plan_digest.empty() ? created().plan_digest : s_.plan_digest;
  order.onto = row.onto;
  order.begin = row.begin;
  order.try_branch = swarm::try_branch(name());
  order.unix_seconds = row.at_unix_s;
  for (const std::uint32_t i : row.batch) {
    const fbs::FacetRowT trying = facet(i);
    auto head = std::make_unique<fbs::FacetHeadT>();
    head->facet = i;
    head->id = trying.id;
    head->commit = trying.commit;
    head->run = trying.run;
    head->mark = may_resolve(trying);
    order.heads.push_back(std::move(head));
  }
  const std::string key = line_key(number, "merge/" + std::to_string(row.number));
  ctx_.perform({"swarm", key, encode_effect(std::move(order)), kMergeEffect, unknown<Swarm>(key)});
}

void SwarmLife::on(const fbs::LineMergedT& m) {
  if (!exists() || m.line >= s_.lines) return;
  fbs::LineRowT& row = line(m.line);
  if (row.state != LineState::merging || row.number != m.number) return;
  if (!m.error.empty()) return try_again(m.line, m.error);
  touched_.insert(m.line);
  row.tries = 0;
  row.tried.clear();
  for (const auto& head : m.heads) {
    if (!head || std::find(row.batch.begin(), row.batch.end(), head->facet) == row.batch.end())
      continue;
    if (head->outcome == HeadOutcome::conflict && may_resolve(facet(head->facet))) {
      resolve(*head);
      continue;
    }
    if (head->outcome != HeadOutcome::merged) {
      evict(head->facet, reason_of(head->outcome), head->why, head->context);
      continue;
    }
    auto tried = std::make_unique<fbs::MergedFacetT>();
    tried->facet = head->facet;
    tried->merge = head->merge;
    tried->by_driver = head->by_driver;
    row.tried.push_back(std::move(tried));
  }
  row.batch.clear();
  if (row.tried.empty()) {
    row.state = LineState::idle;
    hungry_.insert(m.line);
    return;
  }
  row.tip = m.tip;
  row.remake = m.remake;
  row.merged.clear();
  if (!row.line->checks && row.remake.empty()) return move_green(m.line);
  begin_order(m.line, LineState::verifying);
  verify(m.line);
}

bool SwarmLife::may_resolve(const fbs::FacetRowT& row) const {
  return row.resolves < s_.resolves;
}

/// With a commit of both sides, whose files are marked: the resolver begins there. Without, the
/// conflict is with what is only tried, and may be gone once that is decided: it is merged once
/// more as it is.
void SwarmLife::resolve(const fbs::MergedFacetT& head) {
  fbs::FacetRowT row = facet(head.facet);
  row.why = one_line(head.why, swarm::kWhyBytes);
  row.held = true;
  row.remerge = head.marked.empty();
  hungry_.insert(row.line);
  if (!row.remerge) {
    ++row.resolves;
    ctx_.put_row(swarm::numbered("marked/", head.facet), head.marked);
    ctx_.put_row(swarm::numbered("feedback/", head.facet),
                 integration_feedback(row, "conflict", head.context));
  }
  move(head.facet, row, FacetState::waiting);
}

/// A run on the try branch whose agent is the verification; it delivers nothing. Or its agent makes files anew, the
/// verification follows, and it delivers them as a commit on top of the tip.
void SwarmLife::verify(std::uint32_t number) {
  fbs::LineRowT& row = lines_.at(number);
  touched_.insert(number);
  fbs::RunUseT use;
  use.check = true;
  use.line = number;
  use.number = row.number;
  row.check_run =
      run_id(name(), "check/" + row.line->id + "/" + std::to_string(row.number), row.tries + 1);
  fbs::CreateRunT create;
  create.base_branch = swarm::try_branch(name());
  create.labels_json = nlohmann::json{{"verify", row.line->id}}.dump();
  create.policy = std::make_unique<fbs::RunPolicyT>(policy());
  create.policy->branch = swarm::green_branch(name());
  create.policy->attempt_timeout_ms = row.line->check_timeout_ms;
  if (!row.remake.empty()) {
    create.input_json = nlohmann::json{{"remake", row.remake}}.dump(
        -1, ' ', false, nlohmann::json::error_handler_t::replace);
    create.policy->attempt_timeout_ms +=
        static_cast<std::int64_t>(row.remake.size()) * swarm::kLongestRemake.count();
    create.policy->delivery = fbs::DeliveryMode::branch;
    create.policy->branch = swarm::remade_branch(name());
  }
  create.policy->priority = 1;  // Before facets that wait for a slot.
  add_run(row.check_run, use, row, std::move(create));
}

void SwarmLife::check_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m) {
  fbs::LineRowT& row = line(use.line);
  // What a verification leaves behind is a commit that nobody pushed: only a run that makes files anew delivers one.
  const bool commits =
      m.state == RunState::delivered && !m.head_sha.empty() && m.reason != kNotPushed;
  if (row.state != LineState::verifying || row.check_run != m.run) {
    if (commits && keep_remade(use.line, m))
      settle(m.head_sha, CommitFate::rejected, "late: run " + m.run + " was no longer waited for");
    return;
  }
  const std::string said = m.message.empty() ? m.reason : m.message;
  const bool finished = m.state == RunState::unchanged || m.state == RunState::delivered;
  if (finished && m.base_sha == row.tip) {
    if (commits && keep_remade(use.line, m)) {
      touched_.insert(use.line);
      row.merged = std::exchange(row.tip, m.head_sha);
    }
    return passed(use.line);
  }
  const bool making = !row.remake.empty() && m.class_ == FailureClass::agent;
  const bool judged = m.class_ == FailureClass::agent || m.class_ == FailureClass::verification;
  if (m.state == RunState::failed && judged && m.base_sha == row.tip)
    return split(use.line,
                 (making ? "files that a program writes could not be made anew: "
                         : "the verification of the integrated tree failed: ") +
                     said,
                 m.output);
  if (commits && keep_remade(use.line, m))
    settle(m.head_sha, CommitFate::rejected, "it was made on another commit than the tip");
  try_again(use.line, finished ? "another commit than the tip was verified"
                               : "the verification could not be run: " + said);
}

/// Into the ledger: the swarm's own commit, that makes files anew. False when it is there already.
bool SwarmLife::keep_remade(std::uint32_t number, const fbs::SwarmRunEndedT& m) {
  const std::string key = std::string(swarm::kCommitPrefix) + m.head_sha;
  if (ctx_.row(key)) return false;
  fbs::CommitRowT row;
  row.run = m.run;
  row.base = m.base_sha;
  row.line = number;
  row.made = line(number).remake;
  if (row.made.empty()) row.made = {"?"};  // of an order long past: it is in no line
  ctx_.put_row(key, engine::encode_table(row));
  return true;
}

void SwarmLife::passed(std::uint32_t number) {
  if (line(number).line->checks) ++line(number).verified;
  move_green(number);
}

/// The halves of what failed, the first to be tried first; who fails alone is evicted.
void SwarmLife::split(std::uint32_t number, const std::string& why, const std::string& output) {
  fbs::LineRowT& row = line(number);
  touched_.insert(number);
  ++row.failed;
  row.state = LineState::idle;
  hungry_.insert(number);
  std::vector<std::uint32_t> failed;
  for (const auto& tried : row.tried) failed.push_back(tried->facet);
  row.tried.clear();
  if (!row.merged.empty()) settle(row.tip, CommitFate::rejected, one_line(why, swarm::kWhyBytes));
  if (failed.size() == 1) return evict(failed[0], "verification", why, output);
  const auto middle = failed.begin() + static_cast<std::ptrdiff_t>(failed.size() / 2);
  auto second = std::make_unique<fbs::FacetHalfT>(), first = std::make_unique<fbs::FacetHalfT>();
  first->facets.assign(failed.begin(), middle);
  second->facets.assign(middle, failed.end());
  row.halves.push_back(std::move(second));
  row.halves.push_back(std::move(first));
}

void SwarmLife::move_green(std::uint32_t number) {
  begin_order(number, LineState::moving);
  green_order(number);
}

void SwarmLife::green_order(std::uint32_t number) {
  const fbs::LineRowT& row = lines_.at(number);
  fbs::MoveGreenT order;
  order.line = number;
  order.number = row.number;
  order.url = row.line->url;
  order.green_branch = swarm::green_branch(name());
  order.from = row.green;
  order.to = row.tip;
  if (!row.merged.empty()) {
    order.merged = row.merged;
    order.made = row.remake;
  }
  const std::string key = line_key(number, "green/" + std::to_string(row.number));
  ctx_.perform({"swarm", key, encode_effect(std::move(order)), kGreenEffect, unknown<Swarm>(key)});
}

void SwarmLife::on(const fbs::GreenMovedT& m) {
  if (!exists() || m.line >= s_.lines) return;
  fbs::LineRowT& row = line(m.line);
  if (row.state != LineState::moving || row.number != m.number) return;
  if (!m.error.empty() && !m.lost) return try_again(m.line, m.error);
  touched_.insert(m.line);
  row.state = LineState::idle;
  if (m.lost) return lose_green(m.line, m.error);
  if (!m.unfit.empty()) return split(m.line, m.unfit, "");
  row.green = row.tip;
  if (!row.merged.empty()) {
    ++row.remade;
    settle(row.tip, CommitFate::merged, row.tip);
  }
  row.tries = 0;
  for (const auto& tried : row.tried) {
    fbs::FacetRowT merged = facet(tried->facet);
    settle(merged.commit, CommitFate::merged, tried->merge);
    merged.merge = tried->merge;
    merged.by_driver = tried->by_driver;
    merged.why.clear();
    move(tried->facet, merged, FacetState::merged);
  }
  row.tried.clear();
  hungry_.insert(m.line);
  progress();
}

/// Nothing can be integrated into a line that somebody else writes.
void SwarmLife::lose_green(std::uint32_t number, const std::string& error) {
  fbs::LineRowT& row = line(number);
  const std::string why = "repository " + row.line->id + ": " + error;
  if (!row.merged.empty()) settle(row.tip, CommitFate::rejected, one_line(why, swarm::kWhyBytes));
  for (const auto& tried : row.tried) {
    fbs::FacetRowT lost = facet(tried->facet);
    reject(tried->facet, lost, why);
  }
  row.tried.clear();
  stop(why);
}

/// The present order once more; too often, and the swarm stops. git may have moved green already when nobody
/// answered: until it says so, a swarm that stops does not end either.
void SwarmLife::try_again(std::uint32_t number, const std::string& trouble) {
  fbs::LineRowT& row = line(number);
  touched_.insert(number);
  const bool moving = row.state == LineState::moving;
  const std::uint32_t most = moving ? swarm::kMoveTries : swarm::kOrderTries;
  if (++row.tries >= most || (s_.stopping && !moving)) {
    const std::string why = "repository " + row.line->id + ": " + trouble;
    if (moving) {
      row.state = LineState::idle;
      ++row.number;
      return lose_green(number, trouble);
    }
    if (row.state == LineState::starting) {
      row.state = LineState::idle;
      --s_.lines_starting;
    }
    return stop(why);
  }
  switch (row.state) {
    case LineState::starting:
      --s_.lines_starting;
      return start_line(number);
    case LineState::merging:
      return merge(number);
    case LineState::verifying:
      return verify(number);
    case LineState::moving:
      return green_order(number);
    case LineState::idle:
      return;
  }
}

/// Orders under way count no more, but for a move of green.
void SwarmLife::release_lines() {
  for (std::uint32_t i = 0; i < s_.lines; ++i) {
    fbs::LineRowT& row = line(i);
    touched_.insert(i);
    row.halves.clear();
    if (row.state != LineState::merging && row.state != LineState::verifying) continue;
    row.state = LineState::idle;
    row.tried.clear();
    row.batch.clear();
    ++row.number;
  }
}

}  // namespace muster::actors
