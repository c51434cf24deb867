// What a shard finds in its journal when it starts, or comes back from a failed commit.
//
// Read on the writer, while nothing else uses the journal. The cost follows the work in flight: the inbox from
// the low-water mark, the actors with a backlog, and the effects without a result.
#pragma once

#include <utility>
#include <vector>

#include "engine/core/engine.hpp"
#include "engine/core/records.hpp"
#include "storage/journal/journal.hpp"

namespace muster::engine {

struct ShardPlace {
  std::uint32_t shard = 0;
  std::uint32_t shards = 1;
};

struct Recovered {
  bool fresh = false;                     ///< Nothing was there.
  fbs::ShardRecordT shard;
  std::vector<Envelope> pending;          ///< Inbox messages not consumed, and not in the backlog; in order.
  std::vector<ActorId> backlogged;        ///< Receivers with messages in the backlog.
  /// Each with how long it may take, from when it is handed out.
  std::vector<std::pair<PendingEffect, Duration>> effects;
  std::vector<std::uint64_t> acknowledged;  ///< Per destination shard: everything up to here.
};

/// Errc::refused: written by a newer version, or for another place among other shards.
Result<Recovered> recover(const storage::Journal& journal, ShardPlace place);

/// The generation in the shard's record, and setting it; Errc::not_found when the journal is fresh.
Result<std::uint32_t> stored_generation(const storage::Journal& journal);
Result<void> store_generation(storage::Journal& journal, std::uint32_t generation);

}  // namespace muster::engine
