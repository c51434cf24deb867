// Frames of storage/schema/wire.fbs as bytes: made, and checked before anyone reads one.
//
// FlatBuffers' Verifier proves that every offset stays inside the frame, but not that a frame is
// small once unpacked: a vector may name one long string a hundred thousand times. So what
// open_frame() accepts is also bounded in every vector and text, and may be unpacked.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"

namespace muster::wire {
struct Frame;
struct FrameT;
}  // namespace muster::wire

namespace muster::storage {

/// The largest frame on the wire, in bytes.
constexpr std::size_t kMaxFrame = 1u << 20;
/// The most that a frame may come to when unpacked: strings and byte vectors, counted each time
/// they are named.
constexpr std::size_t kMaxUnpackedFrame = 2u << 20;

/// Errc::corrupt unless `bytes` are one whole, bounded frame with a body. Points into `bytes`,
/// which must be aligned to 8.
Result<const wire::Frame*> open_frame(std::string_view bytes);

std::string encode_frame(const wire::FrameT& frame);

}  // namespace muster::storage
