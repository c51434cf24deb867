// The effect port "snapshot": a page of a fleet's resolved repositories. The blob holds one a line,
//
//   {"repository":"acme/api","url":"…","canonical_url":"…","base_branch":"main","labels":{"a":"b"}}
//
// and pages are read by offset: a page of 50,000 costs what its own lines cost.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "actors/fleet/fleet_generated.h"
#include "engine/core/engine.hpp"
#include "storage/base/blobs.hpp"

namespace muster::actors {

/// Where every kStride-th line of a snapshot begins, learnt while reading. Thread-safe.
class SnapshotPages {
 public:
  static constexpr std::uint32_t kMaxPage = 1'000;     ///< Entries.
  static constexpr std::size_t kMaxLine = 64u << 10;   ///< Bytes.
  static constexpr std::uint32_t kStride = 100;        ///< Lines.
  static constexpr std::size_t kMaxOffsets = 100'000;  ///< Per snapshot: ten million lines.
  static constexpr std::size_t kMaxSnapshots = 16;     ///< Remembered at once.

  explicit SnapshotPages(Blobs blobs) : blobs_(std::move(blobs)) {}

  /// Fewer entries than asked for at the end. An error names the line.
  Result<std::vector<fbs::SnapshotEntryT>> read(const std::string& digest, std::uint32_t first,
                                                std::uint32_t count);

 private:
  struct Known {
    std::string digest;
    std::vector<std::uint64_t> offsets;  ///< Of lines 0, kStride, 2 * kStride, …
  };
  std::uint64_t nearest(const std::string& digest, std::uint32_t first, std::uint32_t& line);
  void learn(const std::string& digest, std::uint32_t line, std::uint64_t offset);
  Known& known(const std::string& digest);

  Blobs blobs_;
  std::mutex mutex_;
  std::vector<Known> known_;  ///< The last used is last.
};

std::unique_ptr<engine::EffectPort> make_snapshot_port(Blobs blobs);

}  // namespace muster::actors
