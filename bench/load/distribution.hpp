// How a simulated amount (a time, a number of bytes) is distributed, as the command line writes it,
// and a random number generator that is the same on every machine. Pure.
//
//   2s                    always the same
//   uniform:1s..5s        every value between is as likely
//   exp:2s                exponential, with that mean
//   lognormal:2s,1.0      with that median, and sigma of its logarithm
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"

namespace muster::load {

/// SplitMix64. The standard library's distributions differ between implementations; these do not.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  /// In [0, 1).
  double unit();
  /// In [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }

 private:
  std::uint64_t state_;
};

/// A seed of its own for every name.
std::uint64_t seed_of(std::uint64_t seed, std::string_view name);

class Distribution {
 public:
  /// No sample exceeds `most` (of the caller's unit), nor falls below 0.
  [[nodiscard]] std::uint64_t sample(Random& random, std::uint64_t most) const;
  /// As it was written.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  friend Result<Distribution> parse_distribution(std::string_view,
                                                 Result<std::uint64_t> (*)(std::string_view));
  enum class Shape : std::uint8_t { fixed, uniform, exponential, lognormal };
  Shape shape_ = Shape::fixed;
  double a_ = 0, b_ = 0;
  std::string text_ = "0";
};

/// In milliseconds.
Result<Distribution> parse_times(std::string_view text);
/// In bytes.
Result<Distribution> parse_sizes(std::string_view text);

/// One amount of that unit: milliseconds ("250ms", "0"), bytes ("64KiB").
Result<std::uint64_t> parse_millis(std::string_view text);
Result<std::uint64_t> parse_bytes(std::string_view text);

/// "5%" or "0.05" -> 0.05; beyond [0, 1] is Errc::invalid.
Result<double> parse_share(std::string_view text);

}  // namespace muster::load
