#include "sandboxd/disk.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "storage/base/files.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMinBytes = 8ull << 20;  // below, ext4 has no room for itself
constexpr std::uint64_t kStep = 1ull << 20;
constexpr int kLoopAttempts = 64;  // others take loop devices, too
constexpr unsigned kLoopMajor = 7;

/// No journal and no reserve: after a crash of the machine the sandbox is made anew.
Result<void> make_file_system(const fs::path& file, std::uint64_t bytes) {
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
    return fail_errno("create " + file.string(), errno);
  ProcessSpec spec;
  spec.argv = {"mkfs.ext4",    "-q", "-F",
               "-m",           "0",  "-O",
               "^has_journal", "-E", "lazy_itable_init=1,nodiscard",
               file.string()};
  spec.env = {{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
              {"LANG", "C.UTF-8"}};
  if (auto made = run_checked(spec); !made) return fail(made.error(), "make an empty disk");
  return {};
}

/// What is data is copied, holes stay holes.
Result<void> copy_sparse(const fs::path& from, const fs::path& to) {
  const Fd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  const Fd out(::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat info {};
  if (!in.valid() || !out.valid() || ::fstat(in.get(), &info) != 0 ||
      ::ftruncate(out.get(), info.st_size) != 0)
    return fail_errno("copy " + from.string() + " to " + to.string(), errno);
  for (off_t at = 0; (at = ::lseek(in.get(), at, SEEK_DATA)) >= 0;) {
    const off_t end = ::lseek(in.get(), at, SEEK_HOLE);
    off_t written = at;
    while (at < end) {
      const ssize_t n = ::copy_file_range(in.get(), &at, out.get(), &written,
                                          static_cast<std::size_t>(end - at), 0);
      if (n <= 0) return fail_errno("copy " + from.string(), n == 0 ? EIO : errno);
    }
  }
  return {};
}

/// A loop device over the file, which frees itself with its last user. Returns its open descriptor
/// and its path.
Result<std::pair<Fd, std::string>> attach(const fs::path& file) {
  const Fd backing(::open(file.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  const Fd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!backing.valid()) return fail_errno("open " + file.string(), errno);
  if (!control.valid()) return fail_errno("open /dev/loop-control", errno);
  for (int attempt = 0; attempt < kLoopAttempts; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return fail_errno("find a loop device", errno);
    const std::string path = "/dev/loop" + std::to_string(number);
    if (::access(path.c_str(), F_OK) != 0)  // where /dev is not the kernel's own
      ::mknod(path.c_str(), S_IFBLK | 0600, ::makedev(kLoopMajor, static_cast<unsigned>(number)));
    Fd device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    loop_config config{};
    config.fd = static_cast<__u32>(backing.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (device.valid() && ::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0)
      return std::pair{std::move(device), path};
    if (errno != EBUSY) return fail_errno("attach " + file.string() + " to " + path, errno);
  }
  return fail(Errc::overloaded, "no loop device is free");
}

}  // namespace

Result<fs::path> Disks::empty_image(std::uint64_t bytes) {
  const std::uint64_t size = (std::max(bytes, kMinBytes) + kStep - 1) / kStep * kStep;
  const fs::path image = directory_ / ("ext4-" + std::to_string(size));
  const std::lock_guard lock(mutex_);
  if (::access(image.c_str(), F_OK) == 0) return image;
  if (auto made = make_directory(directory_, 0700); !made) return tl::unexpected(made.error());
  const fs::path half = image.string() + ".half";
  if (auto made = make_file_system(half, size); !made) return tl::unexpected(made.error());
  if (::rename(half.c_str(), image.c_str()) != 0)
    return fail_errno("rename to " + image.string(), errno);
  return image;
}

Result<void> mount_disk(const fs::path& empty, const fs::path& image, const fs::path& target) {
  if (auto copied = copy_sparse(empty, image); !copied) return copied;
  const auto device = attach(image);
  if (!device) return tl::unexpected(device.error());
  if (::mount(device->second.c_str(), target.c_str(), "ext4", MS_NOSUID | MS_NODEV | MS_NOATIME,
              "nobarrier,init_itable=0") != 0)
    return fail_errno("mount " + image.string(), errno);
  if (::chmod(target.c_str(), 0711) != 0) return fail_errno("chmod " + target.string(), errno);
  ::rmdir((target / "lost+found").c_str());
  return {};
}

bool disk_is_full(const fs::path& directory) {
  struct statvfs info {};
  if (::statvfs(directory.c_str(), &info) != 0) return false;
  return info.f_bavail * info.f_frsize < kStep || info.f_favail == 0;
}

Result<void> try_disk(const fs::path& directory) {
  std::string place = (directory / "try.XXXXXX").string();
  if (::mkdtemp(place.data()) == nullptr)
    return fail_errno("mkdtemp in " + directory.string(), errno);
  const fs::path top = place;
  Disks disks(top);
  std::error_code error;
  fs::create_directory(top / "mnt", error);
  const auto empty = disks.empty_image(kMinBytes);
  const auto done = empty ? mount_disk(*empty, top / "image", top / "mnt")
                          : Result<void>(tl::unexpected(empty.error()));
  if (done) ::umount2((top / "mnt").c_str(), UMOUNT_NOFOLLOW);
  fs::remove_all(top, error);
  return done;
}

}  // namespace muster::sandbox
