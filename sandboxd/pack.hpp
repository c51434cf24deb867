// The commit that a sandbox hands over, as a pack: copied (hostile_file.hpp), then judged by git
// with a configuration of our own, in a scratch object directory that borrows the mirror's objects.
#pragma once

#include <filesystem>
#include <string>

#include "sandboxd/spec.hpp"
#include "storage/base/error.hpp"

namespace muster::sandbox {

struct CheckedPack {
  std::filesystem::path file;
  std::string digest;
  std::uint64_t bytes = 0;
  std::string tree_sha;
  std::uint32_t files = 0, insertions = 0, deletions = 0;
};

struct PackRequest {
  std::filesystem::path out;       ///< The sandbox's out directory.
  std::string relative;            ///< The pack in it.
  std::filesystem::path scratch;   ///< Ours; gets objects/pack/.
  std::filesystem::path git_dir;   ///< An empty repository of ours (ensure_scratch_repository).
  std::filesystem::path mirror_objects;
  std::string base_sha, head_sha;
  std::uint64_t max_bytes = 0;
  bool manual = false;             ///< Several commits are allowed.
};

/// Takes and judges the pack: complete against the mirror (fsck), its head the given one, whose parent is the base
/// (manual: whose first parents lead to it). Errc::corrupt says what is wrong.
Result<CheckedPack> check_pack(const PackRequest& request);

/// An empty bare repository whose configuration is ours, for git commands that need one.
Result<std::filesystem::path> ensure_scratch_repository(const std::filesystem::path& directory);

/// Once per process: libgit2 with small caches.
void start_libgit2();

}  // namespace muster::sandbox
