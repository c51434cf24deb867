// What the engine commits, taken down at its Journal interface, and written again without the
// engine.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "storage/journal/journal.hpp"

namespace muster::bench {

/// Every batch that was committed, in order.
using RecordStream = std::vector<storage::Batch>;

/// Counts, and takes down while `recording`.
struct Observed {
  std::atomic<bool> recording{false};
  RecordStream stream;
  std::atomic<std::uint64_t> commits{0};
  std::atomic<std::uint64_t> bytes{0};  ///< Keys and values.
  std::atomic<std::uint64_t> records{0};
  std::atomic<std::uint64_t> reads{0};
};

/// A journal that tells `observed` what passes; that must outlive it.
std::unique_ptr<storage::Journal> observe(std::unique_ptr<storage::Journal> journal,
                                          Observed& observed);

/// Seconds that plain RocksDB takes to write the stream, one synced write per batch, into a new
/// directory: the options and column families are those of the engine's journal.
double replay(const RecordStream& stream, const std::filesystem::path& directory);

}  // namespace muster::bench
