// An HTTP/1.1 server on a unix socket, and on a loopback port where tests ask for one. It knows
// nothing of Muster: a handler turns each request into a response, on one of a few worker threads,
// and may block there. All sockets belong to one I/O thread. Beast stays in the .cpp.
//
// Everything is bounded: connections, header, body, bodies in memory together, requests that wait
// for a worker, and the time that a client may take to send or to read. What is too much is
// answered 429 with Retry-After, never queued without end.
//
// What is urgent has a lane of its own: room for a few connections more, and workers that do
// nothing else. So whoever wants to end an overload gets through it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"
#include "storage/base/files.hpp"
#include "storage/base/time.hpp"
#include "tools/musterd/http.hpp"

namespace muster::musterd {

struct HttpLimits {
  std::size_t connections = 256;
  std::size_t header_bytes = 16u << 10;
  std::size_t bodies_in_memory = 192u << 20;  ///< Over all connections.
  std::size_t workers = 4;
  std::size_t waiting = 128;            ///< Requests that wait for a worker.
  std::size_t urgent_connections = 32;  ///< Beyond `connections`: each for one urgent request.
  std::size_t urgent_workers = 4;
  std::size_t urgent_waiting = 32;
  Duration knock{5'000};       ///< For a connection beyond `connections` to say what it wants.
  Duration idle{60'000};       ///< Between requests on a connection.
  Duration receive{120'000};   ///< For a body.
  Duration write{30'000};      ///< For a response, or one piece of a stream.
  Duration heartbeat{15'000};  ///< On a stream with nothing to say.
  int retry_after_s = 1;
};

struct HttpOptions {
  std::string unix_socket;  ///< Made with mode 0660; a stale one is replaced, a living one refused.
  std::string tcp;          ///< "127.0.0.1:0"; empty: none. Only loopback addresses are taken.
  HttpLimits limits;
};

/// What the server asks of its owner. All are called from several threads at once.
struct HttpApplication {
  /// Turns a request into a response. May block; must not throw.
  std::function<Response(Request&)> handle;
  /// The largest body this request may carry, by its header alone; 0: none.
  std::function<std::size_t(Request&)> body_limit;
  /// The response for what the server itself refuses: 400, 408, 413, 429, 431.
  std::function<Response(int status, std::string_view why)> refuse;
  /// By the head alone, before a body is read: a response when the request is not let in. Called on
  /// the I/O thread: must not block. May be empty.
  std::function<std::optional<Response>(Request&)> admit = {};
  /// Whether a request that was let in is urgent, by its head. On the I/O thread. May be empty.
  std::function<bool(Request&)> urgent = {};
};

class HttpServer {
 public:
  virtual ~HttpServer() = default;
  /// Listens and serves until stop().
  static Result<std::unique_ptr<HttpServer>> start(const HttpOptions& options,
                                                   HttpApplication application);
  /// The port of the TCP listener, 0 without one.
  [[nodiscard]] virtual int tcp_port() const = 0;
  [[nodiscard]] virtual std::size_t connections() const = 0;
  /// Serves a connected stream socket that somebody else accepted: the plain end of a TLS tunnel.
  virtual void adopt(Fd socket, Peer peer) = 0;
  /// Takes no more connections, ends streams and idle ones, and gives requests in progress `grace`
  /// to be answered. Idempotent.
  virtual void stop(Duration grace) = 0;
};

}  // namespace muster::musterd
