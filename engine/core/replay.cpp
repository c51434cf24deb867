#include "engine/core/replay.hpp"

#include <algorithm>

#include "engine/core/context.hpp"

namespace muster::engine {

namespace {

/// Rows in memory, as the replayed steps left them.
class ReplayedRows : public RowReader {
 public:
  explicit ReplayedRows(const std::map<std::string, std::string>& rows) : rows_(rows) {}

  std::optional<std::string> row(std::string_view key) override {
    const auto found = rows_.find(std::string(key));
    return found == rows_.end() ? std::nullopt : std::optional(found->second);
  }
  std::vector<std::pair<std::string, std::string>> rows(std::string_view lower,
                                                        std::string_view upper,
                                                        std::size_t limit) override {
    std::vector<std::pair<std::string, std::string>> found;
    for (auto row = rows_.lower_bound(std::string(lower));
         row != rows_.end() && (upper.empty() || row->first < upper) && found.size() < limit; ++row)
      found.emplace_back(*row);
    return found;
  }

 private:
  const std::map<std::string, std::string>& rows_;
};

tl::unexpected<Error> not_kept(const ActorLook& actor, const std::string& why) {
  return fail(Errc::refused, "the story of " + actor.id.to_string() +
                                 " can't be told from its beginning, message " +
                                 std::to_string(actor.incarnation) + ": " + why);
}

/// Every step of the actor, the oldest first.
Result<std::vector<StepLook>> whole_story(const storage::Journal& journal, const ActorLook& actor) {
  std::vector<StepLook> steps;
  const auto end = each_step_back(journal, &actor.id, 0, kMaxReplayScan, [&](const StepLook& step) {
    steps.push_back(step);
    return step.sequence != actor.incarnation && steps.size() < kMaxReplayedSteps;
  });
  if (!end) return tl::unexpected<Error>(end.error());
  if (steps.empty() || steps.back().sequence != actor.incarnation)
    return not_kept(actor, steps.size() == kMaxReplayedSteps
                               ? "it has more than " + std::to_string(kMaxReplayedSteps) + " steps"
                               : "older decisions are no longer kept");
  std::reverse(steps.begin(), steps.end());
  return steps;
}

/// How many of them came up to that message.
std::size_t steps_upto(const std::vector<StepLook>& steps, Sequence upto) {
  const auto last = std::find_if(steps.rbegin(), steps.rend(),
                                 [&](const StepLook& step) { return step.sequence <= upto; });
  return static_cast<std::size_t>(steps.rend() - last);
}

}  // namespace

Result<Replayed> replay(const Journals& journals, const KindOps& kind, const ActorLook& actor,
                        Sequence upto) {
  const storage::Journal& journal = journal_of(journals, actor.id);
  const auto steps = whole_story(journal, actor);
  if (!steps) return tl::unexpected<Error>(steps.error());
  const std::size_t count = steps_upto(*steps, upto);
  if (count == 0)
    return fail(Errc::not_found, actor.id.to_string() + " did not exist yet: message " +
                                     std::to_string(actor.incarnation) + " made it");
  std::vector<Sequence> wanted;
  for (std::size_t n = 0; n < count; ++n) wanted.push_back((*steps)[n].sequence);
  const auto messages = read_messages(journal, wanted);
  if (!messages) return tl::unexpected<Error>(messages.error());

  Replayed replayed;
  replayed.oldest_version = steps->front().version;
  replayed.version = kind.version;
  auto state = kind.make_state();
  for (std::size_t n = 0; n < count; ++n) {
    const StepLook& step = (*steps)[n];
    const auto message =
        std::lower_bound(messages->begin(), messages->end(), step.sequence,
                         [](const Envelope& m, Sequence at) { return m.sequence < at; });
    if (message == messages->end() || message->sequence != step.sequence)
      return not_kept(actor, "message " + std::to_string(step.sequence) + " is no longer kept");
    replayed.last_sequence = step.sequence;
    replayed.at = step.at;
    ++replayed.steps;
    if (step.dead) continue;  // It changed nothing.
    auto next = kind.copy_state(state);
    ReplayedRows rows(replayed.rows);
    Context ctx(actor.id, *message, step.at, rows);
    try {
      if (auto ok = kind.step(next.get(), message->payload, ctx); !ok)
        return tl::unexpected<Error>(ok.error());
    } catch (const std::exception& thrown) {
      return fail(Errc::refused, "message " + std::to_string(step.sequence) +
                                     " was stepped by version " + std::to_string(step.version) +
                                     " and can't be by version " + std::to_string(kind.version) +
                                     ": " + thrown.what());
    }
    state = std::move(next);
    for (const RowChange& row : ctx.decision().rows) {
      if (row.value)
        replayed.rows.insert_or_assign(row.key, *row.value);
      else
        replayed.rows.erase(row.key);
    }
  }
  replayed.state = kind.encode_state(state.get());
  replayed.newest = count == steps->size();
  replayed.same_as_kept = replayed.newest && replayed.state == actor.state;
  return replayed;
}

}  // namespace muster::engine
