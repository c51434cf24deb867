#include "actors/swarm/scope.hpp"

#include <algorithm>

namespace muster::actors::swarm {
namespace {

std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t slash = path.find('/');
    parts.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    path.remove_prefix(slash + 1);
  }
}

/// Whether two sequences meet, in each of which some elements stand for any sequence: can(i, j)
/// says whether their elements from i and j on do, and is computed from the end, in a table of one
/// row.
template <class Sequence, class IsAny, class Meet>
bool sequences_meet(const Sequence& a, const Sequence& b, IsAny is_any, Meet meet) {
  std::vector<char> below(b.size() + 1), row(b.size() + 1);
  for (std::size_t i = a.size() + 1; i-- > 0;) {
    for (std::size_t j = b.size() + 1; j-- > 0;) {
      bool can = i == a.size() && j == b.size();
      if (!can && i < a.size() && is_any(a[i])) can = below[j] != 0 || (j < b.size() && row[j + 1]);
      if (!can && j < b.size() && is_any(b[j])) can = row[j + 1] != 0 || (i < a.size() && below[j]);
      if (!can && i < a.size() && j < b.size() && !is_any(a[i]) && !is_any(b[j]))
        can = meet(a[i], b[j]) && below[j + 1] != 0;
      row[j] = can ? 1 : 0;
    }
    below.swap(row);
  }
  return below[0] != 0;
}

bool parts_meet(std::string_view a, std::string_view b) {
  return sequences_meet(
      a, b, [](char c) { return c == '*'; }, [](char x, char y) { return x == y; });
}

bool part_matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, retry = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      retry = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++retry;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

/// Whether a pattern's parts match those of `text` in order: ** any number of them, another one of them that
/// `single` takes for one part.
template <class IsSingle>
bool parts_match(std::string_view pattern, std::string_view text, IsSingle single) {
  const auto wanted = parts_of(pattern), given = parts_of(text);
  std::vector<char> reach(given.size() + 1);
  reach[0] = 1;
  for (const std::string_view part : wanted) {
    std::vector<char> next(given.size() + 1);
    for (std::size_t i = 0; i <= given.size(); ++i) {
      if (part == "**")
        next[i] = static_cast<char>(reach[i] != 0 || (i > 0 && next[i - 1] != 0));
      else if (i > 0 && reach[i - 1] != 0 && single(given[i - 1]))
        next[i] = part_matches(part, given[i - 1]) ? 1 : 0;
    }
    reach = std::move(next);
  }
  return reach[given.size()] != 0;
}

}  // namespace

std::string trouble_in_pattern(std::string_view pattern) {
  if (pattern.empty()) return "names nothing";
  if (pattern.front() == '/') return "must be relative to the repository's root";
  if (pattern.find_first_of("?[]{}\\") != std::string_view::npos)
    return "may hold only * and ** as special characters";
  for (const std::string_view part : parts_of(pattern)) {
    if (part.empty()) return "has an empty part; everything below a directory is DIR/**";
    if (part == "." || part == ".." || part == ".git")
      return "holds \"" + std::string(part) + "\", which no path in git has";
    if (part != "**" && part.find("**") != std::string_view::npos)
      return "may hold ** only as a whole part between slashes";
  }
  return {};
}

bool matches(std::string_view pattern, std::string_view path) {
  // A path's own asterisks are characters like others.
  return parts_match(pattern, path, [](std::string_view) { return true; });
}

bool overlap(std::string_view a, std::string_view b) {
  return sequences_meet(
      parts_of(a), parts_of(b), [](std::string_view part) { return part == "**"; }, parts_meet);
}

bool within(std::string_view pattern, std::string_view outer) {
  // Outer's parts must match the pattern's parts as they are written: an asterisk there is met by
  // asterisks only, and its ** by **.
  return parts_match(outer, pattern, [](std::string_view part) { return part != "**"; });
}

std::vector<std::string> fixed_parts(std::string_view pattern) {
  std::vector<std::string> fixed;
  for (const std::string_view part : parts_of(pattern)) {
    if (part.find('*') != std::string_view::npos) break;
    fixed.emplace_back(part);
  }
  return fixed;
}

std::vector<std::string> outside(const std::vector<std::string>& changed,
                                 const std::vector<std::string>& scope,
                                 const std::vector<std::string>& shared) {
  const auto allowed = [](const std::vector<std::string>& patterns, const std::string& path) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const std::string& pattern) { return matches(pattern, path); });
  };
  std::vector<std::string> refused;
  for (const std::string& path : changed)
    if (!allowed(scope, path) && !allowed(shared, path)) refused.push_back(path);
  return refused;
}

}  // namespace muster::actors::swarm
