// Group commit: while one batch is with the writer the next fills; what a batch decided leaves the shard only
// when it is durable.
#include <algorithm>
#include <limits>

#include "engine/core/keys.hpp"
#include "engine/core/shard.hpp"
#include "storage/base/ids.hpp"

namespace muster::engine {

using storage::Family;

namespace {

/// What a head says, as it is when its batch closes; the writer encodes it while the actor goes on. The state can be
/// shared, because nobody changes one: a step works on a copy.
struct HeadToWrite {
  std::string key;
  Activation* actor = nullptr;  ///< For the strand alone.
  const KindOps* kind = nullptr;
  std::shared_ptr<const void> state;  ///< Null: a removed one.
  std::array<Sequence, kLanes> consumed{};
  std::vector<std::pair<std::string, PendingTimer>> timers;
  Sequence incarnation = 0;
  std::uint64_t decision = 0;
  std::uint64_t timer_generation = 0;
  bool finished = false;
  bool paused = false;
  std::size_t state_bytes = 0;  ///< Once it is encoded.
};

HeadToWrite head_of(Activation& a) {
  HeadToWrite head;
  head.key = keys::head(a.id);
  head.actor = &a;
  head.kind = a.kind;
  if (!a.removed) head.state = a.state;
  for (std::size_t lane = 0; lane < kLanes; ++lane) head.consumed[lane] = a.lanes[lane].consumed;
  head.timers.assign(a.timers.begin(), a.timers.end());
  head.incarnation = a.incarnation;
  head.decision = a.decision;
  head.timer_generation = a.timer_generation;
  head.finished = a.finished;
  head.paused = a.paused;
  return head;
}

/// Valid until `builder` is used again.
std::string_view encode(flatbuffers::FlatBufferBuilder& builder, HeadToWrite& head) {
  builder.Clear();
  const std::string bytes =
      head.state == nullptr ? std::string() : head.kind->encode_state(head.state.get());
  head.state_bytes = bytes.size();
  const auto state = encode_bytes(builder, bytes);
  const auto consumed = builder.CreateVector(head.consumed.data(), head.consumed.size());
  std::vector<flatbuffers::Offset<fbs::HeadTimer>> pending;
  for (const auto& [name, timer] : head.timers)
    pending.push_back(fbs::CreateHeadTimer(builder, builder.CreateString(name), timer.generation,
                                           timer.due.unix_ms));
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fbs::HeadTimer>>> timers;
  if (!pending.empty()) timers = builder.CreateVector(pending);
  fbs::HeadRecordBuilder record(builder);
  record.add_incarnation(head.incarnation);
  record.add_decision(head.decision);
  record.add_timer_generation(head.timer_generation);
  record.add_consumed(consumed);
  record.add_timers(timers);
  record.add_state(state);
  record.add_kind_version(head.kind->version);
  record.add_finished(head.finished);
  record.add_paused(head.paused);
  record.add_removed(head.state == nullptr);
  return finish_record<fbs::HeadRecordT>(builder, record.Finish());
}

using Heads = std::vector<HeadToWrite>;

/// Once per batch, however often an actor stepped in it.
Heads heads_of(const std::vector<Activation*>& touched) {
  Heads heads;
  heads.reserve(touched.size());
  for (Activation* a : touched)
    // Never there: its dead letters say what was consumed.
    if ((a->state != nullptr || a->removed) && !a->archived) heads.push_back(head_of(*a));
  return heads;
}

/// About what they will take.
std::size_t bytes_of_heads(const Heads& heads) {
  constexpr std::size_t kAround = 200;
  std::size_t bytes = 0;
  for (const HeadToWrite& head : heads) bytes += head.key.size() + head.actor->state_bytes + kAround;
  return bytes;
}

/// In the order of their keys, because a memtable finds the place of a key fast that comes soon after the last one.
/// Their beginnings tell most of it without a look at the keys.
void put_heads(storage::Batch& batch, Heads& heads) {
  std::vector<std::pair<std::uint64_t, HeadToWrite*>> order;
  order.reserve(heads.size());
  for (HeadToWrite& head : heads)  // Slot, org, …: at least eight bytes.
    order.emplace_back(storage::get_be64(head.key), &head);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second->key < b.second->key;
  });
  flatbuffers::FlatBufferBuilder builder;
  for (const auto& [beginning, head] : order)
    batch.put(Family::state, head->key, encode(builder, *head));
}

}  // namespace

void Shard::commit_if_idle() {
  if (flight_ || nothing_decided()) return;
  auto flight = std::make_shared<Flight>();
  auto heads = std::make_shared<Heads>(heads_of(touched_));
  stats_.batch.observe(changes_.size());
  write_changes();
  write_shard();
  flight->number = rows_.number();
  flight->bytes = rows_.bytes() + bytes_of_heads(*heads);
  flight->low_water = low_water();
  flight->position = position_;
  flight->batch = rows_.close();
  flight->outputs = std::exchange(outputs_, {});
  flight->touched = std::exchange(touched_, {});
  flight->visible = std::exchange(visible_, std::exchange(spare_visible_, {}));
  flight_ = flight;
  world_.executor.write([this, flight, heads, epoch = epoch_]() mutable {
    put_heads(flight->batch, *heads);
    const Stopwatch watch;
    flight->result = world_.journal.commit(flight->batch);
    flight->took_us = watch.us();
    // With all of it, so that what the strand allocated is let go of there.
    world_.executor.post([this, flight = std::move(flight), heads = std::move(heads), epoch] {
      if (epoch == epoch_)
        for (const HeadToWrite& head : *heads) head.actor->state_bytes = head.state_bytes;
      committed(epoch, flight);
    });
  });
}

