#include "storage/runlog/segment.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "storage/base/crc32c.hpp"

namespace muster::storage {

namespace {

constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kIndexBytes = 16u << 10;
constexpr std::size_t kFrameBytes = 256u << 10;
constexpr int kCompressionLevel = 1;  // Twice as fast as 3 for a tenth more bytes: it stands in the log's way.

template <class T>
void put_le(std::string& to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    to.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

std::uint32_t get_le32(std::string_view from) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(from[i]);
  return value;
}

std::uint32_t record_crc(std::uint64_t offset, std::string_view bytes) {
  std::string salt;
  put_le(salt, offset);
  return ~crc32c_feed(crc32c_feed(kCrc32cBegin, salt), bytes);
}

/// The bytes of the record that `file` begins with; empty when none stands there whole and unharmed.
std::string_view first_record(std::string_view file, std::uint64_t offset) {
  if (file.size() < kHeaderBytes) return {};
  const std::uint32_t length = get_le32(file);
  if (length == 0 || length > kMaxLogAppend || length > file.size() - kHeaderBytes) return {};
  const std::string_view bytes = file.substr(kHeaderBytes, length);
  if (record_crc(offset, bytes) != get_le32(file.substr(4))) return {};
  return bytes;
}

Result<void> write_at(int fd, std::string_view bytes, std::uint64_t position) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write", errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
    position += static_cast<std::uint64_t>(n);
  }
  return {};
}

}  // namespace

Result<OpenSegment> OpenSegment::open(std::filesystem::path path, std::uint64_t first,
                                      const RunLogSystem& system) {
  OpenSegment segment(std::move(path), first, system);
  segment.fd_ = Fd(
      ::open(segment.path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640));
  if (!segment.fd_.valid()) return fail_errno("open " + segment.path_.string(), errno);
  if (auto ok = segment.recover(); !ok) return tl::unexpected(ok.error());
  return segment;
}

/// After drop_descriptor().
Result<void> OpenSegment::wake() const {
  if (fd_.valid()) return {};
  Fd fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) return fail_errno("open " + path_.string(), errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("stat " + path_.string(), errno);
  if (!S_ISREG(info.st_mode) || static_cast<std::uint64_t>(info.st_size) != end_.position)
    return fail(Errc::corrupt, path_.string() + " was changed by somebody else");
  fd_ = std::move(fd);
  return {};
}

Result<void> OpenSegment::recover() {
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) return fail_errno("stat " + path_.string(), errno);
  if (!S_ISREG(info.st_mode)) return fail(Errc::corrupt, path_.string() + " is not a file");
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const auto file = read_file_range(0, size);
  if (!file) return tl::unexpected(file.error());
  for (std::string_view rest = *file; !rest.empty();) {
    const std::string_view record = first_record(rest, end_.offset);
    if (record.empty()) break;
    extend(record.size());
    rest.remove_prefix(kHeaderBytes + record.size());
  }
  if (end_.position < size)
    if (auto ok = cut(end_); !ok) return ok;
  if (size > 0 && system_->sync_data(fd_.get()) != 0)
    return fail_errno("sync " + path_.string(), errno);
  durable_ = end_;
  return {};
}

/// A record of `length` bytes was added at the end.
void OpenSegment::extend(std::size_t length) {
  if (index_.empty() || end_.position - index_.back().position >= kIndexBytes)
    index_.push_back(end_);
  end_.offset += length;
  end_.position += kHeaderBytes + length;
}

Result<void> OpenSegment::cut(Mark to) {
  if (::ftruncate(fd_.get(), static_cast<off_t>(to.position)) != 0) {
    broken_ = true;
    return fail_errno("truncate " + path_.string(), errno);
  }
  end_ = to;
  while (!index_.empty() && index_.back().position >= to.position) index_.pop_back();
  return {};
}

Result<void> OpenSegment::append(std::string_view bytes) {
  if (broken_) return fail(Errc::io, path_.string() + " could not be mended after a failed write");
  if (auto ok = wake(); !ok) return ok;
  std::string record;
  record.reserve(kHeaderBytes + bytes.size());
  put_le(record, static_cast<std::uint32_t>(bytes.size()));
  put_le(record, record_crc(end_.offset, bytes));
  record.append(bytes);
  if (auto written = write_at(fd_.get(), record, end_.position); !written) {
    if (auto mended = cut(end_); !mended) return mended;
    return fail(written.error(), path_.string());
  }
  extend(bytes.size());
  return {};
}

