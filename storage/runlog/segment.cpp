#include "storage/runlog/segment.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "storage/base/crc32c.hpp"
#include "storage/base/packing.hpp"
#include "storage/runlog/packed.hpp"

namespace muster::storage {

namespace {

constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kIndexBytes = 16u << 10;

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

/// A record as it stands in the file.
struct Record {
  std::string_view stored;     ///< Bytes of the stream, or their frame.
  std::size_t length = 0;      ///< Of the stream; 0: none stands there whole and unharmed.
  std::size_t file_bytes = 0;  ///< With what stands before it.
  bool packed = false;
};

/// The record that `file` begins with.
Record first_record(std::string_view file, std::uint64_t offset) {
  Record record;
  record.packed = file.size() >= kPackedHeader && get_le32(file) == kPackedMagic &&
                  get_le32(file.substr(4)) == kPackedHeader - 8;
  const std::size_t header = record.packed ? kPackedHeader : kHeaderBytes;
  if (file.size() < header) return {};
  const std::uint32_t length = get_le32(file.substr(header - 8));
  if (length == 0 || length > kMaxLogAppend || length > file.size() - header) return {};
  record.stored = file.substr(header, length);
  if (record_crc(offset, record.stored) != get_le32(file.substr(header - 4))) return {};
  record.length = record.packed ? packed_length(record.stored) : length;
  record.file_bytes = header + length;
  return record;
}

void put_record(std::string& to, std::uint64_t offset, std::string_view stored, bool packed) {
  if (packed) {
    put_le(to, kPackedMagic);
    put_le(to, static_cast<std::uint32_t>(kPackedHeader - 8));
  }
  put_le(to, static_cast<std::uint32_t>(stored.size()));
  put_le(to, record_crc(offset, stored));
  to.append(stored);
}

/// Appends a part of what a record holds.
Result<void> append_part(std::string& to, const Record& record, std::size_t from, std::size_t count) {
  const auto bytes = record.packed ? unpack(record.stored) : Result<std::string_view>(record.stored);
  if (!bytes) return tl::unexpected(bytes.error());
  to.append(bytes->substr(from, count));
  return {};
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
    const Record record = first_record(rest, end_.offset);
    if (record.length == 0) break;
    extend(record.length, record.file_bytes);
    all_packed_ = all_packed_ && record.packed;
    rest.remove_prefix(record.file_bytes);
  }
  if (end_.position < size)
    if (auto ok = cut(end_); !ok) return ok;
  if (size > 0 && system_->sync_data(fd_.get()) != 0)
    return fail_errno("sync " + path_.string(), errno);
  durable_ = end_;
  return {};
}

/// A record of `length` bytes of the stream was added at the end.
void OpenSegment::extend(std::size_t length, std::size_t file_bytes) {
  if (index_.empty() || end_.position - index_.back().position >= kIndexBytes)
    index_.push_back(end_);
  end_.offset += length;
  end_.position += file_bytes;
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

Result<void> OpenSegment::append(std::string_view bytes, std::string_view frame) {
  if (broken_) return fail(Errc::io, path_.string() + " could not be mended after a failed write");
  if (auto ok = wake(); !ok) return ok;
  const bool packed = !frame.empty() || bytes.size() >= kMinPacked;
  std::string records;
  std::vector<Mark> ends;  // of each, from end_ on
  while (!bytes.empty()) {
    const std::string_view piece = packed ? bytes.substr(0, kMaxPacked) : bytes;
    Result<std::string_view> stored = frame.empty() ? piece : frame;
    if (packed && frame.empty()) stored = pack(piece);
    if (!stored) return tl::unexpected(stored.error());
    const std::uint64_t before = ends.empty() ? 0 : ends.back().offset;
    put_record(records, end_.offset + before, *stored, packed);
    ends.push_back({before + piece.size(), records.size()});
    bytes.remove_prefix(piece.size());
  }
  if (auto written = write_at(fd_.get(), records, end_.position); !written) {
    if (auto mended = cut(end_); !mended) return mended;
    return fail(written.error(), path_.string());
  }
  all_packed_ = all_packed_ && packed;
  Mark before;
  for (const Mark& end : ends) {
    extend(end.offset - before.offset, end.position - before.position);
    before = end;
  }
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
    const Record record = first_record(rest, at);
    if (record.length == 0)
      return fail(Errc::corrupt, path_.string() + " was changed at " + std::to_string(at));
    const std::uint64_t from = std::max(offset, at) - at;
    const std::uint64_t to = std::min<std::uint64_t>(stop - at, record.length);
    if (from < to)
      if (auto ok = append_part(bytes, record, from, to - from); !ok) return fail(ok.error(), path_.string());
    at += record.length;
    rest.remove_prefix(record.file_bytes);
  }
  return bytes;
}

Result<void> OpenSegment::rename(const std::filesystem::path& closed) {
  if (auto ok = wake(); !ok) return ok;
  if (auto ok = sync(); !ok) return ok;
  if (::rename(path_.c_str(), closed.c_str()) != 0) return fail_errno("rename to " + closed.string(), errno);
  path_ = closed;
  return {};
}

Result<std::string> OpenSegment::closed_form() const {
  if (auto ok = wake(); !ok) return tl::unexpected(ok.error());
  const auto file = read_file_range(0, end_.position);
  if (!file) return file;
  std::string closed, plain;
  std::uint64_t at = first_;
  for (std::string_view rest = *file; !rest.empty();) {
    const Record record = first_record(rest, at);
    if (record.length == 0)
      return fail(Errc::corrupt, path_.string() + " was changed at " + std::to_string(at));
    if (record.packed) {
      if (auto ok = append_packed(closed, std::exchange(plain, {})); !ok) return tl::unexpected(ok.error());
      closed.append(record.stored);
    } else {
      plain.append(record.stored);
    }
    at += record.length;
    rest.remove_prefix(record.file_bytes);
  }
  if (auto ok = append_packed(closed, plain); !ok) return tl::unexpected(ok.error());
  return closed;
}

}  // namespace muster::storage
