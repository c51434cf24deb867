// What a shard finds in its journal when it starts, or comes back from a failed commit.
//
// Read on the writer, while nothing else uses the journal. The cost follows the work in flight: the inbox from
// the low-water mark, the backlog's keys, and the effects without a result. No head is read: a head tells which of its
// actor's messages were consumed, and who loads it later learns that in passing. Only where there is too much in the
// inbox to keep, or more in the backlog, are heads read here.
#pragma once

#include <utility>
#include <vector>

#include "engine/core/engine.hpp"
#include "engine/core/records.hpp"
#include "engine/core/sleepers.hpp"
#include "storage/journal/journal.hpp"

namespace muster::engine {

struct ShardPlace {
  std::uint32_t shard = 0;
  std::uint32_t shards = 1;
};

struct Recovered {
  bool fresh = false;                     ///< Nothing was there.
  fbs::ShardRecordT shard;
  /// Who has messages: in the backlog, or kept from the inbox. Of those that are kept some may be consumed when their
  /// actor has none in the backlog: at or below the mark of its head.
  Sleepers sleepers;
  std::vector<Sequence> kept;             ///< In order.
  std::size_t kept_bytes = 0;
  /// Each with how long it may take, from when it is handed out.
  std::vector<std::pair<PendingEffect, Duration>> effects;
  std::vector<std::uint64_t> acknowledged;  ///< Per destination shard: everything up to here.
};

/// Errc::refused: written by a newer version, or for another place among other shards. When there may be more than
/// `unchecked_bytes` of messages pending, all that are kept are.
Result<Recovered> recover(const storage::Journal& journal, ShardPlace place,
                          std::size_t unchecked_bytes);

/// The generation in the shard's record, and setting it; Errc::not_found when the journal is fresh.
Result<std::uint32_t> stored_generation(const storage::Journal& journal);
Result<void> store_generation(storage::Journal& journal, std::uint32_t generation);

}  // namespace muster::engine
