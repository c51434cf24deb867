#include "storage/base/time.hpp"

#include <array>
#include <cctype>
#include <cstdio>
#include <ctime>
#include <limits>
#include <string_view>

namespace muster {

Instant wall_clock_now() {
  using namespace std::chrono;
  return {duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count()};
}

std::string to_rfc3339(Instant t) {
  std::int64_t ms = t.unix_ms % 1000;
  std::int64_t seconds = t.unix_ms / 1000;
  if (ms < 0) {
    ms += 1000;
    --seconds;
  }
  const std::time_t clock = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&clock, &parts);
  std::array<char, 64> text{};
  const int n = std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                              parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                              parts.tm_min, parts.tm_sec, static_cast<int>(ms));
  return {text.data(), static_cast<std::size_t>(n)};
}

namespace {

/// Whether `text` has the form of `shape`, where 0 stands for any digit.
bool has_shape(std::string_view text, std::string_view shape) {
  if (text.size() != shape.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (shape[i] == '0' ? !digit : text[i] != shape[i]) return false;
  }
  return true;
}

/// ".678" -> 678; digits beyond the third are cut off. -1 for anything else.
std::int64_t parse_fraction(std::string_view text) {
  if (text.empty()) return 0;
  if (text.size() < 2 || text.front() != '.') return -1;
  std::int64_t ms = 0;
  std::int64_t unit = 100;
  for (const char c : text.substr(1)) {
    if (c < '0' || c > '9') return -1;
    ms += unit * (c - '0');
    unit /= 10;
  }
  return ms;
}

}  // namespace

Result<Instant> parse_rfc3339(const std::string& text) {
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  const auto wrong = [&] {
    return fail(Errc::invalid, "not a UTC time like 2026-11-22T15:04:05Z: " + text);
  };
  if (text.size() <= kShape.size() || text.back() != 'Z') return wrong();
  const std::string whole = text.substr(0, kShape.size());
  const std::int64_t ms =
      parse_fraction(std::string_view(text).substr(kShape.size(), text.size() - kShape.size() - 1));
  std::tm parts{};
  if (ms < 0 || !has_shape(whole, kShape) ||
      strptime(whole.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) == nullptr)
    return wrong();
  const Instant at{static_cast<std::int64_t>(timegm(&parts)) * 1000 + ms};
  // timegm() turns the 30th of February into a day of March.
  if (!to_rfc3339(at).starts_with(whole)) return wrong();
  return at;
}

namespace {

struct Unit {
  std::string_view name;
  std::int64_t ms;
};
constexpr std::array<Unit, 5> kUnits{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};

}  // namespace

Result<Duration> parse_duration(const std::string& text) {
  std::size_t digits = 0;
  while (digits < text.size() && std::isdigit(static_cast<unsigned char>(text[digits])) != 0)
    ++digits;
  const auto wrong = [&] {
    return fail(Errc::invalid, "not a duration like 90s, 20m or 24h: \"" + text + "\"");
  };
  if (digits == 0 || digits > 12) return wrong();
  const std::int64_t count = std::stoll(text.substr(0, digits));
  for (const Unit& unit : kUnits) {
    if (text.substr(digits) != unit.name) continue;
    if (count > std::numeric_limits<std::int64_t>::max() / unit.ms / 4) return wrong();
    return Duration{count * unit.ms};
  }
  return wrong();
}

std::string to_string(Duration d) {
  for (const Unit& unit : kUnits)
    if (d.count() % unit.ms == 0 && (d.count() != 0 || unit.name == "s"))
      return std::to_string(d.count() / unit.ms) + std::string(unit.name);
  return std::to_string(d.count()) + "ms";
}

}  // namespace muster
