// The log of one attempt: closed segments and at most one open one. Thread-safe; loads itself on first use.
#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/runlog/runlog.hpp"
#include "storage/runlog/segment.hpp"

namespace muster::storage {

class AttemptLog {
 public:
  /// `directory` need not exist; the first append creates it. `limits` and `system` must live longer.
  AttemptLog(std::filesystem::path directory, const RunLogLimits& limits, const RunLogSystem& system)
      : directory_(std::move(directory)), limits_(limits), system_(system) {}

  Result<void> append(std::uint64_t offset, std::string_view bytes);
  Result<std::uint64_t> sync();
  Result<void> finish();
  Result<std::string> read(std::uint64_t offset, std::size_t limit);
  Result<std::uint64_t> end();
  /// Makes all of it durable, so that it may be forgotten and loaded again.
  Result<void> settle();

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
  Result<void> sync_names(std::uint64_t first) const;
  [[nodiscard]] Result<void> must_exist() const;
  [[nodiscard]] std::uint64_t end_of_all() const;
  [[nodiscard]] std::filesystem::path name(std::uint64_t first, const char* suffix) const;

  const std::filesystem::path directory_;
  const RunLogLimits& limits_;
  const RunLogSystem& system_;
  std::mutex mutex_;
  bool loaded_ = false;
  std::vector<Closed> closed_;
  std::optional<OpenSegment> open_;
};

}  // namespace muster::storage
