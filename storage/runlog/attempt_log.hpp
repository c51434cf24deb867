// The log of one attempt: closed segments and at most one open one. Thread-safe; loads itself on first use.
#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "storage/runlog/runlog.hpp"
#include "storage/runlog/segment.hpp"

namespace muster::storage {

/// Directories whose own names are known to have survived, so that they are not synced again for every log
/// below them: at most one for each pair of letters that a run's id begins with. Thread-safe.
class DurableDirectories {
 public:
  bool knows(const std::filesystem::path& directory) {
    const std::lock_guard lock(mutex_);
    return known_.contains(directory.string());
  }
  void learn(const std::filesystem::path& directory) {
    const std::lock_guard lock(mutex_);
    known_.insert(directory.string());
  }

 private:
  std::mutex mutex_;
  std::set<std::string> known_;
};

class AttemptLog {
 public:
  /// `directory` need not exist; the first append creates it. The references must live longer.
  AttemptLog(std::filesystem::path directory, const RunLogLimits& limits, const RunLogSystem& system,
             DurableDirectories& durable)
      : directory_(std::move(directory)), limits_(limits), system_(system), durable_(durable) {}

  /// `frame`: what they are when packed, or empty.
  Result<void> append(std::uint64_t offset, std::string_view bytes, std::string_view frame = {});
  Result<std::uint64_t> sync();
  Result<void> finish();
  Result<std::string> read(std::uint64_t offset, std::size_t limit);
  Result<std::uint64_t> end();
  /// Makes all of it durable, so that it may be forgotten and loaded again.
  Result<void> settle();
  /// settle(), and gives its descriptor up until the next call.
  Result<void> rest();

 private:
  struct Closed {
    std::uint64_t first = 0;
    std::uint64_t end = 0;
  };

  // All below: the caller holds mutex_.
  Result<void> load();
  Result<void> load_closed(const std::vector<std::uint64_t>& firsts);
  Result<void> open_segment(std::uint64_t first);
  Result<void> close_segment();
  Result<void> close_by_name();
  Result<void> close_by_copy();
  [[nodiscard]] std::vector<std::filesystem::path> doubtful_names(bool first) const;
  void doubt(bool first);
  Result<void> sync_names();
  Result<void> make_durable();
  [[nodiscard]] Result<void> must_exist() const;
  [[nodiscard]] bool is_full(const OpenSegment& segment) const;
  [[nodiscard]] std::uint64_t end_of_all() const;
  [[nodiscard]] std::filesystem::path name(std::uint64_t first, const char* suffix) const;

  const std::filesystem::path directory_;
  const RunLogLimits& limits_;
  const RunLogSystem& system_;
  DurableDirectories& durable_;
  std::mutex mutex_;
  bool loaded_ = false;
  std::vector<Closed> closed_;
  std::optional<OpenSegment> open_;
  std::vector<std::filesystem::path> unsynced_;  ///< Directories to sync before anything new counts as durable.
};

}  // namespace muster::storage
