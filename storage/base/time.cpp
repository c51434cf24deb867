#include "storage/base/time.hpp"

#include <array>
#include <cctype>
#include <cstdio>
#include <ctime>
#include <limits>

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

Result<Instant> parse_rfc3339(const std::string& text) {
  std::tm parts{};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return fail(Errc::invalid, "not a time like 2026-11-22T15:04:05Z: " + text);
  std::int64_t ms = 0;
  if (*rest == '.') {
    std::int64_t unit = 100;
    for (++rest; std::isdigit(static_cast<unsigned char>(*rest)) != 0; ++rest, unit /= 10)
      ms += unit * (*rest - '0');
  }
  if (std::string_view(rest) != "Z")
    return fail(Errc::invalid, "a time must be UTC and end in Z: " + text);
  return Instant{static_cast<std::int64_t>(timegm(&parts)) * 1000 + ms};
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
