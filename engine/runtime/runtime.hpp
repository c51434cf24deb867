// The engine as programs make it: shards over RocksDB, each on its own CAF actor.
//
//   auto engine = make_engine({}, make_kinds<Run, Fleet>(), {{"forge", forge}}, paths.engine());
//   if (!engine) …            // Errc::conflict: another process has the journal; refused: a newer version wrote it
//   …
//   engine->reset();          // commits what is decided, then returns
//
// Ports must outlive the engine's last call of EffectPort::perform, which the shared pointers see to. Effects
// that were pending when the last process ended are handed out again, with `repeated`, before make_engine
// returns: a port that needs the engine itself must keep them until it has it.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "engine/core/engine.hpp"
#include "engine/core/kind.hpp"
#include "engine/core/limits.hpp"

namespace muster::storage {
class Journal;
}

namespace muster::engine {

/// Opens the journal of one shard in that directory.
using OpenJournal =
    std::function<Result<std::unique_ptr<storage::Journal>>(const std::filesystem::path&)>;

using Ports = std::map<std::string, std::shared_ptr<EffectPort>, std::less<>>;

struct EngineConfig {
  std::uint32_t shards = 1;              ///< Fixed when the journal is made.
  ShardLimits limits;
  std::size_t memtable_bytes = 64u << 20;     ///< Per shard.
  std::size_t block_cache_bytes = 16u << 20;  ///< Per shard.
  std::size_t threads = 2;               ///< CAF workers that step the shards.
  std::size_t subscriber_changes = 4'096;     ///< Waiting for one subscriber; older ones are left out.
  OpenJournal open_journal;              ///< Empty: RocksDB. Others watch it, or break it.
};

/// Opens directory/shard-N, recovers, and serves when it returns.
Result<std::unique_ptr<Engine>> make_engine(EngineConfig config, Kinds kinds, Ports ports,
                                            const std::filesystem::path& directory);

/// For a restore, before the first start on what it brought back: the installation begins a new generation, by
/// which hosts know that the engine forgot. Every shard of it gets the same one, which is returned. Interrupted:
/// call it again; an engine refuses to start in between.
Result<std::uint32_t> raise_generation(const std::filesystem::path& directory);

}  // namespace muster::engine
