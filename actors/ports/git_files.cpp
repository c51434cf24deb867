#include "actors/ports/git_files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace muster::actors::git {
namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

tl::unexpected<Error> directory_error(const std::string& part, int error) {
  if (error == ENOENT) return fail(Errc::not_found, part + " does not exist");
  if (error == ENOTDIR || error == ELOOP)
    return fail(Errc::refused, part + " is not a directory, or is a symbolic link");
  return fail_errno(part, error);
}

/// Owner and group of `like`, as far as this process may give them.
Result<void> take_owner(int fd, const struct stat& like) {
  struct stat own {};
  if (fstat(fd, &own) != 0) return fail_errno("stat", errno);
  const bool root = geteuid() == 0;
  const uid_t owner = root ? like.st_uid : own.st_uid;
  if (own.st_uid == owner && own.st_gid == like.st_gid) return {};
  // Without root this may be refused (a group we are not in): git goes on then, and so do we.
  if (fchown(fd, owner, like.st_gid) != 0 && root) return fail_errno("chown", errno);
  return {};
}

Result<void> make_like_parent(int parent, const std::string& part) {
  if (mkdirat(parent, part.c_str(), 0777) != 0)
    return errno == EEXIST ? Result<void>{} : fail_errno(part, errno);
  struct stat like {};
  if (fstat(parent, &like) != 0) return fail_errno(part, errno);
  const Fd made(openat(parent, part.c_str(), kDirectoryFlags));
  if (!made.valid()) return directory_error(part, errno);
  if (auto ok = take_owner(made.get(), like); !ok) return ok;
  if (fchmod(made.get(), like.st_mode & 07777) != 0) return fail_errno(part, errno);
  return sync(parent, part);
}

Result<Fd> descend(int at, std::string_view relative, bool make) {
  Fd current(openat(at, ".", kDirectoryFlags));
  if (!current.valid()) return directory_error(".", errno);
  while (!relative.empty()) {
    const std::size_t slash = relative.find('/');
    const std::string part(relative.substr(0, slash));
    relative.remove_prefix(slash == std::string_view::npos ? relative.size() : slash + 1);
    if (make)
      if (auto made = make_like_parent(current.get(), part); !made)
        return tl::unexpected<Error>(made.error());
    Fd next(openat(current.get(), part.c_str(), kDirectoryFlags));
    if (!next.valid()) return directory_error(part, errno);
    current = std::move(next);
  }
  return current;
}

}  // namespace

DirectoryLock::DirectoryLock(int directory, int kind)
    : directory_(directory), held_(flock(directory, kind) == 0) {}

DirectoryLock::~DirectoryLock() {
  if (held_) flock(directory_, LOCK_UN);
}

Result<Fd> open_directory(int at, std::string_view relative) {
  return descend(at, relative, false);
}

Result<Fd> make_directories(int at, std::string_view relative) {
  return descend(at, relative, true);
}

Result<std::optional<std::string>> read_at(int at, const std::string& name, std::size_t limit) {
  // O_NONBLOCK: somebody may have put a fifo there.
  const Fd file(openat(at, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    if (errno == ELOOP) return fail(Errc::refused, name + " is a symbolic link");
    return fail_errno(name, errno);
  }
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return fail_errno(name, errno);
  if (S_ISDIR(info.st_mode)) return std::nullopt;
  if (!S_ISREG(info.st_mode)) return fail(Errc::refused, name + " is not a regular file");
  if (static_cast<std::uint64_t>(info.st_size) > limit)
    return fail(Errc::refused, name + " is larger than Muster reads");
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(name, errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

Result<void> look_like_directory(int file, int directory, bool writable) {
  struct stat like {};
  if (fstat(directory, &like) != 0) return fail_errno("stat", errno);
  if (auto ok = take_owner(file, like); !ok) return ok;
  const mode_t mode = like.st_mode & (writable ? 0666u : 0444u);
  if (fchmod(file, mode) != 0) return fail_errno("chmod", errno);
  return {};
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail_errno("write", errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> sync(int fd, std::string_view what) {
  if (fsync(fd) != 0) return fail_errno(std::string(what) + ": sync", errno);
  return {};
}

}  // namespace muster::actors::git
