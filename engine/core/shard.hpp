// One shard: a single-threaded machine that journals messages, steps actors, and commits what they decide.
//
// Everything but the constructor is called on the shard's strand (Executor::post), and so are all callbacks,
// which must not call the shard back directly. Commits run on the writer while stepping goes on.
//
//   Shard shard(config, kinds, {executor, clock, journal, link, outside});
//   executor.post([&] { shard.start(ready); });        // recovers, then serves
//   executor.post([&] { shard.call(call, done); });
//   executor.post([&] { shard.stop(stopped); });       // commits what is decided; nothing runs afterwards
//
// The parts: shard.cpp (life, turns, recovery), shard_admit.cpp (what comes in), shard_step.cpp (stepping and
// decisions), shard_commit.cpp (group commit and what it releases), shard_link.cpp (other shards), shard_operate.cpp
// (what operators do), shard_look.cpp (what their tools see),
// shard_snapshot.cpp (whole states, for replays).
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>

#include "engine/core/activation.hpp"
#include "engine/core/change_log.hpp"
#include "engine/core/inspect.hpp"
#include "engine/core/interfaces.hpp"
#include "engine/core/limits.hpp"
#include "engine/core/recovery.hpp"
#include "engine/core/sleepers.hpp"
#include "engine/core/speculation.hpp"
#include "engine/core/timer_queue.hpp"

namespace muster::engine {

struct ShardConfig {
  ShardPlace place;
  ShardLimits limits;
};

struct ShardWorld {
  Executor& executor;
  Clock& clock;
  storage::Journal& journal;
  Link& link;
  Outside& outside;
  StepMark* mark = nullptr;  ///< Null: steps that end the process are stepped again at every start.
};

/// Null: it is durable. Otherwise why not.
using Durable = std::function<void(const Error* failure)>;

class Shard {
 public:
  /// `kinds` and the world must outlive the shard and every task that it posted.
  Shard(ShardConfig config, const Kinds& kinds, ShardWorld world);

  /// Reads the journal and serves; the error says why it can't.
  void start(std::function<void(Result<void>)> ready);
  /// Commits what is decided and calls back once; later calls are refused.
  void stop(std::function<void()> stopped);

  void call(Call call, CallDone done);
  void deliver(ChannelMessage message, ChannelDone done);
  void tell(ActorId to, Payload payload, Lane lane, std::function<void(Result<void>)> done);
  void operate(OperatorCommand command, CallDone done);
  void effect_done(const PendingEffect& effect, Payload result);
  void receive(Parcel parcel);
  void acknowledged(ParcelAck ack);

  /// Shard time: never back, not even over a restart.
  Instant now();
  [[nodiscard]] std::uint32_t generation() const { return generation_; }
  [[nodiscard]] std::size_t active_actors() const { return directory_.size(); }
  [[nodiscard]] ShardStats stats() const;
  /// The earliest ones; all others lie in the journal.
  [[nodiscard]] std::size_t timers_in_memory() const { return timers_.in_memory(); }
  /// Actors in memory, at most `limit`, those with work first.
  [[nodiscard]] std::vector<ActivationLook> look(std::size_t limit) const;
  [[nodiscard]] std::optional<ActivationLook> look(const ActorId& id) const;
  /// Which of `shards` holds an actor.
  static std::uint32_t shard_of(const ActorId& id, std::uint32_t shards) {
    return shards == 1 ? 0 : id.slot() % shards;
  }

 private:
  enum class Phase { created, recovering, serving, stopping, stopped, failed };
  struct Peer {
    std::uint64_t given = 0;  ///< The last number given to a message for it.
    std::uint64_t sent = 0;
    std::uint64_t acknowledged = 0;
    Instant progress;
  };
  struct Flight {
    std::uint64_t number = 0;
    std::size_t bytes = 0;
    storage::Batch batch;
    std::vector<Durable> outputs;
    std::vector<Activation*> touched;
    std::vector<Change> visible;
    Sequence low_water = 0;
    std::uint64_t position = 0;
    std::uint64_t took_us = 0;
    Result<void> result;
  };
  class ActorRows;
  struct Stepped;
  /// A read failed in the middle of work: the shard falls over to recovery.
  struct JournalTrouble : std::runtime_error {
    explicit JournalTrouble(Error e) : std::runtime_error(e.message), error(std::move(e)) {}
    Error error;
  };

