#include "sandboxd/project_quota.hpp"

#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>

#include "storage/base/files.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr std::uint32_t kProjectIds = 16;        // more than one where a teardown left files, or xfs still has to count them off
constexpr std::uint64_t kQuotaBlock = 1u << 10;  // the unit of if_dqblk, whatever the file system's is

long project_quotactl(const Fd& fd, unsigned command, std::uint32_t id, void* data) {
  return ::syscall(SYS_quotactl_fd, fd.get(), QCMD(command, PRJQUOTA), id, data);
}

Fd open_project(const fs::path& directory) {
  return Fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

/// None: the file system has no projects.
std::optional<fsxattr> project_attributes(int fd) {
  fsxattr attributes{};
  if (::ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) return std::nullopt;
  return attributes;
}

Result<void> check_enforced(const Fd& fd, const fs::path& directory) {
  fs_quota_stat state{};
  if (project_quotactl(fd, Q_XGETQSTAT, 0, &state) == 0 && (state.qs_flags & FS_QUOTA_PDQ_ENFD) != 0) return {};
  return fail(Errc::refused, "the file system of " + directory.string() + " enforces no project quotas");
}

Result<bool> project_in_use(const Fd& fd, std::uint32_t id) {
  if_dqblk usage{};
  if (project_quotactl(fd, Q_GETQUOTA, id, &usage) == 0) return usage.dqb_curspace > 0 || usage.dqb_curinodes > 0;
  if (errno == ENOENT) return false;  // xfs: never used
  return fail_errno("look at project " + std::to_string(id), errno);
}

Result<void> set_limits(const Fd& fd, std::uint32_t id, std::uint64_t bytes, std::uint64_t files) {
  if_dqblk limits{};
  limits.dqb_bhardlimit = (bytes + kQuotaBlock - 1) / kQuotaBlock;
  limits.dqb_ihardlimit = files;
  limits.dqb_valid = QIF_LIMITS;
  if (project_quotactl(fd, Q_SETQUOTA, id, &limits) != 0)
    return fail_errno("limit project " + std::to_string(id), errno);
  return {};
}

Result<std::uint32_t> unused_project(const Fd& fd, std::uint32_t first) {
  for (std::uint32_t id = first; id - first < kProjectIds; ++id) {
    const auto used = project_in_use(fd, id);
    if (!used) return tl::unexpected(used.error());
    if (!*used) return id;
  }
  return fail(Errc::overloaded, "all projects from " + std::to_string(first) + " have files");
}

}  // namespace

Result<void> limit_project(const fs::path& directory, const ProjectLimit& limit) {
  const Fd fd = open_project(directory);
  if (!fd.valid()) return fail_errno("open " + directory.string(), errno);
  if (auto enforced = check_enforced(fd, directory); !enforced) return enforced;
  auto attributes = project_attributes(fd.get());
  if (!attributes) return fail_errno("read the project of " + directory.string(), errno);
  // 0 would be no limit.
  const std::uint64_t bytes = std::max<std::uint64_t>(limit.bytes, 1), files = std::max<std::uint64_t>(limit.files, 1);
  if ((attributes->fsx_xflags & FS_XFLAG_PROJINHERIT) != 0 && attributes->fsx_projid >= limit.first_id &&
      attributes->fsx_projid - limit.first_id < kProjectIds)
    return set_limits(fd, attributes->fsx_projid, bytes, files);
  const auto id = unused_project(fd, limit.first_id);
  if (!id) return tl::unexpected(id.error());
  if (auto done = set_limits(fd, *id, bytes, files); !done) return done;
  attributes->fsx_projid = *id;
  attributes->fsx_xflags |= FS_XFLAG_PROJINHERIT;
  if (::ioctl(fd.get(), FS_IOC_FSSETXATTR, &*attributes) != 0)
    return fail_errno("make " + directory.string() + " project " + std::to_string(*id), errno);
  return {};
}

Result<void> release_project(const fs::path& directory) {
  const Fd fd = open_project(directory);
  if (!fd.valid()) return {};
  const Fd parent(::openat(fd.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto own = project_attributes(fd.get()), above = project_attributes(parent.get());
  if (!own || !above || own->fsx_projid == above->fsx_projid || own->fsx_projid == 0) return {};
  if (!check_enforced(fd, directory)) return {};  // no longer: there is nothing to lift
  return set_limits(fd, own->fsx_projid, 0, 0);
}

Result<void> check_projects(const fs::path& directory) {
  const Fd fd = open_project(directory);
  if (!fd.valid()) return fail_errno("open " + directory.string(), errno);
  return check_enforced(fd, directory);
}

}  // namespace muster::sandbox
