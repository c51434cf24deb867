#include "tools/musterd/http_listen.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

namespace muster::musterd {
namespace {

/// An address of any family, as the kernel takes it.
struct Address {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  sockaddr_in& v4() { return reinterpret_cast<sockaddr_in&>(storage); }
  sockaddr_in6& v6() { return reinterpret_cast<sockaddr_in6&>(storage); }
};

Address unix_address(const std::string& path) {
  Address address;
  auto& named = reinterpret_cast<sockaddr_un&>(address.storage);
  named.sun_family = AF_UNIX;
  std::memcpy(named.sun_path, path.c_str(), path.size() + 1);
  address.size = sizeof(sockaddr_un);
  return address;
}

/// Whether somebody answers on that unix socket.
bool answers(const std::string& path) {
  Address address = unix_address(path);
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return ::connect(probe.get(), address.get(), address.size) == 0;
}

bool is_loopback(Address& address) {
  if (address.storage.ss_family == AF_INET)
    return (ntohl(address.v4().sin_addr.s_addr) >> 24) == 127;
  return IN6_IS_ADDR_LOOPBACK(&address.v6().sin6_addr) != 0;
}

Result<Address> parse_address(const std::string& text) {
  const auto wrong = [&] {
    return fail(Errc::invalid, "not an address with a port (127.0.0.1:7412, [::1]:7412): " + text);
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return wrong();
  std::string host = text.substr(0, colon);
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + colon + 1, end, port);
  if (parsed.ec != std::errc() || parsed.ptr != end) return wrong();
  Address address;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    address.v6().sin6_family = AF_INET6;
    address.v6().sin6_port = htons(port);
    address.size = sizeof(sockaddr_in6);
    if (::inet_pton(AF_INET6, host.c_str(), &address.v6().sin6_addr) != 1) return wrong();
  } else {
    address.v4().sin_family = AF_INET;
    address.v4().sin_port = htons(port);
    address.size = sizeof(sockaddr_in);
    if (::inet_pton(AF_INET, host.c_str(), &address.v4().sin_addr) != 1) return wrong();
  }
  return address;
}

int port_of(Address& address) {
  return ntohs(address.storage.ss_family == AF_INET ? address.v4().sin_port
                                                    : address.v6().sin6_port);
}

std::string text_of(Address& address) {
  char host[INET6_ADDRSTRLEN] = "?";
  const bool v4 = address.storage.ss_family == AF_INET;
  if (v4) {
    ::inet_ntop(AF_INET, &address.v4().sin_addr, host, sizeof host);
  } else {
    ::inet_ntop(AF_INET6, &address.v6().sin6_addr, host, sizeof host);
  }
  const std::string port = std::to_string(port_of(address));
  return v4 ? std::string(host) + ":" + port : "[" + std::string(host) + "]:" + port;
}

}  // namespace

Result<Fd> listen_unix(const std::string& path) {
  if (path.size() >= sizeof(sockaddr_un{}.sun_path))
    return fail(Errc::invalid, "the socket's path is longer than 107 bytes: " + path);
  if (answers(path)) return fail(Errc::conflict, "another process listens on " + path);
  ::unlink(path.c_str());
  Address address = unix_address(path);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(socket.get(), address.get(), address.size) != 0)
    return fail_errno("listening on " + path, errno);
  // Nobody connects before listen(), so nobody comes in under the wider mode.
  if (::chmod(path.c_str(), 0660) != 0) return fail_errno("setting the mode of " + path, errno);
  if (::listen(socket.get(), SOMAXCONN) != 0) return fail_errno("listening on " + path, errno);
  return socket;
}

Result<TcpListener> listen_tcp(const std::string& text, ListenOn on) {
  auto address = parse_address(text);
  if (!address) return tl::unexpected<Error>(address.error());
  if (on == ListenOn::loopback && !is_loopback(*address))
    return fail(Errc::invalid,
                "the HTTP listener without TLS takes a loopback address and a port "
                "(127.0.0.1:0), not " +
                    text);
  const int family = address->storage.ss_family;
  TcpListener listener{Fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)), 0, family == AF_INET6};
  const int enabled = 1;
  ::setsockopt(listener.socket.get(), SOL_SOCKET, SO_REUSEADDR, &enabled, sizeof enabled);
  if (::bind(listener.socket.get(), address->get(), address->size) != 0 ||
      ::listen(listener.socket.get(), SOMAXCONN) != 0 ||
      ::getsockname(listener.socket.get(), address->get(), &address->size) != 0)
    return fail_errno("listening on " + text, errno);
  listener.port = port_of(*address);
  return listener;
}

Peer peer_of(int socket) {
  Address address;
  if (::getpeername(socket, address.get(), &address.size) == 0 &&
      address.storage.ss_family != AF_UNIX)
    return {Peer::Via::loopback, std::nullopt, text_of(address)};
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
    return {Peer::Via::unix_socket, std::nullopt, "unix"};
  return {Peer::Via::unix_socket, who.uid, "uid " + std::to_string(who.uid)};
}

}  // namespace muster::musterd
