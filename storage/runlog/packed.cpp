#include "storage/runlog/packed.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>

#include "storage/base/files.hpp"
#include "storage/base/packing.hpp"

namespace muster::storage {

namespace {

std::uint32_t word_at(std::string_view bytes, std::size_t at) {
  std::uint32_t word = 0;
  for (std::size_t i = sizeof word; i-- > 0;) word = word << 8 | static_cast<unsigned char>(bytes[at + i]);
  return word;
}

bool has_header(std::string_view closed) {
  return closed.size() >= kPackedHeader && word_at(closed, 0) == kPackedMagic;
}

/// Takes one frame off the front of `rest`, with the header that may stand before it.
Result<std::string_view> take_frame(std::string_view& rest) {
  if (has_header(rest)) rest.remove_prefix(kPackedHeader);
  const std::size_t size = ZSTD_findFrameCompressedSize(rest.data(), rest.size());
  if (ZSTD_isError(size) != 0) return fail(Errc::corrupt, "a closed log segment was cut off");
  const std::string_view frame = rest.substr(0, size);
  if (packed_length(frame) == 0) return fail(Errc::corrupt, "a closed log segment has a frame that is not ours");
  rest.remove_prefix(size);
  return frame;
}

/// `count` bytes of the file, or fewer at its end.
Result<std::string> read_at(const Fd& fd, std::uint64_t position, std::uint64_t count) {
  std::string bytes(count, '\0');
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t n = ::pread(fd.get(), bytes.data() + have, bytes.size() - have, static_cast<off_t>(position + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read a closed log segment", errno);
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  bytes.resize(have);
  return bytes;
}

/// Where the first frame stands that is not wholly within `skip`, as far as headers tell; takes those before it off `skip`.
Result<std::uint64_t> pass_frames(const Fd& fd, std::uint64_t& skip) {
  constexpr std::size_t kZstdHeader = 18;  // at most
  for (std::uint64_t position = 0;;) {
    const auto begin = read_at(fd, position, kPackedHeader + kZstdHeader);
    if (!begin) return tl::unexpected(begin.error());
    const std::size_t length = has_header(*begin) ? packed_length(std::string_view(*begin).substr(kPackedHeader)) : 0;
    if (length == 0 || length > skip) return position;
    skip -= length;
    position += kPackedHeader + word_at(*begin, 8);
  }
}

}  // namespace

Result<void> append_packed(std::string& to, std::string_view bytes) {
  for (; !bytes.empty(); bytes.remove_prefix(std::min(kMaxPacked, bytes.size()))) {
    const auto frame = pack(bytes.substr(0, kMaxPacked));
    if (!frame) return tl::unexpected(frame.error());
    to.append(*frame);
  }
  return {};
}

Result<std::uint64_t> closed_length(std::string_view closed) {
  std::uint64_t length = 0;
  while (!closed.empty()) {
    const auto frame = take_frame(closed);
    if (!frame) return tl::unexpected(frame.error());
    length += packed_length(*frame);
  }
  return length;
}

Result<std::string> read_closed(const std::filesystem::path& path, std::uint64_t skip, std::size_t limit) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!fd.valid() && errno == ENOENT) return fail(Errc::not_found, "no file " + path.string());
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) return fail_errno("open " + path.string(), errno);
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const auto position = pass_frames(fd, skip);
  if (!position) return tl::unexpected(position.error());
  // No frame is longer than its bytes by more than a little.
  const std::uint64_t enough = std::min<std::uint64_t>(limit, size) + skip + 4 * kMaxPacked;
  const auto file = read_at(fd, *position, std::min(enough, size - std::min(size, *position)));
  if (!file) return file;
  std::string bytes;
  for (std::string_view closed = *file; !closed.empty() && bytes.size() < limit;) {
    const auto frame = take_frame(closed);
    if (!frame) return tl::unexpected(frame.error());
    const std::size_t passed = static_cast<std::size_t>(std::min<std::uint64_t>(skip, packed_length(*frame)));
    skip -= passed;
    if (passed == packed_length(*frame)) continue;
    const auto plain = unpack(*frame);
    if (!plain) return tl::unexpected(plain.error());
    bytes.append(plain->substr(passed, limit - bytes.size()));
  }
  return bytes;
}

}  // namespace muster::storage
