// What operators' tools read of the journals: every actor, message and decision. Committed state
// only, on the caller's thread, and always in bounded pieces: nothing here costs anything while
// nobody asks.
//
// A message is named by its shard and sequence. Callbacks return false to stop.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/activation.hpp"
#include "engine/core/engine.hpp"
#include "engine/core/kind.hpp"
#include "storage/journal/journal.hpp"

namespace muster::engine {

/// One per shard, in order.
using Journals = std::vector<const storage::Journal*>;

const storage::Journal& journal_of(const Journals& journals, const ActorId& actor);
std::uint32_t shard_of(const Journals& journals, const ActorId& actor);

// ---- actors ----

struct TimerLook {
  std::string name;
  std::uint64_t generation = 0;
  Instant due;
};

/// An actor as its head tells it.
struct ActorLook {
  ActorId id;
  std::uint16_t version = 0;  ///< Of the kind, when the head was written.
  Sequence incarnation = 0;   ///< The message that made it.
  std::array<Sequence, kLanes> consumed{};
  std::uint64_t decision = 0;
  bool finished = false;
  bool paused = false;  ///< By an operator: only the operator lane is stepped.
  std::vector<TimerLook> timers;
  std::string state;
};
Result<ActorLook> parse_head(const ActorId& actor, std::string_view head);
Result<std::optional<ActorLook>> look_at(const Journals& journals, const ActorId& actor);

/// Which actors. Empty `kind`: all of them. `after`: the key that the last call ended with.
struct ActorQuery {
  std::string org;
  std::string kind;
  std::string prefix;  ///< Of the key; only with a kind.
  std::string after;
};
using EachActor =
    std::function<bool(const ActorId& actor, std::string_view head, const std::string& key)>;
/// In the order of keys, which is that of slots: no order that a person would know, but a stable
/// one.
Result<void> each_actor(const Journals& journals, const ActorQuery& query, const EachActor& each);

/// Effects without a result.
Result<std::vector<PendingEffect>> pending_effects(const Journals& journals, const ActorId& actor,
                                                   std::size_t limit);

// ---- messages ----

/// Where a shard stands.
struct ShardMarks {
  Sequence low_water = 0;  ///< Nothing below it in the inbox is pending outside of the backlog.
  Sequence next_sequence = 0;
  std::uint64_t position = 0;  ///< Of the last change.
};
Result<ShardMarks> read_marks(const storage::Journal& journal);

Result<std::optional<Envelope>> read_message(const storage::Journal& journal, Sequence sequence);
/// Those of the sequences that are still kept, in order. Few scans, however many there are: a look
/// at the newest part of the inbox sorts it.
Result<std::vector<Envelope>> read_messages(const storage::Journal& journal,
                                            std::vector<Sequence> sequences);

/// Messages with sequences from `from` on, in order.
Result<void> each_message(const storage::Journal& journal, Sequence from,
                          const std::function<bool(const Envelope&)>& each);

struct PendingMessages {
  std::vector<Envelope> messages;  ///< The oldest first.
  bool more = false;               ///< There are others.
};
Result<PendingMessages> pending_messages(const Journals& journals, const ActorLook& actor,
                                         std::size_t limit);

// ---- decisions ----

struct SentLook {
  ActorId to;
  std::uint16_t type = 0;
  Sequence sequence = 0;  ///< 0: to another shard, which numbered it.
};

/// One message that was consumed, and what came of it.
struct StepLook {
  std::uint64_t position = 0;
  ActorId actor;
  Sequence sequence = 0;
  Lane lane = Lane::normal;
  std::uint16_t type = 0;
  Instant at;
  std::uint16_t version = 0;
  std::uint64_t decision = 0;
  bool dead = false;
  std::vector<SentLook> sent;
  std::vector<std::string> effects;
};

/// How far a bounded search came.
struct SearchEnd {
  std::uint64_t next = 0;  ///< Go on below (or from) here; 0: nothing is left.
};

/// Decisions with positions below `below` (0: from the newest), the newest first; of one actor, or
/// of all when `actor` is null. Looks at `scan_limit` decisions at most.
Result<SearchEnd> each_step_back(const storage::Journal& journal, const ActorId* actor,
                                 std::uint64_t below, std::size_t scan_limit,
                                 const std::function<bool(const StepLook&)>& each);

// ---- dead letters ----

struct DeadLook {
  Envelope message;
  std::string reason;
  Instant at;
  std::uint16_t version = 0;
  DeadLetter::State state = DeadLetter::State::open;
  std::string closed_by;
  std::string closed_why;
  Sequence replayed_as = 0;
};
/// The newest first, with sequences below `below` (0: all).
Result<void> each_dead_back(const storage::Journal& journal, Sequence below,
                            const std::function<bool(const DeadLook&)>& each);

// ---- live ----

/// An actor that is in memory.
struct ActivationLook {
  ActorId id;
  std::array<std::size_t, kLanes> pending{};  ///< Per lane, about.
  std::optional<Instant> oldest;              ///< When its oldest waiting message came.
  bool queued = false;                        ///< It has a turn coming.
  bool idle = false;                          ///< Cached, with nothing to do.
  Instant since;                              ///< When it was loaded.
  std::uint64_t steps = 0;                    ///< Since then, with the time they took.
  std::uint64_t steps_us = 0;
  std::uint64_t longest_us = 0;
};

/// One group commit.
struct CommitLook {
  std::uint32_t shard = 0;
  Instant at;
  std::size_t decisions = 0;
  std::size_t rows = 0;
  std::size_t bytes = 0;
  std::chrono::microseconds took{0};
};

struct CommitTotals {
  std::uint64_t commits = 0;
  std::uint64_t decisions = 0;
  std::uint64_t bytes = 0;
};

/// What the running engine tells besides its journals. Any thread, but none of the engine's.
class Inside {
 public:
  virtual ~Inside() = default;
  [[nodiscard]] virtual Journals journals() const = 0;
  [[nodiscard]] virtual const Kinds& kinds() const = 0;
  /// Actors in memory; at most `limit` per shard, those with work first. At most a moment old: many
  /// askers share one answer.
  virtual std::shared_ptr<const std::vector<ActivationLook>> activations() = 0;
  /// One of them, if it is in memory.
  virtual std::optional<ActivationLook> activation(const ActorId& actor) = 0;
  /// The last commits of all shards, the newest last.
  [[nodiscard]] virtual std::vector<CommitLook> commits() const = 0;
  [[nodiscard]] virtual CommitTotals commit_totals() const = 0;
};

}  // namespace muster::engine
