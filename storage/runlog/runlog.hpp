// The run-log store: one byte stream per attempt (storage/base/log_frame.hpp), appended at an offset, read
// from an offset, bounded per run. Segment files with their own sync, never journal records.
//
//   logs/<run, first 2>/<run>/<attempt>/<first offset, 20 digits>.log     open segment, plain
//   logs/…/<first offset>.log.zst                                         closed segments, compressed
//
// Thread-safe. An append below the end is dropped (it came twice), above it is refused as Errc::conflict.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"

namespace muster::storage {

struct RunLogLimits {
  std::uint64_t max_bytes_per_attempt = 64u << 20;  ///< Beyond: Errc::overloaded; nothing is written.
  std::uint64_t segment_bytes = 4u << 20;
  std::size_t max_open_segments = 256;              ///< Descriptors; the least recently used is closed.
};

struct RunLogKey {
  std::string run;
  std::uint32_t attempt = 0;
  auto operator<=>(const RunLogKey&) const = default;
};

class RunLog {
 public:
  static Result<std::unique_ptr<RunLog>> open(std::filesystem::path directory, RunLogLimits limits = {});
  virtual ~RunLog() = default;

  virtual Result<void> append(const RunLogKey& key, std::uint64_t offset, std::string_view bytes) = 0;
  /// Syncs what was appended; returns the offset up to which it survives power loss: what may be acknowledged.
  virtual Result<std::uint64_t> sync(const RunLogKey& key) = 0;
  /// No more comes: the last segment is compressed.
  virtual Result<void> finish(const RunLogKey& key) = 0;
  /// At most `limit` bytes from `offset`; empty at the end. Errc::not_found when there is no such log.
  virtual Result<std::string> read(const RunLogKey& key, std::uint64_t offset, std::size_t limit) = 0;
  virtual Result<std::uint64_t> end(const RunLogKey& key) = 0;
};

}  // namespace muster::storage
