// The bytes of a simulated log, by offset: what a line-printing agent writes, in the grammar of
// storage/base/log_frame.hpp. Always the same, so that nothing need be kept to send it again.
#pragma once

#include <cstdint>
#include <string>

namespace muster::load {

/// A log's length is a multiple of this: one frame.
constexpr std::uint64_t kLogFrameBytes = 256;

/// The `size` bytes from `offset` on.
std::string log_bytes(std::uint64_t offset, std::uint64_t size);

}  // namespace muster::load
