#include "tools/musterd/move_room.hpp"

#include <algorithm>

#include "tools/musterd/render.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kHostsNamed = 5;  ///< Of those that can't take a run.

const fbs::RunPolicyT& wants(const fbs::RunHeadT& head) {
  static const fbs::RunPolicyT kNothingSaid;
  return head.policy ? *head.policy : kNothingSaid;
}

}  // namespace

Result<MoveRoom> MoveRoom::read(const View& view) {
  MoveRoom all;
  Result<void> read{};
  const auto listed = view.each_host([&](const std::string& name) {
    const auto head = view.host(name);
    if (!head) {
      read = tl::unexpected<Error>(head.error());
      return false;
    }
    Room room{name, head->state, head->slots, head->used.size(), head->cpus_milli, 0,
              head->memory_bytes, 0};
    for (const auto& slot : head->used) {
      room.cpus_used += slot->cpus_milli;
      room.memory_used += slot->memory_bytes;
    }
    all.rooms_.push_back(std::move(room));
    return true;
  });
  if (!listed) return tl::unexpected<Error>(listed.error());
  if (!read) return tl::unexpected<Error>(read.error());
  return all;
}

std::string MoveRoom::in_the_way(const Room& room, const fbs::RunPolicyT& policy, bool when_empty) {
  if (room.state != fbs::HostState::ready) return "is " + std::string(name_of(room.state));
  const auto fits = [](std::uint64_t all, std::uint64_t used, std::uint64_t wanted) {
    return all == 0 || used + wanted <= all;
  };
  if (room.slots == 0 || !fits(room.cpus, 0, policy.cpus_milli) ||
      !fits(room.memory, 0, policy.memory_bytes))
    return "is too small";
  if (when_empty) return "";
  if (room.used >= room.slots)
    return "is full: " + std::to_string(room.slots) + " of " + std::to_string(room.slots) +
           " slots are taken";
  if (!fits(room.cpus, room.cpus_used, policy.cpus_milli)) return "is full: too few cpus are free";
  if (!fits(room.memory, room.memory_used, policy.memory_bytes))
    return "is full: too little memory is free";
  return "";
}

Result<void> MoveRoom::take(const std::string& run, const fbs::RunHeadT& head,
                            const std::string& to) {
  if (to.empty()) return take_others(run, head);
  const auto room = std::find_if(rooms_.begin(), rooms_.end(),
                                 [&](const Room& each) { return each.host == to; });
  if (room == rooms_.end()) return fail(Errc::not_found, "there is no host " + to);
  const bool said_already =
      head.host == to ||
      (head.moving && head.move_to == to && head.state == fbs::RunState::queued);
  if (said_already) return {};  // The run's own word, or the same order once more.
  const std::string why_not = in_the_way(*room, wants(head), false);
  if (!why_not.empty())
    return fail(Errc::refused, "host " + to + " " + why_not + "; run " + run + " stays where it is");
  ++room->used;
  room->cpus_used += wants(head).cpus_milli;
  room->memory_used += wants(head).memory_bytes;
  return {};
}

/// One that is full now will do: the run waits for it.
Result<void> MoveRoom::take_others(const std::string& run, const fbs::RunHeadT& head) const {
  std::string why_not;
  std::size_t named = 0;
  for (const Room& room : rooms_) {
    if (room.host == head.host) continue;
    const std::string this_one = in_the_way(room, wants(head), true);
    if (this_one.empty()) return {};
    if (++named <= kHostsNamed) why_not += (named == 1 ? ": " : ", ") + room.host + " " + this_one;
  }
  if (named > kHostsNamed) why_not += ", and " + std::to_string(named - kHostsNamed) + " more";
  return fail(Errc::refused, "no other host takes run " + run +
                                 (why_not.empty() ? ": there is none" : why_not));
}

std::vector<std::string> MoveRoom::others_with_room(const fbs::RunHeadT& head) const {
  std::vector<std::string> names;
  for (const Room& room : rooms_)
    if (room.host != head.host && in_the_way(room, wants(head), false).empty())
      names.push_back(room.host);
  return names;
}

}  // namespace muster::musterd
