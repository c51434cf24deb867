#include "actors/spec/units.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace muster::actors {
namespace {

struct SizeUnit {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr std::array<SizeUnit, 4> kSizeUnits{
    {{"TiB", 1ull << 40}, {"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}}};
constexpr std::uint64_t kMaxSize = 1ull << 50;

bool is_lower_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return fail(Errc::invalid, "\"" + std::string(text) + "\" is not a size like 512MiB or 2GiB" +
                                   std::string(why));
  };
  std::uint64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{}) return wrong("");
  std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  std::uint64_t factor = unit.empty() ? 1 : 0;
  for (const SizeUnit& known : kSizeUnits)
    if (unit == known.name) factor = known.bytes;
  if (factor == 0)
    return wrong(unit.find('.') == 0 ? ": use a whole number of a smaller unit"
                                     : ": units are KiB, MiB, GiB, TiB");
  if (count > kMaxSize / factor) return wrong(": too large");
  return count * factor;
}

std::string size_text(std::uint64_t bytes) {
  for (const SizeUnit& unit : kSizeUnits)
    if (bytes != 0 && bytes % unit.bytes == 0)
      return std::to_string(bytes / unit.bytes) + std::string(unit.name);
  return std::to_string(bytes);
}

Result<std::uint32_t> parse_percent(std::string_view text) {
  const auto wrong = [&] {
    return fail(Errc::invalid,
                "\"" + std::string(text) + "\" is not a percentage like 20% or 0.5%");
  };
  if (text.empty() || text.back() != '%') return wrong();
  const std::string_view number = text.substr(0, text.size() - 1);
  std::uint32_t whole = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), whole);
  if (error != std::errc{} || whole > 1'000'000) return wrong();
  const std::string_view rest = number.substr(static_cast<std::size_t>(end - number.data()));
  std::uint32_t tenth = 0;
  if (rest.size() == 2 && rest[0] == '.' && rest[1] >= '0' && rest[1] <= '9')
    tenth = static_cast<std::uint32_t>(rest[1] - '0');
  else if (!rest.empty())
    return wrong();
  const std::uint32_t permille = whole * 10 + tenth;
  if (permille > 1000) return fail(Errc::invalid, std::string(text) + " is over 100%");
  return permille;
}

std::string percent_text(std::uint32_t permille) {
  std::string text = std::to_string(permille / 10);
  if (permille % 10 != 0) text += "." + std::to_string(permille % 10);
  return text + "%";
}

bool glob_match(const std::string& pattern, const std::string& text) {
  return fnmatch(pattern.c_str(), text.c_str(), 0) == 0;
}

bool is_fleet_name(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_lower_alnum(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return is_lower_alnum(c) || c == '.' || c == '-'; });
}

bool is_branch_name(std::string_view text) {
  if (text.empty() || text.size() > 200 || text == "@" || text == "HEAD") return false;
  if (text.starts_with("-") || text.starts_with("refs/") || text.ends_with(".")) return false;
  if (text.find("..") != std::string_view::npos || text.find("@{") != std::string_view::npos)
    return false;
  constexpr std::string_view kForbidden = " ~^:?*[\\";
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f ||
        kForbidden.find(c) != std::string_view::npos)
      return false;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find('/', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    if (part.empty() || part.front() == '.' || part.ends_with(".lock")) return false;
    begin = end + 1;
  }
  return true;
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const auto distance = [&](std::string_view other) {
    std::vector<std::size_t> row(other.size() + 1);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= word.size(); ++i) {
      std::size_t diagonal = std::exchange(row[0], i);
      for (std::size_t j = 1; j <= other.size(); ++j) {
        const std::size_t changed = diagonal + (word[i - 1] == other[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
      }
    }
    return row.back();
  };
  if (word.size() > 64) return "";
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t d = distance(candidate);
    if (d < best_distance && d < candidate.size()) {
      best = candidate;
      best_distance = d;
    }
  }
  return best;
}

}  // namespace muster::actors
