// One thread that runs tasks one after another: what a port's state belongs to, so that it needs no
// locks.
//
// post() and after() may be called from any thread, also from a task. Tasks posted after stop() are
// dropped. Whoever posts bounds what waits: the strand itself does not.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "storage/base/time.hpp"

namespace muster::actors {

class Strand {
 public:
  explicit Strand(std::string name);
  ~Strand() { stop(); }
  Strand(const Strand&) = delete;
  Strand& operator=(const Strand&) = delete;

  void post(std::function<void()> task);
  /// Before all that wait but those that were posted so.
  void post_first(std::function<void()> task);
  /// Counted on the monotonic clock; for pauses, never for leases.
  void after(Duration delay, std::function<void()> task);
  /// The running task ends, the others are dropped. Not from a task.
  void stop();

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  bool take(std::function<void()>& task);

  const std::string name_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> first_;
  std::deque<std::function<void()>> ready_;
  std::multimap<Clock::time_point, std::function<void()>> later_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace muster::actors
