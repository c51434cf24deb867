// Virtual time and one source of chance: everything in a simulation happens here, in an order that the seed
// alone decides.
//
// Tasks wait in lanes. A lane is first in, first out (a strand, a writer); which lane goes next is drawn. Time
// stands still while anything is ready, and then jumps to the next thing that waits for it.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <random>
#include <string>

#include "engine/core/interfaces.hpp"

namespace muster::sim {

class Scheduler {
 public:
  using Task = std::function<void()>;

  explicit Scheduler(std::uint64_t seed) : random_(seed) {}

  void post(const std::string& lane, Task task) { ready_[lane].push_back(std::move(task)); }
  void post_after(Duration delay, const std::string& lane, Task task) {
    later_.emplace(now_ + delay, Later{lane, std::move(task)});
  }
  /// Runs one task. False: nothing is left, now or later.
  bool step();
  /// Forgets every task of lanes whose name begins so: their process is gone.
  void drop(const std::string& prefix);

  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] std::uint64_t steps() const { return steps_; }

  /// In [low, high].
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool chance(int percent) { return between(1, 100) <= percent; }

 private:
  struct Later {
    std::string lane;
    Task task;
  };

  std::mt19937_64 random_;
  Instant now_{1'700'000'000'000};
  std::uint64_t steps_ = 0;
  std::map<std::string, std::deque<Task>> ready_;
  std::multimap<Instant, Later> later_;
};

/// One shard's strand and writer, as two lanes.
class SimExecutor : public engine::Executor {
 public:
  SimExecutor(Scheduler& scheduler, std::string name)
      : scheduler_(scheduler), name_(std::move(name)) {}

  void post(engine::Task task) override { scheduler_.post(name_ + "/strand", std::move(task)); }
  void post_after(Duration delay, engine::Task task) override {
    scheduler_.post_after(delay, name_ + "/strand", std::move(task));
  }
  void write(engine::Task task) override { scheduler_.post(name_ + "/writer", std::move(task)); }

 private:
  Scheduler& scheduler_;
  std::string name_;
};

/// Virtual time with an offset that a test moves: forwards at any time, backwards only between two starts.
class SimClock : public engine::Clock {
 public:
  explicit SimClock(const Scheduler& scheduler) : scheduler_(scheduler) {}
  [[nodiscard]] Instant now() const override { return scheduler_.now() + offset; }

  Duration offset{0};

 private:
  const Scheduler& scheduler_;
};

}  // namespace muster::sim
