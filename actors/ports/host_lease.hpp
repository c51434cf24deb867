// What the hosts' port knows of a host besides its actor.
#pragma once

#include <cstdint>

#include "storage/base/time.hpp"

namespace muster::actors {

/// At most a tick of the port old.
struct HostLease {
  bool connected = false;
  std::uint64_t session = 0;
  bool leased = false;       ///< Else its runs have been given up.
  Duration left{0};          ///< Until the lease ends, unless a heartbeat comes.
  std::uint64_t orders = 0;  ///< To start or stop sandboxes, not sent yet.
};

}  // namespace muster::actors
