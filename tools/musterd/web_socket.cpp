#include "tools/musterd/web_socket.hpp"

#include <sys/socket.h>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <deque>

namespace muster::musterd {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using boost::system::error_code;
using Protocol = asio::generic::stream_protocol;

constexpr std::chrono::seconds kSocketHandshake{30};
constexpr std::chrono::seconds kSocketIdle{60};  // pinged at half of it
constexpr std::chrono::seconds kSocketFarewell{5};

class Socket final : public WebSocket {
 public:
  explicit Socket(Fd socket) : stream_(io_), timer_(io_) {
    // Which family it is matters to no operation that is used here.
    stream_.next_layer().assign(Protocol(AF_UNIX, 0), socket.release());
    stream_.read_message_max(kMaxSocketMessage);
  }

  Result<void> accept(const Request& head) {
    http::request<http::empty_body> request;
    request.method(http::verb::get);
    request.target("/");
    request.version(11);
    for (const auto& [name, value] : head.headers) request.set(name, value);
    set_timeouts(beast::role_type::server);
    // Who asked for no protocol may not be told one.
    if (head.header("Sec-WebSocket-Protocol").find(kExecProtocol) != std::string::npos)
      stream_.set_option(websocket::stream_base::decorator([](websocket::response_type& response) {
        response.set(http::field::sec_websocket_protocol, kExecProtocol);
      }));
    return handshake([&](auto done) { stream_.async_accept(request, done); }).first;
  }

  Result<void> connect(const std::string& host, const std::string& path,
                       const std::vector<std::pair<std::string, std::string>>& headers,
                       Refused& refused) {
    set_timeouts(beast::role_type::client);
    stream_.set_option(
        websocket::stream_base::decorator([&headers](websocket::request_type& request) {
          request.set(http::field::sec_websocket_protocol, kExecProtocol);
          for (const auto& [name, value] : headers) request.set(name, value);
        }));
    websocket::response_type response;
    auto [done, error] =
        handshake([&](auto told) { stream_.async_handshake(response, host, path, told); });
    if (!done && error == websocket::error::upgrade_declined) {
      refused.status = static_cast<int>(response.result_int());
      refused.body = response.body();
      refused.content_type = std::string(response[http::field::content_type]);
    }
    return done;
  }

  void run(Events events) override {
    events_ = std::move(events);
    io_.restart();
    read();
    if (events_.tick) tick();
    const auto work = asio::make_work_guard(io_);
    io_.run();
    error_code ignored;
    beast::get_lowest_layer(stream_).close(ignored);
  }

  void post(std::function<void()> task) override { asio::post(io_, std::move(task)); }

  void send(bool text, std::string bytes, std::function<void()> sent) override {
    if (closing_) return;
    queue_.push_back({text, std::move(bytes), std::move(sent)});
    if (!writing_) write();
  }

  void pause(bool paused) override {
    paused_ = paused;
    if (!paused_ && !reading_) read();
  }

  void close() override {
    if (closing_) return;
    closing_ = true;
    if (!writing_) farewell();
  }

 private:
  struct Waiting {
    bool text;
    std::string bytes;
    std::function<void()> sent;
  };

  void set_timeouts(beast::role_type role) {
    auto limits = websocket::stream_base::timeout::suggested(role);
    limits.handshake_timeout = kSocketHandshake;
    limits.idle_timeout = kSocketIdle;
    limits.keep_alive_pings = true;
    stream_.set_option(limits);
  }

  /// Stopped by its end: the stream's own timer would keep the context at work.
  template <class Begin>
  std::pair<Result<void>, error_code> handshake(Begin begin) {
    error_code error = asio::error::operation_aborted;
    begin([this, &error](const error_code& result) {
      error = result;
      io_.stop();
    });
    io_.run();
    Result<void> done;
    if (error)
      done = fail(Errc::unreachable, "the websocket's handshake failed: " + error.message());
    return {std::move(done), error};
  }

  void read() {
    if (paused_ || ended_) return;
    reading_ = true;
    stream_.async_read(incoming_, [this](const error_code& error, std::size_t) {
      reading_ = false;
      if (error) return end();
      std::string bytes = beast::buffers_to_string(incoming_.data());
      incoming_.clear();
      events_.message(stream_.got_text(), std::move(bytes));
      if (!reading_) read();
    });
  }

  void write() {
    writing_ = true;
    stream_.text(queue_.front().text);
    stream_.async_write(asio::buffer(queue_.front().bytes),
                        [this](const error_code& error, std::size_t) {
                          writing_ = false;
                          if (error) return end();
                          const Waiting done = std::move(queue_.front());
                          queue_.pop_front();
                          if (done.sent) done.sent();
                          if (!writing_ && !queue_.empty()) return write();
                          if (!writing_ && closing_) farewell();
                        });
  }

  void farewell() {
    timer_.expires_after(kSocketFarewell);
    timer_.async_wait([this](const error_code& error) {
      if (!error) end();
    });
    paused_ = false;
    stream_.async_close(websocket::close_code::normal, [this](const error_code&) { end(); });
  }

  void tick() {
    timer_.expires_after(events_.period);
    timer_.async_wait([this](const error_code& error) {
      if (error || closing_ || ended_) return;
      events_.tick();
      if (!closing_ && !ended_) tick();
    });
  }

  void end() {
    ended_ = true;
    io_.stop();
  }

  asio::io_context io_{1};
  websocket::stream<Protocol::socket, false> stream_;
  asio::steady_timer timer_;
  beast::flat_buffer incoming_;
  Events events_;
  std::deque<Waiting> queue_;
  bool reading_ = false, writing_ = false, paused_ = false, closing_ = false, ended_ = false;
};

}  // namespace

Result<std::unique_ptr<WebSocket>> WebSocket::accept(Fd socket, const Request& head) {
  auto made = std::make_unique<Socket>(std::move(socket));
  if (auto done = made->accept(head); !done) return tl::unexpected<Error>(done.error());
  return made;
}

Result<std::unique_ptr<WebSocket>> WebSocket::connect(
    Fd socket, const std::string& host, const std::string& path,
    const std::vector<std::pair<std::string, std::string>>& headers, Refused& refused) {
  auto made = std::make_unique<Socket>(std::move(socket));
  if (auto done = made->connect(host, path, headers, refused); !done)
    return tl::unexpected<Error>(done.error());
  return made;
}

bool wants_socket(const Request& request) {
  return beast::iequals(request.header("Upgrade"), "websocket") &&
         !request.header("Sec-WebSocket-Key").empty();
}

}  // namespace muster::musterd
