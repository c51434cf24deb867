#include "sandboxd/spool.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <cstring>

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kHeader = 16;
constexpr std::size_t kMaxFile = 1u << 30;
constexpr std::uint64_t kRewriteBytes = 4u << 20;

std::uint32_t checksum(std::uint64_t number, std::string_view bytes) {
  unsigned char raw[8];
  std::memcpy(raw, &number, sizeof raw);
  const auto first = ::crc32(0, raw, sizeof raw);
  return static_cast<std::uint32_t>(
      ::crc32(first, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

std::string record(std::uint64_t number, std::string_view bytes) {
  const auto length = static_cast<std::uint32_t>(bytes.size());
  const std::uint32_t sum = checksum(number, bytes);
  std::string text(kHeader, '\0');
  std::memcpy(text.data(), &length, 4);
  std::memcpy(text.data() + 4, &number, 8);
  std::memcpy(text.data() + 12, &sum, 4);
  return text.append(bytes);
}

/// Takes a whole, unspoiled record off the front.
bool take(std::string_view& rest, std::uint64_t& number, std::string_view& bytes) {
  std::uint32_t length = 0, sum = 0;
  if (rest.size() < kHeader) return false;
  std::memcpy(&length, rest.data(), 4);
  std::memcpy(&number, rest.data() + 4, 8);
  std::memcpy(&sum, rest.data() + 12, 4);
  if (rest.size() - kHeader < length) return false;
  bytes = rest.substr(kHeader, length);
  if (checksum(number, bytes) != sum) return false;
  rest.remove_prefix(kHeader + length);
  return true;
}

}  // namespace

Result<EventSpool> EventSpool::open(const fs::path& file) {
  EventSpool spool;
  spool.path_ = file;
  const auto text = read_file(file, kMaxFile);
  if (!text && text.error().code != Errc::not_found) return tl::unexpected(text.error());
  std::string_view rest = text ? std::string_view(*text) : std::string_view();
  const std::size_t whole = rest.size();
  std::uint64_t number = 0;
  for (std::string_view bytes; take(rest, number, bytes);) {
    if (bytes.empty()) {
      spool.mark_ = number;
      while (!spool.waiting_.empty() && spool.waiting_.front().number <= number) spool.pop();
    } else {
      spool.push(number, std::string(bytes));
    }
    spool.next_ = number + 1;
  }
  if (!spool.waiting_.empty()) spool.next_ = spool.waiting_.back().number + 1;
  spool.next_ = std::max(spool.next_, spool.mark_ + 1);
  spool.size_ = whole - rest.size();
  spool.fd_ = Fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!spool.fd_.valid()) return fail_errno("open " + file.string(), errno);
  if (::ftruncate(spool.fd_.get(), static_cast<off_t>(spool.size_)) != 0)
    return fail_errno("cut " + file.string(), errno);
  return spool;
}

void EventSpool::push(std::uint64_t number, std::string frame) {
  waiting_bytes_ += frame.size();
  waiting_.push_back({number, std::move(frame)});
}

void EventSpool::pop() {
  waiting_bytes_ -= waiting_.front().frame.size();
  waiting_.pop_front();
}

Result<void> EventSpool::write(std::uint64_t number, std::string_view bytes) {
  const std::string text = record(number, bytes);
  const ssize_t n = ::pwrite(fd_.get(), text.data(), text.size(), static_cast<off_t>(size_));
  if (n != static_cast<ssize_t>(text.size()) || ::fdatasync(fd_.get()) != 0)
    return fail_errno("write " + path_.string(), n < 0 ? errno : ENOSPC);
  size_ += text.size();
  return {};
}

Result<std::uint64_t> EventSpool::append(std::string frame) {
  if (auto done = write(next_, frame); !done) return tl::unexpected(done.error());
  push(next_, std::move(frame));
  return next_++;
}

Result<void> EventSpool::acknowledge(std::uint64_t mark) {
  if (mark <= mark_) return {};
  mark_ = std::min(mark, next_ - 1);
  while (!waiting_.empty() && waiting_.front().number <= mark_) pop();
  // An unwritten mark only means that some events are sent twice: the engine knows their numbers.
  return waiting_.empty() || size_ > kRewriteBytes ? rewrite() : Result<void>{};
}

Result<void> EventSpool::renumber(std::uint64_t mark) {
  mark_ = mark;
  next_ = mark + 1;
  for (auto& event : waiting_) event.number = next_++;
  return rewrite();
}

/// Small and rare while idle: one mark. Otherwise once per kRewriteBytes.
Result<void> EventSpool::rewrite() {
  if (waiting_.empty() && size_ < kRewriteBytes / 64) {  // leave the file; the next mark replaces it
    const std::string text = record(mark_, "");
    if (::pwrite(fd_.get(), text.data(), text.size(), static_cast<off_t>(size_)) < 0)
      return fail_errno("write " + path_.string(), errno);
    size_ += text.size();
    return {};
  }
  std::string text = record(mark_, "");
  for (const auto& event : waiting_) text += record(event.number, event.frame);
  if (auto done = write_file_durably(path_, text, 0600); !done) return done;
  fd_ = Fd(::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd_.valid()) return fail_errno("open " + path_.string(), errno);
  size_ = text.size();
  return {};
}

}  // namespace muster::sandbox
