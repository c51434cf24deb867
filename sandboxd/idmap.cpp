#include "sandboxd/idmap.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "sandboxd/plan.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {

namespace {

bool write_map(pid_t pid, const char* file, std::uint32_t first_id) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const std::string line = "0 " + std::to_string(first_id) + " " + std::to_string(kUidRange) + "\n";
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd.valid() && ::write(fd.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size());
}

/// A user namespace lives as long as its descriptor; it is made by a child that does nothing else.
Result<Fd> user_namespace(std::uint32_t first_id) {
  // A fork: the child only waits to be killed, and shares nothing that could change meanwhile.
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (pid < 0) return fail_errno("a user namespace for a mount", errno);
  if (pid == 0)
    while (true) ::pause();
  const bool mapped = write_map(pid, "uid_map", first_id) && write_map(pid, "gid_map", first_id);
  Fd fd(mapped ? ::open(("/proc/" + std::to_string(pid) + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC) : -1);
  const int code = errno;
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!fd.valid()) return fail_errno("map ids for a mount", code);
  return fd;
}

}  // namespace

Result<void> mount_shifted(const std::filesystem::path& source, const std::filesystem::path& target,
                           std::uint32_t first_id) {
  const auto ids = user_namespace(first_id);
  if (!ids) return tl::unexpected(ids.error());
  const Fd tree(::open_tree(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree.valid()) return fail_errno("open the tree " + source.string(), errno);
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  attributes.userns_fd = static_cast<std::uint64_t>(ids->get());
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return fail_errno("shift the ids of " + source.string(), errno);
  if (::move_mount(tree.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return fail_errno("mount on " + target.string(), errno);
  return {};
}

Result<void> mount_writable_overlay(const std::filesystem::path& lower, const std::filesystem::path& upper,
                                    const std::filesystem::path& work, const std::filesystem::path& target) {
  // redirect_dir: a directory of the lower layer can be renamed, as anywhere else.
  const std::string options = "redirect_dir=on,lowerdir=" + lower.string() + ",upperdir=" + upper.string() +
                              ",workdir=" + work.string();
  if (::mount("overlay", target.c_str(), "overlay", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
    return fail_errno("overlay on " + target.string(), errno);
  return {};
}

}  // namespace muster::sandbox
