// The fleet's counters as a function of its rows, and how the repositories divide into waves.
#include <algorithm>
#include <numeric>

#include "actors/common.hpp"
#include "actors/fleet/fleet.hpp"

namespace muster::actors::fleet {

namespace {

using fbs::RunState;

constexpr std::size_t kStates = static_cast<std::size_t>(RunState::MAX) + 1;
constexpr std::size_t kClasses = static_cast<std::size_t>(fbs::FailureClass::MAX) + 1;

void add(std::uint32_t& counter, std::int64_t by) {
  const std::int64_t value = static_cast<std::int64_t>(counter) + by;
  if (value < 0) throw std::logic_error("a counter of the fleet would fall below nothing");
  counter = static_cast<std::uint32_t>(value);
}

void add(std::vector<std::uint32_t>& counters, std::size_t at, std::size_t least, std::int64_t by) {
  if (counters.size() < std::max(least, at + 1)) counters.resize(std::max(least, at + 1));
  add(counters[at], by);
}

std::string list(const std::vector<std::uint32_t>& numbers) {
  std::string text;
  for (const std::uint32_t n : numbers) text += (text.empty() ? "" : ",") + std::to_string(n);
  return text;
}

}  // namespace

void count(fbs::FleetHeadT& head, const fbs::RunRowT& row, int sign) {
  const bool failed = row.state == RunState::failed;
  add(head.counts, static_cast<std::size_t>(row.state), kStates, sign);
  add(head.failed_by_class, failed ? static_cast<std::size_t>(row.class_) : 0, kClasses,
      failed ? sign : 0);
  add(head.attempts, std::int64_t{sign} * row.attempt);
  head.tokens += sign > 0 ? row.tokens : 0 - row.tokens;
  head.cost_micros += sign > 0 ? row.cost_micros : 0 - row.cost_micros;
  add(head.escalated, failed && row.escalated ? sign : 0);
  add(head.pulls, row.pull != 0 ? sign : 0);
  add(head.created, row.generation == 1 ? sign : 0);
  add(head.wave_rows, row.wave, 0, sign);
  add(head.wave_ended, row.wave, 0, is_end(row.state) ? sign : 0);
}

fbs::FleetHeadT recount(const std::vector<fbs::RunRowT>& rows, std::uint32_t waves) {
  fbs::FleetHeadT head;
  head.counts.resize(kStates);
  head.failed_by_class.resize(kClasses);
  head.wave_rows.resize(waves);
  head.wave_ended.resize(waves);
  for (const fbs::RunRowT& row : rows) count(head, row, 1);
  return head;
}

std::string counter_differences(const fbs::FleetHeadT& head, const fbs::FleetHeadT& recounted) {
  std::string text;
  const auto compare = [&](const char* what, const std::string& says, const std::string& is) {
    if (says != is) text += std::string(what) + " says " + says + ", is " + is + "\n";
  };
  compare("counts", list(head.counts), list(recounted.counts));
  compare("failed_by_class", list(head.failed_by_class), list(recounted.failed_by_class));
  compare("attempts", std::to_string(head.attempts), std::to_string(recounted.attempts));
  compare("tokens", std::to_string(head.tokens), std::to_string(recounted.tokens));
  compare("cost_micros", std::to_string(head.cost_micros), std::to_string(recounted.cost_micros));
  compare("escalated", std::to_string(head.escalated), std::to_string(recounted.escalated));
  compare("pulls", std::to_string(head.pulls), std::to_string(recounted.pulls));
  compare("created", std::to_string(head.created), std::to_string(recounted.created));
  compare("wave_rows", list(head.wave_rows), list(recounted.wave_rows));
  compare("wave_ended", list(head.wave_ended), list(recounted.wave_ended));
  return text;
}

std::uint32_t ended_for_halt(const fbs::FleetHeadT& head) {
  std::uint32_t ended = 0;
  for (const RunState state :
       {RunState::delivered, RunState::unchanged, RunState::skipped, RunState::failed})
    ended += head.counts[static_cast<std::size_t>(state)];
  return ended;
}

std::vector<std::uint32_t> wave_limits(const fbs::CreateFleetT& create, std::uint32_t total) {
  std::vector<std::uint32_t> limits;
  for (std::size_t i = 0; i < create.waves.size() && i < kMaxWaves; ++i) {
    const std::uint32_t fixed = i < create.wave_counts.size() ? create.wave_counts[i] : 0;
    const std::uint64_t part =
        fixed != 0 ? fixed : (std::uint64_t{create.waves[i]} * total + 999) / 1000;
    const auto limit = static_cast<std::uint32_t>(std::min<std::uint64_t>(part, total));
    if (limit > (limits.empty() ? 0 : limits.back())) limits.push_back(limit);
  }
  if (limits.empty() || limits.back() < total) limits.push_back(total);
  return limits;
}

std::uint32_t wave_of(const std::vector<std::uint32_t>& limits, std::uint32_t place) {
  return static_cast<std::uint32_t>(std::upper_bound(limits.begin(), limits.end(), place) -
                                    limits.begin());
}

}  // namespace muster::actors::fleet