  // shard.cpp
  void schedule_turn();
  void turn();
  void run_turn();
  void arm_wake();
  void recover_on_writer(bool reopen);
  void recovered(Result<Recovered> found);
  void resume(Recovered found);
  void fall_over(const Error& why);
  void forget_everything();
  void finish_stopping();
  /// Work that reads the journal: a failed read makes the shard fall over, and nothing else.
  template <class F>
  void guarded(F&& work) {
    try {
      work();
    } catch (const JournalTrouble& trouble) {
      fall_over(trouble.error);
    }
  }

  // shard_admit.cpp
  Result<void> open_for(const ActorId& to, Lane lane) const;
  Result<void> serving() const;
  Result<void> check_key(std::string& key);
  void admit_call(Call call, CallDone done);
  bool known_key(const std::string& api_key, const std::string& digest, CallDone& done);
  void expect_answer(const std::string& api_key, std::string digest, CallDone done);
  void admit_channel(ChannelMessage message, ChannelDone done);
  void attach(const std::string& key, CallDone done);
  /// Where a message went. The receiver: null when it is not in memory.
  struct Placed {
    Sequence sequence = 0;
    Activation* receiver = nullptr;
  };
  Placed dispatch(Envelope&& message, Instant at);
  Placed enqueue(Envelope&& message, Instant at);
  Activation* place(Envelope&& message, std::size_t bytes);
  void to_backlog(const Envelope& message);
  [[nodiscard]] std::size_t window_limit() const;
  Activation* activate(const ActorId& id, Lane lane);
  Activation* rouse(const ActorId& id, Lane lane);
  bool wake_sleepers();
  void refill(Activation& a, Lane lane);
  void queue(Activation& a);
  void passivate_if_idle(Activation& a);
  void shrink_idle();
  void forget_oldest();
  void touch(Activation& a);

  // shard_operate.cpp
  void admit_operation(OperatorCommand command, CallDone done);
  Result<std::string> carry_out(const OperatorCommand& command);
  Result<fbs::DeadRecordT> open_letter(LetterId id);
  Result<std::string> replay(const OperatorCommand& command);
  Result<std::string> discard(const OperatorCommand& command);
  void close_letter(const OperatorCommand& command, const ActorId& to, fbs::DeadRecordT record);
  Result<Activation*> existing(const ActorId& id);
  Result<std::string> pause(const OperatorCommand& command);
  Result<std::string> resume(const OperatorCommand& command);
  Result<std::string> passivate(const ActorId& id);
  void audit_operation(const OperatorCommand& command, const ActorId& actor);
  void spill(Activation& a);
  void shelve(std::list<WindowEntry>& window);

  // shard_step.cpp
  bool credit() const;
  void step_next();
  void load(Activation& a);
  void drop_consumed(Activation& a);
  void step(Activation& a, const WindowEntry& entry);
  void snapshot_if_due(const Activation& a, const Envelope& m, Instant at);
  void note_step(Activation& a, const Envelope& m, std::uint64_t us);
  bool stale_timer(Activation& a, const Envelope& m);
  Result<void> marked_step(Activation& a, const Envelope& m, Stepped& stepped);
  Result<void> try_step(Activation& a, const Envelope& m, Stepped& stepped);
  void make(Activation& a, const Envelope& m);
  Result<void> within_limits(const Activation& a, const Stepped& stepped) const;
  void consume(Activation& a, const WindowEntry& entry);
  void apply(Activation& a, const Envelope& m, Stepped& stepped);
  void apply_sends(Activation& a, const Envelope& m, Instant at, Decision& d);
  void apply_timers(Activation& a, const Envelope& m, Decision& d);
  void change_timer(Activation& a, TimerChange change, const std::string& correlation);
  void apply_effects(const Activation& a, const Envelope& m, Decision& d);
  void apply_rows(Activation& a, Decision& d);
  void apply_indexes(const Activation& a, Decision& d);
  void answer(const std::string& api_key, const std::optional<Reply>& reply);
  void park(Activation& a, const Envelope& m, const Error& why);
  void record_change(Activation& a, const Envelope& m, Instant at, bool dead,
                     std::vector<IndexChange> indexes);
  void fire_timers();
  void fire(const fbs::TimerRecordT& timer);
  void give_unknown(const fbs::TimerRecordT& timer);

