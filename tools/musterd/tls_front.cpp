#include "tools/musterd/tls_front.hpp"

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <mutex>
#include <set>
#include <thread>

#include "tools/musterd/http_listen.hpp"

namespace muster::musterd {
namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using boost::system::error_code;
using Tcp = asio::ip::tcp;
using Pair = asio::local::stream_protocol;

using Context = std::shared_ptr<ssl::context>;

Result<Context> make_context(const std::string& certificate, const std::string& key) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 |
                           ssl::context::no_tlsv1_1 | ssl::context::single_dh_use,
                       error);
  if (!error) context->use_certificate_chain_file(certificate, error);
  if (error)
    return fail(Errc::invalid, "the TLS certificate " + certificate + ": " + error.message());
  context->use_private_key_file(key, ssl::context::pem, error);
  if (error) return fail(Errc::invalid, "the TLS key " + key + ": " + error.message());
  if (::SSL_CTX_check_private_key(context->native_handle()) != 1)
    return fail(Errc::invalid, "the TLS key " + key + " is not that of " + certificate);
  return context;
}

/// One client: TLS outside, plain inside. Lives as long as an operation of it is under way.
class Tunnel : public std::enable_shared_from_this<Tunnel> {
 public:
  using Ended = std::function<void(const std::shared_ptr<Tunnel>&)>;

  Tunnel(asio::io_context& io, Tcp::socket socket, Context context, const TlsLimits& limits)
      : context_(std::move(context)),
        outer_(std::move(socket), *context_),
        inner_(io),
        deadline_(io),
        limits_(limits) {}

  void begin(const TlsFront::HandOver& hand_over, Ended ended) {
    ended_ = std::move(ended);
    arm(limits_.handshake);
    outer_.async_handshake(ssl::stream_base::server,
                           [self = shared_from_this(), hand_over](const error_code& error) {
                             self->deadline_.cancel();
                             if (error) return self->end();
                             self->open(hand_over);
                           });
  }

  /// Cuts both ends. Idempotent.
  void end() {
    if (std::exchange(over_, true)) return;
    error_code ignored;
    deadline_.cancel();
    outer_.lowest_layer().close(ignored);
    inner_.close(ignored);
    ended_(shared_from_this());
  }

 private:
  void open(const TlsFront::HandOver& hand_over) {
    int ends[2];
    if (over_ || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return end();
    inner_.assign(Pair(), ends[0]);
    Peer peer = peer_of(outer_.lowest_layer().native_handle());
    peer.via = Peer::Via::tls;
    hand_over(Fd(ends[1]), std::move(peer));
    read_outer();
    read_inner();
  }

  void read_outer() {
    outer_.async_read_some(asio::buffer(up_),
                           [self = shared_from_this()](const error_code& error, std::size_t got) {
                             // Whether the client said farewell or just left: nothing more comes
                             // from it.
                             if (error) return self->end();
                             asio::async_write(self->inner_, asio::buffer(self->up_, got),
                                               [self](const error_code& failed, std::size_t) {
                                                 // What the server said before it closed its
                                                 // end still goes out.
                                                 if (!failed) self->read_outer();
                                               });
                           });
  }

  void read_inner() {
    inner_.async_read_some(asio::buffer(down_),
                           [self = shared_from_this()](const error_code& error, std::size_t got) {
                             if (error) return self->farewell();
                             self->arm(self->limits_.write);
                             asio::async_write(self->outer_, asio::buffer(self->down_, got),
                                               [self](const error_code& failed, std::size_t) {
                                                 self->deadline_.cancel();
                                                 failed ? self->end() : self->read_inner();
                                               });
                           });
  }

  /// The server has said everything: the client is told that nothing was cut off.
  void farewell() {
    if (over_) return;
    arm(limits_.farewell);
    outer_.async_shutdown([self = shared_from_this()](const error_code&) { self->end(); });
  }

  void arm(Duration limit) {
    deadline_.expires_after(limit);
    deadline_.async_wait([self = shared_from_this()](const error_code& error) {
      if (!error) self->end();
    });
  }

  Context context_;  ///< Outlives the stream, also over a reload.
  ssl::stream<Tcp::socket> outer_;
  Pair::socket inner_;
  asio::steady_timer deadline_;
  const TlsLimits limits_;
  Ended ended_;
  bool over_ = false;
  std::array<char, 16u << 10> up_{};
  std::array<char, 16u << 10> down_{};
};

class Front final : public TlsFront {
 public:
  Front(const TlsOptions& options, Context context, TcpListener listener, HandOver hand_over)
      : limits_(options.limits),
        context_(std::move(context)),
        hand_over_(std::move(hand_over)),
        port_(listener.port) {
    acceptor_.assign(listener.is_v6 ? Tcp::v6() : Tcp::v4(), listener.socket.release());
    accept();
    thread_ = std::thread([this] { io_.run(); });
  }
  ~Front() override { stop(Duration{0}); }

  [[nodiscard]] int port() const override { return port_; }

  Result<void> reload(const std::string& certificate, const std::string& key) override {
    auto context = make_context(certificate, key);
    if (!context) return tl::unexpected<Error>(context.error());
    const std::lock_guard lock(mutex_);
    context_ = std::move(*context);
    return {};
  }

  void stop(Duration grace) override {
    if (!thread_.joinable()) return;
    asio::post(io_, [this, grace] {
      acceptor_.close();
      pause_.expires_after(grace);
      pause_.async_wait([this](const error_code&) {
        const auto left = tunnels_;
        for (const auto& tunnel : left) tunnel->end();
      });
      if (tunnels_.empty()) pause_.cancel();
    });
    thread_.join();  // Once nothing is under way.
  }

 private:
  void accept() {
    acceptor_.async_accept([this](const error_code& error, Tcp::socket socket) {
      if (!acceptor_.is_open()) return;
      if (error) return accept_later();
      if (tunnels_.size() < limits_.tunnels) admit(std::move(socket));
      accept();
    });
  }

  /// When descriptors ran out: accepting again at once would spin.
  void accept_later() {
    constexpr Duration kPause{100};
    pause_.expires_after(kPause);
    pause_.async_wait([this](const error_code& error) {
      if (!error && acceptor_.is_open()) accept();
    });
  }

  void admit(Tcp::socket socket) {
    error_code ignored;
    socket.set_option(Tcp::no_delay(true), ignored);
    auto tunnel = std::make_shared<Tunnel>(io_, std::move(socket), context(), limits_);
    tunnels_.insert(tunnel);
    tunnel->begin(hand_over_, [this](const auto& ended) {
      tunnels_.erase(ended);
      if (tunnels_.empty() && !acceptor_.is_open()) pause_.cancel();
    });
  }

  Context context() {
    const std::lock_guard lock(mutex_);
    return context_;
  }

  const TlsLimits limits_;
  std::mutex mutex_;
  Context context_;  ///< Under mutex_.
  HandOver hand_over_;
  const int port_;
  asio::io_context io_{1};
  Tcp::acceptor acceptor_{io_};
  asio::steady_timer pause_{io_};
  std::set<std::shared_ptr<Tunnel>> tunnels_;  ///< The front's thread only.
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<TlsFront>> TlsFront::start(const TlsOptions& options, HandOver hand_over) {
  auto context = make_context(options.certificate, options.key);
  if (!context) return tl::unexpected<Error>(context.error());
  auto listener = listen_tcp(options.address, ListenOn::any);
  if (!listener) return tl::unexpected<Error>(listener.error());
  return std::make_unique<Front>(options, std::move(*context), std::move(*listener),
                                 std::move(hand_over));
}

}  // namespace muster::musterd
