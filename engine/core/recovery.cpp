#include "engine/core/recovery.hpp"

#include <algorithm>
#include <list>
#include <unordered_map>
#include <unordered_set>

#include "engine/core/activation.hpp"
#include "engine/core/archive.hpp"
#include "engine/core/keys.hpp"

namespace muster::engine {

using storage::Family;

namespace {

const std::string kPastSequences(13, '\xff');
const std::string kPastActors(2, '\xff');
/// Of one actor in the backlog: with more, each is asked for.
constexpr std::size_t kManyMessages = 64;
/// Messages of the inbox in memory at once, besides those that are pending.
constexpr std::size_t kInboxChunk = 200'000;

/// The consumed marks of one receiver; zeros when it does not exist.
Result<std::array<Sequence, kLanes>> consumed_marks(const storage::Journal& journal,
                                                    const ActorId& id) {
  std::array<Sequence, kLanes> marks{};
  auto head = find_head(journal, id);
  if (!head) return tl::unexpected<Error>(head.error());
  if (!*head) return marks;
  const auto record = head_in(**head);
  if (!record) return fail(record.error(), "head of " + id.to_string());
  if (const auto* consumed = (*record)->consumed())
    for (std::uint32_t lane = 0; lane < kLanes && lane < consumed->size(); ++lane)
      marks[lane] = consumed->Get(lane);
  return marks;
}

/// Of the inbox.
struct InboxChunk {
  std::list<WindowEntry> messages;
  std::size_t bytes = 0;
  bool more = false;  ///< After it.
};

class Reader {
 public:
  Reader(const storage::Journal& journal, ShardPlace place, std::size_t unchecked_bytes)
      : journal_(journal), place_(place), unchecked_bytes_(unchecked_bytes) {}

  Result<Recovered> read() {
    if (auto ok = read_shard(); !ok) return tl::unexpected<Error>(ok.error());
    if (found_.fresh) return std::move(found_);
    for (const auto part : {&Reader::read_backlog, &Reader::read_dead, &Reader::read_inbox,
                            &Reader::read_effects, &Reader::read_outbox})
      if (auto ok = (this->*part)(); !ok) return tl::unexpected<Error>(ok.error());
    return std::move(found_);
  }

 private:
  Result<void> read_shard() {
    auto bytes = journal_.get(Family::meta, std::string(keys::kShard));
    if (!bytes) return tl::unexpected<Error>(bytes.error());
    found_.acknowledged.assign(place_.shards, 0);
    if (!*bytes) {
      found_.fresh = true;
      return {};
    }
    auto record = decode_record<fbs::ShardRecordT>(**bytes);
    if (!record) return fail(record.error(), "the shard's record");
    found_.shard = std::move(*record);
    if (found_.shard.format > kFormat)
      return fail(Errc::refused,
                  "this journal has format " + std::to_string(found_.shard.format) +
                      ", written by a newer version of Muster; this one reads up to " +
                      std::to_string(kFormat) + ". Start the newer version again.");
    if (found_.shard.shard != place_.shard || found_.shard.shards != place_.shards)
      return fail(Errc::refused,
                  "this journal belongs to shard " + std::to_string(found_.shard.shard) + " of " +
                      std::to_string(found_.shard.shards) + ", not to " +
                      std::to_string(place_.shard) + " of " + std::to_string(place_.shards) +
                      ": the number of shards can't change");
    return {};
  }

  /// Which messages that may still be pending were parked: there are few, so that asking for each
  /// would cost more.
  Result<void> read_dead() {
    return journal_.scan(Family::dead, keys::sequence(found_.shard.low_water), kPastSequences,
                         [&](std::string_view key, std::string_view) {
                           dead_.insert(storage::get_be64(key));
                           return true;
                         });
  }

  /// From message to message; but who has many of them is passed over in one step.
  Result<void> read_backlog() {
    std::string lower;
    for (bool more = true; more;) {
      more = false;
      Result<void> outcome;
      std::string actor;     // Whose messages are read now, …
      bool* many = nullptr;  // … and what is to be remembered when they are many.
      std::size_t read = 0;
      auto scanned = journal_.scan(
          Family::backlog, lower, kPastActors, [&](std::string_view key, std::string_view) {
            if (many == nullptr || !key.starts_with(actor)) {
              std::string_view rest = key;
              const auto id = keys::take_actor(rest);
              if (!id || rest.size() != 1 + sizeof(Sequence)) {
                outcome = fail(Errc::corrupt, "reading the backlog: not a key of it");
                return false;
              }
              found_.sleepers.of(*id).backlog = true;
              many = &backlogged_[*id];
              actor = key.substr(0, key.size() - rest.size());
              read = 0;
            }
            const Sequence sequence = storage::get_be64(key.substr(actor.size() + 1));
            if (sequence >= found_.shard.low_water) in_backlog_.insert(sequence);
            if (++read < kManyMessages) return true;
            *many = more = true;
            lower = storage::prefix_end(actor);
            return false;
          });
      if (!scanned) return scanned;
      if (!outcome) return outcome;
    }
    return {};
  }

  /// Not parked, not in the backlog, and above its receiver's mark as far as that was read.
  Result<bool> may_be_pending(const Envelope& message) {
    if (dead_.contains(message.sequence) || in_backlog_.contains(message.sequence)) return false;
    const auto marks = marks_.find(message.to);
    if (marks != marks_.end() &&
        message.sequence <= marks->second[static_cast<std::size_t>(message.lane)])
      return false;
    const auto backlog = backlogged_.find(message.to);
    if (backlog == backlogged_.end() || !backlog->second) return true;
    auto there =
        journal_.get(Family::backlog, keys::backlog(message.to, message.lane, message.sequence));
    if (!there) return tl::unexpected<Error>(there.error());
    return !*there;
  }

