// The one thread that owns sandboxd's state: tasks posted from others, file watches, and a tick. Nothing that blocks
// runs on it; Workers are for that.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "storage/base/files.hpp"
#include "storage/base/time.hpp"

namespace muster::sandbox {

/// Milliseconds since the boot, suspended time included: what leases are counted on.
std::int64_t boot_ms();

class Loop {
 public:
  static Result<std::unique_ptr<Loop>> make();

  /// Any thread. Tasks run in order; after stop() they are dropped.
  void post(std::function<void()> task);
  /// Calls `tick` about every `period` on the loop.
  void every(Duration period, std::function<void()> tick);
  /// Calls back on the loop with the name of the changed entry (empty for a file). Returns its number.
  Result<int> watch(const std::string& path, std::uint32_t mask,
                    std::function<void(std::string_view name)> changed);
  void unwatch(int number);
  /// Until stop().
  void run();
  /// Any thread, and signal handlers.
  void stop();

 private:
  struct Timer {
    std::int64_t period, due;
    std::function<void()> tick;
  };
  Loop(Fd wake, Fd inotify) : wake_(std::move(wake)), inotify_(std::move(inotify)) {}
  [[nodiscard]] int wait_ms() const;
  void run_tasks();
  void run_timers();
  void run_watches();

  Fd wake_, inotify_;
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::vector<std::function<void()>> tasks_;
  std::vector<Timer> timers_;
  std::map<int, std::function<void(std::string_view)>> watches_;
};

/// A bounded number of threads for what blocks. Urgent tasks go before the others.
class Workers {
 public:
  explicit Workers(unsigned threads);
  ~Workers();  ///< Finishes what runs, drops what waits.
  void post(std::function<void()> task, bool urgent = false);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace muster::sandbox
