// The facets' rows, the ledger's, and what concerns many of them, in pages.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "actors/swarm/life.hpp"

namespace muster::actors {

using fbs::CommitFate;
using fbs::FacetState;
using fbs::SwarmState;

namespace swarm {

std::string numbered(std::string_view prefix, std::uint32_t number) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%05u", number);
  return std::string(prefix) + digits;
}

bool is_over(FacetState state) {
  return state >= FacetState::merged;
}
bool is_end(SwarmState state) {
  return state >= SwarmState::completed;
}

std::string green_branch(const std::string& swarm) {
  return "muster-swarm/" + swarm + "/green";
}
std::string try_branch(const std::string& swarm) {
  return "muster-swarm/" + swarm + "/try";
}
std::string remade_branch(const std::string& swarm) {
  return "muster-swarm/" + swarm + "/remade";
}
std::string facet_branch(const std::string& swarm, const std::string& facet) {
  return "muster-swarm/" + swarm + "/facet/" + facet;
}

std::string candidate_branch(const std::string& swarm, const std::string& facet,
                             std::size_t number) {
  return "muster-swarm/" + swarm + "/candidate/" + facet + "/" + std::to_string(number);
}
std::string marked_branch(const std::string& swarm, const std::string& facet) {
  return "muster-swarm/" + swarm + "/marked/" + facet;
}

std::vector<std::uint32_t> recount(const std::vector<fbs::FacetRowT>& rows) {
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(FacetState::MAX) + 1);
  for (const fbs::FacetRowT& row : rows) ++counts[static_cast<std::size_t>(row.state)];
  return counts;
}

}  // namespace swarm

namespace {

std::uint32_t number_of(std::string_view key) {
  return static_cast<std::uint32_t>(std::stoul(std::string(key.substr(key.rfind('/') + 1))));
}

/// Agents of a facet at work beyond the first.
std::uint32_t extra_of(const fbs::FacetRowT& row) {
  return row.candidates.empty() ? 0 : static_cast<std::uint32_t>(row.candidates.size() - 1);
}

std::string waiting_key(const fbs::FacetRowT& row, std::uint32_t number) {
  if (row.state == FacetState::waiting && row.held)
    return swarm::numbered(swarm::numbered("held/", row.line) + "/", number);
  if (row.state == FacetState::waiting && row.open_needs == 0)
    return swarm::numbered("free/", number);
  if (row.state == FacetState::handed_in)
    return swarm::numbered(swarm::numbered("in/", row.line) + "/", number);
  return {};
}

}  // namespace

fbs::FacetRowT SwarmLife::facet(std::uint32_t number) {
  return must_decode<fbs::FacetRowT>(
      ctx_.row(swarm::numbered(swarm::kFacetPrefix, number)).value());
}

fbs::PlanFacetT SwarmLife::plan(std::uint32_t number) {
  return must_decode<fbs::PlanFacetT>(ctx_.row(swarm::numbered("plan/", number)).value());
}

void SwarmLife::put(std::uint32_t number, const fbs::FacetRowT& row) {
  ctx_.put_row(swarm::numbered(swarm::kFacetPrefix, number), engine::encode_table(row));
}

/// The row with its new state, the counters, and the queues that it stands in.
void SwarmLife::move(std::uint32_t number, fbs::FacetRowT& row, FacetState to) {
  if (const std::string key = waiting_key(row, number); !key.empty()) ctx_.erase_row(key);
  --s_.counts[static_cast<std::size_t>(row.state)];
  ++s_.counts[static_cast<std::size_t>(to)];
  if (row.state == FacetState::working) s_.extra_agents -= extra_of(row);
  if (to == FacetState::working) s_.extra_agents += extra_of(row);
  if (row.holds && to != FacetState::trying) {
    row.holds = false;
    --s_.owners;
  }
  row.state = to;
  row.changed_unix_ms = now();
  if (const std::string key = waiting_key(row, number); !key.empty()) ctx_.put_row(key, "");
  if (to == FacetState::handed_in) hungry_.insert(row.line);
  if (swarm::is_over(to)) ctx_.put_row(swarm::numbered("after/", number), "0");
  if (swarm::is_over(to) && row.planner) forward_notes(number, row);
  if (to == FacetState::merged || to == FacetState::unchanged) answered(number);
  put(number, row);
}

/// Its feedback stays: for a person, and for the agent that a retry sends.
void SwarmLife::reject(std::uint32_t number, fbs::FacetRowT& row, const std::string& why) {
  row.why = one_line(why, swarm::kWhyBytes);
  if (!row.commit.empty()) settle(row.commit, CommitFate::rejected, row.why);
  for (const auto& candidate : row.candidates)
    if (candidate && !candidate->commit.empty())
      settle(candidate->commit, CommitFate::rejected, row.why);
  for (const char* of : {"adopt/", "marked/"}) ctx_.erase_row(swarm::numbered(of, number));
  keep_result(number, "");
  move(number, row, FacetState::rejected);
}

