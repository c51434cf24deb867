#include "tools/musterd/http_server.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>

#include "storage/base/files.hpp"
#include "tools/musterd/byte_budget.hpp"
#include "tools/musterd/http_listen.hpp"

namespace muster::musterd {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

// One socket type for both listeners: Beast's templates are compiled once.
using Protocol = asio::generic::stream_protocol;
using Stream = beast::basic_stream<Protocol>;
using Parser = http::request_parser<http::string_body>;

/// Woken from any thread, waited for by one coroutine on the I/O thread. A wake before the wait
/// counts.
class Event : public std::enable_shared_from_this<Event> {
 public:
  explicit Event(asio::io_context& io) : io_(io), timer_(io) {}

  void set() {
    asio::post(io_, [self = shared_from_this()] {
      self->set_ = true;
      self->timer_.cancel();
    });
  }
  /// False when `limit` passed first. Takes the wake away.
  asio::awaitable<bool> wait(Duration limit) {
    if (!set_) {
      timer_.expires_after(limit);
      error_code ignored;
      co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    co_return std::exchange(set_, false);
  }

 private:
  asio::io_context& io_;
  asio::steady_timer timer_;
  bool set_ = false;
};

constexpr std::string_view kTooManyConnections = "too many connections";
/// A body that is read whatever else is refused.
constexpr std::size_t kSmallBody = 64u << 10;

struct Connection {
  Connection(Protocol::socket socket, Peer its_peer)
      : stream(std::move(socket)), peer(std::move(its_peer)) {}
  Stream stream;
  Peer peer;
  bool beyond = false;  ///< The house was full: it is for one urgent request.
  beast::flat_buffer buffer;
  bool busy = false;            ///< A request is being answered.
  std::shared_ptr<Event> wake;  ///< While a stream is being sent.
};

/// Workers, and the requests that wait for them.
struct WorkLane {
  WorkLane(std::size_t workers, std::size_t its_most) : pool(workers), most(its_most) {}
  asio::thread_pool pool;
  std::atomic<std::size_t> waiting{0};
  const std::size_t most;
};

/// 0 when a malformed head needs no answer because the client is gone.
int status_of(const error_code& error) {
  if (error == http::error::end_of_stream || error == beast::error::timeout) return 0;
  if (error == http::error::header_limit || error == http::error::buffer_overflow) return 431;
  if (error == http::error::body_limit) return 413;
  if (error.category() == http::make_error_code(http::error::bad_target).category()) return 400;
  return 0;
}

Result<void> take_request(Parser& parser, Request& request) {
  const auto& message = parser.get();
  request.method = std::string(message.method_string());
  for (const auto& field : message)
    request.headers.insert_or_assign(std::string(field.name_string()), std::string(field.value()));
  return parse_target(std::string_view(message.target().data(), message.target().size()), request);
}

std::string_view body_refusal(int status) {
  if (status == 413) return "the body is larger than this address takes";
  if (status == 429) return "too many bytes are being received";
  return "the body did not arrive";
}

// With GCC 12.2 a double free went away once every co_await stood alone in its statement, outside
// conditions (&&, ?:), and coroutines took references to locals of their caller, which waits for
// them. The compiler is suspected; the cause was not isolated.
class Server final : public HttpServer {
 public:
  Server(const HttpOptions& options, HttpApplication application)
      : limits_(options.limits),
        application_(std::move(application)),
        socket_path_(options.unix_socket),
        bodies_(options.limits.bodies_in_memory),
        everyday_(options.limits.workers, options.limits.waiting),
        urgent_(options.limits.urgent_workers, options.limits.urgent_waiting) {}
  ~Server() override {
    stop(Duration{0});
    everyday_.pool.join();
    urgent_.pool.join();
  }

  Result<void> listen(const HttpOptions& options);
  void run();

  [[nodiscard]] int tcp_port() const override { return tcp_port_; }
  [[nodiscard]] std::size_t connections() const override { return open_; }
  void stop(Duration grace) override;
  void adopt(Fd socket, Peer peer) override;

