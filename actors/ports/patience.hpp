// How long a proposal may stay without an effect before it is made again: four times as long as
// they take at the time, between two bounds. Else an engine that is slow to answer is asked ever
// more often for the same, which makes it slower. One thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <unordered_map>

#include "storage/base/time.hpp"

namespace muster::actors {

class Patience {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Patience(Duration least, Duration most)
      : least_(least), most_(std::max(least, most)), patience_(least) {}

  /// For how long to wait for the answer.
  Duration asked(const std::string& run, Time now) {
    asked_[run] = now;
    return patience_;
  }

  /// Each answer is half of what is known, so that a slow hour is soon forgotten.
  void answered(const std::string& run, Time now) {
    const auto asked = asked_.extract(run);
    if (asked.empty()) return;
    constexpr int kTimes = 4;
    const auto took = std::chrono::duration_cast<Duration>(now - asked.mapped());
    patience_ = std::clamp((patience_ + kTimes * took) / 2, least_, most_);
  }

  /// It had no answer in time.
  void in_vain(const std::string& run) {
    asked_.erase(run);
    patience_ = std::min(2 * patience_, most_);
  }

  void clear() { asked_.clear(); }

 private:
  const Duration least_, most_;
  Duration patience_;
  std::unordered_map<std::string, Time> asked_;
};

}  // namespace muster::actors
