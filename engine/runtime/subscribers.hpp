// Who hears of commits: each with a bounded queue, all served by one strand, so that a slow one costs the
// engine nothing. What does not fit is left out, oldest first: a gap in `position` tells.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/runtime/strands.hpp"

namespace muster::engine {

class Subscribers {
 public:
  using Callback = std::function<void(const std::vector<Change>&)>;

  Subscribers(Strands::Strand& strand, std::size_t limit) : strand_(strand), limit_(limit) {}

  /// Until the handle is gone; its release waits for a callback that is running.
  std::shared_ptr<void> add(Callback each);
  void publish(const std::vector<Change>& changes);

 private:
  struct Subscriber {
    std::recursive_mutex calling;  ///< Recursive: a callback may release its own handle.
    Callback each;
    std::mutex queue_mutex;
    std::deque<Change> queue;
    bool scheduled = false;
  };
  static void serve(const std::shared_ptr<Subscriber>& subscriber);

  Strands::Strand& strand_;
  std::size_t limit_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<Subscriber>> all_;
};

}  // namespace muster::engine
