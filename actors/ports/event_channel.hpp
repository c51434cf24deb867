// A host's numbered events on their way into the engine: in order, without gaps, many under way at
// once, each acknowledged when it is durable. Lives on the hosts' strand; engine callbacks are
// posted back to it.
//
// What the engine does not take now (it is overloaded, or a commit is unknown) is offered again
// from the first event that is not durable; the channel's durable mark makes repeats harmless.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "actors/ports/inflow.hpp"
#include "actors/ports/strand.hpp"
#include "engine/core/engine.hpp"

namespace muster::actors {

class EventChannel : public std::enable_shared_from_this<EventChannel> {
 public:
  static constexpr std::size_t kMaxUnderWay = 64;
  static constexpr unsigned kMaxFailures =
      50;  ///< In a row; then the session ends and begins anew.
  static constexpr Duration kRetryPause{100};

  struct Owner {
    std::function<void(std::uint64_t mark)> durable;  ///< Everything up to `mark` is.
    std::function<void(const std::string& why)> stuck;
  };

  /// `mark`: the channel's durable mark at the session's beginning.
  EventChannel(engine::Engine& engine, std::shared_ptr<Strand> strand, std::string name,
               std::uint64_t mark, Owner owner)
      : engine_(engine),
        strand_(std::move(strand)),
        name_(std::move(name)),
        mark_(mark),
        owner_(std::move(owner)) {}

  struct Event {
    std::uint64_t number = 0;
    engine::ActorId to;
    engine::Payload payload;
    std::function<void()> taken;  ///< Called once it is durable.
    FramePtr frame;               ///< Charged until then.
  };

  /// False when numbers skip. What came before is acknowledged again.
  bool take(Event event);
  /// The session is over: nothing more is offered or told.
  void close() { closed_ = true; }

 private:
  enum class State : std::uint8_t { waiting, under_way, durable };
  struct Entry {
    Event event;
    State state = State::waiting;
  };

  void offer();
  void done(std::uint64_t number, const Result<void>& result);
  void settle();
  void retry(const std::string& why);

  engine::Engine& engine_;
  const std::shared_ptr<Strand> strand_;  // an answer of the engine may outlive the hosts
  const std::string name_;
  std::uint64_t mark_;
  const Owner owner_;
  std::deque<Entry> entries_;  // numbers mark_ + 1, mark_ + 2, …
  std::size_t under_way_ = 0;
  bool failed_ = false;
  unsigned failures_ = 0;
  std::string why_;
  bool closed_ = false;
};

}  // namespace muster::actors
