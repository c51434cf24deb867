#include "sandboxd/context_file.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage/base/files.hpp"

namespace muster::sandbox {

namespace {

constexpr std::size_t kContextPiece = 256u << 10;

/// Below `top`, through no link.
Fd open_in_bundle(int top, const std::string& path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return Fd(static_cast<int>(::syscall(SYS_openat2, top, path.c_str(), &how, sizeof how)));
}

/// The directory that `path` lies in, made as far as it is missing.
Result<Fd> directory_of(const PlaceFile& op, std::string& name) {
  Fd at(::open(op.top.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!at.valid()) return fail_errno("open " + op.top.string(), errno);
  std::string_view rest = op.path;
  for (std::size_t slash = 0; (slash = rest.find('/')) != std::string_view::npos;
       rest.remove_prefix(slash + 1)) {
    const std::string part(rest.substr(0, slash));
    if (part.empty() || part == ".") continue;
    const bool made = ::mkdirat(at.get(), part.c_str(), 0755) == 0;
    Fd next = open_in_bundle(at.get(), part, O_RDONLY | O_DIRECTORY);
    if (!next.valid()) return fail(Errc::invalid, op.path + ": " + part + " is no directory");
    if (made && ::fchown(next.get(), op.directories, op.directories) != 0)
      return fail_errno("chown", errno);
    at = std::move(next);
  }
  name = rest;
  return at;
}

Result<void> copy_context(int from, int to) {
  std::string buffer(kContextPiece, '\0');
  ssize_t n = 0;
  while ((n = ::read(from, buffer.data(), buffer.size())) > 0)
    for (ssize_t done = 0, wrote = 0; done < n; done += wrote)
      if ((wrote = ::write(to, buffer.data() + done, static_cast<std::size_t>(n - done))) <= 0)
        return fail_errno("write a context file", errno);
  if (n < 0) return fail_errno("read a context file", errno);
  return {};
}

}  // namespace

Result<void> place_file(const PlaceFile& op) {
  const Fd bundle(::open(op.bundle.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Fd source = open_in_bundle(bundle.get(), op.source, O_RDONLY | O_NONBLOCK);
  struct stat info {};
  if (!source.valid() || ::fstat(source.get(), &info) != 0 || !S_ISREG(info.st_mode))
    return fail(Errc::invalid, "the bundle has no plain file " + op.source);
  std::string name;
  auto parent = directory_of(op, name);
  if (!parent) return tl::unexpected(parent.error());
  // Whatever a setup left under that name gives way, but for a directory.
  if (::unlinkat(parent->get(), name.c_str(), 0) != 0 && errno != ENOENT)
    return fail(Errc::invalid, op.path + ": something else is there");
  const Fd to(::openat(parent->get(), name.c_str(),
                       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!to.valid()) return fail_errno("create " + op.path, errno);
  if (auto done = copy_context(source.get(), to.get()); !done) return done;
  if (::fchown(to.get(), op.owner, op.owner) != 0 || ::fchmod(to.get(), op.mode) != 0)
    return fail_errno("make " + op.path + " its owner's", errno);
  return {};
}

}  // namespace muster::sandbox
