// Server-sent events: what commits made visible, kept in a ring in memory that every reader shares,
// so that a slow one costs nothing but its own completeness: it is told of the gap.
#pragma once

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
  std::uint16_t type = 0;
};

/// The message's name in its kind's schema ("RunStatus"), or its number.
std::string message_name(std::string_view kind, std::uint16_t type);

/// One event as text/event-stream: its id is its position.
std::string event_text(const Event& event);

class EventHub {
 public:
  static constexpr std::size_t kKept = 4096;

  /// Reads the engine's changes from now on.
  void follow(engine::Engine& engine);
  /// For the engine's subscription, and for tests.
  void add(const std::vector<engine::Change>& changes);

  /// Events after `position`, at most `limit`. `gap`: some in between are not kept any more, or the position is none
  /// of this journal's, as after a restore. `last`: up to where the page tells.
  struct Page {
    std::vector<Event> events;
    bool gap = false;
    engine::Sequence last = 0;
  };
  [[nodiscard]] Page after(engine::Sequence position, std::size_t limit) const;
  [[nodiscard]] engine::Sequence last() const;

  /// Woken by every commit, or by commits of one actor.
  [[nodiscard]] std::shared_ptr<void> on_commit(Wakes::Wake wake) {
    return wakes_.add("", std::move(wake));
  }
  [[nodiscard]] std::shared_ptr<void> on_change(const engine::ActorId& actor, Wakes::Wake wake) {
    return wakes_.add(actor.to_string(), std::move(wake));
  }

 private:
  mutable std::mutex mutex_;
  std::deque<Event> kept_;
  engine::Sequence dropped_ = 0;  ///< The last position that is not kept any more.
  Wakes wakes_;
  std::shared_ptr<void> subscription_;  ///< Last: it ends before what it writes to.
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
