// Process 1 of a virtual machine whose kernel has project quotas (project_quota_test.py makes it): tries sandboxd's own
// code on an ext4 image. One line for each check, "ok WORDS" or "FAILED WORDS: errno"; at last "done: N ok, N failed".
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>

#include "sandboxd/disk.hpp"
#include "sandboxd/project_quota.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kFirst = 1u << 30, kSecond = kFirst + 65'536, kThird = kSecond + 65'536;
constexpr std::uint64_t kMiB = 1u << 20;
constexpr ProjectLimit kSmall{kFirst, 4 * kMiB, 50};

int passed = 0, failed = 0;

void check(const std::string& words, bool ok, int code = 0) {
  ++(ok ? passed : failed);
  std::printf(ok ? "ok %s\n" : "FAILED %s: %s\n", words.c_str(), std::strerror(code));
}

void check(const std::string& words, const Result<void>& done) {
  check(done ? words : words + " (" + done.error().message + ")", done.has_value(), errno);
}

/// `got` is 0 or an error number.
void check_errno(const std::string& words, int got, int wanted) { check(words, got == wanted, got); }

bool write_text(const std::string& path, const std::string& text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd.valid() && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

/// What `run` returns, as uid 1000 of a user namespace with the ids from `first`, as an agent is.
int as_agent(std::uint32_t first, const std::function<int()>& run) {
  int ready[2], mapped[2];
  if (::pipe(ready) != 0 || ::pipe(mapped) != 0) return errno;
  const pid_t pid = ::fork();
  if (pid == 0) {
    char byte = 0;
    if (::unshare(CLONE_NEWUSER) != 0 || ::write(ready[1], "", 1) != 1 || ::read(mapped[0], &byte, 1) != 1 ||
        ::setresgid(1000, 1000, 1000) != 0 || ::setresuid(1000, 1000, 1000) != 0)
      ::_exit(255);
    ::_exit(run());
  }
  char byte = 0;
  const std::string map = "0 " + std::to_string(first) + " 65536\n", proc = "/proc/" + std::to_string(pid);
  int status = 0;
  if (::read(ready[0], &byte, 1) == 1 && write_text(proc + "/uid_map", map) && write_text(proc + "/gid_map", map))
    (void)!::write(mapped[1], "", 1);
  for (const int end : {ready[0], ready[1], mapped[0], mapped[1]}) ::close(end);
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/// Appends; on disk, so that nothing is only reserved.
int append(const fs::path& file, std::uint64_t bytes) {
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd.valid()) return errno;
  const std::string block(64u << 10, 'x');
  for (std::uint64_t done = 0; done < bytes; done += block.size())
    if (const ssize_t n = ::write(fd.get(), block.data(), block.size()); n != static_cast<ssize_t>(block.size()))
      return n < 0 ? errno : EDQUOT;  // part of it: the rest would not fit
  return ::fsync(fd.get()) == 0 ? 0 : errno;
}

int make_files(const fs::path& directory, int count) {
  for (int i = 0; i < count; ++i)
    if (const Fd fd(::open((directory / std::to_string(i)).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)); !fd.valid())
      return errno;
  return 0;
}

int change_project(const fs::path& path, std::uint32_t id, bool inherit) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  fsxattr attributes{};
  if (!fd.valid() || ::ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes) != 0) return errno;
  attributes.fsx_projid = id;
  if (!inherit) attributes.fsx_xflags &= ~static_cast<unsigned>(FS_XFLAG_PROJINHERIT);
  return ::ioctl(fd.get(), FS_IOC_FSSETXATTR, &attributes) == 0 ? 0 : errno;
}

std::uint32_t project_of(const fs::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  fsxattr attributes{};
  return fd.valid() && ::ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes) == 0 ? attributes.fsx_projid : 0;
}

/// An empty directory of that sandbox's agent.
fs::path make_place(const std::string& name, std::uint32_t first) {
  const fs::path path = fs::path("/mnt") / name;
  if (::mkdir(path.c_str(), 0700) != 0 || ::chown(path.c_str(), first + 1000, first + 1000) != 0)
    check("make " + name, false, errno);
  return path;
}

