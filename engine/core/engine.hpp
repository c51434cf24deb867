// The engine as its surroundings see it: API, link, ports and scheduler speak to actors only through this.
//
// Every method may be called from any thread; callbacks come on a thread of the engine and must return soon.
// Implemented by engine/runtime (CAF); engine/core/shard.hpp is the machine below it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/context.hpp"
#include "engine/core/message.hpp"
#include "engine/core/stats.hpp"

namespace muster::engine {

/// A write from outside that bears an idempotency key and wants an answer.
struct Call {
  ActorId to;
  Payload payload;
  Lane lane = Lane::normal;
  std::string key;          ///< UUIDv7. A repeat gets the first one's reply.
  std::string digest;       ///< SHA-256 of the request: another one under the same key is Errc::key_reused.
  std::string correlation;
  std::string only_if;      ///< As Envelope::only_if: else Errc::conflict, and is_outdated() of the error.
  std::string only_if_rows;
};

/// The reply of the step that handled it, once durable; or why it was not taken (overloaded, conflict,
/// not_found, …). Errc::unknown: repeat with the same key.
using CallDone = std::function<void(Result<std::string>)>;

/// Message `number` of a channel whose numbers never skip or repeat: a host's events. What is at or below the
/// channel's durable mark is dropped; what skips is refused as Errc::conflict.
struct ChannelMessage {
  std::string channel;
  std::uint64_t number = 0;
  ActorId to;
  Payload payload;
};
/// Called when the message and the mark are durable.
using ChannelDone = std::function<void(Result<void>)>;

/// An effect handed to its port after the decision that asked for it became durable.
struct PendingEffect {
  ActorId actor;
  Sequence sequence = 0;    ///< Of the message whose step asked, and …
  std::uint32_t ordinal = 0;///< … which of that decision's effects.
  std::string port;
  std::string key;
  std::string bytes;
  Instant deadline;
  bool repeated = false;    ///< It may have run before: look up `key` first.
};

/// The result: a message of the actor's kind. Counts once; later ones are dropped.
using EffectDone = std::function<void(Payload)>;

/// A way to the outside world. perform() must not block: work goes to threads of the port, which are bounded.
class EffectPort {
 public:
  virtual ~EffectPort() = default;
  virtual void perform(const PendingEffect& effect, EffectDone done) = 0;
};

/// What one commit made visible.
struct Change {
  Sequence position = 0;
  ActorId actor;
  std::uint16_t message_type = 0; ///< 0: an operator closed a dead letter to it.
  std::vector<IndexChange> indexes;
  Sequence letter = 0;      ///< The dead letter that it made or closed, in the actor's shard.
};

/// Names a dead letter: its shard, and its sequence there. As text "0-17".
struct LetterId {
  std::uint32_t shard = 0;
  Sequence sequence = 0;

  auto operator<=>(const LetterId&) const = default;

  [[nodiscard]] std::string to_string() const;
  static Result<LetterId> parse(std::string_view text);
};

/// A message that could not be stepped: parked with the reason, and kept until its retention has passed.
struct DeadLetter {
  enum class State : std::uint8_t { open, replayed, discarded };

  LetterId id;
  Envelope message;
  std::string text;         ///< The message with its fields, "Add { amount: 5 }", as far as it can be read.
  std::string reason;
  Instant at;
  State state = State::open;
  // Of one that is not open any more:
  std::string who;
  std::string why;
  Instant closed_at;
  Sequence replayed_as = 0; ///< The new message, in the same shard.
};

/// What an operator does to the engine itself rather than by a message of a kind. Takes effect exactly once
/// under its key, as a Call does, and is audited with who and why in the same commit.
struct OperatorCommand {
  enum class Action : std::uint8_t {
    replay,     ///< Of a dead letter, as a new message of the same sender. The reply: its sequence.
    discard,    ///< Of a dead letter.
    pause,      ///< An actor takes only messages of the operator lane; the others wait on disk, bounded.
    resume,
    passivate,  ///< An idle actor leaves memory; one with work is refused.
  };
  Action action = Action::replay;
  LetterId letter;          ///< Of replay and discard.
  ActorId actor;            ///< Of the others.
  std::string who;
  std::string why;
  std::string key;          ///< UUIDv7.
  std::string digest;       ///< As Call::digest.
};
std::string_view name_of(OperatorCommand::Action action);

/// An audit entry that a decision made. (shard, position, ordinal) names it and never repeats.
struct DecidedAudit {
  std::uint32_t shard = 0;
  Sequence position = 0;  ///< Of the decision's change.
  std::uint32_t ordinal = 0;
  ActorId actor;
  Instant at;
  std::string who;
  std::string action;
  std::string detail;
  std::string correlation;
};

class Engine {
 public:
  virtual ~Engine() = default;

