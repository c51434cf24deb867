// One command in a running sandbox, over the websocket of GET /v1/runs/{id}/exec: bytes both ways with a bound, so that
// who does not read makes the other end wait, and its end.
//
//   auto channel = ExecChannel::connect(context, run);
//   auto end = (*channel)->run({{"type", "open"}, {"argv", {"cat"}}}, events, [&] { while (send(…)) …; end_input(); });
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/files.hpp"
#include "tools/muster/context.hpp"

namespace muster::musterd {
class WebSocket;
}

namespace muster::cli {

// As a shell has them, of a command that could not be executed.
inline constexpr int kExitNotRun = 126;
inline constexpr int kExitNotFound = 127;

/// How a command ended, as musterd says it.
struct CommandEnd {
  int exit_code = -1;  ///< -1: it never ran.
  int signal = 0;
  std::string reason, message;  ///< Empty unless it ended otherwise than by itself.
};

class ExecChannel {
 public:
  /// Called on the thread of run().
  struct Events {
    /// Of its standard output or, `error`, its standard error. As long as it does not return, the command waits.
    std::function<void(bool error, std::string_view bytes)> output;
    std::function<void()> over = {};  ///< Nothing more comes, and send() says false.
    std::function<void()> tick = {};
    Duration period{1'000};
  };

  static Answer<std::unique_ptr<ExecChannel>> connect(Context& context, const std::string& run);
  ~ExecChannel();
  ExecChannel(const ExecChannel&) = delete;
  ExecChannel& operator=(const ExecChannel&) = delete;

  /// Until the command ends or the channel is closed; nothing: the connection ended before. `input` has a thread of its
  /// own, on which it gives the command its standard input.
  std::optional<CommandEnd> run(const nlohmann::json& open, Events events, const std::function<void()>& input);

  // On the thread of `input`.
  /// Waits while too much is unsent: what the command does not take stays here. False when it is over.
  bool send(std::string bytes);
  void end_input();
  /// Readable once it is over: to be polled together with what input is read from.
  [[nodiscard]] int over_fd() const { return stopped_.get(); }

  // On any thread.
  void close();
  /// On the thread of run().
  void say(const std::string& json);

 private:
  ExecChannel(std::unique_ptr<musterd::WebSocket> socket, Fd stopped, Fd stop);
  void hear(const std::string& text);

  std::unique_ptr<musterd::WebSocket> socket_;
  Fd stopped_, stop_;
  std::optional<CommandEnd> end_;
  std::mutex mutex_;
  std::condition_variable sent_;
  std::size_t unsent_ = 0;
  bool over_ = false;
};

/// Says on standard error why a command did not end by itself; the exit code.
int report_command_end(Context& context, const CommandEnd& end);

}  // namespace muster::cli
