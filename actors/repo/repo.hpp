// The repo: who works on one repository, and its pull requests' numbers. Key: OWNER/NAME.
//
// Made by the first run that asks for a turn (Acquire). Grants turns in order of asking, as many at a time as
// the most careful of holders and asker allow; a run asks once and Releases once, repeats change nothing.
// A name belongs to one canonical URL as long as it has a run or an open pull request: another repository under
// the same name is refused until then (name_taken), because its pull requests would mix. After that the name moves
// on with whoever asks first, so that a repository may move.
// It may be forgotten (ForgetRepo) when nobody has or wants a turn and no pull request is open; who asks for that has
// seen that no pull request of it is left, because the next repo of that name counts them from 1 again.
// One open pull request per fleet: a second OpenPull of that fleet updates the first and gets its number. The
// effect pr/<fleet>/<repo> makes it; only its result makes the pull actor, so a crash between makes none or one.
#pragma once

#include <cstdint>

#include "actors/repo/repo_generated.h"
#include "engine/core/kind.hpp"

namespace muster::actors {

struct Repo {
  static constexpr std::string_view kName = "repo";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::RepoHeadT;
  using Messages = engine::MessageSet<fbs::RepoBodyUnionTraits, fbs::AcquireT, fbs::ReleaseT,
                                      fbs::OpenPullT, fbs::PullCreatedT, fbs::PullEndedT,
                                      fbs::EffectUnknownT, fbs::ForgetRepoT>;
  using Message = Messages::Variant;
  static bool creates(const Message& m) { return std::holds_alternative<fbs::AcquireT>(m); }
  static void step(State& state, const Message& message, engine::Context& ctx);

  /// Runs that may wait for a turn; more are refused (queue_full). The head must stay below 64 KiB.
  static constexpr std::size_t kMaxWaiting = 512;
  /// Pull requests that may be open or opening at once.
  static constexpr std::size_t kMaxOpenPulls = 128;
  /// As the limit of who asks: it works beside all others, and counts as nobody's turn. A fork has no use for a turn that its
  /// origin holds, and its branch is its own.
  static constexpr std::uint32_t kBesideOthers = UINT32_MAX;
  /// Tries of the effect "pr", one after each `unknown`.
  static constexpr std::uint32_t kPullTries = 5;
};

/// "acme/api#12": the key of the pull actor.
std::string pull_key(const std::string& repository, std::uint32_t number);

}  // namespace muster::actors