  virtual void call(Call call, CallDone done) = 0;
  virtual void deliver(ChannelMessage message, ChannelDone done) = 0;
  /// The channel's durable mark; 0 for a new one.
  virtual Result<std::uint64_t> channel_mark(std::string_view channel) const = 0;
  /// A message from inside the installation that needs no answer and no key because it is simply made again
  /// when lost (a scheduler's proposal, a lease that ended). Durable once taken; refused when overloaded.
  virtual Result<void> tell(ActorId to, Payload payload, Lane lane = Lane::normal) = 0;

  /// As tell(), without waiting: `done` hears whether it was taken. In order with other calls of one thread.
  virtual void tell_then(ActorId to, Payload payload, ChannelDone done) {
    done(tell(std::move(to), std::move(payload)));
  }

  /// Replies like call(). Errc::not_found: no such letter or actor; refused: it is closed already, or busy.
  virtual void operate(OperatorCommand command, CallDone done);

  /// At most `limit` dead letters after that one, open and closed, in order of their ids; {} begins.
  virtual Result<std::vector<DeadLetter>> dead_letters(LetterId after, std::size_t limit) const;
  virtual Result<std::optional<DeadLetter>> dead_letter(LetterId id) const;

  // Committed state only.
  virtual Result<std::optional<std::string>> head(const ActorId& actor) const = 0;
  virtual Result<std::optional<std::string>> row(const ActorId& actor,
                                                 std::string_view key) const = 0;
  virtual Result<void> rows(const ActorId& actor, std::string_view lower, std::string_view upper,
                            const std::function<bool(std::string_view key, std::string_view value)>&
                                each) const = 0;
  /// Entries of an index with keys in [lower, upper), in order of key.
  virtual Result<void> list(std::string_view index, std::string_view lower, std::string_view upper,
                            const std::function<bool(std::string_view key, const ActorId& actor,
                                                     std::string_view value)>& each) const = 0;

  [[nodiscard]] virtual std::uint32_t shards() const { return 1; }
  /// What each shard counted since it started. Waits for the shards' strands: not for hot paths.
  virtual std::vector<ShardStats> stats() const { return {}; }
  /// Writes the committed state into `directory`/shard-0, as another directory of the engine, while everything goes
  /// on. `directory` must be on the journal's filesystem and hold none. Errc::refused with more than one shard: their
  /// copies would not be of one moment, and what was on its way between them could be in neither.
  virtual Result<void> checkpoint(const std::filesystem::path& /*directory*/) const {
    return fail(Errc::refused, "this engine has no checkpoints");
  }

  /// Audit entries of one shard at positions beyond `after`, in order of commit.
  virtual Result<void> audits(std::uint32_t /*shard*/, Sequence /*after*/,
                              const std::function<bool(const DecidedAudit&)>& /*each*/) const {
    return {};
  }

  /// Called after every commit, in order, until the returned handle is gone. Slow ones are told so by a gap
  /// in `position`, never waited for.
  virtual std::shared_ptr<void> subscribe(std::function<void(const std::vector<Change>&)> each) = 0;

  virtual Instant now() const = 0;
  virtual std::uint32_t generation() const = 0;
  /// Empty when healthy, else why not.
  virtual std::string trouble() const = 0;
};

}  // namespace muster::engine
