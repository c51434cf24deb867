#include "tests/simulation/scheduler.hpp"

namespace muster::sim {

bool Scheduler::step() {
  if (ready_.empty()) {
    if (later_.empty()) return false;
    now_ = std::max(now_, later_.begin()->first);
  }
  while (!later_.empty() && later_.begin()->first <= now_) {
    auto first = later_.extract(later_.begin());
    post(first.mapped().lane, std::move(first.mapped().task));
  }
  auto lane = ready_.begin();
  std::advance(lane, between(0, static_cast<std::int64_t>(ready_.size()) - 1));
  Task task = std::move(lane->second.front());
  lane->second.pop_front();
  if (lane->second.empty()) ready_.erase(lane);
  ++steps_;
  task();
  return true;
}

void Scheduler::drop(const std::string& prefix) {
  std::erase_if(ready_, [&](const auto& lane) { return lane.first.starts_with(prefix); });
  std::erase_if(later_, [&](const auto& later) { return later.second.lane.starts_with(prefix); });
}

}  // namespace muster::sim
