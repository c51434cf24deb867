// What a step may do besides changing its state: it records, and nothing happens until all of it is durable.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/message.hpp"

namespace muster::engine {

/// The most that one decision may ask for; beyond it the step fails as a broken invariant. Larger fan-outs go
/// in pages, by a message to self.
struct DecisionLimits {
  std::size_t sends = 256;
  std::size_t bytes = 1u << 20;
  std::size_t timers = 64;  ///< Pending at once, per actor.
  std::size_t removed_rows = 1'000;  ///< Of an actor that is removed.
};

struct Outgoing {
  ActorId to;
  Lane lane = Lane::normal;
  Payload payload;
};

/// `due` absent: cancel. One timer per name: setting it again moves it.
struct TimerChange {
  std::string name;
  std::optional<Instant> due;
  Payload payload;
};

/// Something asked of the outside world through the port of that name. Runs at least once after the decision
/// is durable; its result comes back as a message, once. `key` names the intent ("pr/<fleet>/<repo>").
/// When `deadline` passes without a result, `on_unknown` is delivered instead: unknown, never failed.
struct EffectRequest {
  std::string port;
  std::string key;
  std::string bytes;
  Duration deadline{};
  Payload on_unknown;
};

struct RowChange {
  std::string key;
  std::optional<std::string> value;
};

/// An entry of the secondary index `index`: (key, actor) -> value. Absent value: removed. Lists read it.
struct IndexChange {
  std::string index;
  std::string key;
  std::optional<std::string> value;
};

struct AuditEntry {
  std::string who;
  std::string action;
  std::string detail;
};

/// An answer to the API caller that waits for this message.
struct Reply {
  std::optional<Errc> error;
  std::string body;
};

/// Everything that one step decided, besides the changed state.
struct Decision {
  std::vector<Outgoing> sends;
  std::vector<TimerChange> timers;
  std::vector<EffectRequest> effects;
  std::vector<RowChange> rows;
  std::vector<IndexChange> indexes;
  std::vector<AuditEntry> audits;
  std::optional<Reply> reply;
  bool finished = false;
  bool removed = false;
};

/// What Context throws when a step asks for more than DecisionLimits allow.
class DecisionTooLarge : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Reads one committed-or-decided row of the stepping actor.
class RowReader {
 public:
  virtual ~RowReader() = default;
  virtual std::optional<std::string> row(std::string_view key) = 0;
  /// At most `limit` rows with keys in [lower, upper), in order.
  virtual std::vector<std::pair<std::string, std::string>> rows(std::string_view lower,
                                                                std::string_view upper,
                                                                std::size_t limit) = 0;
};

class Context {
 public:
  Context(ActorId self, const Envelope& message, Instant now, RowReader& rows,
          DecisionLimits limits = {});

  [[nodiscard]] const ActorId& self() const { return self_; }
  [[nodiscard]] const ActorId& sender() const { return message_.from; }
  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] const std::string& correlation() const { return message_.correlation; }

  /// To an actor of kind K in the same organisation: ctx.send<Run>(run_id, ProceedT{}).
  template <class K, class M>
  void send(std::string key, const M& message, Lane lane = Lane::normal) {
    send({self_.org, std::string(K::kName), std::move(key)}, K::Messages::encode(message), lane);
  }
  void send(ActorId to, Payload payload, Lane lane = Lane::normal);

  /// To itself after `delay`, under a name that a later after() or cancel() replaces.
  template <class K, class M>
  void after(std::string name, Duration delay, const M& message) {
    timer({std::move(name), now_ + delay, K::Messages::encode(message)});
  }
  void cancel(std::string name) { timer({std::move(name), std::nullopt, {}}); }

  void perform(EffectRequest effect);
  void reply(std::string body) { answer({std::nullopt, std::move(body)}); }
  void refuse(Errc code, std::string why) { answer({code, std::move(why)}); }
  void audit(std::string who, std::string action, std::string detail);
  void index(std::string index, std::string key, std::string value);
  void unindex(std::string index, std::string key);
  /// Nothing is expected to happen to this actor any more; its state may be archived.
  void finish() { decision_.finished = true; }
  /// The actor goes with this decision: head, rows and timers. One with more rows than
  /// DecisionLimits say erases them before, in pages; entries of indexes it takes back itself. A
  /// message that comes later finds no such actor, unless it makes a new one.
  void remove() { decision_.removed = true; }

  /// Rows see this decision's own changes.
  std::optional<std::string> row(std::string_view key);
  std::vector<std::pair<std::string, std::string>> rows(std::string_view lower,
                                                        std::string_view upper, std::size_t limit);
  void put_row(std::string key, std::string value);
  void erase_row(std::string key);

  /// For the shard and for tests: what was recorded.
  [[nodiscard]] const Decision& decision() const { return decision_; }
  Decision take() { return std::move(decision_); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  void timer(TimerChange change);
  void answer(Reply reply);
  void change_row(std::string key, std::optional<std::string> value);
  void charge(std::size_t bytes);

  ActorId self_;
  const Envelope& message_;
  Instant now_;
  RowReader& rows_;
  DecisionLimits limits_;
  Decision decision_;
  std::size_t bytes_ = 0;
};

}  // namespace muster::engine
