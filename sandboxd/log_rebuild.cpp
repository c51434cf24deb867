#include "sandboxd/log_rebuild.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace muster::sandbox {

namespace {

constexpr std::size_t kReadBytes = 256u << 10;
constexpr std::size_t kMaxEntry = 1u << 20;  // conmon reads 8 KiB at a time: far beyond any entry
constexpr std::uint64_t kCheckpointBytes = 4u << 20;

/// Position after the n-th blank, or npos.
std::size_t after_blanks(std::string_view line, int n) {
  std::size_t at = 0;
  for (int i = 0; i < n; ++i) {
    at = line.find(' ', at);
    if (at == std::string_view::npos) return at;
    ++at;
  }
  return at;
}

Result<void> take_entry(std::string_view line, std::string& stream) {
  const std::size_t source = after_blanks(line, 1);
  if (source == std::string_view::npos || line.size() < source + 9 || line[source + 6] != ' ' ||
      line[source + 8] != ' ')
    return fail(Errc::corrupt, "an entry of the container's log can't be read");
  if (line.substr(source, 6) != "stdout") return {};
  stream.append(line.substr(source + 9));
  if (line[source + 7] == 'F') stream.push_back('\n');
  return {};
}

}  // namespace

Result<void> LogRebuilder::feed(std::string_view raw, std::string& stream) {
  while (!raw.empty()) {
    const std::size_t end = raw.find('\n');
    if (end == std::string_view::npos) {
      partial_.append(raw);
      if (partial_.size() > kMaxEntry) return fail(Errc::corrupt, "the container's log has no lines");
      return {};
    }
    Result<void> taken;
    if (partial_.empty()) {
      taken = take_entry(raw.substr(0, end), stream);
    } else {
      partial_.append(raw.substr(0, end));
      taken = take_entry(partial_, stream);
      partial_.clear();
    }
    if (!taken) return taken;
    raw.remove_prefix(end + 1);
  }
  return {};
}

Result<bool> LogReader::fill(std::size_t limit) {
  if (!fd_.valid()) {
    fd_ = Fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd_.valid()) {
      if (errno == ENOENT) return false;
      return fail_errno("open " + path_.string(), errno);
    }
  }
  static thread_local std::string buffer(kReadBytes, '\0');
  const ssize_t n = ::pread(fd_.get(), buffer.data(), std::clamp<std::size_t>(limit, 4096, buffer.size()),
                            static_cast<off_t>(raw_));
  if (n < 0) return fail_errno("read " + path_.string(), errno);
  if (n == 0) return false;
  const std::size_t before = pending_.size();
  if (auto fed = rebuilder_.feed({buffer.data(), static_cast<std::size_t>(n)}, pending_); !fed)
    return tl::unexpected(fed.error());
  raw_ += static_cast<std::uint64_t>(n);
  decoded_ += pending_.size() - before;
  const std::uint64_t last = checkpoints_.empty() ? 0 : checkpoints_.back().raw;
  const std::uint64_t whole = raw_ - rebuilder_.held();  // an entry begins here
  if (whole >= last + kCheckpointBytes) checkpoints_.push_back({whole, decoded_});
  return true;
}

Result<std::size_t> LogReader::read(std::string& to, std::size_t limit) {
  while (pending_.empty()) {
    const auto more = fill(limit);
    if (!more) return tl::unexpected(more.error());
    if (!*more) return 0;
  }
  const std::size_t take = std::min(limit, pending_.size());
  to.append(pending_, 0, take);
  if (take == pending_.size()) {
    std::string().swap(pending_);  // many sandboxes are followed at once: keep nothing
  } else {
    pending_.erase(0, take);
  }
  return take;
}

Result<void> LogReader::seek(std::uint64_t offset) {
  if (offset < this->offset()) {
    Checkpoint from{0, 0};
    for (const auto& checkpoint : checkpoints_)
      if (checkpoint.stream <= offset) from = checkpoint;
    raw_ = from.raw;
    decoded_ = from.stream;
    rebuilder_ = {};
    pending_.clear();
  }
  while (decoded_ < offset) {
    pending_.clear();
    const auto more = fill(kReadBytes);
    if (!more) return tl::unexpected(more.error());
    if (!*more) return fail(Errc::invalid, "the log " + path_.string() + " ends before that offset");
  }
  pending_.erase(0, pending_.size() - static_cast<std::size_t>(decoded_ - offset));
  return {};
}

std::string to_k8s_log(std::string_view stream, std::size_t chunk) {
  static constexpr std::string_view kTime = "2026-01-01T00:00:00.000000000+00:00 stdout ";
  std::string log;
  while (!stream.empty()) {
    const std::string_view part = stream.substr(0, chunk);
    const std::size_t newline = part.find('\n');
    const bool full = newline != std::string_view::npos;
    log.append(kTime).append(full ? "F " : "P ");
    log.append(part.substr(0, newline)).append("\n");
    stream.remove_prefix(full ? newline + 1 : part.size());
  }
  return log;
}

Result<void> append_stream(const std::filesystem::path& log, std::string_view stream) {
  const Fd fd(::open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return fail_errno("open " + log.string(), errno);
  const std::string text = to_k8s_log(stream);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return fail_errno("write " + log.string(), errno);
  return {};
}

}  // namespace muster::sandbox
