// The host: a machine running sandboxd. It owns its slots. Key: its name, from its certificate.
//
// Made by its first connection. A proposal is accepted only under the present session, when the host is ready
// and slot, cpu and memory are free; then the slot is reserved and the run told (Placed), in one decision. A
// refused proposal changes nothing: the scheduler makes it again from fresh supply. Idempotent per (run,
// attempt). A slot is freed by its run (Free), or all of them when the lease ends (HostLost to each run).
//
// A reconnection frees nothing. sandboxd re-adopts its sandboxes over a restart, and what finished meanwhile lies
// in its spool and comes as numbered events; so that a run is missing in `running` does not mean that it is
// lost. What sandboxd accepted and then lost (a reboot), it reports as failed itself from its own records; what it
// never accepted, the pending effect "start" decides; and for a host that lost its disk there are the runs'
// timers. A run's epoch therefore keeps the session of its placement until it is placed anew.
//
// It is forgotten (ForgetHost) when it is unreachable since the time that is named, and nothing is placed there. Coming
// back it is a new host: what a person had asked of the old one, to be cordoned, is forgotten with it.
//
// So LeaseEnded counts only for the present session, and then for every slot, whatever session placed it: all of
// them live on the machine that is gone. One for an older session comes late: the host has been back since.
//
// A host whose sandboxd is too old or too new (HostRefused) is only remembered, with the reason; what it had keeps its
// lease, which ends as usual.
#pragma once

#include "actors/host/host_generated.h"
#include "engine/core/kind.hpp"

namespace muster::actors {

struct Host {
  static constexpr std::string_view kName = "host";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::HostHeadT;
  using Messages =
      engine::MessageSet<fbs::HostBodyUnionTraits, fbs::HostConnectedT, fbs::HostDisconnectedT,
                         fbs::LeaseEndedT, fbs::ProposeT, fbs::FreeT, fbs::CordonT, fbs::UncordonT,
                         fbs::DrainT, fbs::ForgetHostT, fbs::HostRefusedT>;
  using Message = Messages::Variant;
  static bool creates(const Message& m) {
    return std::holds_alternative<fbs::HostConnectedT>(m) ||
           std::holds_alternative<fbs::HostRefusedT>(m);
  }
  static void step(State& state, const Message& message, engine::Context& ctx);

  /// A LeaseEnded tells each slot's run in one decision (256 sends), and the head stays below 64 KiB.
  static constexpr std::uint32_t kMaxSlots = 128;
  static constexpr std::size_t kWarmBytes = 32u << 10;
  static constexpr std::string_view kWarmRow = "warm";
  static constexpr std::size_t kMaxLabels = 32;
};

}  // namespace muster::actors
