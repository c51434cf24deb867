// Who hears of commits: each with a bounded queue, all served by one strand, so that a slow one costs the
// engine nothing. What does not fit is left out, oldest commit first: a gap in `position` tells. A commit's
// changes are copied once, however many hear of them; of who selects, only what is selected, and a commit without
// any wakes nobody.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/core/selected_changes.hpp"
#include "engine/runtime/strands.hpp"

namespace muster::engine {

class Subscribers {
 public:
  using Callback = std::function<void(const std::vector<Change>&)>;

  Subscribers(Strands::Strand& strand, std::size_t limit) : strand_(strand), limit_(limit) {}

  /// Until the handle is gone; its release waits for a callback that is running. Without `wants`: all changes.
  std::shared_ptr<void> add(Callback each, ChangeSelector wants = {});
  void publish(const std::vector<Change>& changes);

 private:
  using Commit = std::shared_ptr<const std::vector<Change>>;

  struct Subscriber {
    std::recursive_mutex calling;  ///< Recursive: a callback may release its own handle.
    Callback each;
    ChangeSelector wants;  ///< Empty: all. Never changed, so that publishing asks without a lock.
    std::mutex queue_mutex;
    std::deque<Commit> queue;
    std::size_t changes = 0;  ///< In `queue`.
    bool scheduled = false;
  };
  /// What it is to hear of a commit; null: nothing. `whole` is made when somebody first wants it.
  static Commit part_of(const std::vector<Change>& changes, const Subscriber& subscriber, Commit& whole);
  void enqueue(const std::shared_ptr<Subscriber>& subscriber, Commit commit);
  static void serve(const std::shared_ptr<Subscriber>& subscriber);

  Strands::Strand& strand_;
  std::size_t limit_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<Subscriber>> all_;
};

}  // namespace muster::engine
