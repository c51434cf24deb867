#include "sandboxd/log_reader.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace muster::sandbox {

Result<bool> LogReader::opened() {
  if (fd_.valid()) return true;
  fd_ = Fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd_.valid()) return true;
  if (errno == ENOENT) return false;
  return fail_errno("open " + path_.string(), errno);
}

Result<std::uint64_t> LogReader::waiting() {
  struct stat info {};
  const auto there = opened();
  if (!there) return tl::unexpected(there.error());
  if (*there && ::fstat(fd_.get(), &info) != 0) return fail_errno("stat " + path_.string(), errno);
  return static_cast<std::uint64_t>(info.st_size) - std::min(offset_, static_cast<std::uint64_t>(info.st_size));
}

Result<std::size_t> LogReader::read(std::string& to, std::size_t limit) {
  const auto there = waiting();
  if (!there) return tl::unexpected(there.error());
  limit = std::min<std::uint64_t>(limit, *there);  // no more is made room for, and filled with zeroes
  if (limit == 0) return 0;
  const std::size_t before = to.size();
  to.resize(before + limit);
  const ssize_t n = ::pread(fd_.get(), to.data() + before, limit, static_cast<off_t>(offset_));
  const int code = errno;
  to.resize(before + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  if (n < 0) return fail_errno("read " + path_.string(), code);
  offset_ += static_cast<std::uint64_t>(n);
  return static_cast<std::size_t>(n);
}

Result<void> LogReader::seek(std::uint64_t offset) {
  struct stat info {};
  const auto there = opened();
  if (!there) return tl::unexpected(there.error());
  if (*there && ::fstat(fd_.get(), &info) != 0) return fail_errno("stat " + path_.string(), errno);
  if (offset > static_cast<std::uint64_t>(info.st_size))
    return fail(Errc::invalid, "the log " + path_.string() + " ends before that offset");
  offset_ = offset;
  return {};
}

Result<Fd> open_log(const std::filesystem::path& log) {
  Fd fd(::open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return fail_errno("open " + log.string(), errno);
  return fd;
}

Result<void> append_log(const std::filesystem::path& log, std::string_view bytes) {
  const auto fd = open_log(log);
  if (!fd) return tl::unexpected(fd.error());
  if (::write(fd->get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    return fail_errno("write " + log.string(), errno);
  return {};
}

}  // namespace muster::sandbox
