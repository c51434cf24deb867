// Closed segments, and what makes an open one that was packed as it was written (storage/base/packing.hpp) a closed one
// as it stands: a header before each frame, which zstd takes for a frame to be skipped. `zstd -dc` reads both.
//
//   closed segment := ([header] frame)*                  integers are little-endian
//   header         := magic:u32  8:u32  length:u32  crc:u32      length of the frame; crc as in segment.hpp
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"

namespace muster::storage {

constexpr std::uint32_t kPackedMagic = 0x184d2a5c;  ///< One of the sixteen that zstd skips.
constexpr std::size_t kPackedHeader = 16;

/// Appends the frames of any number of bytes.
Result<void> append_packed(std::string& to, std::string_view bytes);

/// The length of the stream in a closed segment. Errc::corrupt when it is not one.
Result<std::uint64_t> closed_length(std::string_view closed);
/// At most `limit` bytes from `skip` bytes after the segment's first. Frames that stand before those are not read where
/// headers say how long they are.
Result<std::string> read_closed(const std::filesystem::path& path, std::uint64_t skip, std::size_t limit);

}  // namespace muster::storage
