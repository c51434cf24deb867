#include "engine/core/recovery.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "engine/core/activation.hpp"
#include "engine/core/archive.hpp"
#include "engine/core/keys.hpp"

namespace muster::engine {

using storage::Family;

namespace {

const std::string kPastSequences(13, '\xff');

/// The consumed marks of one receiver; zeros when it does not exist.
Result<std::array<Sequence, kLanes>> consumed_marks(const storage::Journal& journal,
                                                    const ActorId& id) {
  std::array<Sequence, kLanes> marks{};
  auto head = find_head(journal, id);
  if (!head) return tl::unexpected<Error>(head.error());
  if (!*head) return marks;
  auto record = decode_record<fbs::HeadRecordT>(**head);
  if (!record) return fail(record.error(), "head of " + id.to_string());
  for (std::size_t lane = 0; lane < kLanes && lane < record->consumed.size(); ++lane)
    marks[lane] = record->consumed[lane];
  return marks;
}

class Reader {
 public:
  Reader(const storage::Journal& journal, ShardPlace place) : journal_(journal), place_(place) {}

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

  /// Consumed: at or below its receiver's mark, or parked as a dead letter (which needs no receiver).
  Result<bool> is_pending(const Envelope& message) {
    auto marks = marks_.find(message.to);
    if (marks == marks_.end()) {
      auto read = consumed_marks(journal_, message.to);
      if (!read) return tl::unexpected<Error>(read.error());
      marks = marks_.emplace(message.to, *read).first;
    }
    if (message.sequence <= marks->second[static_cast<std::size_t>(message.lane)]) return false;
    if (dead_.contains(message.sequence)) return false;
    if (!backlogged_.contains(message.to)) return true;
    auto there =
        journal_.get(Family::backlog, keys::backlog(message.to, message.lane, message.sequence));
    if (!there) return tl::unexpected<Error>(there.error());
    return !*there;
  }

  Result<void> read_inbox() {
    Result<void> outcome;
    auto scanned = journal_.scan(
        Family::inbox, keys::sequence(found_.shard.low_water), kPastSequences,
        [&](std::string_view, std::string_view value) {
          auto message = decode_envelope(value);
          auto pending = message ? is_pending(*message) : tl::unexpected<Error>(message.error());
          if (!pending) {
            outcome = fail(pending.error(), "reading the inbox");
            return false;
          }
          if (*pending) found_.pending.push_back(std::move(*message));
          return true;
        });
    return scanned ? outcome : scanned;
  }

  /// Steps from receiver to receiver, not from message to message.
  Result<void> read_backlog() {
    std::string lower;
    for (bool more = true; more;) {
      more = false;
      std::optional<ActorId> id;
      auto scanned = journal_.scan(Family::backlog, lower, std::string(2, '\xff'),
                                   [&](std::string_view key, std::string_view) {
                                     id = keys::take_actor(key);
                                     return false;
                                   });
      if (!scanned) return scanned;
      if (!id) break;
      lower = storage::prefix_end(keys::actor(*id));
      backlogged_.insert(*id);
      found_.backlogged.push_back(std::move(*id));
      more = true;
    }
    return {};
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
  Recovered found_;
  std::unordered_map<ActorId, std::array<Sequence, kLanes>> marks_;
  std::unordered_set<ActorId> backlogged_;
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

Result<Recovered> recover(const storage::Journal& journal, ShardPlace place) {
  return Reader(journal, place).read();
}

}  // namespace muster::engine
