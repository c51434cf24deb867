#include "engine/runtime/measured_journal.hpp"

#include <chrono>

namespace muster::engine {

Result<void> MeasuredJournal::commit(const storage::Batch& batch) {
  using Steady = std::chrono::steady_clock;
  const auto begin = Steady::now();
  auto result = journal_.commit(batch);
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Steady::now() - begin);
  const std::lock_guard lock(mutex_);
  commits_.push_back({shard_, wall_clock_now(), 0, batch.size(), batch.bytes(), took});
  if (commits_.size() > kKept) commits_.pop_front();
  ++totals_.commits;
  totals_.bytes += batch.bytes();
  return result;
}

void MeasuredJournal::note_decisions(std::size_t decisions) {
  const std::lock_guard lock(mutex_);
  if (!commits_.empty()) commits_.back().decisions = decisions;
  totals_.decisions += decisions;
}

void MeasuredJournal::add_to(std::vector<CommitLook>& commits, CommitTotals& totals) const {
  const std::lock_guard lock(mutex_);
  commits.insert(commits.end(), commits_.begin(), commits_.end());
  totals.commits += totals_.commits;
  totals.decisions += totals_.decisions;
  totals.bytes += totals_.bytes;
}

}  // namespace muster::engine
