#include "bench/load/meters.hpp"

#include <algorithm>

namespace muster::load {

void Meters::took(const std::string& phase, Clock::duration time) {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(time).count();
  const std::lock_guard lock(mutex_);
  phases_[phase].record(static_cast<std::uint64_t>(std::max<std::int64_t>(micros, 0)));
}

void Meters::took_ms(const std::string& phase, std::int64_t milliseconds) {
  took(phase, std::chrono::milliseconds(milliseconds));
}

std::map<std::string, Histogram> Meters::phases() const {
  const std::lock_guard lock(mutex_);
  return phases_;
}

void Meters::attempt_failed(const std::string& how) {
  const std::lock_guard lock(mutex_);
  if (failures_.contains(how) || failures_.size() < kMaxFailureKinds) ++failures_[how];
}

std::map<std::string, std::uint64_t> Meters::failures() const {
  const std::lock_guard lock(mutex_);
  return failures_;
}

void Meters::error(const std::string& what) {
  const std::lock_guard lock(mutex_);
  ++errors_;
  if (texts_.size() < kMaxErrorTexts) texts_.push_back(what);
}

std::uint64_t Meters::errors() const {
  const std::lock_guard lock(mutex_);
  return errors_;
}

std::vector<std::string> Meters::error_texts() const {
  const std::lock_guard lock(mutex_);
  return texts_;
}

std::string Whereabouts::begin(const std::string& run, const std::string& host) {
  const std::lock_guard lock(mutex_);
  const auto [place, fresh] = host_of_.emplace(run, host);
  return fresh || place->second == host ? "" : place->second;
}

void Whereabouts::end(const std::string& run, const std::string& host) {
  const std::lock_guard lock(mutex_);
  const auto found = host_of_.find(run);
  if (found != host_of_.end() && found->second == host) host_of_.erase(found);
}

}  // namespace muster::load
