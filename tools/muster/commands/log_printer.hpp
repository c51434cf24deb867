// Lines of a run's log (/v1/runs/ID/logs) as text.
#pragma once

#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <ostream>
#include <string>

#include "storage/base/time.hpp"
#include "tools/muster/render/table.hpp"

namespace muster::cli {

struct LogOptions {
  bool timestamps = false;
  bool terminal = false;               ///< Control characters become visible; colours stay if `look` has them.
  Look look;
  std::optional<std::size_t> tail;     ///< Only the last so many lines, printed by finish().
  std::optional<Instant> since;
};

/// Text comes in pieces that need not end at a line's end; lines are put together again.
class LogPrinter {
 public:
  LogPrinter(std::ostream& to, LogOptions options) : to_(to), options_(options) {}

  /// Takes one record {"at","step","stream","text"}. Always true, so that it can stand in a stream's callback.
  bool line(const nlohmann::json& record);
  /// The rest of an unfinished line, and the kept tail.
  void finish();
  /// Prints the kept tail; from now on lines are printed as they come.
  void release_tail();

 private:
  void end_line();
  void mark(const std::string& at, const std::string& text);
  void put(std::string line);

  std::ostream& to_;
  LogOptions options_;
  std::string step_;
  std::string pending_, pending_at_;
  std::deque<std::string> kept_;
};

}  // namespace muster::cli
