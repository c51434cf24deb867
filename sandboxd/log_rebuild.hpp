// From conmon's k8s-file log back to the bytes that muster-init wrote: the run's log, addressed by offset.
//
//   entry := time ' ' ("stdout" | "stderr") ' ' ("F" | "P") ' ' bytes '\n'
//
// conmon splits what it reads at newlines: an F entry's bytes were followed by a newline, a P entry's were not.
// Only stdout counts: muster-init writes nothing on stderr (an OCI runtime may).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {

/// Incremental; holds at most one unfinished entry. Errc::corrupt when the bytes can't be conmon's.
class LogRebuilder {
 public:
  Result<void> feed(std::string_view raw, std::string& stream);
  [[nodiscard]] std::size_t held() const { return partial_.size(); }

 private:
  std::string partial_;
};

/// Reads the stream of one log file from any offset, while conmon writes it. One thread.
class LogReader {
 public:
  explicit LogReader(std::filesystem::path path) : path_(std::move(path)) {}

  /// The next bytes of the stream, appended to `to`: at most `limit`, none at the present end.
  Result<std::size_t> read(std::string& to, std::size_t limit);
  /// Where the next read begins.
  [[nodiscard]] std::uint64_t offset() const { return decoded_ - pending_.size(); }
  /// Continues at `offset`, decoding from the checkpoint beneath it. Errc::invalid beyond the present end.
  Result<void> seek(std::uint64_t offset);

 private:
  struct Checkpoint {
    std::uint64_t raw, stream;
  };
  /// Decodes some more into pending_; false at the end.
  Result<bool> fill(std::size_t limit);

  std::filesystem::path path_;
  Fd fd_;
  LogRebuilder rebuilder_;
  std::string pending_;         // decoded and not yet handed out
  std::uint64_t raw_ = 0;       // of the file, read
  std::uint64_t decoded_ = 0;   // of the stream
  std::vector<Checkpoint> checkpoints_;  // one per kCheckpointBytes
};

/// Appends stream bytes as conmon would have: for notes of the host, before conmon begins and after it ended.
Result<void> append_stream(const std::filesystem::path& log, std::string_view stream);
/// The same as text, for tests.
std::string to_k8s_log(std::string_view stream, std::size_t chunk = 8192);

}  // namespace muster::sandbox
