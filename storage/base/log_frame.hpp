// A run's log is one byte stream of frames, written by the sandbox's init, carried by offset, stored as it
// came and decoded only by readers. Grammar (integers little-endian):
//
//   stream := frame*
//   frame  := type:u8  step:u8  reserved:u16  length:u32  unix_ms:i64  bytes[length]
//   type   := 1 stdout | 2 stderr | 3 step begins (bytes: its name) | 4 step ended (bytes: StepEnd as JSON)
//           | 5 note of the host (bytes: text)
//
// `step` is the step's index in SandboxSpec.steps; a frame carries at most kMaxLogFrame bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"
#include "storage/base/time.hpp"

namespace muster {

enum class LogType : std::uint8_t { out = 1, err = 2, step_begin = 3, step_end = 4, note = 5 };

constexpr std::size_t kLogHeaderBytes = 16;
constexpr std::size_t kMaxLogFrame = 64u << 10;

struct LogFrame {
  LogType type = LogType::out;
  std::uint8_t step = 0;
  Instant at;
  std::string_view bytes;  ///< Points into the decoder's input.
};

/// Appends one frame to `to`. `bytes` must not exceed kMaxLogFrame.
void append_log_frame(std::string& to, const LogFrame& frame);

/// All of it but its bytes.
void append_log_header(std::string& to, const LogFrame& frame);

/// What stands before a frame's bytes.
struct LogHeader {
  LogType type = LogType::out;
  std::uint8_t step = 0;
  std::size_t length = 0;  ///< Of its bytes.
  Instant at;
};

/// Of the first kLogHeaderBytes of a frame, which must be there. Errc::corrupt when they can't be one.
Result<LogHeader> read_log_header(std::string_view stream);

/// Takes the first whole frame off the front of `stream`; false when there is none yet. Errc::corrupt when
/// what stands there can't be a frame.
Result<bool> take_log_frame(std::string_view& stream, LogFrame& frame);

}  // namespace muster
