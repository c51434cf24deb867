#include "tools/muster/dial.hpp"

#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

namespace muster::cli {
namespace {

constexpr long kDialMs = 10'000;

Failure dial_failure(const Endpoint& endpoint, const std::string& why) {
  return {Errc::unreachable, "musterd can't be reached at " + endpoint.described + ": " + why,
          "check that musterd listens there: --root DIR, --url or MUSTER_URL"};
}

Answer<Fd> dial_socket(const Endpoint& endpoint) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  endpoint.socket.copy(address.sun_path, sizeof address.sun_path - 1);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return tl::unexpected(dial_failure(endpoint, std::strerror(errno)));
  return socket;
}

/// Bytes between curl's connection, with its TLS, and the plain end of a socket pair.
class Pump {
 public:
  Pump(CURL* curl, const Fd& plain) : curl_(curl), plain_(plain) {
    curl_socket_t socket = CURL_SOCKET_BAD;
    curl_easy_getinfo(curl_, CURLINFO_ACTIVESOCKET, &socket);
    wire_ = socket;
    ::fcntl(plain_.get(), F_SETFL, ::fcntl(plain_.get(), F_GETFL) | O_NONBLOCK);
  }
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;
  ~Pump() {
    curl_easy_cleanup(curl_);
    ::shutdown(plain_.get(), SHUT_RDWR);  // The other side reads an end.
  }

  void run() {
    while (take_from_wire() && take_from_plain()) {
      const auto events = [](bool in, bool out) {
        return static_cast<short>((in ? POLLIN : 0) | (out ? POLLOUT : 0));
      };
      std::array<pollfd, 2> waits{{{wire_, events(inward_.empty(), !outward_.empty()), 0},
                                   {plain_.get(), events(outward_.empty(), !inward_.empty()), 0}}};
      ::poll(waits.data(), waits.size(), -1);
    }
  }

 private:
  bool take_from_wire() {
    std::array<char, 16384> buffer;
    while (inward_.empty()) {
      std::size_t n = 0;
      const CURLcode result = curl_easy_recv(curl_, buffer.data(), buffer.size(), &n);
      if (result == CURLE_AGAIN) return true;
      if (result != CURLE_OK || n == 0) return false;
      inward_.assign(buffer.data(), n);
      if (!flush_inward()) return false;
    }
    return flush_inward();
  }

  bool flush_inward() {
    while (!inward_.empty()) {
      const ssize_t n = ::send(plain_.get(), inward_.data(), inward_.size(), MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      inward_.erase(0, static_cast<std::size_t>(n));
    }
    return true;
  }

  bool take_from_plain() {
    std::array<char, 16384> buffer;
    while (true) {
      while (!outward_.empty()) {
        std::size_t n = 0;
        const CURLcode result = curl_easy_send(curl_, outward_.data(), outward_.size(), &n);
        if (result == CURLE_AGAIN) return true;
        if (result != CURLE_OK) return false;
        outward_.erase(0, n);
      }
      const ssize_t n = ::read(plain_.get(), buffer.data(), buffer.size());
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      if (n == 0) return false;
      outward_.assign(buffer.data(), static_cast<std::size_t>(n));
    }
  }

  CURL* curl_;
  const Fd& plain_;
  int wire_ = -1;
  std::string inward_, outward_;
};

/// Those of this process. At its end they are ended, so that no thread is cut off in the middle of TLS.
struct Pumps {
  struct One {
    std::shared_ptr<Fd> plain;
    std::thread thread;
  };
  std::vector<One> all;
  Pumps() = default;
  Pumps(const Pumps&) = delete;
  Pumps& operator=(const Pumps&) = delete;
  ~Pumps() {
    for (One& one : all) {
      ::shutdown(one.plain->get(), SHUT_RDWR);
      one.thread.join();
    }
  }
};

}  // namespace

Answer<Fd> dial(const Endpoint& endpoint) {
  if (!endpoint.socket.empty()) return dial_socket(endpoint);
  CURL* curl = curl_easy_init();
  curl_easy_setopt(curl, CURLOPT_URL, endpoint.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_SSL_ENABLE_ALPN, 0L);  // HTTP/1.1 is what is spoken
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, kDialMs);
  if (!endpoint.ca.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, endpoint.ca.c_str());
  const CURLcode result = curl_easy_perform(curl);
  std::array<int, 2> pair{-1, -1};
  if (result != CURLE_OK ||
      ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    curl_easy_cleanup(curl);
    return tl::unexpected(dial_failure(endpoint, curl_easy_strerror(result)));
  }
  static Pumps pumps;
  const auto plain = std::make_shared<Fd>(pair[1]);
  pumps.all.push_back({plain, std::thread([curl, plain] { Pump(curl, *plain).run(); })});
  return Fd(pair[0]);
}

}  // namespace muster::cli
