// CRC-32C (Castagnoli), by the processor's instruction where it has one.
#pragma once

#include <cstdint>
#include <string_view>

namespace muster {

/// Of several pieces: begin with kCrc32cBegin, feed each, and take the complement of the last.
inline constexpr std::uint32_t kCrc32cBegin = ~0u;
std::uint32_t crc32c_feed(std::uint32_t crc, std::string_view bytes);

inline std::uint32_t crc32c(std::string_view bytes) { return ~crc32c_feed(kCrc32cBegin, bytes); }

}  // namespace muster