  /// In the order of their keys: the next head lies near the last one, and reading it is cheap.
  Result<void> read_marks(const std::list<WindowEntry>& messages, bool all) {
    std::vector<std::pair<std::string, const ActorId*>> receivers;
    for (const WindowEntry& entry : messages) {
      const ActorId& to = entry.message.to;
      if ((all || backlogged_.contains(to)) && !in_backlog_.contains(entry.message.sequence) &&
          !marks_.contains(to))
        receivers.emplace_back(keys::actor(to), &to);
    }
    std::sort(receivers.begin(), receivers.end());
    for (const auto& [key, id] : receivers) {
      if (marks_.contains(*id)) continue;
      auto read = consumed_marks(journal_, *id);
      if (!read) return tl::unexpected<Error>(read.error());
      marks_.emplace(*id, *read);
    }
    return {};
  }

  Result<InboxChunk> read_some(Sequence& from) {
    Result<InboxChunk> chunk;
    Result<void> decoded;
    auto scanned = journal_.scan(
        Family::inbox, keys::sequence(from), kPastSequences,
        [&](std::string_view key, std::string_view value) {
          chunk->more = chunk->messages.size() == kInboxChunk || chunk->bytes > unchecked_bytes_;
          if (chunk->more) return false;
          from = storage::get_be64(key) + 1;
          auto message = decode_envelope(value);
          if (!message) {
            decoded = fail(message.error(), "reading the inbox");
            return false;
          }
          chunk->messages.emplace_back(std::move(*message), value.size(), false);
          chunk->bytes += value.size();
          return true;
        });
    if (!scanned) chunk = tl::unexpected<Error>(scanned.error());
    if (!decoded) chunk = tl::unexpected<Error>(decoded.error());
    return chunk;
  }

  Result<void> read_inbox() {
    Sequence from = found_.shard.low_water;
    for (bool checked = false, more = true; more;) {
      auto chunk = read_some(from);
      if (!chunk) return tl::unexpected<Error>(chunk.error());
      more = chunk->more;
      checked = checked || more || chunk->bytes > unchecked_bytes_;
      if (auto ok = read_marks(chunk->messages, checked); !ok) return ok;
      for (auto& messages = chunk->messages; !messages.empty();) {
        auto pending = may_be_pending(messages.front().message);
        if (!pending) return fail(pending.error(), "reading the inbox");
        if (*pending)
          keep(messages);
        else
          messages.pop_front();
      }
    }
    return {};
  }

  /// The first of `messages`.
  void keep(std::list<WindowEntry>& messages) {
    const Envelope& message = messages.front().message;
    found_.kept.push_back(message.sequence);
    found_.kept_bytes += messages.front().bytes;
    auto& kept = found_.sleepers.of(message.to).kept[static_cast<std::size_t>(message.lane)];
    kept.splice(kept.end(), messages, messages.begin());
  }

  Result<void> read_effects() {
    Result<void> outcome;
    auto scanned = journal_.scan(Family::effects, "", std::string(2, '\xff'),
                                 [&](std::string_view, std::string_view value) {
                                   auto record = decode_record<fbs::EffectRecordT>(value);
                                   if (!record) {
                                     outcome = fail(record.error(), "reading the effects");
                                     return false;
                                   }
                                   found_.effects.emplace_back(effect_of(*record),
                                                         Duration{record->allowed_ms});
                                   return true;
                                 });
    return scanned ? outcome : scanned;
  }

  Result<void> read_outbox() {
    found_.shard.sent.resize(place_.shards, 0);
    for (std::uint32_t to = 0; to < place_.shards; ++to) {
      found_.acknowledged[to] = found_.shard.sent[to];
      auto scanned = journal_.scan(Family::outbox, keys::outbox(to, 0), keys::outbox(to + 1, 0),
                                   [&](std::string_view key, std::string_view) {
                                     found_.acknowledged[to] = keys::outbox_number(key) - 1;
                                     return false;
                                   });
      if (!scanned) return scanned;
    }
    return {};
  }

  const storage::Journal& journal_;
  ShardPlace place_;
  std::size_t unchecked_bytes_;
  Recovered found_;
  std::unordered_map<ActorId, std::array<Sequence, kLanes>> marks_;
  std::unordered_map<ActorId, bool> backlogged_;  ///< True: with more messages than were read.
  std::unordered_set<Sequence> in_backlog_;       ///< Of those that may be in the inbox too.
  std::unordered_set<Sequence> dead_;
};

Result<fbs::ShardRecordT> shard_record(const storage::Journal& journal) {
  auto bytes = journal.get(Family::meta, std::string(keys::kShard));
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  if (!*bytes) return fail(Errc::not_found, "this journal was never used");
  auto record = decode_record<fbs::ShardRecordT>(**bytes);
  if (record && record->format > kFormat)
    return fail(Errc::refused, "this journal was written by a newer version of Muster");
  return record;
}

}  // namespace

Result<std::uint32_t> stored_generation(const storage::Journal& journal) {
  const auto record = shard_record(journal);
  if (!record) return tl::unexpected<Error>(record.error());
  return record->generation;
}

Result<void> store_generation(storage::Journal& journal, std::uint32_t generation) {
  auto record = shard_record(journal);
  if (!record) return tl::unexpected<Error>(record.error());
  record->generation = generation;
  storage::Batch batch;
  batch.put(Family::meta, std::string(keys::kShard), encode_record(*record));
  return journal.commit(batch);
}

Result<Recovered> recover(const storage::Journal& journal, ShardPlace place,
                          std::size_t unchecked_bytes) {
  return Reader(journal, place, unchecked_bytes).read();
}

}  // namespace muster::engine