  // shard_archive.cpp
  void set_archive_timer(Activation& a);
  void archive(const fbs::TimerRecordT& timer);
  void put_away(Activation& a);
  void take_out(Activation& a);
  void remove(Activation& a);
  void bury(Activation& a);

  // shard_commit.cpp
  /// Nothing waits for a commit. A step that only changed its actor's state has touched it, and wrote no row yet.
  [[nodiscard]] bool nothing_decided() const { return rows_.empty() && touched_.empty(); }
  void commit_if_idle();
  std::string_view encode_head(Activation& a);
  void write_changes();
  void write_shard();
  [[nodiscard]] Sequence low_water() const { return pending_.smallest(next_sequence_); }
  void committed(std::uint64_t epoch, const std::shared_ptr<Flight>& flight);
  void release(Flight& flight);
  void when_durable(Durable output);
  void trim(const Flight& flight);
  void trim_family(storage::Family family, std::uint64_t& trimmed, std::uint64_t upto);
  void trim_calls();

  // shard_link.cpp
  Sequence send_away(std::uint32_t destination, const Envelope& message);
  void pump_outbox(std::uint32_t destination);
  void pump_outboxes();
  void receive_parcel(const Parcel& parcel);
  std::uint64_t source_mark(std::uint32_t source) const;
  void resend_stalled();

  template <class T>
  static T sure(Result<T> result) {
    if (!result) throw JournalTrouble(result.error());
    if constexpr (!std::is_void_v<T>) return std::move(*result);
  }

  const ShardConfig config_;
  const ShardLimits& limits_ = config_.limits;
  const Kinds& kinds_;
  ShardWorld world_;

  Phase phase_ = Phase::created;
  std::uint64_t epoch_ = 0;  ///< Raised by each fall-over: what was on its way before is void.
  std::function<void(Result<void>)> ready_callback_;
  std::function<void()> stopped_callback_;
  bool turn_posted_ = false;
  std::optional<Instant> wake_at_;

  std::uint32_t generation_ = 1;
  Sequence next_sequence_ = 1;
  std::uint64_t position_ = 0;
  std::optional<Instant> time_base_;  ///< Shard time at `clock_base_`.
  Instant clock_base_;
  Instant last_now_;
  Instant served_since_;  ///< The last start or recovery.

  Speculation rows_;
  TimerQueue timers_;
  PendingSequences pending_;
  std::size_t window_bytes_ = 0;
  Directory directory_;
  std::deque<Activation*> run_queue_;
  std::list<Activation*> idle_;       ///< The longest idle first.
  Sleepers sleepers_;                 ///< None of them has an activation.
  std::unordered_map<std::string, std::vector<CallDone>> waiting_;
  std::vector<Peer> peers_;

  // The batch that is being filled, beside its rows.
  std::vector<Durable> outputs_;
  std::vector<Activation*> touched_;  ///< Their heads are encoded when it closes. They stay till it is durable.
  ChangeLog changes_;
  std::vector<Change> visible_;
  std::vector<Change> spare_visible_;       ///< Empty, of the last batch: its memory is used again.
  flatbuffers::FlatBufferBuilder scratch_;  ///< For one record at a time.
  std::string envelope_;                    ///< For one encoded envelope.
  std::shared_ptr<Flight> flight_;
  Sequence inbox_trimmed_ = 0;
  std::uint64_t changes_trimmed_ = 0;
  std::optional<Instant> calls_trimmed_;
  ShardStats stats_;
};

}  // namespace muster::engine
