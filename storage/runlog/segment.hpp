// The open segment of a run log. Integers are little-endian.
//
//   open segment   := (plain | packed)*
//   plain          := length:u32  crc:u32  bytes[length]      1 <= length <= kMaxLogAppend
//   packed         := header  frame                           as in packed.hpp; kMinPacked and more at once
//   crc            := CRC-32C of (the record's offset in the stream as u64, bytes or frame)
//
// The checksum finds where a torn end begins: after a power cut, bytes that were never synced may be missing,
// zero or stale while the file's length is already the new one. The offset in it tells a stale record from
// a good one.
//
// Whoever writes much writes in large pieces: they are compressed before they are written, so that a fifth of the bytes has
// to reach the disk before they are acknowledged, and the segment needs only another name to be closed. Small ones
// stay as they are until then, because they would hardly become smaller.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/files.hpp"
#include "storage/runlog/runlog.hpp"

namespace muster::storage {

/// One open segment, used by one thread at a time. Offsets are those of the whole stream.
class OpenSegment {
 public:
  /// Opens or creates it, cuts off a torn end and syncs the rest: everything up to end() is durable then,
  /// provided that the caller syncs the directory.
  static Result<OpenSegment> open(std::filesystem::path path, std::uint64_t first,
                                  const RunLogSystem& system);

  /// Whole or not at all. `frame`: what they are when packed, or empty.
  Result<void> append(std::string_view bytes, std::string_view frame = {});
  /// On failure the segment ends at durable() again: after a failed fsync the page cache shows what the disk
  /// may never hold, and a second fsync would succeed without writing it.
  Result<void> sync();
  /// From this segment; `offset` lies in [first(), end()].
  [[nodiscard]] Result<std::string> read(std::uint64_t offset, std::size_t limit) const;
  /// Gives the descriptor up until the next call. Only when everything is durable: an error of writing back that
  /// nobody has a descriptor for may never be told.
  void drop_descriptor() { fd_ = Fd(); }

  /// Whether the file is a closed segment but for its name.
  [[nodiscard]] bool all_packed() const { return all_packed_; }
  /// Syncs it and gives it that name, which the caller syncs. Only when it is all packed.
  Result<void> rename(const std::filesystem::path& closed);
  /// What a closed segment of the same bytes consists of.
  [[nodiscard]] Result<std::string> closed_form() const;

  [[nodiscard]] std::uint64_t first() const { return first_; }
  [[nodiscard]] std::uint64_t end() const { return end_.offset; }
  [[nodiscard]] std::uint64_t durable() const { return durable_.offset; }
  [[nodiscard]] std::uint64_t file_bytes() const { return end_.position; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  /// Where a record begins: in the stream and in the file.
  struct Mark {
    std::uint64_t offset = 0;
    std::uint64_t position = 0;
  };

  OpenSegment(std::filesystem::path path, std::uint64_t first, const RunLogSystem& system)
      : path_(std::move(path)), first_(first), end_{first, 0}, durable_{first, 0}, system_(&system) {}
  Result<void> recover();
  Result<void> wake() const;
  void extend(std::size_t length, std::size_t file_bytes);
  Result<void> cut(Mark to);
  [[nodiscard]] Result<std::string> read_file_range(std::uint64_t from, std::uint64_t to) const;

  std::filesystem::path path_;
  mutable Fd fd_;  ///< Empty after drop_descriptor().
  std::uint64_t first_;
  Mark end_;
  Mark durable_;
  std::vector<Mark> index_;  ///< Sparse: one record at most every kIndexBytes of the file.
  bool all_packed_ = true;
  bool broken_ = false;      ///< The end could not be cut back: nothing is taken any more.
  const RunLogSystem* system_;
};

}  // namespace muster::storage
