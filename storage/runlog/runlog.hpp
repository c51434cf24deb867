// The run-log store: one byte stream per attempt (storage/base/log_frame.hpp), appended at an offset, read
// from an offset, bounded per run. Segment files with their own sync, never journal records.
//
//   logs/<run, first 2>/<run>/<attempt>/<first offset, 20 digits>.log     open segment (segment.hpp)
//   logs/…/<first offset>.log.zst                                         closed segments: zstd frames (packed.hpp)
//
// What the bytes mean is nobody's business here. Thread-safe; one store per directory.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"

namespace muster::storage {

/// What an attempt may write before its host ends it. The store takes more: what was written until
/// the end came belongs to the log.
inline constexpr std::uint64_t kMaxAttemptLogBytes = 64u << 20;

struct RunLogLimits {
  /// Beyond: Errc::overloaded; nothing is written.
  std::uint64_t max_bytes_per_attempt = 4 * kMaxAttemptLogBytes;
  std::uint64_t segment_bytes = 4u << 20;
  std::size_t max_open_segments = 256;  ///< Descriptors; the least recently used log gives its one up.
  /// Logs whose ends are known, some hundred bytes each; others are read from disk when they are used again.
  std::size_t max_logs_in_memory = 8'192;
};

struct RunLogKey {
  std::string run;
  std::uint32_t attempt = 0;
  auto operator<=>(const RunLogKey&) const = default;
};

/// The calls of the operating system that a test lets fail.
struct RunLogSystem {
  std::function<int(int fd)> sync_data = ::fdatasync;
};

/// The largest append.
constexpr std::size_t kMaxLogAppend = 4u << 20;

/// Run ids come from outside: [0-9A-Za-z], 2 to 64 of them, else Errc::invalid from every call.
bool is_log_key(const RunLogKey& key);

class RunLog {
 public:
  static Result<std::unique_ptr<RunLog>> open(std::filesystem::path directory, RunLogLimits limits = {},
                                              RunLogSystem system = {});
  virtual ~RunLog() = default;

  /// What lies below the end is dropped (it came twice), also when only a part of it does. An offset above
  /// the end is Errc::conflict, beyond the limit Errc::overloaded; on any error nothing was appended.
  virtual Result<void> append(const RunLogKey& key, std::uint64_t offset, std::string_view bytes) = 0;

  /// The same of one frame of storage/base/packing.hpp, which is looked through, and stored as it is. Errc::corrupt: it can't
  /// be unpacked. Not what pack() of this thread points to: it packs, too.
  virtual Result<void> append_packed(const RunLogKey& key, std::uint64_t offset, std::string_view frame);

  /// Syncs what was appended; returns the offset up to which it survives power loss: what may be acknowledged.
  /// Never goes back, in this process or the next. 0 when there is no such log. After Errc::io what was not
  /// synced is gone: end() is the durable offset again, and the sender repeats from there.
  virtual Result<std::uint64_t> sync(const RunLogKey& key) = 0;

  /// No more comes: the last segment is synced and compressed. Doing it twice, or without a log, is nothing.
  virtual Result<void> finish(const RunLogKey& key) = 0;

  /// At most `limit` bytes from `offset`, maybe fewer; empty only at the end. Errc::not_found when there is no
  /// such log, Errc::corrupt when the disk changed it. What was appended can be read at once, synced or not.
  virtual Result<std::string> read(const RunLogKey& key, std::uint64_t offset, std::size_t limit) = 0;
  virtual Result<std::uint64_t> end(const RunLogKey& key) = 0;

  /// Removes the logs of all attempts of a run that has ended; removing what isn't there is done
  /// already. After an error, or a crash, a part of them may be left: repeat it.
  virtual Result<void> remove(const std::string& run) = 0;
};

}  // namespace muster::storage
