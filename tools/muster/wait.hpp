// Waiting for a fleet with visible progress: redrawn on a terminal, plain lines elsewhere.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "tools/muster/context.hpp"

namespace muster::cli {

/// While it lives, Ctrl-C sets a flag and wakes pause() instead of ending the process. One at a
/// time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  [[nodiscard]] bool raised() const;
  /// Returns early, with true, at Ctrl-C.
  bool pause(Duration duration) const;
};

struct WaitOptions {
  Duration timeout{0};  ///< 0: for ever.
  Duration poll{500};
  Duration reconnect{5 *
                     60'000};   ///< How long musterd may be away (a restart) before it is given up.
  Duration plain_every{5'000};  ///< Between lines in a pipe, unless the wave or state changes.
};

struct WaitResult {
  enum class End { settled, timed_out, detached, failed };
  End end = End::settled;
  nlohmann::json fleet;  ///< The last that was seen.
  Failure failure;       ///< For failed.
};

WaitResult wait_for_fleet(Context& context, Client& client, const std::string& name,
                          const WaitOptions& options);

/// Says how it ended when it did not settle, and how to come back; the exit code.
int finish_wait(Context& context, const std::string& name, const WaitResult& result);

}  // namespace muster::cli
