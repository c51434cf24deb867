#include "storage/base/blobs.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>

#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"

namespace muster {

namespace fs = std::filesystem;

namespace {

Result<void> write_at(int fd, std::uint64_t offset, std::string_view bytes,
                      const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write " + path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<std::uint64_t> size_of(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return fail_errno("stat " + path, errno);
  return static_cast<std::uint64_t>(info.st_size);
}

Result<void> sync(int fd, const std::string& path) {
  if (::fsync(fd) != 0) return fail_errno("fsync " + path, errno);
  return {};
}

Error wrong_digest(std::string_view digest) {
  return {Errc::invalid, "the bytes don't have the digest " + std::string(digest)};
}

std::string unique_suffix() {
  static std::atomic<unsigned> counter{0};
  return ".tmp." + std::to_string(::getpid()) + "." + std::to_string(++counter);
}

Instant arrived_at(const struct stat& info) {
  return {info.st_mtim.tv_sec * 1'000LL + info.st_mtim.tv_nsec / 1'000'000};
}

constexpr std::string_view kAside = ".aside";

/// Opens the file of parts and locks it against another append() of the same digest. The lock is taken on
/// the name's present file: another append may have published or removed it in between.
Result<Fd> open_locked(const std::string& path) {
  constexpr int kMaxTries = 100;
  for (int i = 0; i < kMaxTries; ++i) {
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!fd.valid()) return fail_errno("open " + path, errno);
    if (::flock(fd.get(), LOCK_EX) != 0) return fail_errno("lock " + path, errno);
    struct stat mine {};
    struct stat named {};
    if (::fstat(fd.get(), &mine) == 0 && ::stat(path.c_str(), &named) == 0 &&
        mine.st_ino == named.st_ino)
      return fd;
  }
  return fail(Errc::overloaded, "too many writers of " + path);
}

}  // namespace

fs::path Blobs::path(std::string_view digest) const {
  if (!is_sha256_hex(digest)) return directory_ / "partial" / "no-digest";
  return directory_ / digest.substr(0, 2) / digest;
}

fs::path Blobs::partial(std::string_view digest) const { return directory_ / "partial" / digest; }

Result<void> Blobs::check(std::string_view digest, std::uint64_t size) const {
  if (!is_sha256_hex(digest)) return fail(Errc::invalid, "not a SHA-256 in lower-case hexadecimal");
  if (size > max_bytes_)
    return fail(Errc::invalid, "a blob of " + std::to_string(size) + " bytes is above the limit of " +
                                   std::to_string(max_bytes_));
  return {};
}

/// The file's bytes are synced already; here its name becomes durable.
Result<void> Blobs::publish(const fs::path& from, std::string_view digest) const {
  const fs::path to = path(digest);
  if (auto made = make_directory(to.parent_path(), 0750); !made) return made;
  if (::rename(from.c_str(), to.c_str()) != 0) return fail_errno("rename to " + to.string(), errno);
  return sync_directory(to.parent_path());
}

bool Blobs::has(std::string_view digest) const {
  std::error_code ignored;
  return is_sha256_hex(digest) && fs::is_regular_file(path(digest), ignored);
}

bool Blobs::touch(std::string_view digest) const {
  return is_sha256_hex(digest) && ::utimensat(AT_FDCWD, path(digest).c_str(), nullptr, 0) == 0;
}

Result<void> Blobs::put(std::string_view digest, std::string_view bytes) {
  if (auto ok = check(digest, bytes.size()); !ok) return ok;
  if (sha256_hex(bytes) != digest) return tl::unexpected(wrong_digest(digest));
  if (touch(digest)) return {};
  if (auto made = make_directory(directory_ / "partial", 0750); !made) return made;
  const std::string temporary = partial(digest).string() + unique_suffix();
  const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd.valid()) return fail_errno("create " + temporary, errno);
  auto result = write_at(fd.get(), 0, bytes, temporary);
  if (result) result = sync(fd.get(), temporary);
  if (result) result = publish(temporary, digest);
  if (!result) ::unlink(temporary.c_str());
  return result;
}

Result<std::string> Blobs::get(std::string_view digest) const {
  if (auto ok = check(digest, 0); !ok) return tl::unexpected(ok.error());
  auto bytes = read_file(path(digest), max_bytes_);
  if (!bytes && bytes.error().code == Errc::not_found)
    return fail(Errc::not_found, "no blob " + std::string(digest));
  if (bytes && sha256_hex(*bytes) != digest)
    return fail(Errc::corrupt, "the blob " + std::string(digest) + " was changed on disk");
  return bytes;
}

