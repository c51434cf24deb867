// An actor's state as it was: made again from its first message or from a snapshot
// (ShardLimits::snapshot_every), because a step is a pure function of state, message and time, and
// the journal keeps all three. Reaches back as far as the inbox is kept.
#pragma once

#include <map>
#include <string>

#include "engine/core/inspect.hpp"

namespace muster::engine {

/// No longer story is made again.
constexpr std::size_t kMaxReplayedSteps = 20'000;
/// Decisions looked at to find those of one actor.
constexpr std::size_t kMaxReplayScan = 1'000'000;

struct Replayed {
  std::string state;
  std::map<std::string, std::string> rows;
  std::size_t steps = 0;             ///< That were made again.
  Sequence snapshot = 0;             ///< After which message it begins; 0: with the first.
  Sequence last_sequence = 0;        ///< Of the last message.
  Instant at;                        ///< When it was stepped.
  std::uint16_t oldest_version = 0;  ///< Of the kind, when the first of the steps was decided; …
  std::uint16_t version = 0;         ///< … and of the steps that were used now.
  bool newest = false;               ///< Nothing came after.
  /// Whether the newest state is the one that is kept: false tells that the steps' meaning has
  /// changed.
  bool same_as_kept = false;
};

/// After its last message numbered `upto` or below. Errc::refused: the messages it needs are no
/// longer kept.
Result<Replayed> replay(const Journals& journals, const KindOps& kind, const ActorLook& actor,
                        Sequence upto);

}  // namespace muster::engine
