// What a shard counts about itself. Cheap enough for every step: a few additions, and two readings
// of a clock that no decision sees.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "engine/core/message.hpp"

namespace muster::engine {

/// Counts by powers of two: bucket i holds values below 2^i, the last one also all larger ones.
class PowerHistogram {
 public:
  static constexpr std::size_t kBuckets = 32;

  void observe(std::uint64_t value) {
    ++counts_[std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(value)), kBuckets - 1)];
    sum_ += value;
  }
  [[nodiscard]] const std::array<std::uint64_t, kBuckets>& counts() const { return counts_; }
  [[nodiscard]] std::uint64_t sum() const { return sum_; }

 private:
  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t sum_ = 0;
};

/// Microseconds since it was made.
class Stopwatch {
 public:
  [[nodiscard]] std::uint64_t us() const {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                          std::chrono::steady_clock::now() - begin_)
                                          .count());
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// A step that took longer than ShardLimits::slow_step_us.
struct SlowStep {
  ActorId actor;
  std::uint16_t type = 0;
  Sequence sequence = 0;
  Instant at;
  std::uint64_t us = 0;
};

/// One shard, since this process opened it.
struct ShardStats {
  std::uint32_t shard = 0;
  std::uint64_t commits = 0;
  std::uint64_t failed_commits = 0;
  std::uint64_t committed_bytes = 0;
  PowerHistogram batch;    ///< Decisions per commit.
  PowerHistogram sync_us;  ///< From handing a batch to the journal until it was durable.
  std::map<std::string, PowerHistogram> steps_us;     ///< By kind.
  std::map<std::string, std::uint64_t> dead_letters;  ///< Parked since the start, by kind.
  std::deque<SlowStep> slow_steps;  ///< The newest last; ShardLimits::slow_steps_kept of them.

  // As they are now.
  std::uint64_t position = 0;          ///< Of the newest durable change.
  std::uint64_t active_actors = 0;
  std::uint64_t idle_actors = 0;       ///< Active, with nothing to do.
  std::uint64_t sleeping_actors = 0;   ///< With messages, and not in memory yet.
  std::uint64_t mailbox_messages = 0;  ///< Pending in the mailboxes of active actors, …
  std::uint64_t mailbox_deepest = 0;   ///< … and in the fullest one.
  std::uint64_t window_bytes = 0;
  std::map<std::string, std::uint64_t> store;  ///< The journal's own numbers, by name.
};

}  // namespace muster::engine
