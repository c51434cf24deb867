// The named bounds of a shard. Tests and the simulator shrink them; an installation leaves them alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/context.hpp"

namespace muster::engine {

struct ShardLimits {
  DecisionLimits decision;
  std::size_t state_bytes = 64u << 10;        ///< An actor's head; more belongs in rows.

  // Refused from outside beyond these, as Errc::overloaded.
  std::size_t pending_per_actor = 10'000;     ///< Per lane.
  std::size_t bytes_in_flight = 64u << 20;    ///< Messages in windows, and what is not committed yet.
  std::size_t active_actors = 20'000;
  std::size_t operator_actors = 64;           ///< Beyond those, for who hears from an operator.
  std::size_t waiters_per_key = 16;           ///< Callers that wait for one idempotency key.
  Duration retry_after{1'000};

  // What memory holds; the rest lies on disk.
  std::size_t window = 1'024;                 ///< Messages per actor and lane, …
  std::size_t window_when_full = 64;          ///< … and while all windows take half of `bytes_in_flight`.
  std::size_t idle_actors = 2'000;            ///< Kept cached with nothing to do.
  std::size_t timers_in_memory = 4'096;
  std::size_t rows_cached = 512;              ///< Per active actor.

  std::size_t uncommitted_bytes = 16u << 20;  ///< Commit credit: no stepping beyond it.
  std::size_t steps_per_turn = 64;
  std::size_t fired_per_turn = 64;

  Duration archive_after{30LL * 24 * 3'600'000};  ///< Since the last decision of a finished actor.
  std::size_t archive_rows = 1'000;           ///< One with more, or more bytes than a decision has, stays.

  Duration default_effect_deadline{3'600'000};
  Duration call_retention{7LL * 24 * 3'600'000};  ///< Replies by idempotency key.
  std::uint64_t inbox_retention = 1'000'000;  ///< Consumed messages kept for tools.
  std::uint64_t changes_retention = 1'000'000;
  std::uint64_t trim_chunk = 50'000;

  // For replays: an actor's whole state after each so many of its decisions.
  std::uint64_t snapshot_every = 1'000;       ///< 0: never.
  std::uint64_t snapshots_kept = 64;          ///< Per actor.
  std::size_t snapshot_rows = 128;            ///< With more rows, or …
  std::size_t snapshot_bytes = 128u << 10;    ///< … more bytes, there is none.

  std::uint64_t slow_step_us = 10'000;        ///< A step that takes longer is remembered for tools.
  std::size_t slow_steps_kept = 64;

  std::size_t unacked_messages = 1'024;       ///< Per destination shard.
  Duration resend{2'000};                     ///< What a shard did not acknowledge is sent again.
  Duration reopen_pause{1'000};               ///< Between attempts to come back from a failed commit.
};

}  // namespace muster::engine
