#include "actors/swarm/integration.hpp"

#include <algorithm>

namespace muster::actors::swarm {
namespace {

bool over(const FacetRow& row) {
  return row.state == FacetState::merged || row.state == FacetState::rejected;
}

class Step {
 public:
  Step(Integration& state, std::int64_t now_ms) : s_(state), now_(now_ms) {}

  std::vector<SwarmCommand> run(const SwarmEvent& event) {
    if (!s_.begun) {
      s_.begun = true;
      s_.progress_ms = now_;
    }
    std::visit([this](const auto& e) { on(e); }, event);
    go_on();
    return std::move(commands_);
  }

 private:
  // ---- agents ----

  void on(const HandedIn& e) {
    if (e.facet >= s_.facets.size() || e.commit.empty()) return;
    FacetRow& row = s_.facets[e.facet];
    if (s_.ledger.find(e.commit) != nullptr) return;  // Twice.
    if (!s_.ledger.received(row.id, e.commit)) return;
    if (row.state != FacetState::working || e.attempt != row.attempt) {
      (void)s_.ledger.rejected(e.commit,
                               "late: attempt " + std::to_string(e.attempt) + " was over");
      return;
    }
    if (!row.commit.empty()) (void)s_.ledger.superseded(row.commit, e.commit);
    row.commit = e.commit;
    row.state = FacetState::handed_in;
  }

  void on(const WorkFailed& e) {
    if (e.facet >= s_.facets.size()) return;
    FacetRow& row = s_.facets[e.facet];
    if (row.state != FacetState::working || e.attempt != row.attempt) return;
    row.why = e.why;
    if (++row.failures >= s_.limits.attempts)
      reject(row, "no attempt made a commit: " + e.why);
    else
      row.state = FacetState::waiting;
  }

  void reject(FacetRow& row, const std::string& why) {
    row.state = FacetState::rejected;
    row.why = why;
    const LedgerEntry* entry = s_.ledger.find(row.commit);
    if (entry != nullptr && entry->fate == Fate::open) (void)s_.ledger.rejected(row.commit, why);
  }

  void evict(std::size_t facet, const std::string& why) {
    FacetRow& row = s_.facets[facet];
    row.why = why;
    if (++row.evictions > s_.limits.evictions)
      reject(row, why);
    else
      row.state = FacetState::waiting;
  }

  // ---- the line ----

  [[nodiscard]] bool awaited(LineState line, std::uint64_t number) const {
    return s_.line == line && s_.number == number;
  }

  void on(const Merged& e) {
    if (!awaited(LineState::merging, e.number)) return;
    s_.line = LineState::idle;
    s_.tried.clear();
    for (const MergedHead& head : e.heads) {
      if (head.merge.empty())
        evict(head.facet, head.why.empty() ? "it conflicts" : head.why);
      else
        s_.tried.push_back(head);
    }
    if (s_.tried.empty()) return;
    s_.tip = e.tip;
    s_.line = LineState::verifying;
    commands_.push_back(VerifyOrder{++s_.number, s_.tip});
  }

  void on(const Verified& e) {
    if (!awaited(LineState::verifying, e.number)) return;
    if (e.passed) {
      s_.line = LineState::moving;
      commands_.push_back(MoveGreen{++s_.number, s_.green, s_.tip});
      return;
    }
    s_.line = LineState::idle;
    split(e.why);
  }

  /// The halves of what failed, the first to be tried first.
  void split(const std::string& why) {
    if (s_.tried.size() == 1) {
      evict(s_.tried[0].facet, why.empty() ? "the verification failed" : why);
      return;
    }
    const std::size_t middle = s_.tried.size() / 2;
    std::vector<std::size_t> first, second;
    for (std::size_t i = 0; i < s_.tried.size(); ++i)
      (i < middle ? first : second).push_back(s_.tried[i].facet);
    s_.halves.push_back(std::move(second));
    s_.halves.push_back(std::move(first));
  }

  void on(const GreenMoved& e) {
    if (!awaited(LineState::moving, e.number)) return;
    s_.line = LineState::idle;
    if (!e.why_not.empty()) return lose_green(e.why_not);
    s_.green = s_.tip;
    s_.progress_ms = now_;
    for (const MergedHead& head : s_.tried) {
      FacetRow& row = s_.facets[head.facet];
      row.state = FacetState::merged;
      (void)s_.ledger.merged(row.commit, head.merge);
    }
    s_.tried.clear();
  }

