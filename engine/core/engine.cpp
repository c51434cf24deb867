#include "engine/core/engine.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <iterator>

#include "engine/core/selected_changes.hpp"

namespace muster::engine {

namespace {

Error no_journal() { return {Errc::refused, "this engine keeps no dead letters"}; }

/// The whole of `text` as a number.
template <class T>
bool parse_number(std::string_view text, T& number) {
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number);
  return wrong == std::errc() && end == text.data() + text.size();
}

/// Those that `wants` takes.
std::vector<Change> selected(const std::vector<Change>& changes, const ChangeSelector& wants) {
  std::vector<Change> some;
  std::copy_if(changes.begin(), changes.end(), std::back_inserter(some), std::cref(wants));
  return some;
}

}  // namespace

std::shared_ptr<void> subscribe_selected(Engine& engine, ChangeSelector wants,
                                         std::function<void(const std::vector<Change>&)> each) {
  if (auto* selecting = dynamic_cast<SelectedChanges*>(&engine))
    return selecting->subscribe_selected(std::move(wants), std::move(each));
  return engine.subscribe(
      [wants = std::move(wants), each = std::move(each)](const std::vector<Change>& changes) {
        if (const auto some = selected(changes, wants); !some.empty()) each(some);
      });
}

std::string LetterId::to_string() const {
  return std::to_string(shard) + "-" + std::to_string(sequence);
}

Result<LetterId> LetterId::parse(std::string_view text) {
  const std::size_t dash = text.find('-');
  LetterId id;
  if (dash == text.npos || !parse_number(text.substr(0, dash), id.shard) ||
      !parse_number(text.substr(dash + 1), id.sequence))
    return fail(Errc::invalid, "not the id of a dead letter, SHARD-NUMBER: \"" +
                                   std::string(text) + "\"");
  return id;
}

std::string_view name_of(OperatorCommand::Action action) {
  switch (action) {
    case OperatorCommand::Action::replay: return "replay";
    case OperatorCommand::Action::discard: return "discard";
    case OperatorCommand::Action::pause: return "pause";
    case OperatorCommand::Action::resume: return "resume";
    case OperatorCommand::Action::passivate: return "passivate";
  }
  return "none";
}

void Engine::operate(OperatorCommand /*command*/, CallDone done) {
  done(tl::unexpected<Error>(no_journal()));
}
Result<std::vector<DeadLetter>> Engine::dead_letters(LetterId /*after*/,
                                                     std::size_t /*limit*/) const {
  return tl::unexpected<Error>(no_journal());
}
Result<std::optional<DeadLetter>> Engine::dead_letter(LetterId /*id*/) const {
  return tl::unexpected<Error>(no_journal());
}

}  // namespace muster::engine
