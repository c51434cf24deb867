// Now and then an actor's whole state, so that a replay needs only what came since, however long
// ago the actor was made.
#include "engine/core/keys.hpp"
#include "engine/core/shard.hpp"

namespace muster::engine {

using storage::Family;

/// With the decision itself. An actor with more than a few rows has none: a fleet is younger than
/// its messages are kept.
void Shard::snapshot_if_due(const Activation& a, const Envelope& m, Instant at) {
  if (limits_.snapshot_every == 0 || a.decision % limits_.snapshot_every != 0) return;
  const auto [lower, upper] = keys::rows(a.id, "", "");
  const auto rows = sure(rows_.scan(Family::state, lower, upper, limits_.snapshot_rows + 1));
  if (rows.size() > limits_.snapshot_rows) return;
  fbs::SnapshotRecordT record;
  record.kind_version = a.kind->version;
  record.decision = a.decision;
  record.position = position_;
  record.sequence = m.sequence;
  record.at_unix_ms = at.unix_ms;
  record.state = record_of(std::string_view(a.kind->encode_state(a.state.get())));
  std::size_t bytes = record.state.size();
  for (const auto& [key, value] : rows) {
    auto row = std::make_unique<fbs::SnapshotRowT>();
    row->key = record_of(keys::row_name(key, a.id));
    row->value = record_of(std::string_view(value));
    bytes += row->key.size() + row->value.size();
    record.rows.push_back(std::move(row));
  }
  if (bytes > limits_.snapshot_bytes) return;
  rows_.append(Family::state, keys::snapshot(a.id, a.decision), encode_record(record));
  const std::uint64_t kept = limits_.snapshot_every * limits_.snapshots_kept;
  if (a.decision > kept) rows_.append_erase(Family::state, keys::snapshot(a.id, a.decision - kept));
}

}  // namespace muster::engine
