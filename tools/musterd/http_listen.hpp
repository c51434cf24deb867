// Listening sockets, as descriptors, and who is at the other end of an accepted one.
#pragma once

#include <string>

#include "storage/base/files.hpp"
#include "tools/musterd/http.hpp"

namespace muster::musterd {

/// Mode 0660. A stale socket is replaced; Errc::conflict when somebody answers there.
Result<Fd> listen_unix(const std::string& path);

/// Whether plain text may leave this machine: it may not.
enum class ListenOn { loopback, any };

struct TcpListener {
  Fd socket;
  int port = 0;  ///< The kernel's choice, where 0 was asked for.
  bool is_v6 = false;
};
/// `address` is "IP:PORT" or "[IP6]:PORT". Errc::invalid for names, and for what `on` does not
/// allow.
Result<TcpListener> listen_tcp(const std::string& address, ListenOn on);

/// Via, user and address of a connected unix or TCP socket.
Peer peer_of(int socket);

}  // namespace muster::musterd
