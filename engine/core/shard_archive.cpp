// Finished actors out of the way: head and rows become one record when nobody has spoken to them
// for long.
//
// Each decision of a finished actor sets a timer of the shard's own. When that fires, one batch
// writes the record and deletes what it holds; whatever touches the actor later puts everything
// back in the batch that it changes. So an actor is wholly here or wholly there, after any crash.
//
// A kind may have its actor removed (Context::remove). What is left then is a head without a state:
// it says what was consumed, because a recovery may read those messages again. It goes by the same
// timer, when nothing can ask for it any more.
#include <algorithm>

#include "engine/core/keys.hpp"
#include "engine/core/shard.hpp"

namespace muster::engine {

using storage::Family;

void Shard::set_archive_timer(Activation& a) {
  change_timer(a, {std::string(kArchiveTimer), now() + limits_.archive_after, {}}, {});
}

void Shard::archive(const fbs::TimerRecordT& timer) {
  const ActorId id = actor_of(timer.actor);
  Activation* a = rouse(id, Lane::normal);
  if (a == nullptr) {  // No room: there is time.
    constexpr Duration kLater{60'000};
    timers_.set(keys::timer(now() + kLater, id, timer.name), encode_record(timer));
    return;
  }
  load(*a);
  const auto armed = a->timers.find(kArchiveTimer);
  if (a->archived || armed == a->timers.end() || armed->second.generation != timer.generation) {
    passivate_if_idle(*a);  // Somebody has spoken to it since.
    return;
  }
  touch(*a);
  a->timers.erase(armed);
  if (a->removed) return bury(*a);
  if (a->state != nullptr && a->timers.empty() && !a->pending() && !a->queued && !a->paused)
    put_away(*a);
}

void Shard::put_away(Activation& a) {
  const auto [lower, upper] = keys::rows(a.id, "", "");
  const auto rows = sure(rows_.scan(Family::state, lower, upper, limits_.archive_rows + 1));
  std::size_t bytes = 0;
  for (const auto& [key, value] : rows) bytes += key.size() + value.size();
  if (rows.size() > limits_.archive_rows || bytes > limits_.decision.bytes) return;  // Too much for one read.
  // Nobody replays what was so long ago: the messages since are gone.
  const auto snapshots = sure(rows_.scan(Family::state, keys::snapshot(a.id, 0),
                                         keys::snapshot(a.id, ~std::uint64_t{0}),
                                         limits_.snapshots_kept + 1));
  fbs::ArchiveRecordT record;
  record.head = record_of(encode_head(a));
  for (const auto& [key, value] : rows) {
    record.rows.push_back(std::make_unique<fbs::ArchivedRowT>());
    record.rows.back()->name = record_of(keys::row_name(key, a.id));
    record.rows.back()->value = record_of(std::string_view(value));
    rows_.erase(Family::state, key);
  }
  for (const auto& [key, value] : snapshots) rows_.erase(Family::state, key);
  rows_.append_erase(Family::state, keys::head(a.id));
  rows_.put(Family::state, keys::archive(a.id), encode_record(record));
  a.rows.clear();
  a.archived = true;
}

void Shard::take_out(Activation& a) {
  a.archived = false;
  std::string key = keys::archive(a.id);
  const auto bytes = sure(rows_.get(Family::state, key));
  if (!bytes) throw std::logic_error("an archived actor without its record");
  const auto record = sure(decode_record<fbs::ArchiveRecordT>(*bytes));
  for (const auto& row : record.rows)
    rows_.put(Family::state, keys::row(a.id, bytes_of(row->name)), bytes_of(row->value));
  rows_.erase(Family::state, std::move(key));
  set_archive_timer(a);
}

/// In the batch of the decision that asked for it.
void Shard::remove(Activation& a) {
  const auto [rows_from, rows_to] = keys::rows(a.id, "", "");
  for (const auto& [key, value] :
       sure(rows_.scan(Family::state, rows_from, rows_to, 2 * limits_.decision.removed_rows)))
    rows_.erase(Family::state, key);
  for (const auto& [key, value] :
       sure(rows_.scan(Family::state, keys::snapshot(a.id, 0),
                       keys::snapshot(a.id, ~std::uint64_t{0}), limits_.snapshots_kept + 1)))
    rows_.erase(Family::state, key);
  for (const auto& [name, timer] : a.timers) timers_.cancel(keys::timer(timer.due, a.id, name));
  a.timers.clear();
  a.rows.clear();
  a.state.reset();
  a.finished = false;
  a.removed = true;
  set_archive_timer(a);
}

/// Only below the low-water mark: above it a recovery asks which messages were consumed.
void Shard::bury(Activation& a) {
  Sequence newest = 0;
  for (const LaneWindow& lane : a.lanes) newest = std::max(newest, lane.consumed);
  if (a.pending() || newest >= low_water()) return set_archive_timer(a);
  a.removed = false;
  rows_.append_erase(Family::state, keys::head(a.id));
}

}  // namespace muster::engine
