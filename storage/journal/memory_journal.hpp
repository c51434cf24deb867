// The journal's twin in memory, for tests and simulation: same answers, and it can fail and lose power.
//
// The MemoryDisk outlives the journal as a disk outlives a process, so a restart is a second MemoryJournal on
// the same disk (never two at once):
//
//   auto disk = std::make_shared<MemoryDisk>();
//   MemoryJournal journal(disk);
//   journal.fail_next_commit(MemoryJournal::Outcome::kept);
//   journal.commit(batch);                // Errc::io: unknown
//   journal.reopen();                     // … and it was there after all
//   journal.crash(MemoryJournal::Outcome::lost);  // power cut: refuses everything, even reopen()
//   MemoryJournal restarted(disk);        // sees exactly what was synced
#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "storage/journal/journal.hpp"

namespace muster::storage {

/// What lies on the pretended disk. Opaque; only MemoryJournal touches it, under `mutex`.
struct MemoryDisk {
  using Rows = std::map<std::string, std::string, std::less<>>;

  std::recursive_mutex mutex;  ///< Recursive, because a scan's callback may read again.
  std::array<Rows, kFamilies> rows;
  /// Written, not synced: rows that a drop() took and a power cut may bring back.
  Batch dropped;
  /// Written, not synced: the batch of a commit that failed with Outcome::kept.
  std::optional<Batch> unknown;
};

class MemoryJournal final : public Journal {
 public:
  /// What becomes of bytes that were written and not synced.
  enum class Outcome : std::uint8_t { lost, kept };

  explicit MemoryJournal(std::shared_ptr<MemoryDisk> disk = std::make_shared<MemoryDisk>());

  Result<void> commit(const Batch& batch) override;
  Result<std::optional<std::string>> get(Family family, std::string_view key) const override;
  Result<void> scan(Family family, std::string_view lower, std::string_view upper,
                    const RowVisitor& row) const override;
  Result<void> scan_back(Family family, std::string_view lower, std::string_view upper,
                         const RowVisitor& row) const override;
  Result<void> drop(Family family, std::string_view lower, std::string_view upper) override;
  Result<void> reopen() override;

  /// The next commit fails with Errc::io; `outcome` says whether reopen() finds its record.
  void fail_next_commit(Outcome outcome);
  /// The next `count` calls of reopen() fail: the disk is still full.
  void fail_reopen(int count);
  /// Power cut, or kill -9 with Outcome::kept: this journal is dead, the disk settles what was not synced.
  void crash(Outcome unsynced);

  [[nodiscard]] std::shared_ptr<MemoryDisk> disk() const { return disk_; }

 private:
  enum class Life : std::uint8_t { open, failed, dead };

  [[nodiscard]] Result<void> usable() const;
  [[nodiscard]] Result<void> readable() const;

  std::shared_ptr<MemoryDisk> disk_;
  Life life_ = Life::open;
  std::optional<Outcome> next_failure_;
  int failing_reopens_ = 0;
};

}  // namespace muster::storage