 private:
  template <class Acceptor>
  asio::awaitable<void> accept(Acceptor& acceptor);
  void admit(Protocol::socket socket, Peer peer);
  void turn_away(Protocol::socket socket);
  void end_quiet_connections();
  asio::awaitable<void> serve(std::shared_ptr<Connection> connection);
  /// One request and its response; false when the connection is to be closed.
  asio::awaitable<bool> serve_one(Connection& connection);
  asio::awaitable<bool> refuse(Connection& connection, int status, std::string_view why);
  Response refusal_of(int status, std::string_view why);
  asio::awaitable<bool> turn_down(Connection& connection, Parser& parser, Request& request,
                                  Response& refused);
  asio::awaitable<int> read_body(Connection& connection, Parser& parser, Request& request,
                                 ByteBudget::Share& share, bool urgent);
  asio::awaitable<bool> run_on_worker(WorkLane& lane, const std::function<void()>& work);
  asio::awaitable<bool> send(Connection& connection, Response& response, bool head, bool keep);
  asio::awaitable<bool> send_stream(Connection& connection, Response& response);
  asio::awaitable<bool> send_bytes(Connection& connection, const std::string& bytes);
  static void give_away(Connection& connection, Response& response);
  void watch_for_end(Connection& connection);

  HttpLimits limits_;
  HttpApplication application_;
  std::string socket_path_;
  bool bound_ = false;  ///< The socket's file is ours to remove.
  int tcp_port_ = 0;
  ByteBudget bodies_;  ///< I/O thread only; outlives the coroutines, which io_ destroys.
  asio::io_context io_{1};
  asio::local::stream_protocol::acceptor unix_acceptor_{io_};
  asio::ip::tcp::acceptor tcp_acceptor_{io_};
  WorkLane everyday_;
  WorkLane urgent_;
  std::atomic<std::size_t> open_{0};
  std::set<std::shared_ptr<Connection>> connections_;  ///< I/O thread only.
  bool stopping_ = false;                              ///< I/O thread only.
  std::mutex mutex_;
  std::condition_variable emptied_;
  bool stopped_ = false;  ///< Under mutex_.
  std::thread thread_;
};

// ---- listening ----

Result<void> Server::listen(const HttpOptions& options) {
  if (!socket_path_.empty()) {
    auto listening = listen_unix(socket_path_);
    if (!listening) return tl::unexpected<Error>(listening.error());
    bound_ = true;
    unix_acceptor_.assign({}, listening->release());
  }
  if (!options.tcp.empty()) {
    auto listening = listen_tcp(options.tcp, ListenOn::loopback);
    if (!listening) return tl::unexpected<Error>(listening.error());
    tcp_port_ = listening->port;
    tcp_acceptor_.assign(listening->is_v6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4(),
                         listening->socket.release());
  }
  return {};
}

void Server::run() {
  if (unix_acceptor_.is_open()) asio::co_spawn(io_, accept(unix_acceptor_), asio::detached);
  if (tcp_acceptor_.is_open()) asio::co_spawn(io_, accept(tcp_acceptor_), asio::detached);
  thread_ = std::thread([this] {
    const auto work = asio::make_work_guard(io_);  // Connections may come by adopt() alone.
    io_.run();
  });
}

template <class Acceptor>
asio::awaitable<void> Server::accept(Acceptor& acceptor) {
  constexpr Duration kPause{100};  // When descriptors ran out: accepting again at once would spin.
  while (acceptor.is_open()) {
    error_code error;
    auto socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (!error) {
      Peer peer = peer_of(socket.native_handle());
      admit(Protocol::socket(std::move(socket)), std::move(peer));
      continue;
    }
    if (error == asio::error::operation_aborted) co_return;
    const auto pause = std::make_shared<Event>(io_);
    co_await pause->wait(kPause);
  }
}

void Server::admit(Protocol::socket socket, Peer peer) {
  const std::size_t urgent = application_.urgent ? limits_.urgent_connections : 0;
  if (connections_.size() >= limits_.connections + urgent) return turn_away(std::move(socket));
  auto connection = std::make_shared<Connection>(std::move(socket), std::move(peer));
  connection->beyond = connections_.size() >= limits_.connections;
  connections_.insert(connection);
  open_ = connections_.size();
  asio::co_spawn(io_, serve(connection), [this, connection](const std::exception_ptr&) {
    connections_.erase(connection);
    open_ = connections_.size();
    const std::lock_guard lock(mutex_);
    emptied_.notify_all();
  });
}

void Server::adopt(Fd socket, Peer peer) {
  asio::post(io_, [this, socket = std::make_shared<Fd>(std::move(socket)), peer = std::move(peer)] {
    if (stopping_) return;
    const asio::local::stream_protocol unix_pair;
    admit(Protocol::socket(io_, Protocol(unix_pair), socket->release()), peer);
  });
}

/// One try to say why; a client that does not read at once gets nothing.
void Server::turn_away(Protocol::socket socket) {
  const Response response = application_.refuse(429, kTooManyConnections);
  const std::string text =
      "HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: " +
      std::to_string(limits_.retry_after_s) + "\r\nContent-Type: " + response.content_type +
      "\r\nContent-Length: " + std::to_string(response.body.size()) + "\r\n\r\n" + response.body;
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.send(asio::buffer(text), 0, ignored);
}

// ---- one connection ----

asio::awaitable<void> Server::serve(std::shared_ptr<Connection> connection) {
  while (!stopping_) {
    connection->busy = false;
    const bool again = co_await serve_one(*connection);
    if (!again) break;
  }
  error_code ignored;
  connection->stream.socket().shutdown(asio::socket_base::shutdown_both, ignored);
  connection->stream.close();
}

asio::awaitable<bool> Server::serve_one(Connection& connection) {
  Parser parser;
  parser.header_limit(static_cast<std::uint32_t>(limits_.header_bytes));
  parser.body_limit(boost::none);  // Decided by the route, below.
  error_code error;
  connection.stream.expires_after(connection.beyond ? limits_.knock : limits_.idle);
  co_await http::async_read_header(connection.stream, connection.buffer, parser,
                                   asio::redirect_error(asio::use_awaitable, error));
  if (error && status_of(error) == 0) co_return false;
  if (error) {
    const std::string why = error.message();
    const bool again = co_await refuse(connection, status_of(error), why);
    co_return again;
  }
  connection.busy = true;
  auto request = std::make_shared<Request>();
  request->peer = connection.peer;
  auto taken = take_request(parser, *request);
  if (!taken) {
    const bool again = co_await refuse(connection, 400, taken.error().message);
    co_return again;
  }
  if (application_.admit) {
    auto refused = application_.admit(*request);
    if (refused) {
      const bool again = co_await turn_down(connection, parser, *request, *refused);
      co_return again;
    }
  }
  const bool urgent = application_.urgent && application_.urgent(*request);
  if (connection.beyond && !urgent) {
    Response full = refusal_of(429, kTooManyConnections);
    co_await turn_down(connection, parser, *request, full);
    co_return false;
  }
  ByteBudget::Share share(bodies_);
  const int status = co_await read_body(connection, parser, *request, share, urgent);
  if (status != 0) {
    const std::string_view why = body_refusal(status);
    const bool again = co_await refuse(connection, status, why);
    co_return again;
  }
  const bool keep = parser.get().keep_alive() && !connection.beyond;
  const bool head = request->method == "HEAD";
  auto response = std::make_shared<Response>();
  const std::function<void()> work = [this, response, request] {
    *response = application_.handle(*request);
  };
  WorkLane& lane = urgent ? urgent_ : everyday_;
  const bool ran = co_await run_on_worker(lane, work);
  bool again = false;
  if (!ran) {
    again = co_await refuse(connection, 429, "too many requests are waiting");
  } else if (response->take_over && connection.buffer.size() == 0) {
    give_away(connection, *response);
  } else if (response->take_over) {
    again = co_await refuse(connection, 400, "nothing may be sent before the handshake is answered");
  } else if (response->stream && !head) {
    again = co_await send_stream(connection, *response);
  } else {
    again = co_await send(connection, *response, head, keep);
  }
  co_return again;
}

/// The connection is somebody else's from here on, and no longer counted.
void Server::give_away(Connection& connection, Response& response) {
  error_code error;
  connection.stream.expires_never();
  connection.stream.socket().non_blocking(false, error);
  const int socket = connection.stream.socket().release(error);
  if (!error) response.take_over(Fd(socket));
}

/// A small body is read first: closing with bytes unread may take the answer away from its client.
asio::awaitable<bool> Server::turn_down(Connection& connection, Parser& parser, Request& request,
                                        Response& refused) {
  ByteBudget::Share share(bodies_);
  const auto length = parser.content_length();
  bool keep = false;
  if (!parser.chunked() && (!length || *length <= kSmallBody)) {
    const int status = co_await read_body(connection, parser, request, share, false);
    keep = status == 0 && parser.get().keep_alive();
  }
  const bool again = co_await send(connection, refused, request.method == "HEAD", keep);
  co_return again;
}

/// 0, or the status to refuse with.
asio::awaitable<int> Server::read_body(Connection& connection, Parser& parser, Request& request,
                                       ByteBudget::Share& share, bool urgent) {
  const std::size_t limit = application_.body_limit(request);
  const auto length = parser.content_length();
  if (length && *length > limit) co_return 413;
  const bool counts = !urgent || parser.chunked() || (length && *length > kSmallBody);
  if (counts && !share.take(length             ? static_cast<std::size_t>(*length)
                            : parser.chunked() ? limit
                                               : 0))
    co_return 429;
  parser.body_limit(limit);
  error_code error;
  connection.stream.expires_after(limits_.receive);
  if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    co_await asio::async_write(connection.stream, asio::buffer(kContinue),
                               asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return 400;
  }
  co_await http::async_read(connection.stream, connection.buffer, parser,
                            asio::redirect_error(asio::use_awaitable, error));
  if (error == beast::error::timeout) {
    // The stream's timeout closed the socket: there is nobody to tell.
    co_return 408;
  }
  if (error) co_return error == http::error::body_limit ? 413 : 400;
  request.body = std::move(parser.get().body());
  co_return 0;
}

/// False when too many wait already.
asio::awaitable<bool> Server::run_on_worker(WorkLane& lane, const std::function<void()>& work) {
  if (lane.waiting >= lane.most) co_return false;
  ++lane.waiting;
  auto done = std::make_shared<Event>(io_);
  asio::post(lane.pool, [&lane, done, work] {
    --lane.waiting;
    work();
    done->set();
  });
  constexpr Duration kForEver{std::chrono::hours(24 * 365)};
  co_await done->wait(kForEver);
  co_return true;
}

Response Server::refusal_of(int status, std::string_view why) {
  Response response = application_.refuse(status, why);
  response.status = status;
  if (status == 429)
    response.headers.emplace_back("Retry-After", std::to_string(limits_.retry_after_s));
  return response;
}

asio::awaitable<bool> Server::refuse(Connection& connection, int status, std::string_view why) {
  Response response = refusal_of(status, why);
  // What is left of the request was not read, so the connection can't go on.
  const bool again = co_await send(connection, response, false, false);
  co_return again;
}

asio::awaitable<bool> Server::send(Connection& connection, Response& response, bool head,
                                   bool keep) {
  http::response<http::string_body> message(
      http::int_to_status(static_cast<unsigned>(response.status)), 11);
  message.result(static_cast<unsigned>(response.status));
  for (const auto& [name, value] : response.headers) message.set(name, value);
  if (!response.content_type.empty()) message.set(http::field::content_type, response.content_type);
  message.keep_alive(keep && !stopping_);
  const bool bodiless = response.status == 204 || response.status == 304;
  if (!bodiless) message.content_length(response.body.size());
  if (!head && !bodiless) message.body() = std::move(response.body);
  error_code error;
  connection.stream.expires_after(limits_.write);
  http::response_serializer<http::string_body> serializer(message);
  if (head) {
    co_await http::async_write_header(connection.stream, serializer,
                                      asio::redirect_error(asio::use_awaitable, error));
  } else {
    co_await http::async_write(connection.stream, serializer,
                               asio::redirect_error(asio::use_awaitable, error));
  }
  co_return !error && keep && !stopping_;
}

asio::awaitable<bool> Server::send_bytes(Connection& connection, const std::string& bytes) {
  error_code error;
  connection.stream.expires_after(limits_.write);
  co_await asio::async_write(connection.stream, http::make_chunk(asio::buffer(bytes)),
                             asio::redirect_error(asio::use_awaitable, error));
  co_return !error;
}

/// Wakes the stream when its client closes, so that one with nothing to say ends at once.
void Server::watch_for_end(Connection& connection) {
  connection.stream.socket().async_wait(asio::socket_base::wait_read,
                                        [wake = connection.wake](const error_code& error) {
                                          if (!error) wake->set();
                                        });
}

bool client_left(Protocol::socket& socket) {
  char byte = 0;
  const ssize_t got = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

asio::awaitable<bool> Server::send_stream(Connection& connection, Response& response) {
  http::response<http::empty_body> message;
  message.version(11);
  message.result(static_cast<unsigned>(response.status));
  for (const auto& [name, value] : response.headers) message.set(name, value);
  message.set(http::field::content_type, response.content_type);
  message.set(http::field::cache_control, "no-store");
  message.keep_alive(false);
  message.chunked(true);
  error_code error;
  connection.stream.expires_after(limits_.write);
  http::response_serializer<http::empty_body> serializer(message);
  co_await http::async_write_header(connection.stream, serializer,
                                    asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return false;

  connection.wake = std::make_shared<Event>(io_);
  watch_for_end(connection);
  // Weak: who feeds the stream may hold this for longer than the server lives.
  response.stream->on_more([wake = std::weak_ptr(connection.wake)] {
    if (const auto event = wake.lock()) event->set();
  });
  auto piece = std::make_shared<BodyStream::Piece>();
  const std::function<void()> work = [piece, stream = response.stream] { *piece = stream->next(); };
  while (!stopping_) {
    *piece = {};
    co_await run_on_worker(everyday_,
                           work);  // Too many wait: as if there were nothing, until the next wake.
    if (!piece->bytes.empty()) {
      const bool sent = co_await send_bytes(connection, piece->bytes);
      if (!sent) co_return false;
    }
    if (piece->end) break;
    if (!piece->bytes.empty()) continue;
    connection.stream.expires_never();
    const Duration pause = std::min(piece->again.value_or(limits_.heartbeat), limits_.heartbeat);
    const bool woken = co_await connection.wake->wait(pause);
    if (client_left(connection.stream.socket())) co_return false;
    const bool quiet = !woken && pause == limits_.heartbeat;
    const std::string heartbeat = quiet ? response.stream->heartbeat() : "";
    if (!heartbeat.empty()) {
      const bool sent = co_await send_bytes(connection, heartbeat);
      if (!sent) co_return false;
    }
  }
  connection.stream.expires_after(limits_.write);
  co_await asio::async_write(connection.stream, http::make_chunk_last(),
                             asio::redirect_error(asio::use_awaitable, error));
  co_return false;
}

// ---- stopping ----

void Server::end_quiet_connections() {
  stopping_ = true;
  unix_acceptor_.close();
  tcp_acceptor_.close();
  for (const auto& connection : connections_) {
    if (connection->wake) connection->wake->set();
    if (!connection->busy) connection->stream.cancel();
  }
}

void Server::stop(Duration grace) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    stopped_ = true;
  }
  if (thread_.joinable()) {
    asio::post(io_, [this] { end_quiet_connections(); });
    std::unique_lock lock(mutex_);
    emptied_.wait_for(lock, grace, [this] { return open_ == 0; });
    lock.unlock();
    io_.stop();
    thread_.join();
  }
  if (bound_) ::unlink(socket_path_.c_str());
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(const HttpOptions& options,
                                                      HttpApplication application) {
  auto server = std::make_unique<Server>(options, std::move(application));
  if (auto listening = server->listen(options); !listening)
    return tl::unexpected<Error>(listening.error());
  server->run();
  return server;
}

}  // namespace muster::musterd
