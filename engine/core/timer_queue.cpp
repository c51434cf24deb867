#include "engine/core/timer_queue.hpp"

#include <algorithm>

#include "engine/core/keys.hpp"

namespace muster::engine {

using storage::Family;

void TimerQueue::set(std::string key, std::string record) {
  rows_.put(Family::timers, key, record);
  if (horizon_ && key > *horizon_) return;
  near_.insert_or_assign(std::move(key), std::move(record));
  if (near_.size() <= limit_) return;
  near_.erase(std::prev(near_.end()));
  horizon_ = near_.empty() ? std::string() : near_.rbegin()->first;
}

void TimerQueue::cancel(const std::string& key) {
  rows_.erase(Family::timers, key);
  near_.erase(key);
}

Result<void> TimerQueue::refill() {
  const std::string lower = horizon_->empty() ? *horizon_ : *horizon_ + '\0';
  auto rows = rows_.scan(Family::timers, lower, std::string(9, '\xff'), std::max<std::size_t>(1, limit_));
  if (!rows) return tl::unexpected<Error>(rows.error());
  const bool all = rows->size() < limit_;
  for (auto& [key, record] : *rows) near_.insert_or_assign(std::move(key), std::move(record));
  if (all) {
    horizon_.reset();
  } else {
    horizon_ = near_.rbegin()->first;
  }
  return {};
}

Result<std::optional<Instant>> TimerQueue::next() {
  if (near_.empty() && horizon_)
    if (auto ok = refill(); !ok) return tl::unexpected<Error>(ok.error());
  if (near_.empty()) return std::optional<Instant>{};
  return std::optional<Instant>{keys::timer_due(near_.begin()->first)};
}

Result<std::optional<std::string>> TimerQueue::take_due(Instant now) {
  auto due = next();
  if (!due) return tl::unexpected<Error>(due.error());
  if (!*due || **due > now) return std::optional<std::string>{};
  auto first = near_.extract(near_.begin());
  rows_.erase(Family::timers, first.key());
  return std::optional<std::string>{std::move(first.mapped())};
}

void TimerQueue::clear() {
  near_.clear();
  horizon_ = std::string();
}

}  // namespace muster::engine
