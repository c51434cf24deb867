#include "actors/common.hpp"

#include <algorithm>

namespace muster::actors {

namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20U || c == 0x7F; }

constexpr std::string_view kCut = "…";

}  // namespace

std::string to_string(fbs::RunState state) { return fbs::EnumNameRunState(state); }
std::string to_string(fbs::FailureClass cls) { return fbs::EnumNameFailureClass(cls); }

bool is_end(fbs::RunState state) { return state >= fbs::RunState::delivered; }

bool is_on_host(fbs::RunState state) {
  return state >= fbs::RunState::provisioning && state <= fbs::RunState::verifying;
}

std::string bounded(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return std::string(text);
  std::size_t end = limit > kCut.size() ? limit - kCut.size() : 0;
  while (end > 0 && is_continuation(text[end])) --end;
  return std::string(text.substr(0, end)) + std::string(kCut);
}

std::string bounded_tail(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return std::string(text);
  std::size_t begin = text.size() - (limit > kCut.size() ? limit - kCut.size() : 0);
  while (begin < text.size() && is_continuation(text[begin])) ++begin;
  return std::string(kCut) + std::string(text.substr(begin));
}

std::string one_line(std::string_view text, std::size_t limit) {
  std::string line(text.substr(0, limit * 2));
  std::replace_if(line.begin(), line.end(), is_control, ' ');
  const auto first = line.find_first_not_of(' ');
  if (first == std::string::npos) return {};
  return bounded(std::string_view(line).substr(first, line.find_last_not_of(' ') - first + 1), limit);
}

std::string reason_code(std::string_view text, std::string_view otherwise) {
  constexpr std::size_t kLongestReason = 40;
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  const bool good = !text.empty() && text.size() <= kLongestReason &&
                    std::all_of(text.begin(), text.end(), allowed);
  return std::string(good ? text : otherwise);
}

bool glob_matches(std::string_view glob, std::string_view text) {
  std::size_t g = 0, t = 0;
  std::size_t star = std::string_view::npos, taken = 0;  // the last star, and what it took so far
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      taken = t;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == text[t])) {
      ++g;
      ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  return glob.find_first_not_of('*', g) == std::string_view::npos;
}

}  // namespace muster::actors
