#include "engine/core/replay.hpp"

#include <algorithm>

#include "engine/core/context.hpp"
#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"
#include "engine/core/revision.hpp"

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
                                 std::to_string(actor.incarnation) + ", or a snapshot: " + why);
}

/// The newest snapshot at that position or before.
Result<std::optional<fbs::SnapshotRecordT>> snapshot_at(const storage::Journal& journal,
                                                        const ActorId& id,
                                                        std::uint64_t position) {
  std::optional<fbs::SnapshotRecordT> found;
  Result<void> decoded{};
  const auto walked = journal.scan_back(
      storage::Family::state, keys::snapshot(id, 0), keys::snapshot(id, ~std::uint64_t{0}),
      [&](std::string_view, std::string_view value) {
        auto record = decode_record<fbs::SnapshotRecordT>(value);
        if (!record)
          decoded = tl::unexpected<Error>(record.error());
        else if (record->position <= position)
          found = std::move(*record);
        return record.has_value() && !found;
      });
  if (!walked) return tl::unexpected<Error>(walked.error());
  if (!decoded) return tl::unexpected<Error>(decoded.error());
  return found;
}

/// What a state is made of again.
struct Story {
  std::optional<fbs::SnapshotRecordT> begin;  ///< Absent: with the message that made the actor.
  std::vector<StepLook> steps;                ///< After it, the oldest first.
  bool newest = true;                         ///< Nothing came after them.
};

/// From the last step of a message numbered `upto` or below back to a snapshot or the beginning.
Result<Story> story_of(const storage::Journal& journal, const ActorLook& actor, Sequence upto) {
  Story story;
  bool told = false;  ///< Nothing is missing.
  Result<void> looked{};
  const auto end = each_step_back(journal, &actor.id, 0, kMaxReplayScan, [&](const StepLook& step) {
    if (story.steps.empty() && step.sequence > upto) {
      story.newest = false;
      return step.sequence != actor.incarnation;
    }
    if (story.steps.empty()) {
      auto begin = snapshot_at(journal, actor.id, step.position);
      if (!begin) looked = tl::unexpected<Error>(begin.error());
      if (!begin) return false;
      story.begin = std::move(*begin);
    }
    // Its own step is one of the story, for what it tells, and is not made again.
    story.steps.push_back(step);
    told = step.sequence == actor.incarnation ||
           (story.begin && step.position == story.begin->position);
    return !told && story.steps.size() < kMaxReplayedSteps;
  });
  if (!end) return tl::unexpected<Error>(end.error());
  if (!looked) return tl::unexpected<Error>(looked.error());
  if (story.steps.empty() && actor.incarnation > upto)
    return fail(Errc::not_found, actor.id.to_string() + " did not exist yet: message " +
                                     std::to_string(actor.incarnation) + " made it");
  if (!told)
    return not_kept(actor, story.steps.size() == kMaxReplayedSteps
                               ? "it has more than " + std::to_string(kMaxReplayedSteps) + " steps"
                               : "older decisions are no longer kept");
  std::reverse(story.steps.begin(), story.steps.end());
  return story;
}

}  // namespace

Result<Replayed> replay(const Journals& journals, const KindOps& kind, const ActorLook& actor,
                        Sequence upto) {
  const storage::Journal& journal = journal_of(journals, actor.id);
  const auto story = story_of(journal, actor, upto);
  if (!story) return tl::unexpected<Error>(story.error());
  const std::size_t first = story->begin ? 1 : 0;
  std::vector<Sequence> wanted;
  for (std::size_t n = first; n < story->steps.size(); ++n)
    wanted.push_back(story->steps[n].sequence);
  const auto messages = read_messages(journal, wanted);
  if (!messages) return tl::unexpected<Error>(messages.error());

  Replayed replayed;
  replayed.oldest_version = story->steps.front().version;
  replayed.version = kind.version;
  replayed.last_sequence = story->steps.back().sequence;
  replayed.at = story->steps.back().at;
  replayed.steps = wanted.size();
  auto state = kind.make_state();
  if (story->begin) {
    auto stored = kind.decode_state(bytes_of(story->begin->state));
    if (!stored) return tl::unexpected<Error>(stored.error());
    state = std::move(*stored);
    replayed.snapshot = story->begin->sequence;
    for (const auto& row : story->begin->rows)
      replayed.rows.insert_or_assign(bytes_of(row->key), bytes_of(row->value));
  }
  for (std::size_t n = first; n < story->steps.size(); ++n) {
    const StepLook& step = story->steps[n];
    const auto message =
        std::lower_bound(messages->begin(), messages->end(), step.sequence,
                         [](const Envelope& m, Sequence at) { return m.sequence < at; });
    if (message == messages->end() || message->sequence != step.sequence)
      return not_kept(actor, "message " + std::to_string(step.sequence) + " is no longer kept");
    if (step.dead) continue;  // It changed nothing.
    auto next = kind.copy_state(state);
    ReplayedRows rows(replayed.rows);
    const bool made = n > 0 || story->begin;
    if (made && check_only_if(*message, kind, state.get(), rows)) continue;  // It was refused.
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
  replayed.newest = story->newest;
  replayed.same_as_kept = replayed.newest && replayed.state == actor.state;
  return replayed;
}

}  // namespace muster::engine