/// As of now. Valid until `scratch_` is used again.
std::string_view Shard::encode_head(Activation& a) {
  HeadToWrite head = head_of(a);
  const std::string_view record = encode(scratch_, head);
  a.state_bytes = head.state_bytes;
  return record;
}

void Shard::write_changes() {
  if (changes_.empty()) return;
  rows_.append(Family::changes, keys::sequence(changes_.first_position()), changes_.finish());
  changes_.clear();
}

void Shard::write_shard() {
  fbs::ShardRecordT record;
  record.format = kFormat;
  record.shard = config_.place.shard;
  record.shards = config_.place.shards;
  record.generation = generation_;
  record.next_sequence = next_sequence_;
  record.low_water = low_water();
  record.position = position_;
  record.now_unix_ms = now().unix_ms;
  for (const Peer& peer : peers_) record.sent.push_back(peer.given);
  rows_.append(Family::meta, std::string(keys::kShard), encode_record(record));
}

void Shard::committed(std::uint64_t epoch, const std::shared_ptr<Flight>& flight) {
  if (epoch != epoch_) return;
  if (!flight->result) {
    ++stats_.failed_commits;
    fall_over(flight->result.error());
    return;
  }
  ++stats_.commits;
  stats_.position = flight->position;
  stats_.committed_bytes += flight->bytes;
  stats_.sync_us.observe(flight->took_us);
  flight_.reset();
  rows_.settle(flight->number);
  rows_.reuse(std::move(flight->batch));
  release(*flight);
  spare_visible_ = std::move(flight->visible);
  spare_visible_.clear();
  if (phase_ == Phase::stopping) {
    commit_if_idle();
    finish_stopping();
    return;
  }
  guarded([&] {
    pump_outboxes();
    trim(*flight);
    run_turn();
  });
}

void Shard::release(Flight& flight) {
  for (const Durable& output : flight.outputs) output(nullptr);
  if (!flight.visible.empty()) world_.outside.changed(flight.visible);
  for (Activation* a : flight.touched) passivate_if_idle(*a);
}

/// With the batch that is being filled, or the one on its way, or now when everything is durable.
void Shard::when_durable(Durable output) {
  if (!nothing_decided()) {
    outputs_.push_back(std::move(output));
  } else if (flight_) {
    flight_->outputs.push_back(std::move(output));
  } else {
    output(nullptr);
  }
}

// ---- trimming ----

namespace {

constexpr Duration kDeadRetention{90LL * 24 * 3'600'000};
constexpr Duration kAuditRetention{400LL * 24 * 3'600'000};
constexpr std::uint64_t kMostDroppedAtOnce = 50'000;

/// One that can't be read is kept, for whoever looks.
Instant recorded_at(Family family, std::string_view value) {
  constexpr Instant kNever{std::numeric_limits<std::int64_t>::max()};
  if (family == Family::dead) {
    const auto letter = decode_record<fbs::DeadRecordT>(value);
    return letter ? Instant{letter->at_unix_ms} : kNever;
  }
  const auto entry = decode_record<fbs::AuditRecordT>(value);
  return entry ? Instant{entry->at_unix_ms} : kNever;
}

/// The records of a family, which lie in the order of their time, up to the first that is young enough.
void drop_older(ShardWorld& world, Family family, Instant oldest, Sequence below) {
  world.executor.write([&journal = world.journal, family, oldest, below] {
    std::string upper;
    std::uint64_t dropped = 0;
    // A failure shows at the next commit; what was not dropped now is dropped next time.
    (void)journal.scan(family, keys::sequence(0), keys::sequence(below),
                       [&](std::string_view key, std::string_view value) {
                         if (recorded_at(family, value) >= oldest) return false;
                         upper = std::string(key) + '\0';
                         return ++dropped < kMostDroppedAtOnce;
                       });
    if (!upper.empty()) (void)journal.drop(family, keys::sequence(0), upper);
  });
}

}  // namespace

void Shard::trim(const Flight& flight) {
  const auto beyond = [](std::uint64_t newest, std::uint64_t kept) {
    return newest > kept ? newest - kept : 0;
  };
  trim_family(Family::inbox, inbox_trimmed_, beyond(flight.low_water, limits_.inbox_retention));
  trim_family(Family::changes, changes_trimmed_,
              beyond(flight.position, limits_.changes_retention));
  const auto before = calls_trimmed_;
  trim_calls();
  if (calls_trimmed_ == before) return;
  // Only below the low-water mark: until then a dead letter is the proof that its message was consumed.
  drop_older(world_, Family::dead, now() - kDeadRetention, flight.low_water);
  drop_older(world_, Family::audit, now() - kAuditRetention, flight.position);
}

void Shard::trim_family(Family family, std::uint64_t& trimmed, std::uint64_t upto) {
  if (upto < trimmed + limits_.trim_chunk) return;
  world_.executor.write([this, family, lower = trimmed, upto] {
    // A failure shows at the next commit; what was not dropped now is dropped next time.
    (void)world_.journal.drop(family, keys::sequence(lower), keys::sequence(upto));
  });
  trimmed = upto;
}

/// A UUIDv7 begins with its time in hexadecimal: whatever is older sorts below.
void Shard::trim_calls() {
  constexpr Duration kEvery{600'000};
  constexpr Duration kMargin{3'600'000};
  if (!calls_trimmed_) calls_trimmed_ = now();
  if (now() - *calls_trimmed_ < kEvery) return;
  calls_trimmed_ = now();
  const std::string oldest = new_uuid_v7(now() - limits_.call_retention - kMargin).substr(0, 13);
  world_.executor.write([this, oldest] {
    (void)world_.journal.drop(Family::dedup, keys::call(""), keys::call(oldest));
  });
}

}  // namespace muster::engine
