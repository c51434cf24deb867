// The file that a sandbox's log is: the bytes that muster-init writes, addressed by offset. conmon
// hands it to the container as standard output (its log driver "passthrough"), so nobody stands
// between the two.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {

/// Reads a log from any offset, while it is written. Holds one descriptor and no bytes. One thread.
class LogReader {
 public:
  explicit LogReader(std::filesystem::path path) : path_(std::move(path)) {}

  /// The next bytes, appended to `to`: at most `limit`, none at the present end or before the file
  /// exists.
  Result<std::size_t> read(std::string& to, std::size_t limit);
  /// Bytes from there to the present end.
  Result<std::uint64_t> waiting();
  /// Where the next read begins.
  [[nodiscard]] std::uint64_t offset() const { return offset_; }
  /// Continues at `offset`. Errc::invalid beyond the present end.
  Result<void> seek(std::uint64_t offset);

 private:
  /// False when there is no file yet.
  Result<bool> opened();

  std::filesystem::path path_;
  Fd fd_;
  std::uint64_t offset_ = 0;
};

/// Opens a log to append to it.
Result<Fd> open_log(const std::filesystem::path& log);
/// Appends: for notes of the host, before the container begins and after it ended.
Result<void> append_log(const std::filesystem::path& log, std::string_view bytes);

}  // namespace muster::sandbox
