// Whether runs may be moved to other hosts: what is committed of the hosts, less what the same order has given away.
//
//   auto room = MoveRoom::read(view);
//   if (auto taken = room->take(id, head, "host-b"); !taken) …   // says why not
//
// The scheduler decides for good, a moment later: this tells a person at once what can't come of an order. What the
// run itself says to it (that it stands on no host, that it is there already) is left to its step.
#pragma once

#include <string>
#include <vector>

#include "tools/musterd/view.hpp"

namespace muster::musterd {

class MoveRoom {
 public:
  static Result<MoveRoom> read(const View& view);

  /// Counts the run's place on `to`; empty: anywhere but where it is, and nothing is counted. Errc::not_found: there is
  /// no such host. Errc::refused: it takes nothing new, is too small, or full; or no other host could take the run.
  Result<void> take(const std::string& run, const fbs::RunHeadT& head, const std::string& to);

  /// Hosts other than its own that have room for it now.
  [[nodiscard]] std::vector<std::string> others_with_room(const fbs::RunHeadT& head) const;

 private:
  struct Room {
    std::string host;
    fbs::HostState state = fbs::HostState::ready;
    std::uint64_t slots = 0, used = 0;
    std::uint64_t cpus = 0, cpus_used = 0;      ///< In thousandths; 0 in all: it does not say.
    std::uint64_t memory = 0, memory_used = 0;  ///< In bytes; as well.
  };

  /// Empty: it has room for the run now. Else what is in the way, to stand after "host NAME ".
  static std::string in_the_way(const Room& room, const fbs::RunPolicyT& policy, bool when_empty);
  Result<void> take_others(const std::string& run, const fbs::RunHeadT& head) const;

  std::vector<Room> rooms_;
};

}  // namespace muster::musterd
