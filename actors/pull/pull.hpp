// The pull request: open until merged or closed. Key: OWNER/NAME#N.
//
// Made by the repo (CreatePull) once the forge has it. Merging and closing are effects: a caller's MergePull or
// ClosePull is answered at once with "accepted" (a step can only answer the message that it handles), `busy`
// says "merge" or "close" meanwhile, and what came of it is `state`, or `problem` when it is still open. A
// caller that wants the end waits until `busy` is empty. One of them at a time; the same one again is accepted
// without being done twice. Ended pull requests refuse everything but a repeat of what ended them.
// Tells the repo PullEnded, so that the fleet may open another one there.
#pragma once

#include "actors/pull/pull_generated.h"
#include "engine/core/kind.hpp"

namespace muster::actors {

struct Pull {
  static constexpr std::string_view kName = "pull";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::PullHeadT;
  using Messages = engine::MessageSet<fbs::PullBodyUnionTraits, fbs::CreatePullT, fbs::UpdatePullT,
                                      fbs::MergePullT, fbs::ClosePullT, fbs::MergeDoneT,
                                      fbs::CloseDoneT, fbs::EffectUnknownT, fbs::ForgetPullT>;
  using Message = Messages::Variant;
  static bool creates(const Message& m) { return std::holds_alternative<fbs::CreatePullT>(m); }
  static void step(State& state, const Message& message, engine::Context& ctx);

  /// Tries of one merge or close, one after each `unknown`; both find what is done already.
  static constexpr std::uint32_t kTries = 3;
};

}  // namespace muster::actors
