// HTTP as the rest of musterd sees it: plain values, no Beast. A request comes whole; a response is
// whole too, or a stream that is asked for its next piece whenever the client has taken the last
// one.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/files.hpp"
#include "storage/base/time.hpp"
#include "tools/musterd/identity.hpp"
#include "tools/musterd/trace.hpp"

namespace muster::musterd {

/// Header names compare without case.
struct CaselessLess {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
      return std::tolower(static_cast<unsigned char>(x)) <
             std::tolower(static_cast<unsigned char>(y));
    });
  }
};

/// Who is at the other end of a connection, as far as the kernel knows.
struct Peer {
  enum class Via { unix_socket, loopback, tls };
  Via via = Via::unix_socket;
  std::optional<std::uint32_t> uid;  ///< On a unix socket.
  std::string address;               ///< "uid 1000", "10.0.0.7:40122": for the audit log.
};

struct Request {
  Peer peer;
  TraceContext trace;
  Identity who;        ///< Filled in before a handler sees the request.
  std::string method;  ///< "GET", …
  std::string path;    ///< As sent, still percent-encoded, without the query.
  std::vector<std::string>
      segments;  ///< Of the path, decoded each: "%2F" stays within its segment.
  std::multimap<std::string, std::string, std::less<>> query;  ///< Decoded.
  std::map<std::string, std::string, CaselessLess> headers;
  std::map<std::string, std::string, std::less<>> params;  ///< {name} of the route's pattern.
  std::string body;

  /// The header's value, or "".
  [[nodiscard]] std::string header(std::string_view name) const;
  /// The first value of a query parameter, or "".
  [[nodiscard]] std::string parameter(std::string_view name) const;
};

/// A body that comes in pieces. Used by one connection at a time; destroyed when the client is
/// gone.
class BodyStream {
 public:
  struct Piece {
    std::string bytes;  ///< Empty: nothing now, call again after a wake.
    bool end = false;
    /// With no bytes: there is something, and it is looked for after so long, wake or not.
    std::optional<Duration> again = std::nullopt;
  };
  virtual ~BodyStream() = default;
  /// The next piece. Comes on a worker's thread and must not wait.
  virtual Piece next() = 0;
  /// Called once, before next(). From then on `wake` is called, from any thread, when there may be
  /// more.
  virtual void on_more(std::function<void()> wake) = 0;
  /// Sent when nothing came for a while, so that a dead client shows. Empty: nothing.
  [[nodiscard]] virtual std::string heartbeat() const { return {}; }
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::shared_ptr<BodyStream> stream;  ///< In place of `body`.
  /// In place of an answer: gets the connection, and the request's handshake is its to answer.
  std::function<void(Fd)> take_over = {};
};

/// Decodes %XX; Errc::invalid for a malformed escape or a NUL.
Result<std::string> percent_decode(std::string_view text, bool plus_is_space);

/// Splits and decodes a request target ("/v1/runs/a%2Fb?limit=5") into path, segments and query.
Result<void> parse_target(std::string_view target, Request& into);

}  // namespace muster::musterd
