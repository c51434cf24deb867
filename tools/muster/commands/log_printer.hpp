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
  bool json = false;  ///< The records themselves, a line each.
  bool timestamps = false;
  bool terminal = false;  ///< Control characters become visible; colours stay if `look` has them.
  Look look;
  std::optional<std::size_t> tail;  ///< Only the last so many lines, printed by finish().
  std::optional<Instant> since;
};

class LogPrinter {
 public:
  LogPrinter(std::ostream& to, LogOptions options) : to_(to), options_(options) {}

  /// Takes one record {"at","attempt","step","stream","text"}: a line of a stream, an event, a
  /// note. Always true, so that it can stand in a stream's callback.
  bool line(const nlohmann::json& record);
  /// Prints the kept tail; from now on lines are printed as they come.
  void release_tail();
  /// At the end of the log.
  void finish();

 private:
  void mark(const std::string& at, const std::string& text);
  void put(const std::string& at, std::string text);
  void keep_or_print(std::string text);

  std::ostream& to_;
  LogOptions options_;
  std::string step_;
  std::deque<std::string> kept_;
};

}  // namespace muster::cli
