#include "engine/core/testing.hpp"

namespace muster::engine::testing {

namespace {

std::string bytes_as_text(std::string_view bytes) {
  std::string text;
  flatbuffers::EscapeString(bytes.data(), bytes.size(), &text, true, false);
  return text;
}

const flatbuffers::TypeTable* table_of(
    const std::map<std::string, const flatbuffers::TypeTable*, std::less<>>& tables,
    std::string_view key, bool by_prefix) {
  for (const auto& [name, table] : tables)
    if (by_prefix ? key.substr(0, name.size()) == name : key == name) return table;
  return nullptr;
}

std::string relative(Instant to, Instant from) { return "+" + to_string(to - from); }

}  // namespace

std::string Rendering::payload(const ActorId& to, const Payload& payload) const {
  const auto kind = kinds.find(to.kind);
  if (kind != kinds.end()) return kind->second(payload);
  return describe_unknown(payload);
}

std::string Rendering::row(std::string_view key, std::string_view value) const {
  const flatbuffers::TypeTable* table = table_of(rows, key, true);
  return table != nullptr ? describe_table(value, table) : bytes_as_text(value);
}

std::string Rendering::index(std::string_view name, std::string_view value) const {
  const flatbuffers::TypeTable* table = table_of(indexes, name, false);
  return table != nullptr ? describe_table(value, table) : bytes_as_text(value);
}

std::string render_decision(const ActorId& self, Instant now, const Decision& decision,
                            const Rendering& rendering) {
  std::string text;
  for (const Outgoing& out : decision.sends)
    text += (out.lane == Lane::operator_ ? "send! " : "send ") + out.to.to_string() + " " +
            rendering.payload(out.to, out.payload) + "\n";
  for (const TimerChange& timer : decision.timers)
    if (timer.due)
      text += "timer " + timer.name + " " + relative(*timer.due, now) + " " +
              rendering.payload(self, timer.payload) + "\n";
  for (const TimerChange& timer : decision.timers)
    if (!timer.due) text += "cancel " + timer.name + "\n";
  for (const EffectRequest& effect : decision.effects) {
    text += "effect " + effect.port + " " + effect.key + " " +
            relative(now + effect.deadline, now) + " ";
    text += rendering.effect != nullptr ? describe_table(effect.bytes, rendering.effect)
                                        : bytes_as_text(effect.bytes);
    text += " else " + rendering.payload(self, effect.on_unknown) + "\n";
  }
  for (const RowChange& row : decision.rows)
    text += "row " + row.key + (row.value ? " = " + rendering.row(row.key, *row.value) : " erased") +
            "\n";
  for (const IndexChange& change : decision.indexes)
    text += "index " + change.index + " " + bytes_as_text(change.key) +
            (change.value ? " = " + rendering.index(change.index, *change.value) : " removed") +
            "\n";
  for (const AuditEntry& audit : decision.audits)
    text += "audit " + audit.who + " " + audit.action + " " + audit.detail + "\n";
  if (decision.reply && decision.reply->error) {
    text += "refuse " + std::string(to_string(*decision.reply->error)) + " " +
            decision.reply->body + "\n";
  } else if (decision.reply) {
    text += "reply " + bytes_as_text(decision.reply->body) + "\n";
  }
  if (decision.finished) text += "finished\n";
  if (decision.removed) text += "removed\n";
  return text;
}

std::optional<std::string> MemoryRows::row(std::string_view key) {
  const auto found = all.find(key);
  if (found == all.end()) return std::nullopt;
  return found->second;
}

std::vector<std::pair<std::string, std::string>> MemoryRows::rows(std::string_view lower,
                                                                  std::string_view upper,
                                                                  std::size_t limit) {
  std::vector<std::pair<std::string, std::string>> found;
  for (auto at = all.lower_bound(lower); at != all.end() && at->first < upper; ++at) {
    if (found.size() == limit) break;
    found.emplace_back(*at);
  }
  return found;
}

void MemoryRows::apply(const std::vector<RowChange>& changes) {
  for (const RowChange& change : changes) {
    if (change.value) {
      all.insert_or_assign(change.key, *change.value);
    } else {
      all.erase(change.key);
    }
  }
}

}  // namespace muster::engine::testing
