// Dead letters as people see them: read from the journals, with their messages decoded.
#pragma once

#include <vector>

#include "engine/core/engine.hpp"
#include "engine/core/kind.hpp"
#include "storage/journal/journal.hpp"

namespace muster::engine {

/// No page is longer.
constexpr std::size_t kMaxLetters = 1'000;

/// At most `limit` letters after that one, in order of shard and sequence. `shards`: the journal of each.
Result<std::vector<DeadLetter>> read_letters(const std::vector<const storage::Journal*>& shards,
                                             const Kinds& kinds, LetterId after,
                                             std::size_t limit);
Result<std::optional<DeadLetter>> read_letter(const std::vector<const storage::Journal*>& shards,
                                              const Kinds& kinds, LetterId id);

}  // namespace muster::engine
