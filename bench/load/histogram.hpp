// A log-linear histogram (after HdrHistogram): counts of whole numbers, exact up to 255, then 128
// steps per power of two, so that no percentile is off by more than 0.8 %. About 36 KiB, whatever
// is recorded. Pure; not thread-safe.
//
//   Histogram latency;              // the unit is the caller's: here microseconds
//   latency.record(1'250);
//   latency.percentile(99);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace muster::load {

class Histogram {
 public:
  static constexpr unsigned kStepBits = 7;
  /// Larger values count as this one: 12.7 days in microseconds.
  static constexpr std::uint64_t kLargest = (std::uint64_t{1} << 40) - 1;

  void record(std::uint64_t value, std::uint64_t times = 1);
  void add(const Histogram& other);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint64_t min() const { return count_ == 0 ? 0 : min_; }
  [[nodiscard]] std::uint64_t max() const { return max_; }
  [[nodiscard]] double mean() const;
  /// The smallest recorded value, rounded up to its step, that at least `percent` of all do not
  /// exceed. 0 when nothing was recorded; percent is between 0 and 100.
  [[nodiscard]] std::uint64_t percentile(double percent) const;

 private:
  static constexpr std::size_t kSteps = std::size_t{1} << kStepBits;
  static constexpr std::size_t kCells = (40 - kStepBits + 1) * kSteps;

  static std::size_t cell_of(std::uint64_t value);
  static std::uint64_t largest_in(std::size_t cell);

  std::array<std::uint64_t, kCells> cells_{};
  std::uint64_t count_ = 0, min_ = kLargest, max_ = 0;
  double sum_ = 0;
};

}  // namespace muster::load