bool prepare() {
  for (const char* directory : {"/dev", "/proc", "/mnt"}) ::mkdir(directory, 0755);
  if (::mount("dev", "/dev", "devtmpfs", 0, nullptr) != 0 || ::mount("proc", "/proc", "proc", 0, nullptr) != 0) return false;
  for (const char* module : {"/quota_tree.ko", "/quota_v2.ko", "/loop.ko", "/overlay.ko"}) {
    const Fd fd(::open(module, O_RDONLY | O_CLOEXEC));
    if (!fd.valid() || ::syscall(SYS_finit_module, fd.get(), "", 0) != 0) return false;
  }
  return true;
}

int mount_image(const char* options) {
  const Fd device(::open("/dev/loop0", O_RDWR | O_CLOEXEC)), image(::open("/image", O_RDWR | O_CLOEXEC));
  loop_config config{};
  config.fd = static_cast<__u32>(image.get());
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  if (::ioctl(device.get(), LOOP_CONFIGURE, &config) != 0) return errno;
  return ::mount("/dev/loop0", "/mnt", "ext4", MS_NODEV | MS_NOSUID, options) == 0 ? 0 : errno;
}

void try_unenforced() {
  check_errno("mount without prjquota", mount_image(""), 0);
  make_place("none", kFirst);
  check("a file system that only counts is no limit", !check_projects("/mnt"));
  check("and no directory is limited there", !limit_project("/mnt/none", kSmall));
  check("a directory without a project is released", release_project("/mnt/none"));
  ::rmdir("/mnt/none");
  check_errno("unmount", ::umount("/mnt") == 0 ? 0 : errno, 0);
}

void try_limits(const fs::path& a, const fs::path& b) {
  check("limit a", limit_project(a, kSmall));
  check("limit b", limit_project(b, {kSecond, 4 * kMiB, 50}));
  check("each has its project", project_of(a) == kFirst && project_of(b) == kSecond);
  check_errno("a writes up to its limit", as_agent(kFirst, [&] { return append(a / "x", 2 * kMiB); }), 0);
  check("a is not full", !disk_is_full(a));
  check_errno("beyond, it is refused", as_agent(kFirst, [&] { return append(a / "x", 3 * kMiB); }), EDQUOT);
  check("a has no more than its limit", fs::file_size(a / "x") <= 4 * kMiB);
  check("a is full, b is not", disk_is_full(a) && !disk_is_full(b));
  check_errno("b writes all the same", as_agent(kSecond, [&] { return append(b / "x", 2 * kMiB); }), 0);
  check_errno("b makes files up to its limit", as_agent(kSecond, [&] { return make_files(b, 40); }), 0);
  check_errno("beyond, they are refused", as_agent(kSecond, [&] { return make_files(b, 60); }), EDQUOT);
  check("b is full", disk_is_full(b));
}

void try_escapes(const fs::path& a, const fs::path& b) {
  check_errno("an agent can't take its file out of its project",
              as_agent(kFirst, [&] { return change_project(a / "x", 0, true); }), EINVAL);
  check_errno("nor into another", as_agent(kFirst, [&] { return change_project(a / "x", kSecond, true); }), EINVAL);
  check_errno("nor end its directory's being inherited",
              as_agent(kFirst, [&] { return change_project(a, kFirst, false); }), EINVAL);
  check_errno("no link across projects", ::link((b / "x").c_str(), (a / "b").c_str()) == 0 ? 0 : errno, EXDEV);
  check_errno("no directory is renamed across",
              ::mkdir((b / "dir").c_str(), 0755) == 0 && ::rename((b / "dir").c_str(), (a / "dir").c_str()) == 0 ? 0 : errno,
              EXDEV);
}

