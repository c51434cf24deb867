#include "engine/core/context.hpp"

#include <algorithm>
#include <map>

namespace muster::engine {

Context::Context(ActorId self, const Envelope& message, Instant now, RowReader& rows,
                 DecisionLimits limits)
    : self_(std::move(self)), message_(message), now_(now), rows_(rows), limits_(limits) {}

void Context::charge(std::size_t bytes) {
  bytes_ += bytes;
  if (bytes_ > limits_.bytes)
    throw DecisionTooLarge("a decision may take " + std::to_string(limits_.bytes) +
                           " bytes: proceed in pages");
}

void Context::send(ActorId to, Payload payload, Lane lane) {
  for (const std::string* part : {&to.org, &to.kind, &to.key})
    if (part->empty() || part->find('\0') != part->npos)
      throw std::invalid_argument("not the name of an actor: \"" + to.to_string() + "\"");
  if (decision_.sends.size() + decision_.effects.size() >= limits_.sends)
    throw DecisionTooLarge("a decision may send " + std::to_string(limits_.sends) +
                           " messages and effects: proceed in pages");
  charge(payload.bytes.size() + to.org.size() + to.kind.size() + to.key.size());
  decision_.sends.push_back({std::move(to), lane, std::move(payload)});
}

void Context::timer(TimerChange change) {
  charge(change.name.size() + change.payload.bytes.size());
  const auto same = std::find_if(decision_.timers.begin(), decision_.timers.end(),
                                 [&](const TimerChange& t) { return t.name == change.name; });
  if (same != decision_.timers.end()) {
    *same = std::move(change);
    return;
  }
  if (decision_.timers.size() >= limits_.timers)
    throw DecisionTooLarge("an actor may have " + std::to_string(limits_.timers) + " timers");
  decision_.timers.push_back(std::move(change));
}

void Context::perform(EffectRequest effect) {
  if (decision_.sends.size() + decision_.effects.size() >= limits_.sends)
    throw DecisionTooLarge("a decision may send " + std::to_string(limits_.sends) +
                           " messages and effects: proceed in pages");
  charge(effect.port.size() + effect.key.size() + effect.bytes.size() +
         effect.on_unknown.bytes.size());
  decision_.effects.push_back(std::move(effect));
}

void Context::answer(Reply reply) {
  charge(reply.body.size());
  decision_.reply = std::move(reply);
}

void Context::audit(std::string who, std::string action, std::string detail) {
  charge(who.size() + action.size() + detail.size());
  decision_.audits.push_back({std::move(who), std::move(action), std::move(detail)});
}

void Context::index(std::string index, std::string key, std::string value) {
  charge(index.size() + key.size() + value.size());
  decision_.indexes.push_back({std::move(index), std::move(key), std::move(value)});
}

void Context::unindex(std::string index, std::string key) {
  charge(index.size() + key.size());
  decision_.indexes.push_back({std::move(index), std::move(key), std::nullopt});
}

std::optional<std::string> Context::row(std::string_view key) {
  for (const RowChange& change : decision_.rows)
    if (change.key == key) return change.value;
  return rows_.row(key);
}

std::vector<std::pair<std::string, std::string>> Context::rows(std::string_view lower,
                                                               std::string_view upper,
                                                               std::size_t limit) {
  // Each of this decision's changes can hide at most one of the rows below it.
  auto below = rows_.rows(lower, upper, limit + decision_.rows.size());
  std::map<std::string, std::string> merged(std::make_move_iterator(below.begin()),
                                            std::make_move_iterator(below.end()));
  for (const RowChange& change : decision_.rows) {
    if (change.key < lower || change.key >= upper) continue;
    if (change.value) {
      merged.insert_or_assign(change.key, *change.value);
    } else {
      merged.erase(change.key);
    }
  }
  std::vector<std::pair<std::string, std::string>> result;
  for (auto& [key, value] : merged) {
    if (result.size() == limit) break;
    result.emplace_back(key, std::move(value));
  }
  return result;
}

void Context::change_row(std::string key, std::optional<std::string> value) {
  charge(key.size() + (value ? value->size() : 0));
  for (RowChange& change : decision_.rows) {
    if (change.key != key) continue;
    change.value = std::move(value);
    return;
  }
  decision_.rows.push_back({std::move(key), std::move(value)});
}

void Context::put_row(std::string key, std::string value) {
  change_row(std::move(key), std::move(value));
}

void Context::erase_row(std::string key) { change_row(std::move(key), std::nullopt); }

}  // namespace muster::engine
