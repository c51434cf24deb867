#include "engine/core/archive.hpp"

#include "engine/core/keys.hpp"

namespace muster::engine {

using storage::Family;

namespace {

Result<std::optional<fbs::ArchiveRecordT>> find_archive(const storage::Journal& journal,
                                                        const ActorId& id) {
  auto bytes = journal.get(Family::state, keys::archive(id));
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  if (!*bytes) return std::optional<fbs::ArchiveRecordT>{};
  auto record = decode_record<fbs::ArchiveRecordT>(**bytes);
  if (!record) return fail(record.error(), "archive of " + id.to_string());
  return std::optional<fbs::ArchiveRecordT>(std::move(*record));
}

/// What `live` finds, else what `archived` makes of the record. Asks the living twice, because an actor may be turned back
/// between two reads.
template <class Live, class Archived>
auto find(const storage::Journal& journal, const ActorId& id, Live&& live, Archived&& archived)
    -> decltype(live()) {
  auto found = live();
  if (!found || *found) return found;
  auto record = find_archive(journal, id);
  if (!record) return tl::unexpected<Error>(record.error());
  return *record ? archived(**record) : live();
}

}  // namespace

Result<std::optional<std::string>> find_head(const storage::Journal& journal, const ActorId& id) {
  return find(
      journal, id, [&] { return journal.get(Family::state, keys::head(id)); },
      [](const fbs::ArchiveRecordT& record) -> Result<std::optional<std::string>> {
        return std::optional<std::string>(bytes_of(record.head));
      });
}

Result<std::optional<std::string>> find_archived_head(const storage::Journal& journal,
                                                      const ActorId& id) {
  const auto record = find_archive(journal, id);
  if (!record) return tl::unexpected<Error>(record.error());
  if (!*record) return std::optional<std::string>{};
  return std::optional<std::string>(bytes_of((*record)->head));
}

Result<std::optional<std::string>> find_row(const storage::Journal& journal, const ActorId& id,
                                            std::string_view name) {
  return find(
      journal, id, [&] { return journal.get(Family::state, keys::row(id, name)); },
      [&](const fbs::ArchiveRecordT& record) -> Result<std::optional<std::string>> {
        for (const auto& row : record.rows)
          if (bytes_of(row->name) == name) return std::optional<std::string>(bytes_of(row->value));
        return std::optional<std::string>{};
      });
}

Result<void> find_rows(const storage::Journal& journal, const ActorId& id, std::string_view lower,
                       std::string_view upper,
                       const std::function<bool(std::string_view, std::string_view)>& each) {
  const auto [from, to] = keys::rows(id, lower, upper);
  const auto live = [&, &from = from, &to = to]() -> Result<std::optional<bool>> {
    std::optional<bool> any;
    auto scanned =
        journal.scan(Family::state, from, to, [&](std::string_view key, std::string_view value) {
          any = true;
          return each(keys::row_name(key, id), value);
        });
    if (!scanned) return tl::unexpected<Error>(scanned.error());
    return any;
  };
  const auto archived = [&](const fbs::ArchiveRecordT& record) -> Result<std::optional<bool>> {
    for (const auto& row : record.rows) {
      const std::string name = bytes_of(row->name);
      if (name < lower || (!upper.empty() && name >= upper)) continue;
      if (!each(name, bytes_of(row->value))) break;
    }
    return std::optional<bool>{};
  };
  const auto found = find(journal, id, live, archived);
  if (!found) return tl::unexpected<Error>(found.error());
  return {};
}

}  // namespace muster::engine
