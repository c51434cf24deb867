// TLS in front of the HTTP server: accepts, shakes hands, and hands the server the plain end of a
// socket pair through which it pumps bytes both ways. So the server knows no TLS, slow handshakes
// hold up nobody (this has a thread of its own), and OpenSSL stays in one file.
//
//   auto front = TlsFront::start({"0.0.0.0:7412", certificate, key}, [&](Fd plain, Peer peer) {
//     http->adopt(std::move(plain), std::move(peer));
//   });
//   …
//   (*front)->reload(certificate, key);     // new handshakes use them
//   http->stop(grace);                      // first, so that answers still get out
//   (*front)->stop(grace);
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "storage/base/files.hpp"
#include "storage/base/time.hpp"
#include "tools/musterd/http.hpp"

namespace muster::musterd {

struct TlsLimits {
  std::size_t tunnels =
      512;  ///< With those that still shake hands; beyond them a caller is cut off.
  Duration handshake{10'000};
  Duration write{30'000};    ///< For a client to take what it was sent.
  Duration farewell{5'000};  ///< For the closing handshake.
};

struct TlsOptions {
  std::string address;      ///< "0.0.0.0:7412"
  std::string certificate;  ///< A PEM file: the certificate, then those that signed it.
  std::string key;          ///< A PEM file.
  TlsLimits limits;
};

class TlsFront {
 public:
  /// Called on the front's thread for every client that speaks TLS (1.2 or newer).
  using HandOver = std::function<void(Fd plain, Peer peer)>;

  virtual ~TlsFront() = default;
  static Result<std::unique_ptr<TlsFront>> start(const TlsOptions& options, HandOver hand_over);
  [[nodiscard]] virtual int port() const = 0;
  /// Errc::invalid leaves what was there.
  virtual Result<void> reload(const std::string& certificate, const std::string& key) = 0;
  /// Takes nobody in any more, and cuts off the tunnels that the server has not ended after
  /// `grace`. Idempotent.
  virtual void stop(Duration grace) = 0;
};

}  // namespace muster::musterd
