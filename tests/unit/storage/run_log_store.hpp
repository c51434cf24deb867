// A run-log store in a directory of its own, and the files of its log 7K2M, attempt 1.
#pragma once

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "storage/runlog/runlog.hpp"
#include "tests/unit/storage/temp_directory.hpp"

namespace muster::testing {

inline std::unique_ptr<storage::RunLog> open_store(const TempDirectory& temp, storage::RunLogLimits limits = {},
                                                   storage::RunLogSystem system = {}) {
  auto log = storage::RunLog::open(temp.path() / "logs", limits, std::move(system));
  REQUIRE(log);
  return std::move(*log);
}

inline std::filesystem::path log_directory(const TempDirectory& temp) { return temp.path() / "logs/7K/7K2M/1"; }

inline std::string segment_name(std::uint64_t offset, const std::string& suffix) {
  const std::string digits = std::to_string(offset);
  return std::string(20 - digits.size(), '0') + digits + suffix;
}

/// All of it, through reads of at most `step` bytes.
inline std::string read_all(storage::RunLog& log, const storage::RunLogKey& key, std::size_t step) {
  std::string bytes;
  while (true) {
    const auto part = log.read(key, bytes.size(), step);
    REQUIRE(part);
    REQUIRE(part->size() <= step);
    if (part->empty()) return bytes;
    bytes += *part;
  }
}

}  // namespace muster::testing
