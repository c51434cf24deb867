// Server-sent events: what commits made visible, kept in a ring in memory that every reader shares,
// so that a slow one costs nothing but its own completeness: it is told of the gap.
//
// While nobody reads, nothing is kept: a minute (kLinger) after the last one the hub lets go of the
// engine's changes, and the next one begins it anew.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "engine/core/engine.hpp"
#include "tools/musterd/http.hpp"
#include "tools/musterd/wakes.hpp"

namespace muster::musterd {

struct Event {
  engine::Sequence position = 0;
  engine::ActorId actor;
  std::uint16_t type = 0;       ///< 0: no message, an operator closed the letter.
  engine::Sequence letter = 0;  ///< The dead letter that came or was closed.
};

/// The message's name in its kind's schema ("RunStatus"), or its number.
std::string message_name(std::string_view kind, std::uint16_t type);

/// One event as text/event-stream: its id is its position.
std::string event_text(const Event& event);

class EventHub {
 public:
  static constexpr std::size_t kKept = 4096;
  static constexpr std::chrono::milliseconds kLinger{60'000};

  explicit EventHub(std::chrono::milliseconds linger = kLinger) : linger_(linger) {}
  /// Waits for a callback that is running.
  ~EventHub();
  EventHub(const EventHub&) = delete;
  EventHub& operator=(const EventHub&) = delete;

  /// Reads the engine's changes from now on, as long as somebody reads them here. `engine` outlives
  /// it.
  void follow(engine::Engine& engine);
  /// For the engine's subscription, and for tests.
  void add(const std::vector<engine::Change>& changes);

  /// Events after `position`, at most `limit`. `gap`: some in between are not kept any more, or the
  /// position is none of this journal's, as after a restore. `last`: up to where the page tells.
  struct Page {
    std::vector<Event> events;
    bool gap = false;
    engine::Sequence last = 0;
  };
  [[nodiscard]] Page after(engine::Sequence position, std::size_t limit);
  [[nodiscard]] engine::Sequence last();

  /// Woken by every commit, or by commits of one actor.
  [[nodiscard]] std::shared_ptr<void> on_commit(Wakes::Wake wake) {
    auto handle = wakes_.add("", std::move(wake));
    asked();
    return handle;
  }
  [[nodiscard]] std::shared_ptr<void> on_change(const engine::ActorId& actor, Wakes::Wake wake) {
    auto handle = wakes_.add(actor.to_string(), std::move(wake));
    asked();
    return handle;
  }

 private:
  using Clock = std::chrono::steady_clock;

  void asked();
  void leave_if_unread();

  const std::chrono::milliseconds linger_;
  std::atomic<Clock::rep> asked_at_{0};
  mutable std::mutex mutex_;
  std::deque<Event> kept_;
  engine::Sequence dropped_ = 0;  ///< The last position that is not kept any more.
  Wakes wakes_;
  engine::Engine* engine_ = nullptr;
  std::mutex following_;
  std::shared_ptr<void> subscription_;  ///< Under following_.
};

/// Which actors' events; empty: all.
struct EventFilter {
  std::string kind;
  std::string key;

  [[nodiscard]] bool takes(const engine::ActorId& actor) const {
    return (kind.empty() || kind == actor.kind) && (key.empty() || key == actor.key);
  }
};

/// The answer to GET /v1/events: what comes after `position`.
Response event_response(EventHub& hub, engine::Sequence position, EventFilter filter = {});

}  // namespace muster::musterd
