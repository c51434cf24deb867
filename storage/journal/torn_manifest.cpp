// The MANIFEST is a log of RocksDB (db/log_format.h):
//
//   file     := block*                       of 32 KiB, the last shorter
//   block    := fragment* zeros              less than a header is left over
//   fragment := crc:u32 length:u16 type:u8 bytes[length]       little-endian; crc masked, of type and bytes
//   record   := FULL | FIRST MIDDLE* LAST
#include "storage/journal/torn_manifest.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/crc32c.hpp"
#include "storage/base/files.hpp"

namespace muster::storage {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kBlock = 32u << 10;
constexpr std::size_t kHeader = 7;
constexpr std::size_t kMaxManifest = 256u << 20;
enum Type : std::uint8_t { kZero = 0, kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

std::uint32_t little_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

/// As RocksDB stores it: util/crc32c.h.
std::uint32_t masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

struct Torn {
  std::size_t record = 0;    ///< Where the record begins that is not whole.
  std::size_t fragment = 0;  ///< Where its fragment begins that is not.
};

/// The first record that is not whole; nothing when there is none that RocksDB would stumble over.
std::optional<Torn> first_torn(std::string_view file) {
  std::size_t record = 0;
  bool inside = false;  // Between a FIRST and its LAST.
  for (std::size_t at = 0; at < file.size();) {
    const std::size_t left = std::min(kBlock - at % kBlock, file.size() - at);
    if (left < kHeader) {
      at += left;
      continue;
    }
    if (!inside) record = at;
    const std::string_view header = file.substr(at, kHeader);
    const std::size_t length = little_endian(header.substr(4, 2));
    const auto type = static_cast<unsigned char>(header[6]);
    if (type == kZero && length == 0 && !inside) return std::nullopt;
    if (type == kZero || type > kLast || length > left - kHeader ||
        masked(crc32c(file.substr(at + 6, 1 + length))) != little_endian(header.substr(0, 4)))
      return Torn{record, at};
    inside = type == kFirst || type == kMiddle;
    at += kHeader + length;
  }
  return std::nullopt;
}

/// Whether all that follows the part of the fragment that is there is zeros, up to the end.
bool ends_in_zeros(std::string_view file, std::size_t fragment) {
  const std::size_t zeros = file.find_last_not_of('\0') + 1;  // npos + 1 is 0
  if (zeros == file.size()) return false;
  if (zeros <= fragment + kHeader) return true;
  return zeros <= fragment + kHeader + little_endian(file.substr(fragment + 4, 2));
}

Result<void> truncate(const fs::path& path, std::size_t size) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return fail_errno("open " + path.string(), errno);
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0 || ::fsync(fd.get()) != 0)
    return fail_errno("cut " + path.string(), errno);
  return {};
}

}  // namespace

Result<bool> cut_torn_manifest(const fs::path& directory) {
  constexpr std::size_t kLongestName = 64;
  const auto current = read_file(directory / "CURRENT", kLongestName);
  if (!current) return tl::unexpected(current.error());
  const std::string name = current->substr(0, current->find('\n'));
  if (!name.starts_with("MANIFEST-") || name.find('/') != name.npos) return false;
  const auto file = read_file(directory / name, kMaxManifest);
  if (!file) return tl::unexpected(file.error());
  const auto torn = first_torn(*file);
  if (!torn || !ends_in_zeros(*file, torn->fragment)) return false;
  if (auto cut = truncate(directory / name, torn->record); !cut) return tl::unexpected(cut.error());
  return true;
}

}  // namespace muster::storage
