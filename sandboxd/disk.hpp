// How a sandbox's disk is limited. `loop`: a file system of its own in a sparse image file, mounted over its writable
// directory, so that the kernel says ENOSPC at the limit (of bytes and of files). The empty image of each size is made
// once, ahead, and copied (4 MB) for each sandbox. `project`: project_quota.hpp. `measure`: the directory is measured now
// and then.
//
// Nothing here survives a sandbox: the loop device goes with the mount, the image with the sandbox's directory.
#pragma once

#include <filesystem>
#include <mutex>
#include <string>

#include "storage/base/error.hpp"

namespace muster::sandbox {

enum class DiskLimit { measure, loop, project };

class Disks {
 public:
  /// `directory` holds the empty images.
  explicit Disks(std::filesystem::path directory) : directory_(std::move(directory)) {}

  /// The path of an empty file system of `bytes`, rounded up to 1 MiB. Thread-safe; made once.
  Result<std::filesystem::path> empty_image(std::uint64_t bytes);

 private:
  std::filesystem::path directory_;
  std::mutex mutex_;
};

/// Copies `empty` to `image` and mounts it on `target`. On failure nothing is mounted.
Result<void> mount_disk(const std::filesystem::path& empty, const std::filesystem::path& image,
                        const std::filesystem::path& target);

/// Whether nothing more can be written below `directory`: no bytes, or no files. Of a project's directory the kernel
/// answers with what the project has left.
bool disk_is_full(const std::filesystem::path& directory);

/// Whether this machine can do it, found out by doing it once in `directory`.
Result<void> try_disk(const std::filesystem::path& directory);

}  // namespace muster::sandbox
