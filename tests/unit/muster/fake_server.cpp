#include "tests/unit/muster/fake_server.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <sstream>
#include <stdexcept>

namespace muster::cli {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// False when the peer went away.
bool read_more(int connection, std::string& to) {
  char buffer[4096];
  const ssize_t n = ::recv(connection, buffer, sizeof buffer, 0);
  if (n <= 0) return false;
  to.append(buffer, static_cast<std::size_t>(n));
  return true;
}

Asked parse_head(const std::string& head) {
  Asked asked;
  std::istringstream lines(head);
  std::string line;
  std::getline(lines, line);
  std::istringstream(line) >> asked.method >> asked.path;
  while (std::getline(lines, line)) {
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos)
      asked.headers[lower(line.substr(0, colon))] =
          line.substr(colon + 2, line.find('\r') - colon - 2);
  }
  return asked;
}

}  // namespace

FakeServer::FakeServer(std::string socket, Handler handler)
    : socket_(std::move(socket)), handler_(std::move(handler)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof address.sun_path || ::pipe(stop_) != 0)
    throw std::runtime_error("socket path");
  std::memcpy(address.sun_path, socket_.c_str(), socket_.size());
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_, 8) != 0)
    throw std::runtime_error("can't listen at " + socket_);
  thread_ = std::thread([this] { serve(); });
}

FakeServer::~FakeServer() {
  ::close(stop_[1]);
  thread_.join();
  ::close(stop_[0]);
  ::close(listener_);
  ::unlink(socket_.c_str());
}

std::vector<Asked> FakeServer::asked() const {
  const std::lock_guard lock(mutex_);
  return asked_;
}

void FakeServer::serve() {
  for (;;) {
    pollfd ready[2] = {{listener_, POLLIN, 0}, {stop_[0], POLLIN, 0}};
    if (::poll(ready, 2, -1) < 0 || ready[1].revents != 0) return;
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    answer(connection);
    ::close(connection);
  }
}

void FakeServer::answer(int connection) {
  std::string text;
  while (text.find("\r\n\r\n") == std::string::npos)
    if (!read_more(connection, text)) return;
  const std::size_t end = text.find("\r\n\r\n");
  Asked asked = parse_head(text.substr(0, end + 2));
  asked.body = text.substr(end + 4);
  const auto length = asked.headers.find("content-length");
  const std::size_t size = length == asked.headers.end() ? 0 : std::stoul(length->second);
  while (asked.body.size() < size)
    if (!read_more(connection, asked.body)) return;
  {
    const std::lock_guard lock(mutex_);
    asked_.push_back(asked);
  }
  const Reply reply = handler_(asked);
  if (reply.drop) return;
  std::string out =
      "HTTP/1.1 " + std::to_string(reply.status) + " X\r\nContent-Type: " + reply.type +
      "\r\nConnection: close\r\nContent-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n";
  if (asked.method != "HEAD") out += reply.body;
  for (std::size_t sent = 0; sent < out.size();) {
    const ssize_t n = ::send(connection, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return;
    sent += static_cast<std::size_t>(n);
  }
}

}  // namespace muster::cli
