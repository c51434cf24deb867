// A sandbox's disk limited by a project quota: its writable directory and whatever comes to lie in it are one project, of
// which the file system (ext4, xfs) counts bytes and files. It costs nothing per sandbox. Beyond the limit the kernel says
// EDQUOT on ext4, also through an overlay, but not to who has CAP_SYS_RESOURCE outside: to a sandbox, not to sandboxd; on
// xfs it says ENOSPC to everybody.
//
// All of it is kept in the file system, the id in the directory itself, so nothing here has a memory. Linux 5.14
// (quotactl_fd). Any thread may call.
#pragma once

#include <cstdint>
#include <filesystem>

#include "storage/base/error.hpp"

namespace muster::sandbox {

struct ProjectLimit {
  std::uint32_t first_id = 0;  ///< The project's id is the first from here that no file has; 16 are tried. Not 0.
  std::uint64_t bytes = 0;     ///< Rounded up to 1 KiB.
  std::uint64_t files = 0;     ///< And directories, and links.
};

/// Makes `directory`, which must be empty, a project; one that is a project of these ids gets the new limits. So no two
/// directories share a project, whatever an earlier teardown left behind. Errc::refused where limits are not enforced.
Result<void> limit_project(const std::filesystem::path& directory, const ProjectLimit& limit);

/// Lifts the limits of the directory's own project; what has none, or inherited its parent's, is left as it is. Before
/// the files are removed: then a crash between the two is mended by calling it again.
Result<void> release_project(const std::filesystem::path& directory);

/// Whether the file system that `directory` lies on enforces limits of projects. Errc::refused says why not.
Result<void> check_projects(const std::filesystem::path& directory);

}  // namespace muster::sandbox
