#include "tests/simulation/saboteur.hpp"

#include "engine/core/records.hpp"

namespace muster::sim {

using storage::Batch;
using storage::Family;

namespace {

constexpr std::pair<Sabotage, std::string_view> kNames[] = {
    {Sabotage::released_before_sync, "released before sync"},
    {Sabotage::batch_torn, "batch torn"},
    {Sabotage::message_not_journaled, "message not journaled"},
    {Sabotage::consumed_not_written, "consumed mark not written"},
    {Sabotage::call_row_dropped, "idempotency key dropped"},
    {Sabotage::channel_mark_dropped, "channel mark dropped"},
    {Sabotage::source_mark_dropped, "source mark dropped"},
    {Sabotage::effect_row_kept, "effect row not deleted"},
    {Sabotage::backlog_row_kept, "backlog row not deleted"},
    {Sabotage::timer_row_dropped, "timer row not written"},
    {Sabotage::dead_row_dropped, "dead letter not written"},
    {Sabotage::timer_row_kept, "timer row not deleted"},
    {Sabotage::letter_not_closed, "dead letter not closed"},
    {Sabotage::pause_forgotten, "pause not written"},
    {Sabotage::epoch_unchecked, "epoch unchecked"},
    {Sabotage::slots_unchecked, "slots unchecked"},
    {Sabotage::effect_not_looked_up, "effect not looked up"},
    {Sabotage::archive_dropped, "archive not written"},
    {Sabotage::ledger_row_dropped, "ledger row not written"},
    {Sabotage::red_made_green, "red made green"},
    {Sabotage::result_untold, "result untold"},
    {Sabotage::move_not_awaited, "move not awaited"},
    {Sabotage::move_not_looked_up, "move not looked up"},
    {Sabotage::peers_dropped, "peers dropped"},
    {Sabotage::scope_unchecked, "scope unchecked"},
};

void add(Batch& batch, const Batch::Op& op) {
  if (op.value) {
    batch.put(op.family, op.key, *op.value);
  } else {
    batch.erase(op.family, op.key);
  }
}

}  // namespace

std::string_view to_string(Sabotage sabotage) {
  for (const auto& [value, name] : kNames)
    if (value == sabotage) return name;
  return "none";
}

std::vector<Sabotage> engine_sabotages() {
  std::vector<Sabotage> values;
  for (const auto& [value, name] : kNames)
    if (value < Sabotage::epoch_unchecked) values.push_back(value);
  return values;
}

std::vector<Sabotage> domain_sabotages() {
  return {Sabotage::epoch_unchecked, Sabotage::slots_unchecked, Sabotage::effect_not_looked_up,
          Sabotage::archive_dropped};
}

std::vector<Sabotage> swarm_sabotages() {
  std::vector<Sabotage> values;
  for (const auto& [value, name] : kNames)
    if (value >= Sabotage::ledger_row_dropped) values.push_back(value);
  return values;
}

Sabotage sabotage_named(std::string_view wanted) {
  for (const auto& [value, name] : kNames)
    if (name == wanted) return value;
  return Sabotage::none;
}

std::optional<Batch::Op> Saboteur::twisted(const Batch::Op& op) const {
  const auto is = [&](Sabotage how, Family family, bool written) {
    return how_ == how && op.family == family && op.value.has_value() == written;
  };
  const char tag = op.key.empty() ? '\0' : op.key.front();
  if (is(Sabotage::message_not_journaled, Family::inbox, true)) return std::nullopt;
  if (is(Sabotage::call_row_dropped, Family::dedup, true) && tag == 'k') return std::nullopt;
  if (is(Sabotage::channel_mark_dropped, Family::dedup, true) && tag == 'c') return std::nullopt;
  if (is(Sabotage::source_mark_dropped, Family::dedup, true) && tag == 'x') return std::nullopt;
  if (is(Sabotage::effect_row_kept, Family::effects, false)) return std::nullopt;
  if (is(Sabotage::backlog_row_kept, Family::backlog, false)) return std::nullopt;
  if (is(Sabotage::timer_row_dropped, Family::timers, true)) return std::nullopt;
  if (is(Sabotage::dead_row_dropped, Family::dead, true)) return std::nullopt;
  if (is(Sabotage::timer_row_kept, Family::timers, false)) return std::nullopt;
  if (is(Sabotage::letter_not_closed, Family::dead, true)) {
    const auto letter = engine::decode_record<engine::fbs::DeadRecordT>(*op.value);
    if (letter && letter->state != engine::fbs::LetterState::open) return std::nullopt;
  }
  if (is(Sabotage::pause_forgotten, Family::state, true) && op.key.ends_with('h')) {
    auto head = engine::decode_record<engine::fbs::HeadRecordT>(*op.value);
    if (!head) return op;
    head->paused = false;
    return Batch::Op{op.family, op.key, engine::encode_record(*head)};
  }
  if (is(Sabotage::consumed_not_written, Family::state, true) && op.key.ends_with('h')) {
    auto head = engine::decode_record<engine::fbs::HeadRecordT>(*op.value);
    if (!head) return op;
    head->consumed.clear();
    return Batch::Op{op.family, op.key, engine::encode_record(*head)};
  }
  if (is(Sabotage::ledger_row_dropped, Family::state, true) &&
      op.key.find("commit/") != std::string::npos)
    return std::nullopt;
  if (is(Sabotage::archive_dropped, Family::state, true) &&
      engine::decode_record<engine::fbs::ArchiveRecordT>(*op.value))
    return std::nullopt;
  return op;
}

Result<void> Saboteur::commit(const Batch& batch) {
  undo_.clear();
  Batch out;
  for (const Batch::Op& op : batch.ops()) {
    if (how_ == Sabotage::released_before_sync || how_ == Sabotage::batch_torn) {
      auto before = below_.get(op.family, op.key);
      if (before) undo_.push_back({op.family, op.key, std::move(*before)});
    }
    if (auto written = twisted(op)) add(out, *written);
  }
  return below_.commit(out);
}

void Saboteur::power_cut() {
  Batch undo;
  const std::size_t kept = how_ == Sabotage::batch_torn ? undo_.size() / 2 : 0;
  for (std::size_t i = undo_.size(); i > kept; --i) add(undo, undo_[i - 1]);
  if (!undo.empty()) (void)below_.commit(undo);
  undo_.clear();
}

}  // namespace muster::sim
