#include "storage/base/files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <string>

namespace muster {

namespace fs = std::filesystem;

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

namespace {

Result<void> write_all(int fd, std::string_view bytes, const std::string& what) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(what, errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

/// Beside the target, so that the rename stays inside one file system; unique per process and call.
std::string temporary_name(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  return path.string() + ".tmp." + std::to_string(::getpid()) + "." + std::to_string(++counter);
}

/// Errors name `meant`, the file that the caller knows.
Result<void> write_and_sync(const std::string& path, const std::string& meant,
                            std::string_view bytes, unsigned mode) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd.valid()) return fail_errno("create " + meant, errno);
  if (::fchmod(fd.get(), mode) != 0) return fail_errno("chmod " + meant, errno);
  if (auto written = write_all(fd.get(), bytes, "write " + meant); !written) return written;
  if (::fsync(fd.get()) != 0) return fail_errno("fsync " + meant, errno);
  return {};
}

}  // namespace

Result<std::string> read_file(const fs::path& path, std::size_t limit) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOENT) return fail(Errc::not_found, "no file " + path.string());
    return fail_errno("open " + path.string(), errno);
  }
  std::string bytes;
  std::array<char, 65536> buffer{};
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read " + path.string(), errno);
    if (n == 0) return bytes;
    bytes.append(buffer.data(), static_cast<std::size_t>(n));
    if (bytes.size() > limit)
      return fail(Errc::invalid,
                  path.string() + " is larger than " + std::to_string(limit) + " bytes");
  }
}

Result<void> sync_file(const fs::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return fail_errno("open " + path.string(), errno);
  if (::fsync(fd.get()) != 0) return fail_errno("fsync " + path.string(), errno);
  return {};
}

Result<void> sync_directory(const fs::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("open " + path.string(), errno);
  if (::fsync(fd.get()) != 0) return fail_errno("fsync " + path.string(), errno);
  return {};
}

Result<void> write_file_durably(const fs::path& path, std::string_view bytes, unsigned mode) {
  const std::string temporary = temporary_name(path);
  auto result = write_and_sync(temporary, path.string(), bytes, mode);
  if (result && ::rename(temporary.c_str(), path.c_str()) != 0)
    result = fail_errno("rename to " + path.string(), errno);
  if (!result) {
    ::unlink(temporary.c_str());
    return result;
  }
  return sync_directory(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

Result<void> make_directory(const fs::path& path, unsigned mode) {
  std::error_code error;
  if (fs::is_directory(path, error)) return {};
  if (path.has_parent_path() && path.parent_path() != path)
    if (auto parent = make_directory(path.parent_path(), mode); !parent) return parent;
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    return fail_errno("mkdir " + path.string(), errno);
  if (!fs::is_directory(path, error)) return fail(Errc::io, path.string() + " is not a directory");
  if (::chmod(path.c_str(), mode) != 0) return fail_errno("chmod " + path.string(), errno);
  return sync_directory(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

Result<Fd> lock_file(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd.valid()) return fail_errno("open " + path.string(), errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno("lock " + path.string(), errno);
    const auto holder = read_file(path, 64);
    return fail(Errc::conflict, path.string() + " is held by process " + holder.value_or("?"));
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0)
    return fail_errno("write " + path.string(), errno);
  return fd;
}

}  // namespace muster
