#include "engine/core/inspect.hpp"

#include <algorithm>

#include "engine/core/archive.hpp"
#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"

namespace muster::engine {

using storage::Family;

namespace {

/// Rows that a walk over heads passes before it seeks to the next actor.
constexpr std::size_t kRowsPassed = 16;
/// Sequences nearer than this are read in one scan.
constexpr Sequence kGap = 4'096;
/// Inbox entries looked at for the pending messages of one actor.
constexpr std::size_t kPendingScan = 200'000;
constexpr Sequence kAllSequences = ~Sequence{0};

bool is_head(std::string_view rest) {
  return rest == "h";
}

bool is_archive(std::string_view rest) {
  return rest == "a";
}

/// The keys of one slot that a query asks for.
std::pair<std::string, std::string> slot_range(const ActorQuery& query, std::uint32_t slot) {
  std::string lower(1, static_cast<char>(slot));
  lower += query.org + '\0';
  if (!query.kind.empty()) lower += query.kind + '\0' + query.prefix;
  std::string upper = storage::prefix_end(lower);
  if (upper.empty()) upper = std::string(1'100, '\xff');
  return {std::move(lower), std::move(upper)};
}

/// Heads of [lower, upper), passing over rows; false when `each` has had enough.
Result<bool> walk_heads(const storage::Journal& journal, std::string lower,
                        const std::string& upper, const EachActor& each) {
  for (;;) {
    bool go_on = true;
    std::string skip_to;
    std::size_t rows = 0;
    auto scanned = journal.scan(Family::state, lower, upper,
                                [&](std::string_view key, std::string_view value) {
                                  std::string_view rest = key;
                                  const auto id = keys::take_actor(rest);
                                  if (!id) return true;
                                  if (is_head(rest)) {
                                    rows = 0;
                                    if (is_removed(value)) return true;
                                    go_on = each(*id, value, std::string(key));
                                    return go_on;
                                  }
                                  if (is_archive(rest)) {
                                    const auto record = decode_record<fbs::ArchiveRecordT>(value);
                                    // One that can't be read shows as a head that can't.
                                    go_on = each(*id, record ? bytes_of(record->head) : "",
                                                 std::string(key));
                                    return go_on;
                                  }
                                  if (++rows < kRowsPassed) return true;
                                  skip_to = keys::actor(*id) + 's';
                                  return false;
                                });
    if (!scanned) return tl::unexpected<Error>(scanned.error());
    if (skip_to.empty() || !go_on) return go_on;
    lower = std::move(skip_to);
  }
}

/// The record in place, for looks that pass over many; null when the bytes are not one.
template <class Table>
const Table* verified(std::string_view bytes, const char* identifier) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  flatbuffers::Verifier verifier(data, bytes.size());
  if (!verifier.VerifyBuffer<Table>(identifier)) return nullptr;
  return flatbuffers::GetRoot<Table>(data);
}

bool is_actor(const fbs::ActorName* name, const ActorId& id) {
  const auto same = [](const flatbuffers::String* text, const std::string& part) {
    return text != nullptr && text->string_view() == part;
  };
  return name != nullptr && same(name->key(), id.key) && same(name->kind(), id.kind) &&
         same(name->org(), id.org);
}

StepLook step_of(const fbs::ChangeRecordT& change) {
  StepLook step;
  step.position = change.position;
  step.actor = actor_of(change.actor);
  step.sequence = change.sequence;
  step.lane = static_cast<Lane>(change.lane);
  step.type = change.type;
  step.at = {change.at_unix_ms};
  step.version = change.kind_version;
  step.decision = change.decision;
  step.dead = change.dead;
  for (const auto& sent : change.sent)
    if (sent) step.sent.push_back({actor_of(sent->to), sent->type, sent->sequence});
  step.effects = change.effects;
  return step;
}

/// Calls `each` for one commit's decisions, the newest first.
bool steps_of_commit(const fbs::ChangesRecord& record, const ActorId* actor, std::uint64_t below,
                     std::size_t& scanned, const std::function<bool(const StepLook&)>& each) {
  if (record.changes() == nullptr) return true;
  for (auto n = record.changes()->size(); n-- > 0;) {
    const fbs::ChangeRecord* change = record.changes()->Get(n);
    if (change == nullptr || (below != 0 && change->position() >= below)) continue;
    ++scanned;
    if (actor != nullptr && !is_actor(change->actor(), *actor)) continue;
    fbs::ChangeRecordT whole;
    change->UnPackTo(&whole);
    if (!each(step_of(whole))) return false;
  }
  return true;
}

}  // namespace

const storage::Journal& journal_of(const Journals& journals, const ActorId& actor) {
  return *journals[shard_of(journals, actor)];
}

std::uint32_t shard_of(const Journals& journals, const ActorId& actor) {
  return actor.slot() % static_cast<std::uint32_t>(journals.size());
}

// ---- actors ----

Result<ActorLook> parse_head(const ActorId& actor, std::string_view head) {
  auto record = decode_record<fbs::HeadRecordT>(head);
  if (!record) return tl::unexpected<Error>(record.error());
  ActorLook look;
  look.id = actor;
  look.version = record->kind_version;
  look.incarnation = record->incarnation;
  for (std::size_t lane = 0; lane < kLanes && lane < record->consumed.size(); ++lane)
    look.consumed[lane] = record->consumed[lane];
  look.decision = record->decision;
  look.finished = record->finished;
  look.paused = record->paused;
  for (const auto& timer : record->timers)
    if (timer && timer->name != kArchiveTimer) look.timers.push_back({timer->name, timer->generation, {timer->due_unix_ms}});
  look.state = bytes_of(record->state);
  return look;
}

Result<std::optional<ActorLook>> look_at(const Journals& journals, const ActorId& actor) {
  auto head = find_head(journal_of(journals, actor), actor);
  if (!head) return tl::unexpected<Error>(head.error());
  if (!*head || is_removed(**head)) return std::optional<ActorLook>{};
  auto look = parse_head(actor, **head);
  if (!look) return tl::unexpected<Error>(look.error());
  return std::optional<ActorLook>(std::move(*look));
}

Result<void> each_actor(const Journals& journals, const ActorQuery& query, const EachActor& each) {
  const std::uint32_t first =
      query.after.empty() ? 0 : static_cast<std::uint8_t>(query.after.front());
  for (std::uint32_t slot = first; slot < kSlots; ++slot) {
    auto [lower, upper] = slot_range(query, slot);
    if (!query.after.empty() && slot == first) {
      std::string_view rest = query.after;
      const auto id = keys::take_actor(rest);
      if (!id) return fail(Errc::invalid, "not a cursor of this list");
      lower = std::max(lower, keys::actor(*id) + 's');
    }
    if (lower >= upper) continue;
    const auto go_on = walk_heads(*journals[slot % journals.size()], lower, upper, each);
    if (!go_on) return tl::unexpected<Error>(go_on.error());
    if (!*go_on) return {};
  }
  return {};
}

Result<std::vector<PendingEffect>> pending_effects(const Journals& journals, const ActorId& actor,
                                                   std::size_t limit) {
  std::vector<PendingEffect> effects;
  const std::string lower = keys::actor(actor);
  Result<void> decoded{};
  auto scanned = journal_of(journals, actor)
                     .scan(Family::effects, lower, storage::prefix_end(lower),
                           [&](std::string_view, std::string_view value) {
                             const auto record = decode_record<fbs::EffectRecordT>(value);
                             if (!record) {
                               decoded = tl::unexpected<Error>(record.error());
                               return false;
                             }
                             effects.push_back(effect_of(*record));
                             return effects.size() < limit;
                           });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  if (!decoded) return tl::unexpected<Error>(decoded.error());
  return effects;
}

// ---- messages ----

Result<ShardMarks> read_marks(const storage::Journal& journal) {
  auto bytes = journal.get(Family::meta, keys::kShard);
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  if (!*bytes) return ShardMarks{};
  const auto record = decode_record<fbs::ShardRecordT>(**bytes);
  if (!record) return tl::unexpected<Error>(record.error());
  return ShardMarks{record->low_water, record->next_sequence, record->position};
}

Result<std::optional<Envelope>> read_message(const storage::Journal& journal, Sequence sequence) {
  auto bytes = journal.get(Family::inbox, keys::sequence(sequence));
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  if (!*bytes) return std::optional<Envelope>{};
  auto message = decode_envelope(**bytes);
  if (!message) return tl::unexpected<Error>(message.error());
  return std::optional<Envelope>(std::move(*message));
}

Result<std::vector<Envelope>> read_messages(const storage::Journal& journal,
                                            std::vector<Sequence> sequences) {
  std::sort(sequences.begin(), sequences.end());
  std::vector<Envelope> found;
  for (std::size_t from = 0; from < sequences.size();) {
    std::size_t to = from + 1;
    while (to < sequences.size() && sequences[to] - sequences[to - 1] <= kGap) ++to;
    std::size_t at = from;
    Result<void> decoded{};
    auto scanned = journal.scan(Family::inbox, keys::sequence(sequences[from]),
                                keys::sequence(sequences[to - 1] + 1),
                                [&](std::string_view key, std::string_view value) {
                                  const Sequence sequence = storage::get_be64(key);
                                  while (at < to && sequences[at] < sequence) ++at;
                                  if (at == to || sequences[at] != sequence) return at < to;
                                  auto message = decode_envelope(value);
                                  if (message) {
                                    found.push_back(std::move(*message));
                                  } else {
                                    decoded = tl::unexpected<Error>(message.error());
                                  }
                                  return decoded.has_value();
                                });
    if (!scanned) return tl::unexpected<Error>(scanned.error());
    if (!decoded) return tl::unexpected<Error>(decoded.error());
    from = to;
  }
  return found;
}

Result<void> each_message(const storage::Journal& journal, Sequence from,
                          const std::function<bool(const Envelope&)>& each) {
  Result<void> decoded{};
  auto scanned = journal.scan(Family::inbox, keys::sequence(from), keys::sequence(kAllSequences),
                              [&](std::string_view, std::string_view value) {
                                const auto message = decode_envelope(value);
                                if (!message) decoded = tl::unexpected<Error>(message.error());
                                return message.has_value() && each(*message);
                              });
  return scanned ? decoded : scanned;
}

Result<PendingMessages> pending_messages(const Journals& journals, const ActorLook& actor,
                                         std::size_t limit) {
  const storage::Journal& journal = journal_of(journals, actor.id);
  const auto marks = read_marks(journal);
  if (!marks) return tl::unexpected<Error>(marks.error());
  PendingMessages pending;
  const auto room = [&] { return pending.messages.size() <= limit; };
  const auto take = [&](std::string_view value) {
    const auto* record = verified<fbs::EnvelopeRecord>(value, "MSTE");
    if (record == nullptr || !is_actor(record->to(), actor.id)) return;
    auto message = decode_envelope(value);
    if (!message || message->sequence <= actor.consumed[static_cast<std::size_t>(message->lane)])
      return;
    pending.messages.push_back(std::move(*message));
  };
  const std::string backlog = keys::actor(actor.id);
  auto scanned = journal.scan(Family::backlog, backlog, storage::prefix_end(backlog),
                              [&](std::string_view, std::string_view value) {
                                take(value);
                                return room();
                              });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  std::size_t seen = 0;
  scanned =
      journal.scan(Family::inbox, keys::sequence(marks->low_water), keys::sequence(kAllSequences),
                   [&](std::string_view, std::string_view value) {
                     take(value);
                     return ++seen < kPendingScan && pending.messages.size() <= 2 * limit;
                   });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  auto& messages = pending.messages;  // What is in the backlog is in the inbox too.
  std::sort(messages.begin(), messages.end(),
            [](const Envelope& a, const Envelope& b) { return a.sequence < b.sequence; });
  messages.erase(
      std::unique(messages.begin(), messages.end(),
                  [](const Envelope& a, const Envelope& b) { return a.sequence == b.sequence; }),
      messages.end());
  pending.more = seen == kPendingScan || messages.size() > limit;
  if (messages.size() > limit) messages.resize(limit);
  return pending;
}

// ---- decisions ----

Result<SearchEnd> each_step_back(const storage::Journal& journal, const ActorId* actor,
                                 std::uint64_t below, std::size_t scan_limit,
                                 const std::function<bool(const StepLook&)>& each) {
  SearchEnd end;
  std::size_t scanned = 0;
  Result<void> decoded{};
  auto walked = journal.scan_back(
      Family::changes, keys::sequence(0), keys::sequence(below == 0 ? kAllSequences : below),
      [&](std::string_view key, std::string_view value) {
        const auto* record = verified<fbs::ChangesRecord>(value, "MSTC");
        if (record == nullptr) {
          decoded = fail(Errc::corrupt, "a record of changes");
          return false;
        }
        std::uint64_t stopped_at = 0;
        const bool go_on =
            steps_of_commit(*record, actor, below, scanned, [&](const StepLook& step) {
              stopped_at = step.position;
              return each(step);
            });
        const std::uint64_t first = storage::get_be64(key);
        if (!go_on)
          end.next = stopped_at;
        else if (scanned >= scan_limit)
          end.next = first;
        else
          return true;
        return false;
      });
  if (!walked) return tl::unexpected<Error>(walked.error());
  if (!decoded) return tl::unexpected<Error>(decoded.error());
  return end;
}

// ---- dead letters ----

Result<void> each_dead_back(const storage::Journal& journal, Sequence below,
                            const std::function<bool(const DeadLook&)>& each) {
  Result<void> decoded{};
  auto walked = journal.scan_back(
      Family::dead, keys::sequence(0), keys::sequence(below == 0 ? kAllSequences : below),
      [&](std::string_view, std::string_view value) {
        auto record = decode_record<fbs::DeadRecordT>(value);
        auto message = record ? decode_envelope(bytes_of(record->envelope))
                              : Result<Envelope>(tl::unexpected<Error>(record.error()));
        if (!message) {
          decoded = tl::unexpected<Error>(message.error());
          return false;
        }
        return each({std::move(*message),
                     std::move(record->reason),
                     {record->at_unix_ms},
                     record->kind_version,
                     static_cast<DeadLetter::State>(record->state),
                     std::move(record->closed_by),
                     std::move(record->closed_why),
                     record->replayed_as});
      });
  return walked ? decoded : walked;
}

}  // namespace muster::engine