Result<bool> Blobs::append(std::string_view digest, std::uint64_t offset, std::uint64_t total,
                           std::string_view bytes) {
  if (auto ok = check(digest, total); !ok) return tl::unexpected(ok.error());
  if (offset > total || bytes.size() > total - offset)
    return fail(Errc::invalid, "a part ends beyond the total of " + std::to_string(total));
  if (touch(digest)) return true;
  if (auto made = make_directory(directory_ / "partial", 0750); !made)
    return tl::unexpected(made.error());

  const std::string path = partial(digest).string();
  const auto fd = open_locked(path);
  if (!fd) return tl::unexpected(fd.error());
  if (offset == 0 && ::ftruncate(fd->get(), 0) != 0) return fail_errno("truncate " + path, errno);
  const auto length = size_of(fd->get(), path);
  if (!length) return tl::unexpected(length.error());
  if (*length != offset)
    return fail(Errc::conflict, "the next part begins at " + std::to_string(*length) + ", not at " +
                                    std::to_string(offset));
  if (auto ok = write_at(fd->get(), offset, bytes, path); !ok) {
    // A part is there whole or not at all, so that the same one may come again.
    if (::ftruncate(fd->get(), static_cast<off_t>(offset)) != 0) ::unlink(path.c_str());
    return tl::unexpected(ok.error());
  }
  if (offset + bytes.size() < total) return false;

  const auto whole = read_file(path, max_bytes_);
  if (!whole) return tl::unexpected(whole.error());
  if (sha256_hex(*whole) != digest) {
    ::unlink(path.c_str());
    return tl::unexpected(wrong_digest(digest));
  }
  if (auto ok = sync(fd->get(), path); !ok) {
    // After a failed fsync the cache shows what the disk may never hold: the parts must come again.
    ::unlink(path.c_str());
    return tl::unexpected(ok.error());
  }
  if (auto ok = publish(path, digest); !ok) return tl::unexpected(ok.error());
  return true;
}

Result<void> Blobs::remove(std::string_view digest) {
  if (auto ok = check(digest, 0); !ok) return ok;
  for (const fs::path& file : {partial(digest), path(digest)})
    if (::unlink(file.c_str()) != 0 && errno != ENOENT)
      return fail_errno("remove " + file.string(), errno);
  std::error_code ignored;
  if (!fs::is_directory(path(digest).parent_path(), ignored)) return {};
  return sync_directory(path(digest).parent_path());
}

/// Out of the way first, and then looked at: from there on nobody finds it, and who touched it before is seen.
Result<bool> Blobs::remove_older(std::string_view digest, Instant before) {
  if (auto ok = check(digest, 0); !ok) return tl::unexpected(ok.error());
  if (auto made = make_directory(directory_ / "partial", 0750); !made)
    return tl::unexpected(made.error());
  const fs::path from = path(digest);
  const std::string aside = partial(digest).string() + std::string(kAside);
  if (::rename(from.c_str(), aside.c_str()) != 0) {
    if (errno == ENOENT) return false;
    return fail_errno("rename " + from.string(), errno);
  }
  struct stat info {};
  const bool known = ::stat(aside.c_str(), &info) == 0;
  if (!known || arrived_at(info) >= before) {
    if (auto back = publish(aside, digest); !back) return tl::unexpected(back.error());
    return false;
  }
  if (::unlink(aside.c_str()) != 0 && errno != ENOENT)
    return fail_errno("remove " + aside, errno);
  if (auto synced = sync_directory(from.parent_path()); !synced)
    return tl::unexpected(synced.error());
  return true;
}

Result<void> Blobs::each(
    const std::function<void(const std::string& digest, Instant arrived)>& each) const {
  std::error_code error;
  if (!fs::exists(directory_, error)) return {};
  for (auto it = fs::recursive_directory_iterator(directory_, error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    struct stat info {};
    if (is_sha256_hex(name) && it->path() == path(name) && ::stat(it->path().c_str(), &info) == 0)
      each(name, arrived_at(info));
  }
  if (error) return fail_errno("list " + directory_.string(), error.value());
  return {};
}

Result<std::size_t> Blobs::clean(Duration older_than) {
  const fs::path directory = directory_ / "partial";
  std::error_code error;
  if (!fs::exists(directory, error)) return std::size_t{0};
  const auto limit = fs::file_time_type::clock::now() - older_than;
  std::size_t removed = 0;
  for (auto it = fs::directory_iterator(directory, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    if (it->path().extension() == kAside) {  // Whoever removed it died before it was sure.
      if (auto back = publish(it->path(), it->path().stem().string()); !back)
        return tl::unexpected(back.error());
      continue;
    }
    std::error_code gone;  // Somebody finished it meanwhile.
    const auto changed = fs::last_write_time(it->path(), gone);
    if (gone || changed > limit) continue;
    if (fs::remove(it->path(), gone)) ++removed;
  }
  if (error) return fail_errno("list " + directory.string(), error.value());
  return removed;
}

}  // namespace muster
