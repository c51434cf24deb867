// Pieces of a log, compressed: one zstd frame each, with its content size and a checksum, as the
// run-log store keeps them. Each thread keeps what it needs for that: most of a megabyte.
#pragma once

#include <string>
#include <string_view>

#include "storage/base/error.hpp"

namespace muster {

/// The most that one frame holds: a reader unpacks no more than it needs.
constexpr std::size_t kMaxPacked = 256u << 10;
/// Shorter pieces hardly become smaller.
constexpr std::size_t kMinPacked = 64u << 10;

/// The frame of 1 to kMaxPacked bytes, else Errc::invalid. Valid until this thread packs the next one.
Result<std::string_view> pack(std::string_view bytes);

/// How many bytes a frame says that it holds, without looking at them; 0 when it is none of ours.
std::size_t packed_length(std::string_view frame);

/// What one frame holds. Valid until this thread unpacks the next one. Errc::corrupt when it is not whole, not the only one,
/// longer than any that pack() makes, or not what was packed.
Result<std::string_view> unpack(std::string_view frame);

}  // namespace muster
