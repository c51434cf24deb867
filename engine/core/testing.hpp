// For tests of kinds: steps one actor through messages, in memory, and renders each decision as one text.
//
//   testing::Stage<Run> run("7K2M");
//   run.knows<Fleet, Repo>().effects_are(fbs::EffectTypeTable());
//   CHECK(run.tell(create) == R"(state { fleet: "f", … }
//   send default/repo/acme/api Acquire { run: "7K2M" }
//   timer state +30m StateTimeout { … }
//   )");
//   run.fire("state");            // the pending timer of that name, at its time
//
// Lines come in this order: throws | dead, state (only when it changed), send, timer, cancel, effect, row, index,
// audit, reply | refuse, finished. The stage keeps state, rows and pending timers as the shard would.
#pragma once

#include <flatbuffers/minireflect.h>

#include <map>
#include <stdexcept>
#include <string>

#include "engine/core/kind.hpp"

namespace muster::engine::testing {

/// How transcripts show what the engine itself does not understand.
struct Rendering {
  std::map<std::string, std::function<std::string(const Payload&)>, std::less<>> kinds;
  const flatbuffers::TypeTable* effect = nullptr;
  std::map<std::string, const flatbuffers::TypeTable*, std::less<>> rows;     ///< By prefix of the key.
  std::map<std::string, const flatbuffers::TypeTable*, std::less<>> indexes;  ///< By name.

  [[nodiscard]] std::string payload(const ActorId& to, const Payload& payload) const;
  [[nodiscard]] std::string row(std::string_view key, std::string_view value) const;
  [[nodiscard]] std::string index(std::string_view name, std::string_view value) const;
};

/// All but the state, in the order that the head of this file gives.
std::string render_decision(const ActorId& self, Instant now, const Decision& decision,
                            const Rendering& rendering);

/// Rows of one actor in memory.
class MemoryRows : public RowReader {
 public:
  std::optional<std::string> row(std::string_view key) override;
  std::vector<std::pair<std::string, std::string>> rows(std::string_view lower,
                                                        std::string_view upper,
                                                        std::size_t limit) override;
  void apply(const std::vector<RowChange>& changes);

  std::map<std::string, std::string, std::less<>> all;
};

template <class K>
class Stage {
 public:
  explicit Stage(std::string key, std::string org = "default")
      : self_{std::move(org), std::string(K::kName), std::move(key)} {
    knows<K>();
  }

  /// Messages to these kinds are rendered with their fields.
  template <class... Ks>
  Stage& knows() {
    (rendering_.kinds.insert_or_assign(std::string(Ks::kName), &describe_payload<Ks>), ...);
    return *this;
  }
  Stage& effects_are(const flatbuffers::TypeTable* table) {
    rendering_.effect = table;
    return *this;
  }
  Stage& rows_are(std::string prefix, const flatbuffers::TypeTable* table) {
    rendering_.rows.insert_or_assign(std::move(prefix), table);
    return *this;
  }
  Stage& index_is(std::string name, const flatbuffers::TypeTable* table) {
    rendering_.indexes.insert_or_assign(std::move(name), table);
    return *this;
  }

  /// One message through the step; the transcript.
  template <class M>
  std::string tell(const M& message, ActorId from = {}) {
    return tell_payload(K::Messages::encode(message), std::move(from));
  }

  /// Moves the clock on; fires nothing.
  void advance(Duration by) { now_ = now_ + by; }

  /// The pending timer of that name, at its time (or now, if that is past). No such timer: a throw.
  std::string fire(const std::string& name) {
    const auto found = timers_.find(name);
    if (found == timers_.end()) throw std::logic_error("no timer " + name);
    const TimerChange timer = found->second;
    timers_.erase(found);
    now_ = std::max(now_, *timer.due);
    return tell_payload(timer.payload, {});
  }

  [[nodiscard]] bool exists() const { return exists_; }
  [[nodiscard]] typename K::State& state() { return state_; }
  [[nodiscard]] MemoryRows& rows() { return rows_; }
  [[nodiscard]] const Decision& decision() const { return decision_; }
  [[nodiscard]] const std::map<std::string, TimerChange>& timers() const { return timers_; }
  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] const ActorId& self() const { return self_; }

 private:
  std::string tell_payload(Payload payload, ActorId from) {
    decision_ = {};
    Envelope envelope;
    envelope.sequence = ++sequence_;
    envelope.from = std::move(from);
    envelope.to = self_;
    envelope.payload = std::move(payload);
    envelope.enqueued_at = now_;

    const auto message = K::Messages::decode(envelope.payload);
    if (!message) return "dead " + message.error().message + "\n";
    if (!exists_ && !K::creates(*message)) return "dead no such actor\n";

    typename K::State next = state_;
    Context ctx(self_, envelope, now_, rows_);
    try {
      K::step(next, *message, ctx);
    } catch (const std::exception& thrown) {
      return std::string("throws ") + thrown.what() + "\n";
    }
    return apply(std::move(next), ctx.take());
  }

  std::string apply(typename K::State next, Decision decision) {
    const std::string before = exists_ ? encode_table(state_) : std::string();
    const std::string after = encode_table(next);
    state_ = std::move(next);
    exists_ = true;
    rows_.apply(decision.rows);
    for (const TimerChange& timer : decision.timers) {
      timers_.erase(timer.name);
      if (timer.due) timers_.emplace(timer.name, timer);
    }
    decision_ = std::move(decision);
    std::string text;
    if (after != before)
      text = "state " + describe_table(after, K::State::TableType::MiniReflectTypeTable()) + "\n";
    return text + render_decision(self_, now_, decision_, rendering_);
  }

  ActorId self_;
  Instant now_{1'700'000'000'000};
  Sequence sequence_ = 0;
  bool exists_ = false;
  typename K::State state_{};
  MemoryRows rows_;
  std::map<std::string, TimerChange> timers_;
  Decision decision_;
  Rendering rendering_;
};

}  // namespace muster::engine::testing
