#include "sandboxd/hostile_file.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "storage/base/ids.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

Result<Fd> open_hostile(const fs::path& directory, const std::string& relative, std::uint64_t max_bytes) {
  const Fd top(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!top.valid()) return fail_errno("open " + directory.string(), errno);
  open_how how{};
  how.flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  Fd fd(static_cast<int>(::syscall(SYS_openat2, top.get(), relative.c_str(), &how, sizeof how)));
  if (!fd.valid()) {
    if (errno == ENOENT) return fail(Errc::not_found, "no file " + relative);
    if (errno == ELOOP || errno == EXDEV) return fail(Errc::invalid, relative + " is a link");
    return fail_errno("open " + relative, errno);
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("stat " + relative, errno);
  if (!S_ISREG(info.st_mode)) return fail(Errc::invalid, relative + " is not a regular file");
  if (static_cast<std::uint64_t>(info.st_size) > max_bytes)
    return fail(Errc::invalid, relative + " is larger than " + std::to_string(max_bytes) + " bytes");
  return fd;
}

Result<std::string> read_hostile(const Fd& from, std::uint64_t max_bytes,
                                 const std::function<Result<void>(std::string_view)>& sink) {
  static thread_local std::string buffer(128u << 10, '\0');
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr);
  std::uint64_t total = 0;
  while (true) {
    const ssize_t n = ::read(from.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read", errno);
    if (n == 0) break;
    total += static_cast<std::uint64_t>(n);
    if (total > max_bytes) return fail(Errc::invalid, "the file grew beyond its limit");
    const std::string_view piece(buffer.data(), static_cast<std::size_t>(n));
    EVP_DigestUpdate(digest.get(), piece.data(), piece.size());
    if (auto done = sink(piece); !done) return tl::unexpected(done.error());
  }
  std::array<unsigned char, 32> raw{};
  EVP_DigestFinal_ex(digest.get(), raw.data(), nullptr);
  return to_hex({reinterpret_cast<const char*>(raw.data()), raw.size()});
}

Result<std::string> take_file(const fs::path& directory, const std::string& relative, std::uint64_t max_bytes,
                              const fs::path& target) {
  const auto from = open_hostile(directory, relative, max_bytes);
  if (!from) return tl::unexpected(from.error());
  const Fd to(::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!to.valid()) return fail_errno("create " + target.string(), errno);
  auto digest = read_hostile(*from, max_bytes, [&](std::string_view bytes) -> Result<void> {
    if (::write(to.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      return fail_errno("write " + target.string(), errno);
    return {};
  });
  if (!digest) return fail(digest.error(), relative);
  return digest;
}

Result<std::string> take_text(const fs::path& directory, const std::string& relative, std::uint64_t max_bytes) {
  const auto from = open_hostile(directory, relative, max_bytes);
  if (!from) return tl::unexpected(from.error());
  std::string text;
  const auto digest = read_hostile(*from, max_bytes, [&](std::string_view bytes) -> Result<void> {
    text.append(bytes);
    return {};
  });
  if (!digest) return fail(digest.error(), relative);
  return text;
}

}  // namespace muster::sandbox
