// A shard's journal that notes how large each commit was and how long it took: two clock readings
// per group commit. For the shard alone: whoever else reads, checks or copies the journal has the
// one below it.
#pragma once

#include <deque>
#include <mutex>

#include "engine/core/inspect.hpp"
#include "storage/journal/journal.hpp"

namespace muster::engine {

class MeasuredJournal final : public storage::Journal {
 public:
  static constexpr std::size_t kKept = 256;

  /// `journal` outlives it.
  MeasuredJournal(storage::Journal& journal, std::uint32_t shard)
      : journal_(journal), shard_(shard) {}

  Result<void> commit(const storage::Batch& batch) override;
  Result<std::optional<std::string>> get(storage::Family family,
                                         std::string_view key) const override {
    return journal_.get(family, key);
  }
  Result<void> scan(storage::Family family, std::string_view lower, std::string_view upper,
                    const storage::RowVisitor& row) const override {
    return journal_.scan(family, lower, upper, row);
  }
  Result<void> scan_back(storage::Family family, std::string_view lower, std::string_view upper,
                         const storage::RowVisitor& row) const override {
    return journal_.scan_back(family, lower, upper, row);
  }
  Result<void> drop(storage::Family family, std::string_view lower,
                    std::string_view upper) override {
    return journal_.drop(family, lower, upper);
  }
  Result<void> reopen() override { return journal_.reopen(); }

  /// How many decisions the commit that just ended made visible.
  void note_decisions(std::size_t decisions);
  void add_to(std::vector<CommitLook>& commits, CommitTotals& totals) const;

 private:
  storage::Journal& journal_;
  std::uint32_t shard_;
  mutable std::mutex mutex_;
  std::deque<CommitLook> commits_;
  CommitTotals totals_;
};

}  // namespace muster::engine