/// As a sandbox's directories with a prebuilt layer are: what root mounted writes with root's rights.
void try_overlay() {
  const fs::path c = make_place("c", kThird);
  check("limit c", limit_project(c, {kThird, 4 * kMiB, 50}));
  for (const char* name : {"/mnt/lower", "/mnt/c/up", "/mnt/c/work", "/mnt/c/top"}) ::mkdir(name, 0711);
  (void)!::chown("/mnt/c/up", kThird + 1000, kThird + 1000);
  const char* options = "lowerdir=/mnt/lower,upperdir=/mnt/c/up,workdir=/mnt/c/work";
  check_errno("an overlay", ::mount("overlay", "/mnt/c/top", "overlay", 0, options) == 0 ? 0 : errno, 0);
  check_errno("writes through it", as_agent(kThird, [&] { return append("/mnt/c/top/x", 2 * kMiB); }), 0);
  check_errno("not beyond the limit", as_agent(kThird, [&] { return append("/mnt/c/top/x", 4 * kMiB); }), EDQUOT);
  check("an agent can't leave its project through it",
        as_agent(kThird, [&] { return change_project("/mnt/c/top/x", 0, true); }) != 0 && project_of("/mnt/c/up/x") == kThird);
  ::umount("/mnt/c/top");
}

void try_release(const fs::path& a, const fs::path& b) {
  check("new limits for the same directory", limit_project(a, {kFirst, 6 * kMiB, 50}));
  check_errno("are its limits", as_agent(kFirst, [&] { return append(a / "y", 1 * kMiB); }), 0);
  check("it keeps its project", project_of(a) == kFirst);
  const fs::path other = make_place("other", kFirst);
  check("another directory of these ids", limit_project(other, kSmall));
  check("gets another project while the first has files", project_of(other) == kFirst + 1);
  check("released", release_project(a));
  check_errno("a has no limit more", as_agent(kFirst, [&] { return append(a / "z", 5 * kMiB); }), 0);
  check_errno("the other still has", as_agent(kFirst, [&] { return append(other / "x", 5 * kMiB); }), EDQUOT);
  fs::remove_all(a);
  const fs::path again = make_place("again", kFirst);
  check("a directory after the first is gone", limit_project(again, kSmall));
  check("has the first project again", project_of(again) == kFirst);
  check_errno("and begins with nothing", as_agent(kFirst, [&] { return append(again / "x", 3 * kMiB); }), 0);
  check("releasing what only inherits", release_project(b / "dir"));
  check_errno("changes nothing", as_agent(kSecond, [&] { return make_files(b, 60); }), EDQUOT);
}

void try_again_after_a_boot(const fs::path& b) {
  check_errno("unmount", ::umount("/mnt") == 0 ? 0 : errno, 0);
  check_errno("mount again", mount_image("prjquota"), 0);
  check_errno("the limits are kept", as_agent(kSecond, [&] { return make_files(b, 60); }), EDQUOT);
  check("and released by who finds the directory", release_project(b));
  check_errno("b has no limit more", as_agent(kSecond, [&] { return make_files(b, 60); }), 0);
}

void run() {
  check("the virtual machine's modules", prepare(), errno);
  try_unenforced();
  check_errno("mount with prjquota", mount_image("prjquota"), 0);
  ::chmod("/mnt", 0711);
  check("limits are enforced", check_projects("/mnt"));
  const fs::path a = make_place("a", kFirst), b = make_place("b", kSecond);
  try_limits(a, b);
  try_escapes(a, b);
  try_overlay();
  try_release(a, b);
  try_again_after_a_boot(b);
  std::printf("done: %d ok, %d failed\n", passed, failed);
}

}  // namespace
}  // namespace muster::sandbox::test

int main() {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  try {
    muster::sandbox::test::run();
  } catch (const std::exception& error) {
    std::printf("FAILED: %s\n", error.what());
  }
  std::fflush(stdout);
  ::tcdrain(STDOUT_FILENO);
  ::sync();
  ::reboot(RB_AUTOBOOT);  // the machine is started with -no-reboot
}
