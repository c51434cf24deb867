// A run's log as lines: takes the byte stream of storage/base/log_frame.hpp in pieces of any size
// and gives application/x-ndjson. A line that several frames make up comes once, whole; a line
// without its end is held back until the end comes, its step ends, or flush() is called.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/log_frame.hpp"

namespace muster::musterd {

class LogLines {
 public:
  /// `steps` names the steps by index, as far as is known; `wanted` is a step's name, "setup" or
  /// "verify" for all of these, or empty for everything.
  LogLines(std::uint32_t attempt, std::uint64_t offset, std::vector<std::string> steps,
           std::string wanted);

  /// Lines that are complete now. Errc::corrupt when the stream can't be read on.
  Result<std::string> add(std::string_view bytes);
  /// What is held back, as lines.
  std::string flush();
  /// Where the next frame begins.
  [[nodiscard]] std::uint64_t offset() const { return offset_; }

 private:
  static constexpr std::size_t kMaxLine = 64u << 10;  ///< Longer ones are broken.

  struct Partial {
    std::uint64_t offset = 0;
    Instant at;
    std::string text;
  };
  using Source = std::pair<std::uint8_t, LogType>;  ///< Step and stream.

  void take(const LogFrame& frame, std::uint64_t next, std::string& out);
  void learn(std::uint8_t step, std::string name);
  void take_text(const LogFrame& frame, std::string& out);
  void end_line(const Source& source, Partial& partial, std::string& out);
  void emit(std::uint64_t offset, Instant at, std::uint8_t step, std::string_view stream,
            std::string_view text, std::string& out);
  [[nodiscard]] bool wanted(std::uint8_t step) const;
  [[nodiscard]] std::string step_name(std::uint8_t step) const;

  std::uint32_t attempt_;
  std::uint64_t offset_;
  std::uint64_t next_ = 0;  ///< After the frame in hand.
  std::vector<std::string> steps_;
  std::string wanted_;
  std::string pending_;  ///< The beginning of a frame.
  std::map<Source, Partial> partial_;
};

}  // namespace muster::musterd
