// The store of one shard: ordered keys in column families, written in atomic, synced batches.
//
// RocksDB implements it (rocksdb_journal.hpp) and so does memory (memory_journal.hpp), which can also lose
// what was not synced, and fail; one suite runs over both. Used by the shard alone: commit() from its
// writer, get() and scan() from any thread. A row callback may read the journal again; it must not commit,
// drop or reopen, and should return soon.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::storage {

/// What is kept apart, because it is written and read differently. Numbers are on disk: only add.
enum class Family : std::uint8_t {
  meta = 0,      ///< Format version, generation, low-water mark, shard clock.
  inbox = 1,     ///< Every message by shard sequence; append-only, read at recovery and by tools.
  backlog = 2,   ///< (actor, lane, sequence): messages that no window holds.
  state = 3,     ///< (slot, actor) heads and rows.
  timers = 4,    ///< (due, actor, name).
  effects = 5,   ///< (actor, sequence): asked of the outside and not answered yet.
  dedup = 6,     ///< API keys with their replies; channel marks.
  outbox = 7,    ///< (destination shard, number): messages to other shards, not acknowledged yet.
  changes = 8,   ///< One record per commit: what events, console and replay read.
  dead = 9,      ///< Dead letters by shard sequence.
  index = 10,    ///< (index, key, actor) -> value, for lists.
  audit = 11,    ///< Audit entries by shard sequence.
};
constexpr std::size_t kFamilies = 12;
/// The family's name, on disk too.
std::string_view to_string(Family family);

/// The largest batch (keys and values); far above any group commit, far below what a WriteBatch can hold.
constexpr std::size_t kMaxBatchBytes = 256u << 20;

/// Writes that become visible together or not at all. They lie one after the other in one buffer,
/// which clear() keeps up to a bound: a batch that is used again allocates nothing.
class Batch {
 public:
  static constexpr std::size_t kKeptBytes = 8u << 20;

  struct Op {
    Family family;
    std::string key;
    std::optional<std::string> value;  ///< Absent: delete.
  };

  void put(Family family, std::string_view key, std::string_view value) {
    add({family, true, static_cast<std::uint32_t>(key.size()),
         static_cast<std::uint32_t>(value.size())},
        key, value);
  }
  void erase(Family family, std::string_view key) {
    add({family, false, static_cast<std::uint32_t>(key.size()), 0}, key, {});
  }

  /// Calls f(family, key, value) for each write, in order; `value` is an optional view, absent:
  /// delete.
  template <class F>
  void for_each(F&& f) const {
    const char* at = buffer_.data();
    const char* const end = at + buffer_.size();
    while (at != end) {
      Header header;
      std::memcpy(&header, at, sizeof header);
      const std::string_view key(at + sizeof header, header.key);
      const std::string_view value(key.data() + header.key, header.value);
      f(header.family, key, header.put ? std::optional<std::string_view>(value) : std::nullopt);
      at = value.data() + header.value;
    }
  }
  /// The same as copies.
  [[nodiscard]] std::vector<Op> ops() const;

  [[nodiscard]] bool empty() const { return buffer_.empty(); }
  [[nodiscard]] std::size_t size() const { return count_; }
  /// Of keys and values.
  [[nodiscard]] std::size_t bytes() const { return buffer_.size() - count_ * sizeof(Header); }
  void clear() {
    if (buffer_.capacity() > kKeptBytes) buffer_ = std::string();
    buffer_.clear();
    count_ = 0;
  }

 private:
  /// Before each key and value.
  struct Header {
    Family family;
    bool put;
    std::uint32_t key;
    std::uint32_t value;
  };
  void add(const Header& header, std::string_view key, std::string_view value) {
    buffer_.append(reinterpret_cast<const char*>(&header), sizeof header);
    buffer_.append(key).append(value);
    ++count_;
  }

  std::string buffer_;
  std::size_t count_ = 0;
};

/// Called per row, in order; false ends the scan. The views are valid during the call only.
using RowVisitor = std::function<bool(std::string_view key, std::string_view value)>;

class Journal {
 public:
  virtual ~Journal() = default;

  /// Writes and syncs the batch. Success: it survives power loss. An error means *unknown*, not absent: the
  /// journal then refuses to write (Errc::io) until reopen() succeeds, and reads what is durable, without that
  /// batch; only while reopen() opens it anew are reads refused. One commit at a time. Only a batch
  /// above kMaxBatchBytes is refused (Errc::invalid) with nothing written and the journal still good.
  virtual Result<void> commit(const Batch& batch) = 0;

  /// The committed value, or nothing.
  virtual Result<std::optional<std::string>> get(Family family, std::string_view key) const = 0;

  /// Calls `row` for each committed key in [lower, upper), in order, until it returns false. Both bounds
  /// are required: an open end would walk across deleted ranges.
  virtual Result<void> scan(Family family, std::string_view lower, std::string_view upper,
                            const RowVisitor& row) const = 0;

  /// As scan, downwards from just below `upper`.
  virtual Result<void> scan_back(Family family, std::string_view lower, std::string_view upper,
                                 const RowVisitor& row) const = 0;

  /// Gives up the keys in [lower, upper) cheaply, by whole files where it can. For what was trimmed;
  /// not atomic with any batch, and a power cut before the next commit may undo it.
  virtual Result<void> drop(Family family, std::string_view lower, std::string_view upper) = 0;

  /// A copy of what is committed now in `directory`, which must not exist and lie on the same filesystem: files
  /// that never change are shared. From any thread, while commits go on.
  virtual Result<void> checkpoint(const std::filesystem::path& /*directory*/) const {
    return fail(Errc::refused, "this journal has no checkpoints");
  }
  /// Reads everything that is on disk again and compares the checksums; Errc::corrupt says where.
  virtual Result<void> verify() const { return {}; }
  /// Rewrites what is on disk without what was deleted or replaced, while everything goes on; takes
  /// as long as that takes, and room for the largest family twice. Ends early, as Errc::refused,
  /// once `cancelled` is set.
  virtual Result<void> compact(std::atomic<bool>& /*cancelled*/) const { return {}; }
  /// What the store counts about itself, by a name that fits a metric ("live_sst_bytes").
  virtual std::map<std::string, std::uint64_t> numbers() const { return {}; }

  /// After an error: closes, probes the disk with a synced write, and recovers what is on it.
  virtual Result<void> reopen() = 0;
};

/// The smallest key greater than every key that begins with `prefix`; empty when there is none (only 0xff).
std::string prefix_end(std::string_view prefix);

/// Big-endian, so that keys sort as numbers.
void put_be64(std::string& to, std::uint64_t value);
void put_be32(std::string& to, std::uint32_t value);
/// The first 8 bytes; fewer are read as a shorter number, so check the size where it can be wrong.
std::uint64_t get_be64(std::string_view from);

}  // namespace muster::storage
