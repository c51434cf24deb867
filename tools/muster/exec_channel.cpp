#include "tools/muster/exec_channel.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "tools/muster/commands/commands.hpp"
#include "tools/muster/dial.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/text.hpp"
#include "tools/musterd/web_socket.hpp"

namespace muster::cli {
namespace {

using musterd::WebSocket;

constexpr std::size_t kMaxUnsent = 256u << 10;  // of standard input

Answer<std::unique_ptr<WebSocket>> open_exec_socket(const Endpoint& endpoint, const std::string& run) {
  auto connection = dial(endpoint);
  if (!connection) return tl::unexpected(connection.error());
  std::vector<std::pair<std::string, std::string>> headers;
  if (!endpoint.token.empty()) headers.emplace_back("Authorization", "Bearer " + endpoint.token);
  const std::string host =
      endpoint.socket.empty() ? endpoint.url.substr(endpoint.url.find("://") + 3) : "localhost";
  WebSocket::Refused refused;
  auto socket =
      WebSocket::connect(std::move(*connection), host, run_path(run) + "/exec", headers, refused);
  if (socket) return std::move(*socket);
  if (refused.status == 0)
    return tl::unexpected(Failure{Errc::unreachable, socket.error().message, ""});
  Response response;
  response.status = refused.status;
  response.body = refused.body;
  return tl::unexpected(failure_of(response, endpoint));
}

}  // namespace

Answer<std::unique_ptr<ExecChannel>> ExecChannel::connect(Context& context, const std::string& run) {
  auto client = context.client();
  if (!client) return tl::unexpected(client.error());
  auto socket = open_exec_socket((*client)->endpoint(), run);
  if (!socket) return tl::unexpected(socket.error());
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    return tl::unexpected(Failure{Errc::io, "no pipe is to be had", ""});
  return std::unique_ptr<ExecChannel>(
      new ExecChannel(std::move(*socket), Fd(ends[0]), Fd(ends[1])));
}

ExecChannel::ExecChannel(std::unique_ptr<WebSocket> socket, Fd stopped, Fd stop)
    : socket_(std::move(socket)), stopped_(std::move(stopped)), stop_(std::move(stop)) {}
ExecChannel::~ExecChannel() = default;

std::optional<CommandEnd> ExecChannel::run(const Json& open, Events events,
                                           const std::function<void()>& input) {
  say(dumped(open));
  WebSocket::Events heard;
  heard.message = [this, &events](bool text, std::string bytes) {
    if (text) return hear(bytes);
    if (!bytes.empty()) events.output(bytes.front() == 2, std::string_view(bytes).substr(1));
  };
  heard.tick = events.tick;
  heard.period = events.period;
  std::thread reader(input);
  socket_->run(std::move(heard));
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  sent_.notify_all();
  stop_.reset();
  if (events.over) events.over();
  reader.join();
  return end_;
}

void ExecChannel::hear(const std::string& text) {
  const Json said = Json::parse(text, nullptr, false);
  if (!said.is_object() || str(said, "type") != "end") return;
  const bool ran = at(said, "exit_code").is_number();
  end_ = CommandEnd{ran ? static_cast<int>(num(said, "exit_code")) : -1,
                    static_cast<int>(num(said, "signal")), str(said, "reason"),
                    str(said, "message")};
}

bool ExecChannel::send(std::string bytes) {
  std::unique_lock lock(mutex_);
  sent_.wait(lock, [this] { return over_ || unsent_ < kMaxUnsent; });
  if (over_) return false;
  unsent_ += bytes.size();
  lock.unlock();
  socket_->post([this, bytes = std::move(bytes)]() mutable {
    const std::size_t size = bytes.size();
    bytes.insert(bytes.begin(), '\0');
    socket_->send(false, std::move(bytes), [this, size] {
      const std::lock_guard taken(mutex_);
      unsent_ -= size;
      sent_.notify_all();
    });
  });
  return true;
}

void ExecChannel::end_input() {
  socket_->post([this] { say(R"({"type":"eof"})"); });
}

void ExecChannel::close() {
  socket_->post([this] { socket_->close(); });
}

void ExecChannel::say(const std::string& json) { socket_->send(true, json); }

int report_command_end(Context& context, const CommandEnd& end) {
  if (end.reason.empty()) return end.exit_code;
  const std::string why = "the command ended: " + end.reason +
                          (end.message.empty() ? "" : ": " + safe_line(end.message));
  if (end.reason == "timed_out") {
    (void)context.fail({Errc::timed_out, why, ""});
    return kExitTimedOut;
  }
  if (end.reason == "not_running" || end.reason == "not_started")
    return context.fail({Errc::refused, why, ""});
  if (end.reason == "too_many") return context.fail({Errc::overloaded, why, ""});
  if (end.reason == "bad_command") return context.fail({Errc::invalid, why, ""});
  (void)context.fail({Errc::internal, why, ""});
  return end.exit_code > 0 ? end.exit_code : kExitNotRun;
}

}  // namespace muster::cli
