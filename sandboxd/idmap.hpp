// Directories shown under other user ids: what lies on disk as uid 0 to 65535 looks like a sandbox's own.
#pragma once

#include <cstdint>
#include <filesystem>

#include "storage/base/error.hpp"

namespace muster::sandbox {

/// Mounts `source` on `target`, read-only, with every id shifted by `first_id`. Linux 5.12, and a file system that can.
Result<void> mount_shifted(const std::filesystem::path& source, const std::filesystem::path& target,
                           std::uint32_t first_id);

/// An overlay that can be written: `lower` (shifted) below `upper`. `work` is empty and on `upper`'s file system.
Result<void> mount_writable_overlay(const std::filesystem::path& lower, const std::filesystem::path& upper,
                                    const std::filesystem::path& work, const std::filesystem::path& target);

}  // namespace muster::sandbox
