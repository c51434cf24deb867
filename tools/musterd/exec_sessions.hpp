// GET /v1/runs/{id}/exec: a websocket to one command in a running sandbox. The first message says
// what to run; then bytes go both ways under credit, so that a slow client holds what its command
// prints, and a command that does not read holds its client.
//
//   client → {"type": "open", "argv": […], "env": {…}, "workdir", "tty", "columns", "rows",
//   "timeout_ms",
//             "max_output_bytes", "memory_bytes", "cpu_ms"}
//            binary: 0, then bytes for standard input
//            {"type": "eof"}   {"type": "resize", "columns", "rows"}   {"type": "signal", "signal":
//            2}
//   server → {"type": "started"}
//            binary: 1 or 2, then bytes of standard output (of the terminal) or standard error
//            {"type": "end", "exit_code", "signal", "reason", "message"}, then it closes
//
// Audited before it begins (who, which command) and when it ended; never the bytes. Each has a
// thread of its own, as long as it lasts.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "actors/ports/exec_calls.hpp"
#include "tools/musterd/api_base.hpp"

namespace muster::musterd {

inline constexpr std::size_t kMaxExecSessions = 64;

class ExecSessions {
 public:
  class Session;

  ExecSessions() = default;
  ~ExecSessions();  ///< Ends all of them and waits.
  ExecSessions(const ExecSessions&) = delete;
  ExecSessions& operator=(const ExecSessions&) = delete;

  /// Takes the connection over; it is closed when there are too many.
  void begin(const ApiContext& api, const Request& request, actors::ExecPlace place, Fd socket);
  [[nodiscard]] bool full() const;

 private:
  struct One {
    std::shared_ptr<Session> session;
    std::thread thread;
    bool over = false;
  };
  void sweep();

  mutable std::mutex mutex_;
  std::list<One> all_;
};

/// `sessions` outlives the router.
void add_exec_routes(Router& router, ApiContext api, ExecSessions& sessions);

}  // namespace muster::musterd
