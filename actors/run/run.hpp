// The run: one repository in one fleet, from waiting for its wave to its end. Key: the run id.
//
// Made by the fleet (CreateRun) and told to Proceed when its wave opens; takes its turn at the repo, is placed by
// a host actor, follows its attempt by the host's events, judges the report (classify.hpp), delivers through the
// forge, and tells the fleet of each change of state (RunStatus, numbered). README.md has the states and timers.
//
// Promises, in every order and with every repetition of messages:
// - it ends once (delivered … cancelled), but for a failed run that becomes superseded;
// - each state that is not an end has the timer "state" pending (limits.hpp);
// - an event is believed only under the current epoch (installation generation, session at placement, attempt)
//   and from the host of the placement; everything stale is ignored;
// - every Placed that it does not want is answered with Free, and every turn it got or asked for is Released;
// - it is in the index "queued" exactly while queued, in "placed" from placement until its sandbox is gone.
#pragma once

#include "actors/run/run_generated.h"
#include "engine/core/kind.hpp"

namespace muster::actors {

/// Why a run counts as delivered whose commit is in no repository.
inline constexpr std::string_view kNotPushed = "not_pushed";

struct Run {
  static constexpr std::string_view kName = "run";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::RunHeadT;
  using Messages =
      engine::MessageSet<fbs::RunBodyUnionTraits, fbs::CreateRunT, fbs::ProceedT, fbs::RepoGrantedT,
                         fbs::RepoRefusedT, fbs::PlacedT, fbs::HostEventT, fbs::HostLostT,
                         fbs::StartDoneT, fbs::PushDoneT, fbs::PullOpenedT, fbs::CancelRunT,
                         fbs::SupersedeT, fbs::StateTimeoutT, fbs::BackoffOverT,
                         fbs::EffectUnknownT, fbs::StopDoneT, fbs::ReleaseRunT, fbs::ForgetRunT,
                         fbs::SteerRunT, fbs::SteerDoneT>;
  using Message = Messages::Variant;
  static bool creates(const Message& m) { return std::holds_alternative<fbs::CreateRunT>(m); }
  static void step(State& state, const Message& message, engine::Context& ctx);
};

/// "attempt/0001": the row of one attempt.
std::string attempt_key(std::uint32_t attempt);
/// "message/000001": the row of one thing that was said.
std::string run_message_key(std::uint32_t number);

}  // namespace muster::actors
