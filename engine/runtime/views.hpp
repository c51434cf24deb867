// Committed state, as the API reads it: straight from the journals, on the caller's thread.
#pragma once

#include <string>
#include <vector>

#include "engine/core/engine.hpp"
#include "storage/journal/journal.hpp"

namespace muster::engine {

using EachEntry = std::function<bool(std::string_view key, const ActorId& actor,
                                     std::string_view value)>;
using EachRow = std::function<bool(std::string_view key, std::string_view value)>;

using EachAudit = std::function<bool(const DecidedAudit&)>;

Result<std::optional<std::string>> read_head(const storage::Journal& journal, const ActorId& actor);
/// Merges the shards' parts in order of key, page by page.
Result<void> read_index(const std::vector<const storage::Journal*>& journals,
                        std::string_view index, std::string_view lower, std::string_view upper,
                        const EachEntry& each);

Result<void> read_audits(const storage::Journal& journal, std::uint32_t shard, Sequence after,
                         const EachAudit& each);

}  // namespace muster::engine
