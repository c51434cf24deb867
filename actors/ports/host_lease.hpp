// What the hosts' port knows of a host besides its actor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "storage/base/time.hpp"

namespace muster::actors {

/// Sandboxes that a host made ahead for one branch of one repository in one image (wire.fbs: WarmPoolLine).
struct HostPoolLine {
  std::string url, branch, image;
  std::uint32_t waiting = 0;
  std::uint32_t wanted = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
};

/// All of a host, as its last heartbeat said; the host's counts, so from its daemon's start.
struct HostPool {
  std::uint32_t max = 0;
  std::uint32_t waiting = 0;
  std::uint32_t making = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::vector<HostPoolLine> lines;  ///< Bounded, the one asked for last comes first.
};

/// At most a tick of the port old.
struct HostLease {
  bool connected = false;
  std::uint64_t session = 0;
  bool leased = false;       ///< Else its runs have been given up.
  Duration left{0};          ///< Until the lease ends, unless a heartbeat comes.
  std::uint64_t orders = 0;  ///< To start or stop sandboxes, not sent yet.
  std::shared_ptr<const HostPool> pool{};  ///< Empty: it makes no sandboxes ahead, or is too old to say.
};

}  // namespace muster::actors
