// A durable actor in memory: its newest decided state and the windows of its mailbox.
#pragma once

#include <array>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include "engine/core/kind.hpp"
#include "engine/core/message.hpp"
#include "engine/core/stats.hpp"

namespace muster::engine {

constexpr std::size_t kLanes = 2;

struct WindowEntry {
  WindowEntry(Envelope&& its_message, std::size_t its_bytes, bool is_in_backlog)
      : message(std::move(its_message)), bytes(its_bytes), in_backlog(is_in_backlog) {}

  Envelope message;
  std::size_t bytes = 0;
  bool in_backlog = false;  ///< It has a row there, which goes when it is consumed.
};

/// One lane of a mailbox: a contiguous prefix of what is pending, the rest in the backlog.
struct LaneWindow {
  std::list<WindowEntry> window;  ///< A list, because most are empty and should take no memory.
  bool more = false;        ///< The backlog may hold messages that the window does not.
  std::size_t unread = 0;   ///< About how many.
  Sequence read_upto = 0;   ///< The newest one that was read back from the backlog.
  Sequence consumed = 0;    ///< The newest decided one.

  [[nodiscard]] std::size_t pending() const { return window.size() + unread; }
};

/// A timer of the shard's own: when it fires, a finished actor is archived, and what is left of a
/// removed one goes. No kind's timer is called so.
inline constexpr std::string_view kArchiveTimer = "\x02" "archive";

struct PendingTimer {
  std::uint64_t generation = 0;
  Instant due;
};

struct Activation {
  ActorId id;
  std::uint8_t slot = 0;          ///< Of the id.
  const KindOps* kind = nullptr;  ///< Null: this installation knows no such kind.
  PowerHistogram* kind_steps_us = nullptr;  ///< Where the shard counts its kind's steps.
  std::array<LaneWindow, kLanes> lanes;

  bool loaded = false;
  std::optional<Error> broken;  ///< Its head can't be read: every message is parked.
  std::shared_ptr<void> state;  ///< Null: the actor does not exist.
  Sequence incarnation = 0;
  std::uint64_t decision = 0;
  std::map<std::string, PendingTimer, std::less<>> timers;
  std::uint64_t timer_generation = 0;
  bool finished = false;
  bool archived = false;        ///< Its head and rows lie in the archive's record.
  bool removed = false;         ///< It was there: its head says only what it had consumed.
  bool paused = false;          ///< Known once it is loaded.
  std::size_t state_bytes = 0;  ///< When it was last encoded.

  /// Committed or decided rows; nothing in the optional: known to be absent.
  std::map<std::string, std::optional<std::string>, std::less<>> rows;

  // For tools; no step sees them.
  Instant since;                ///< When it was loaded.
  std::uint64_t steps = 0;      ///< Since then, with the time they took.
  std::uint64_t steps_us = 0;
  std::uint64_t longest_us = 0;

  std::uint64_t named_in = 0;   ///< The last batch whose changes hold its name, and …
  std::uint32_t named_at = 0;   ///< … where; ChangeLog's.
  std::uint64_t touched = 0;    ///< The last batch that holds something of it.
  bool queued = false;          ///< In the shard's run queue.
  std::optional<std::list<Activation*>::iterator> idle;

  [[nodiscard]] LaneWindow& lane(Lane l) { return lanes[static_cast<std::size_t>(l)]; }
  /// Whether messages of that lane are stepped now: a paused actor takes only its operator's.
  [[nodiscard]] bool open(Lane l) const { return !paused || l == Lane::operator_; }
  [[nodiscard]] bool runnable(Lane l) const {
    return open(l) && !lanes[static_cast<std::size_t>(l)].window.empty();
  }
  [[nodiscard]] bool runnable() const {
    return runnable(Lane::normal) || runnable(Lane::operator_);
  }
  /// Whether it must stay in memory. What waits for a paused actor lies in the backlog.
  [[nodiscard]] bool pending() const {
    return runnable() || lanes[1].more || (!paused && lanes[0].more);
  }
};

/// The activations of a shard, found by their ids.
///
/// The hash is not noexcept as std::hash is, so that libstdc++'s hash tables keep the code: else they hash each
/// neighbour again.
struct DirectoryHash {
  using is_transparent = void;
  std::size_t operator()(const ActorId& id) const { return std::hash<ActorId>()(id); }
  std::size_t operator()(const std::unique_ptr<Activation>& a) const { return (*this)(a->id); }
};
struct DirectoryEqual {
  using is_transparent = void;
  bool operator()(const std::unique_ptr<Activation>& a, const std::unique_ptr<Activation>& b) const {
    return a->id == b->id;
  }
  bool operator()(const ActorId& id, const std::unique_ptr<Activation>& a) const { return id == a->id; }
  bool operator()(const std::unique_ptr<Activation>& a, const ActorId& id) const { return id == a->id; }
};
using Directory = std::unordered_set<std::unique_ptr<Activation>, DirectoryHash, DirectoryEqual>;

/// Which messages of the inbox are pending and nowhere else: the smallest is the low-water mark. Sequences are
/// added in increasing order.
class PendingSequences {
 public:
  void add(Sequence sequence) {
    if (pending_.empty()) first_ = sequence;
    pending_.resize(sequence - first_, false);
    pending_.push_back(true);
  }
  void remove(Sequence sequence) {
    if (sequence < first_ || sequence - first_ >= pending_.size()) return;
    pending_[sequence - first_] = false;
    while (!pending_.empty() && !pending_.front()) {
      pending_.pop_front();
      ++first_;
    }
  }
  /// The smallest pending one; `none` when there is none.
  [[nodiscard]] Sequence smallest(Sequence none) const { return pending_.empty() ? none : first_; }
  void clear() { pending_.clear(); }

 private:
  Sequence first_ = 0;
  std::deque<bool> pending_;
};

}  // namespace muster::engine
