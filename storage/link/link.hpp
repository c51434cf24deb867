// The link between sandboxd and musterd: gRPC streams with mutual TLS that carry FlatBuffers frames
// (storage/schema/wire.fbs), verified before anyone sees them, at most kMaxFrame each. sandboxd
// dials; two streams per host, control and logs, so that logs never delay a heartbeat.
//
// No gRPC here: it stays in storage/link/*.cpp. Callbacks come on the link's threads and must not
// block.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/time.hpp"
#include "storage/link/frame.hpp"

namespace muster::storage {

/// Frames that wait in memory for one slow peer; beyond, send() says overloaded. Control is never
/// dropped silently: the session is ended and the peer connects again.
constexpr std::size_t kMaxQueuedBytes = 8u << 20;

enum class Stream : std::uint8_t { control, logs };

/// Paths of PEM files.
struct TlsFiles {
  std::string ca;
  std::string certificate;
  std::string key;
};

/// One end of a connected pair of streams. Thread-safe.
class Session {
 public:
  virtual ~Session() = default;
  /// The host's name from its certificate (server side); the engine's name (client side).
  [[nodiscard]] virtual const std::string& peer() const = 0;
  /// Queues a finished Frame. Errc::overloaded when the queue is full, Errc::unreachable after the
  /// end.
  virtual Result<void> send(Stream stream, std::string frame) = 0;
  virtual void close(std::string_view why) = 0;

  /// Bytes that wait to be sent, with those under way.
  [[nodiscard]] virtual std::size_t queued_bytes(Stream stream) const = 0;
  /// No frame of that stream comes after the present one until release(): what the receiver can't
  /// take yet stays with the sender. On the client's end, a session that ends meanwhile may be
  /// noticed late.
  virtual void hold(Stream stream) = 0;
  virtual void release(Stream stream) = 0;
};

/// Frames of one stream come in order, one at a time; the two streams call concurrently.
struct SessionEvents {
  /// Both streams are up; no frame comes before this returns.
  std::function<void(std::shared_ptr<Session>)> connected;
  /// A verified frame; valid only during the call.
  std::function<void(Session&, Stream, std::string_view frame)> frame;
  /// Exactly once per connected session, after its last frame.
  std::function<void(Session&, std::string why)> closed;
  /// Optional: everything queued on that stream was sent.
  std::function<void(Session&, Stream)> drained;
  /// Optional. Client: an attempt to connect failed. Server: a peer was refused. For logs only.
  std::function<void(std::string why)> failed;
};

/// Since the start.
struct LinkStats {
  std::uint64_t sessions = 0;
  std::uint64_t refused = 0;     ///< Streams refused for their identity or method.
  std::uint64_t malformed = 0;   ///< Frames that did not verify; each ended its session.
  std::uint64_t overflowed = 0;  ///< Sends refused because a queue was full.
};

/// musterd's end. Hosts connect with client certificates of the installation's CA.
class LinkServer {
 public:
  virtual ~LinkServer() = default;
  /// The port it listens on (asked for 0: picked by the kernel).
  [[nodiscard]] virtual int port() const = 0;
  [[nodiscard]] virtual LinkStats stats() const = 0;
  /// Ends every session; no callback comes after it returns. Not from a callback. The destructor
  /// does it too.
  virtual void stop() = 0;
  static Result<std::unique_ptr<LinkServer>> start(const std::string& address, const TlsFiles& tls,
                                                   SessionEvents events);
};

/// sandboxd's end: connects, and connects again with a jittered backoff (250 ms to 10 s) until
/// stopped.
class LinkClient {
 public:
  virtual ~LinkClient() = default;
  [[nodiscard]] virtual LinkStats stats() const = 0;
  /// As LinkServer::stop().
  virtual void stop() = 0;
  static std::unique_ptr<LinkClient> start(const std::string& address, const TlsFiles& tls,
                                           SessionEvents events);
};

/// The engine's name in its certificate; no host may bear it.
inline constexpr std::string_view kEngineName = "musterd";
/// [a-z0-9][a-z0-9.-]{0,62}, and not the engine's.
bool is_host_name(std::string_view name);

/// The installation's own CA, for embedded hosts and `musterd host add`: a self-signed EC P-256
/// root, a server certificate for the link (name "musterd"), and client-only certificates whose
/// common name is the host's. Files: ca.pem, ca.key (0600), server.pem, server.key, hosts/NAME.pem,
/// hosts/NAME.key. Creating what exists changes nothing; what expires within 30 days is renewed.
Result<void> ensure_ca(const std::string& directory, Instant now = wall_clock_now());
Result<TlsFiles> ensure_server_certificate(const std::string& directory,
                                           Instant now = wall_clock_now());
/// For the API: a certificate of the same CA, for these host names and IP addresses. Made again when they change.
Result<TlsFiles> ensure_api_certificate(const std::string& directory,
                                        const std::vector<std::string>& names,
                                        Instant now = wall_clock_now());
Result<TlsFiles> ensure_host_certificate(const std::string& directory, const std::string& host,
                                         Instant now = wall_clock_now());

}  // namespace muster::storage
