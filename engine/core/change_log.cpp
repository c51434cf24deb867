#include "engine/core/change_log.hpp"

#include "engine/core/records.hpp"

namespace muster::engine {

using flatbuffers::Offset;

Offset<fbs::ActorName> ChangeLog::name(const ActorId& id, Activation* active) {
  if (active != nullptr && active->named_in == batch_) return {active->named_at};
  const Offset<fbs::ActorName> name = encode_actor(builder_, id);
  if (active != nullptr) {
    active->named_in = batch_;
    active->named_at = name.o;
  }
  return name;
}

void ChangeLog::sent(const ActorId& to, Activation* receiver, std::uint16_t type,
                     Sequence sequence) {
  sent_.push_back(fbs::CreateSentRef(builder_, name(to, receiver), type, sequence));
}

void ChangeLog::effect(std::string_view key) {
  effects_.push_back(builder_.CreateString(key.data(), key.size()));
}

void ChangeLog::index(const IndexChange& entry) {
  const auto index = builder_.CreateString(entry.index);
  const auto key = builder_.CreateString(entry.key);
  Offset<flatbuffers::Vector<std::uint8_t>> value;
  if (entry.value) value = encode_bytes(builder_, *entry.value);
  indexes_.push_back(fbs::CreateChangedIndex(builder_, index, key, !entry.value, value));
}

void ChangeLog::close(const Decided& decided, Activation& actor) {
  if (changes_.empty()) first_position_ = decided.position;
  const auto vector = [this](const auto& offsets) {
    return offsets.empty() ? 0 : builder_.CreateVector(offsets).o;
  };
  const auto id = name(actor.id, &actor);
  const auto sent = vector(sent_);
  const auto effects = vector(effects_);
  const auto indexes = vector(indexes_);
  fbs::ChangeRecordBuilder record(builder_);
  record.add_position(decided.position);
  record.add_sequence(decided.sequence);
  record.add_at_unix_ms(decided.at.unix_ms);
  record.add_decision(actor.decision);
  record.add_actor(id);
  record.add_sent(sent);
  record.add_effects(effects);
  record.add_indexes(indexes);
  record.add_type(decided.type);
  record.add_kind_version(actor.kind != nullptr ? actor.kind->version : std::uint16_t{0});
  record.add_lane(static_cast<std::uint8_t>(decided.lane));
  record.add_dead(decided.dead);
  changes_.push_back(record.Finish());
  sent_.clear();
  effects_.clear();
  indexes_.clear();
}

std::string_view ChangeLog::finish() {
  const auto changes = builder_.CreateVector(changes_);
  return finish_record<fbs::ChangesRecordT>(builder_,
                                            fbs::CreateChangesRecord(builder_, 1, changes));
}

void ChangeLog::clear() {
  builder_.Clear();
  ++batch_;
  changes_.clear();
  sent_.clear();
  effects_.clear();
  indexes_.clear();
}

}  // namespace muster::engine
