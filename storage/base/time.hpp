// Time is an argument: rules take an Instant, only shells read a clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "storage/base/error.hpp"

namespace muster {

using Duration = std::chrono::milliseconds;

/// Milliseconds since the Unix epoch, UTC. What the journal and the wire hold.
struct Instant {
  std::int64_t unix_ms = 0;

  auto operator<=>(const Instant&) const = default;
};

constexpr Instant operator+(Instant t, Duration d) { return {t.unix_ms + d.count()}; }
constexpr Instant operator-(Instant t, Duration d) { return {t.unix_ms - d.count()}; }
constexpr Duration operator-(Instant a, Instant b) { return Duration{a.unix_ms - b.unix_ms}; }

/// The wall clock, for shells.
Instant wall_clock_now();

/// "2026-11-22T15:04:05.678Z" (RFC 3339, UTC, milliseconds).
std::string to_rfc3339(Instant t);
Result<Instant> parse_rfc3339(const std::string& text);

/// "250ms", "90s", "20m", "24h", "7d": one number and one unit. Errc::invalid says what was meant.
Result<Duration> parse_duration(const std::string& text);
/// The shortest exact form: 90000 -> "90s", 1200000 -> "20m".
std::string to_string(Duration d);

}  // namespace muster
