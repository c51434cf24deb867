// One end of a websocket (RFC 6455) over a connected stream socket, for commands in sandboxes:
// musterd's end and the command line's. Beast stays in the .cpp. One thread runs it and gets all
// callbacks; others enter by post().
//
//   auto socket = WebSocket::accept(std::move(fd), request);          // or connect(fd, host, path,
//   headers)
//   (*socket)->run({.message = …, .closed = …});                     // until it is closed
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/files.hpp"
#include "storage/base/time.hpp"
#include "tools/musterd/http.hpp"

namespace muster::musterd {

/// The largest message that is taken.
inline constexpr std::size_t kMaxSocketMessage = 256u << 10;
inline constexpr std::string_view kExecProtocol = "muster.exec.v1";

class WebSocket {
 public:
  struct Events {
    std::function<void(bool text, std::string bytes)> message;
    /// About every so often.
    std::function<void()> tick = {};
    Duration period{1'000};
  };

  virtual ~WebSocket() = default;
  /// Answers the handshake of a request whose head was read.
  static Result<std::unique_ptr<WebSocket>> accept(Fd socket, const Request& head);
  /// A handshake that is refused with another answer than 101: its status and body.
  struct Refused {
    int status = 0;
    std::string body;
    std::string content_type;
  };
  static Result<std::unique_ptr<WebSocket>> connect(
      Fd socket, const std::string& host, const std::string& path,
      const std::vector<std::pair<std::string, std::string>>& headers, Refused& refused);

  /// Until the other end closes, close() is called, or the connection breaks.
  virtual void run(Events events) = 0;
  /// Any thread: `task` runs on the thread of run(), unless that has ended.
  virtual void post(std::function<void()> task) = 0;

  // The thread of run() only.
  /// `sent` is called once the other end's kernel may have it.
  virtual void send(bool text, std::string bytes, std::function<void()> sent = {}) = 0;
  /// While paused no further message comes.
  virtual void pause(bool paused) = 0;
  /// After what waits to be sent; run() ends then.
  virtual void close() = 0;
};

/// Whether a request asks for a websocket.
bool wants_socket(const Request& request);

}  // namespace muster::musterd