Result<void> OpenSegment::sync() {
  if (broken_) return fail(Errc::io, path_.string() + " could not be mended after a failed write");
  if (durable_.offset == end_.offset) return {};
  if (auto ok = wake(); !ok) return ok;
  if (system_->sync_data(fd_.get()) != 0) {
    const auto failure = fail_errno("sync " + path_.string(), errno);
    if (auto mended = cut(durable_); !mended) return mended;
    return failure;
  }
  durable_ = end_;
  return {};
}

Result<std::string> OpenSegment::read_file_range(std::uint64_t from, std::uint64_t to) const {
  std::string bytes(to - from, '\0');
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t n = ::pread(fd_.get(), bytes.data() + have, bytes.size() - have,
                              static_cast<off_t>(from + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read " + path_.string(), errno);
    if (n == 0) return fail(Errc::corrupt, path_.string() + " became shorter");
    have += static_cast<std::size_t>(n);
  }
  return bytes;
}

Result<std::string> OpenSegment::read(std::uint64_t offset, std::size_t limit) const {
  std::string bytes;
  if (offset >= end_.offset || limit == 0) return bytes;
  if (auto ok = wake(); !ok) return tl::unexpected(ok.error());
  const std::uint64_t stop = offset + std::min<std::uint64_t>(limit, end_.offset - offset);
  const auto beyond = [](std::uint64_t at, const Mark& mark) { return at < mark.offset; };
  const Mark begin = *std::prev(std::upper_bound(index_.begin(), index_.end(), offset, beyond));
  const auto last = std::upper_bound(index_.begin(), index_.end(), stop, beyond);
  const auto file = read_file_range(begin.position,
                                    last == index_.end() ? end_.position : last->position);
  if (!file) return file;
  std::uint64_t at = begin.offset;
  for (std::string_view rest = *file; !rest.empty() && at < stop;) {
    const std::string_view record = first_record(rest, at);
    if (record.empty())
      return fail(Errc::corrupt, path_.string() + " was changed at " + std::to_string(at));
    const std::uint64_t from = std::max(offset, at) - at;
    const std::uint64_t to = std::min<std::uint64_t>(stop - at, record.size());
    if (from < to) bytes.append(record.substr(from, to - from));
    at += record.size();
    rest.remove_prefix(kHeaderBytes + record.size());
  }
  return bytes;
}

Result<std::string> compress_segment(std::string_view bytes) {
  const std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                       ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kCompressionLevel);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  std::string compressed;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(kFrameBytes, bytes.size()))) {
    const std::string_view part = bytes.substr(0, kFrameBytes);
    const std::size_t before = compressed.size();
    compressed.resize(before + ZSTD_compressBound(part.size()));
    const std::size_t n = ZSTD_compress2(context.get(), compressed.data() + before,
                                         compressed.size() - before, part.data(), part.size());
    if (ZSTD_isError(n) != 0) return fail(Errc::internal, ZSTD_getErrorName(n));
    compressed.resize(before + n);
  }
  return compressed;
}

namespace {

struct Frame {
  std::string_view compressed;
  std::size_t length = 0;  ///< Of the stream.
};

/// Takes one frame off the front of `rest`.
Result<Frame> take_frame(std::string_view& rest) {
  const std::size_t size = ZSTD_findFrameCompressedSize(rest.data(), rest.size());
  if (ZSTD_isError(size) != 0) return fail(Errc::corrupt, "a closed log segment was cut off");
  const unsigned long long length = ZSTD_getFrameContentSize(rest.data(), rest.size());
  if (length == 0 || length > kFrameBytes)  // The codes for unknown and error are huge.
    return fail(Errc::corrupt, "a closed log segment has a frame that is not ours");
  const Frame frame{rest.substr(0, size), static_cast<std::size_t>(length)};
  rest.remove_prefix(size);
  return frame;
}

}  // namespace

Result<std::uint64_t> closed_length(std::string_view compressed) {
  std::uint64_t length = 0;
  while (!compressed.empty()) {
    const auto frame = take_frame(compressed);
    if (!frame) return tl::unexpected(frame.error());
    length += frame->length;
  }
  return length;
}

Result<std::string> read_closed(std::string_view compressed, std::uint64_t skip, std::size_t limit) {
  std::string bytes;
  std::string plain;
  while (!compressed.empty() && bytes.size() < limit) {
    const auto frame = take_frame(compressed);
    if (!frame) return tl::unexpected(frame.error());
    if (skip >= frame->length) {
      skip -= frame->length;
      continue;
    }
    plain.resize(frame->length);
    const std::size_t n = ZSTD_decompress(plain.data(), plain.size(), frame->compressed.data(),
                                          frame->compressed.size());
    if (n != frame->length) return fail(Errc::corrupt, "a closed log segment was changed on disk");
    bytes.append(plain, skip, limit - bytes.size());
    skip = 0;
  }
  return bytes;
}

}  // namespace muster::storage
