// What a load test measured, as named numbers, and limits on them: "p99_total<5s",
// "fairness>=0.9", "errors==0". Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::load {

/// Times are milliseconds, sizes bytes.
enum class Unit : std::uint8_t { number, time, size, share };

struct MetricName {
  std::string name;
  Unit unit;
  std::string meaning;
};
/// Everything that a limit may name, with one sentence each.
const std::vector<MetricName>& metric_names();

/// A measured time of the engine: the unit of a histogram is a microsecond.
struct PhaseName {
  std::string_view name;
  std::string_view meaning;
};
/// In the order of a report.
const std::vector<PhaseName>& phase_names();

using Metrics = std::map<std::string, double>;

struct Expectation {
  std::string text;  ///< As it was written.
  std::string name;
  std::string comparison;  ///< < <= > >= ==
  double limit = 0;
};

/// Errc::invalid names what is wrong, and the nearest metric.
Result<Expectation> parse_expectation(std::string_view text);

struct Verdict {
  Expectation expected;
  bool measured = false;  ///< Nothing of that name was measured: then it does not hold.
  double value = 0;
  bool holds = false;
};
std::vector<Verdict> judge(const std::vector<Expectation>& expected, const Metrics& metrics);

/// "p99_total is 6.1s, expected <5s".
std::string describe(const Verdict& verdict);

/// 1234.5 ms -> "1.23s"; 10.5 MiB; 98.2%; 12.3.
std::string amount_text(Unit unit, double value);

}  // namespace muster::load
