// A connection to musterd for bytes both ways, where the client's own exchanges are requests and
// answers.
#pragma once

#include "storage/base/files.hpp"
#include "tools/muster/client.hpp"

namespace muster::cli {

/// A connected stream socket, in front of TLS where the address is https: a thread moves the bytes,
/// until either end closes.
Answer<Fd> dial(const Endpoint& endpoint);

}  // namespace muster::cli