  /// Nothing can be integrated into a line that somebody else writes.
  void lose_green(const std::string& why) {
    for (const MergedHead& head : s_.tried) reject(s_.facets[head.facet], why);
    s_.tried.clear();
    stop(why);
  }

  /// What is to be merged next: a half of a failed batch, else what was handed in.
  std::vector<std::size_t> next_batch() {
    if (!s_.halves.empty()) {
      auto half = std::move(s_.halves.back());
      s_.halves.pop_back();
      return half;
    }
    std::vector<std::size_t> batch;
    for (std::size_t i = 0; i < s_.facets.size() && batch.size() < s_.limits.batch; ++i)
      if (s_.facets[i].state == FacetState::handed_in) batch.push_back(i);
    return batch;
  }

  void feed_line() {
    if (s_.line != LineState::idle || !s_.stopped.empty()) return;
    const auto batch = next_batch();
    if (batch.empty()) return;
    MergeOrder order{++s_.number, s_.green, batch, {}, now_ / 1000};
    for (const std::size_t i : batch) {
      s_.facets[i].state = FacetState::trying;
      order.heads.push_back(s_.facets[i].commit);
    }
    s_.line = LineState::merging;
    commands_.push_back(std::move(order));
  }

  // ---- the whole ----

  void on(const Tick&) {
    if (!ended(s_) && now_ - s_.progress_ms >= s_.limits.stall_ms)
      stop("nothing was merged for " + muster::to_string(Duration{s_.limits.stall_ms}));
  }
  void on(const StopSwarm& e) { stop(e.why.empty() ? "it was stopped" : e.why); }

  /// A move of green that is under way is waited for: git may have done it already.
  void stop(const std::string& why) {
    if (!s_.stopped.empty() || ended(s_)) return;
    s_.stopped = why;
    s_.halves.clear();
    if (s_.line != LineState::moving) {
      s_.line = LineState::idle;
      s_.tried.clear();
    }
    for (std::size_t i = 0; i < s_.facets.size(); ++i)
      if (!over(s_.facets[i]) && !moving(i)) reject(s_.facets[i], "the swarm stopped: " + why);
  }

  [[nodiscard]] bool moving(std::size_t facet) const {
    return s_.line == LineState::moving &&
           std::any_of(s_.tried.begin(), s_.tried.end(),
                       [&](const MergedHead& head) { return head.facet == facet; });
  }

  /// Rows stand behind what they need, so one pass reaches all that hang on a rejected one.
  void reject_dependents() {
    for (FacetRow& row : s_.facets) {
      if (row.state != FacetState::waiting) continue;
      for (const std::size_t need : row.needs)
        if (row.state == FacetState::waiting && s_.facets[need].state == FacetState::rejected)
          reject(row, "it needs " + s_.facets[need].id + ", which was rejected");
    }
  }

  void give_work() {
    auto at_work = static_cast<std::size_t>(
        std::count_if(s_.facets.begin(), s_.facets.end(),
                      [](const FacetRow& row) { return row.state == FacetState::working; }));
    for (std::size_t i = 0; i < s_.facets.size() && at_work < s_.limits.agents; ++i) {
      FacetRow& row = s_.facets[i];
      const bool free = std::all_of(row.needs.begin(), row.needs.end(), [&](std::size_t need) {
        return s_.facets[need].state == FacetState::merged;
      });
      if (row.state != FacetState::waiting || !free) continue;
      row.state = FacetState::working;
      commands_.push_back(WorkOrder{i, ++row.attempt, s_.green, row.why});
      ++at_work;
    }
  }

  void go_on() {
    feed_line();
    reject_dependents();
    if (s_.stopped.empty()) give_work();
  }

  Integration& s_;
  std::int64_t now_;
  std::vector<SwarmCommand> commands_;
};

}  // namespace

bool ended(const Integration& state) {
  return state.line == LineState::idle &&
         std::all_of(state.facets.begin(), state.facets.end(), over);
}

std::vector<SwarmCommand> step(Integration& state, const SwarmEvent& event, std::int64_t now_ms) {
  return Step(state, now_ms).run(event);
}

}  // namespace muster::actors::swarm