/// Why a facet's commit was not taken, for whoever does it again.
std::string SwarmLife::integration_feedback(const fbs::FacetRowT& row, const char* reason,
                                            const std::string& context) {
  const nlohmann::json feedback = {{"attempt", row.runs},
                                   {"class", "integration"},
                                   {"reason", reason},
                                   {"message", row.why},
                                   {"step", "integration"},
                                   {"commit", row.commit},
                                   {"output", bounded(context, swarm::kFeedbackBytes)}};
  return feedback.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// It is done again on the newest green, if it may; its commit stays open until then.
void SwarmLife::evict(std::uint32_t number, const char* reason, const std::string& why,
                      const std::string& context) {
  fbs::FacetRowT row = facet(number);
  ++s_.evictions;
  row.why = one_line(why, swarm::kWhyBytes);
  ctx_.put_row(swarm::numbered("feedback/", number), integration_feedback(row, reason, context));
  if (++row.evictions > s_.conflicts) return reject(number, row, why);
  row.held = true;
  hungry_.insert(row.line);  // which lets it go, at once or after its batch
  move(number, row, FacetState::waiting);
}

/// The line is done with its batch: who was sent back may work again, on all that it made green.
void SwarmLife::release_held(std::uint32_t number) {
  const std::string prefix = swarm::numbered("held/", number);
  for (const auto& [key, value] : ctx_.rows(prefix + "/", prefix + "0", swarm::kMaxBatch)) {
    const std::uint32_t held = number_of(key);
    fbs::FacetRowT row = facet(held);
    ctx_.erase_row(key);
    row.held = false;
    const bool as_it_is = row.remerge;
    row.remerge = false;
    move(held, row, as_it_is ? FacetState::handed_in : FacetState::waiting);
  }
}

// ---- the ledger ----

void SwarmLife::received(std::uint32_t number, const std::string& run, const std::string& base,
                         const std::string& commit) {
  const std::string key = std::string(swarm::kCommitPrefix) + commit;
  if (ctx_.row(key)) return;
  fbs::CommitRowT row;
  row.facet = number;
  row.run = run;
  row.base = base;
  ctx_.put_row(key, engine::encode_table(row));
}

/// A fate is said once: false when it was said before. `what`: merge, successor or reason.
bool SwarmLife::settle(const std::string& commit, CommitFate fate, const std::string& what) {
  const std::string key = std::string(swarm::kCommitPrefix) + commit;
  const auto bytes = ctx_.row(key);
  if (!bytes) return false;
  auto row = must_decode<fbs::CommitRowT>(*bytes);
  if (row.fate != CommitFate::open) return false;
  row.fate = fate;
  if (fate == CommitFate::merged) row.merge = what;
  if (fate == CommitFate::superseded) row.successor = what;
  if (fate == CommitFate::rejected) row.reason = what;
  ctx_.put_row(key, engine::encode_table(row));
  return true;
}

// ---- pages ----

/// Everything that is open becomes rejected, but what a move of green under way will merge.
void SwarmLife::stop_page() {
  std::set<std::uint32_t> moving;
  for (std::uint32_t i = 0; i < s_.lines; ++i)
    if (line(i).state == fbs::LineState::moving)
      for (const auto& tried : line(i).tried) moving.insert(tried->facet);
  const std::uint32_t end =
      std::min(s_.loaded, s_.stop_from + static_cast<std::uint32_t>(swarm::kPage));
  for (; s_.stop_from < end; ++s_.stop_from) {
    fbs::FacetRowT row = facet(s_.stop_from);
    if (swarm::is_over(row.state) || moving.contains(s_.stop_from)) continue;
    reject(s_.stop_from, row, "the swarm stopped: " + s_.reason);
  }
  if (s_.stop_from < s_.loaded) more_ = true;
}

void SwarmLife::retry_page() {
  const std::uint32_t end =
      std::min(s_.loaded, s_.retry_from + static_cast<std::uint32_t>(swarm::kPage));
  for (; s_.retry_from < end; ++s_.retry_from) {
    fbs::FacetRowT row = facet(s_.retry_from);
    if (row.state != FacetState::rejected) continue;
    row.evictions = row.unfit = row.resolves = 0;
    row.held = row.remerge = false;
    row.why.clear();
    ctx_.erase_row(swarm::numbered("after/", s_.retry_from));
    if (row.owner != 0 && row.told_owner) {
      fbs::FacetRowT owner = facet(row.owner - 1);
      ++owner.children;
      if (owner.lost > 0) --owner.lost;
      put(row.owner - 1, owner);
      row.told_owner = false;
    }
    if (row.planner && row.rounds > 0) {  // its parts are there: it waits for them
      row.holds = true;
      ++s_.owners;
      ctx_.put_row(swarm::numbered("settle/", s_.retry_from), "");
      move(s_.retry_from, row, FacetState::trying);
      continue;
    }
    move(s_.retry_from, row, FacetState::waiting);
  }
  if (s_.retry_from < s_.loaded)
    more_ = true;
  else
    s_.retrying = false;
}

/// Who needs a facet that is over now: one step nearer, or rejected with it.
void SwarmLife::tell_dependents() {
  if (s_.stopping || s_.retrying) return;
  std::size_t budget = swarm::kPage;
  // A rejected dependent is itself a new entry; the loop comes back to it.
  for (;;) {
    const auto next = ctx_.rows("after/", "after0", 1);
    if (next.empty()) return;
    if (budget == 0) {
      more_ = true;
      return;
    }
    const std::uint32_t number = number_of(next[0].first);
    fbs::FacetRowT over = facet(number);
    tell_owner(number, over);
    const fbs::PlanFacetT planned = plan(number);
    std::size_t at = std::stoul(next[0].second);
    for (; at < planned.needed_by.size() && budget > 0; ++at, --budget) {
      const std::uint32_t later = planned.needed_by[at];
      fbs::FacetRowT row = facet(later);
      if (over.state == FacetState::rejected) {
        if (row.state == FacetState::waiting)
          reject(later, row, "it needs " + over.id + ", which was rejected");
        continue;
      }
      if (row.open_needs > 0) --row.open_needs;
      if (row.state == FacetState::waiting)
        move(later, row, FacetState::waiting);  // perhaps it is free now
      else
        put(later, row);
    }
    if (at < planned.needed_by.size()) {
      ctx_.put_row(next[0].first, std::to_string(at));
    } else {
      ctx_.erase_row(next[0].first);
      if (budget > 0) --budget;
    }
  }
}

}  // namespace muster::actors
