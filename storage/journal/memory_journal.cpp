#include "storage/journal/memory_journal.hpp"

#include <algorithm>
#include <utility>

namespace muster::storage {

namespace {

MemoryDisk::Rows& rows_of(MemoryDisk& disk, Family family) {
  return disk.rows[static_cast<std::size_t>(family)];
}

void apply(MemoryDisk& disk, const Batch& batch) {
  batch.for_each([&](Family family, std::string_view key, std::optional<std::string_view> value) {
    MemoryDisk::Rows& rows = rows_of(disk, family);
    if (value) {
      rows.insert_or_assign(std::string(key), std::string(*value));
    } else if (const auto found = rows.find(key); found != rows.end()) {
      rows.erase(found);
    }
  });
}

/// What was written and not synced becomes part of what is there, or is gone.
void settle(MemoryDisk& disk, MemoryJournal::Outcome unsynced) {
  if (unsynced == MemoryJournal::Outcome::kept) {
    if (disk.unknown) apply(disk, *disk.unknown);
  } else {
    apply(disk, disk.dropped);
  }
  disk.unknown.reset();
  disk.dropped.clear();
}

}  // namespace

MemoryJournal::MemoryJournal(std::shared_ptr<MemoryDisk> disk) : disk_(std::move(disk)) {
  const std::lock_guard lock(disk_->mutex);
  settle(*disk_, Outcome::kept);
}

Result<void> MemoryJournal::usable() const {
  switch (life_) {
    case Life::open: return {};
    case Life::failed: return fail(Errc::io, "the journal failed and was not reopened");
    case Life::dead: return fail(Errc::io, "the journal crashed");
  }
  return fail(Errc::internal, "no such state of a journal");
}

Result<void> MemoryJournal::readable() const {
  return life_ == Life::failed ? Result<void>() : usable();
}

Result<void> MemoryJournal::commit(const Batch& batch) {
  const std::lock_guard lock(disk_->mutex);
  if (auto ok = usable(); !ok) return ok;
  if (batch.bytes() > kMaxBatchBytes) return fail(Errc::invalid, "the batch is too large");
  if (const auto failure = std::exchange(next_failure_, std::nullopt)) {
    if (*failure == Outcome::kept) disk_->unknown = batch;
    life_ = Life::failed;
    return fail(Errc::io, "commit: injected failure");
  }
  apply(*disk_, batch);
  // One log, one sync: it covers the drops that were written before.
  if (!batch.empty()) disk_->dropped.clear();
  return {};
}

Result<std::optional<std::string>> MemoryJournal::get(Family family, std::string_view key) const {
  const std::lock_guard lock(disk_->mutex);
  if (auto ok = readable(); !ok) return tl::unexpected(ok.error());
  const MemoryDisk::Rows& rows = rows_of(*disk_, family);
  const auto found = rows.find(key);
  if (found == rows.end()) return std::optional<std::string>{};
  return std::optional<std::string>(found->second);
}

Result<void> MemoryJournal::scan(Family family, std::string_view lower, std::string_view upper,
                                 const RowVisitor& row) const {
  const std::lock_guard lock(disk_->mutex);
  if (auto ok = readable(); !ok) return ok;
  const MemoryDisk::Rows& rows = rows_of(*disk_, family);
  for (auto it = rows.lower_bound(lower); it != rows.end() && it->first < upper; ++it)
    if (!row(it->first, it->second)) break;
  return {};
}

Result<void> MemoryJournal::scan_back(Family family, std::string_view lower, std::string_view upper,
                                      const RowVisitor& row) const {
  const std::lock_guard lock(disk_->mutex);
  if (auto ok = readable(); !ok) return ok;
  const MemoryDisk::Rows& rows = rows_of(*disk_, family);
  for (auto it = rows.lower_bound(upper); it != rows.begin();) {
    --it;
    if (it->first < lower || !row(it->first, it->second)) break;
  }
  return {};
}

Result<void> MemoryJournal::drop(Family family, std::string_view lower, std::string_view upper) {
  const std::lock_guard lock(disk_->mutex);
  if (auto ok = usable(); !ok) return ok;
  if (lower >= upper) return {};
  MemoryDisk::Rows& rows = rows_of(*disk_, family);
  const auto first = rows.lower_bound(lower);
  const auto last = rows.lower_bound(upper);
  for (auto it = first; it != last; ++it) disk_->dropped.put(family, it->first, it->second);
  rows.erase(first, last);
  return {};
}

Result<void> MemoryJournal::reopen() {
  const std::lock_guard lock(disk_->mutex);
  if (life_ == Life::dead) return usable();
  if (failing_reopens_ > 0) {
    --failing_reopens_;
    life_ = Life::failed;
    return fail(Errc::io, "reopen: injected failure");
  }
  settle(*disk_, Outcome::kept);
  life_ = Life::open;
  return {};
}

void MemoryJournal::fail_next_commit(Outcome outcome) {
  const std::lock_guard lock(disk_->mutex);
  next_failure_ = outcome;
}

void MemoryJournal::fail_reopen(int count) {
  const std::lock_guard lock(disk_->mutex);
  failing_reopens_ = count;
}

void MemoryJournal::crash(Outcome unsynced) {
  const std::lock_guard lock(disk_->mutex);
  settle(*disk_, unsynced);
  life_ = Life::dead;
}

}  // namespace muster::storage
