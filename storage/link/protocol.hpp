// Which releases of sandboxd and musterd work together. Each says in the frame of its Hello or its Welcome which
// protocol it speaks; a release that gives the link a new message or a new meaning speaks the next one. One apart works:
// the newer one sends nothing that the older one does not know, and fields that are not known are ignored. Further
// apart they refuse each other, and say which of the two is to be upgraded.
//
//   1  before the protocol was looked at
//   2  several repositories in one workspace (SandboxSpec.other_repositories); Welcome.refused; packed parts of logs (LogChunk)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::storage {

/// That this release speaks.
constexpr std::uint16_t kLinkProtocol = 2;
/// From this one on a host knows SandboxSpec.other_repositories.
constexpr std::uint16_t kOtherRepositoriesProtocol = 2;
/// From this one on an engine takes packed parts of logs.
constexpr std::uint16_t kPackedLogsProtocol = 2;

/// Empty when two such peers work together; else what a person should do.
inline std::string protocol_trouble(std::string_view us, std::string_view peer,
                                    std::uint16_t peer_protocol) {
  const int apart = static_cast<int>(peer_protocol) - static_cast<int>(kLinkProtocol);
  if (apart >= -1 && apart <= 1) return {};
  const std::string_view older = apart < 0 ? peer : us;
  return std::string(peer) + " speaks protocol " + std::to_string(peer_protocol) + " of the link, this " +
         std::string(us) + " speaks " + std::to_string(kLinkProtocol) +
         ", and one apart is the most that works: upgrade " + std::string(older);
}

}  // namespace muster::storage
