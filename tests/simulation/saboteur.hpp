// A journal that keeps one promise badly: each variant is a bug that the simulation must find.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "storage/journal/journal.hpp"

namespace muster::sim {

enum class Sabotage {
  none,
  released_before_sync,   ///< The newest commit is not there after a power cut.
  batch_torn,             ///< Half of it is.
  message_not_journaled,  ///< Inbox rows are left out.
  consumed_not_written,   ///< Heads keep no consumed marks.
  call_row_dropped,       ///< Idempotency keys are forgotten.
  channel_mark_dropped,
  source_mark_dropped,    ///< Between shards: repeated parcels are taken again.
  effect_row_kept,        ///< An effect with a result stays.
  backlog_row_kept,       ///< A consumed message stays in the backlog.
  timer_row_dropped,      ///< A timer lives in memory only.
  dead_row_dropped,       ///< Parked messages leave no trace.
  timer_row_kept,         ///< A timer that fired lives on.
  letter_not_closed,      ///< A dead letter that was replayed or discarded stays open.
  pause_forgotten,        ///< An actor is paused in memory only.
  // Of the domain: FleetWorld breaks these.
  epoch_unchecked,        ///< What a host says of an older attempt counts for the present one.
  slots_unchecked,        ///< A host takes more than it has.
  effect_not_looked_up,   ///< An effect that is handed out again is done again.
  archive_dropped,        ///< A finished actor's head and rows go, and no record comes.
  // Of swarms: SwarmWorld breaks these.
  ledger_row_dropped,     ///< What became of a commit is not written.
  red_made_green,         ///< A verification that fails counts as one that passes.
  result_untold,          ///< The swarm is not told of some commits.
  move_not_awaited,       ///< A swarm that stops takes no note of a move of green that was under way.
  move_not_looked_up,     ///< A green branch that an earlier try moved counts as somebody else's.
  peers_dropped,          ///< A merge silently drops what others did.
  scope_unchecked,        ///< A facet changes what it likes.
};

std::string_view to_string(Sabotage sabotage);
/// Of the engine, which the ledger must find; of the domain, which fleets must find; of swarms.
std::vector<Sabotage> engine_sabotages();
std::vector<Sabotage> domain_sabotages();
std::vector<Sabotage> swarm_sabotages();
/// Sabotage::none for a name that there is not.
Sabotage sabotage_named(std::string_view name);

class Saboteur : public storage::Journal {
 public:
  Saboteur(storage::Journal& below, Sabotage how) : below_(below), how_(how) {}

  Result<void> commit(const storage::Batch& batch) override;
  Result<std::optional<std::string>> get(storage::Family family,
                                         std::string_view key) const override {
    return below_.get(family, key);
  }
  Result<void> scan(storage::Family family, std::string_view lower, std::string_view upper,
                    const storage::RowVisitor& row) const override {
    return below_.scan(family, lower, upper, row);
  }
  Result<void> scan_back(storage::Family family, std::string_view lower, std::string_view upper,
                         const storage::RowVisitor& row) const override {
    return below_.scan_back(family, lower, upper, row);
  }
  Result<void> drop(storage::Family family, std::string_view lower,
                    std::string_view upper) override {
    return below_.drop(family, lower, upper);
  }
  Result<void> reopen() override { return below_.reopen(); }

  /// Power is cut: what a variant said was synced and was not is gone.
  void power_cut();

 private:
  /// What becomes of one write; nothing: it is left out.
  std::optional<storage::Batch::Op> twisted(const storage::Batch::Op& op) const;

  storage::Journal& below_;
  Sabotage how_;
  std::vector<storage::Batch::Op> undo_;  ///< The rows before the newest commit, in its order.
};

}  // namespace muster::sim
