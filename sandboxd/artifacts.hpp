// Artefacts: what an attempt left in $MUSTER_OUTPUT/artifacts, as one tar and a list with digests. Taken as hostile, when
// nothing in the sandbox lives any more: regular files only, opened without following anything, in the order of their
// names, within the limits below. What is left out becomes a warning; it never fails an attempt. Secrets are not masked in them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/schema/wire_generated.h"

namespace muster::sandbox {

namespace wire = muster::wire;

struct Artifacts {
  static constexpr std::size_t kMaxFiles = 256;
  static constexpr std::size_t kMaxPath = 255;          ///< Bytes, relative to artifacts/.
  static constexpr std::size_t kMaxPaths = 32u << 10;   ///< Bytes of all paths: they travel in the report.
  static constexpr std::size_t kMaxLooked = 10'000;     ///< Directory entries that are looked at.
  static constexpr unsigned kMaxDepth = 16;

  std::vector<std::unique_ptr<wire::ArtifactT>> files;  ///< In the order of their paths.
  std::string digest;                                   ///< SHA-256 of the tar; empty: no file, no tar.
  std::uint64_t bytes = 0;                              ///< Of the tar.
  std::vector<std::string> warnings;
};

/// Reads `out`/output/artifacts and writes the tar to `target`, durably; at most `max_bytes`. An error is the host's own trouble.
Result<Artifacts> take_artifacts(const std::filesystem::path& out, const std::filesystem::path& target,
                                 std::uint64_t max_bytes);

}  // namespace muster::sandbox
