// A finished actor that nobody has spoken to for long is one record instead of a head and rows: the shard makes it so
// (shard_archive.cpp), and a message turns it back. Whoever reads what is committed reads through these, which
// find an actor wherever it lies.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "engine/core/records.hpp"
#include "storage/journal/journal.hpp"

namespace muster::engine {

/// The committed record of a head; nothing when there is no such actor.
Result<std::optional<std::string>> find_head(const storage::Journal& journal, const ActorId& id);
/// The same, of an archived one only.
Result<std::optional<std::string>> find_archived_head(const storage::Journal& journal,
                                                      const ActorId& id);
Result<std::optional<std::string>> find_row(const storage::Journal& journal, const ActorId& id,
                                            std::string_view name);
/// Rows with names in [lower, upper), in order, until `each` says false; an empty upper means all.
Result<void> find_rows(const storage::Journal& journal, const ActorId& id, std::string_view lower,
                       std::string_view upper,
                       const std::function<bool(std::string_view name, std::string_view value)>& each);

}  // namespace muster::engine
