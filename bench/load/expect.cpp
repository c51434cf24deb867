#include "bench/load/expect.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "actors/spec/units.hpp"
#include "bench/load/distribution.hpp"

namespace muster::load {

namespace {

// The longer ones first: "<=" begins with "<".
constexpr std::array<std::string_view, 5> kComparisons{"<=", ">=", "==", "<", ">"};

std::vector<MetricName> make_names() {
  std::vector<MetricName> names{
      {"errors", Unit::number, "what must not happen and did; the report lists the first ones"},
      {"ended", Unit::number, "runs that reached their end"},
      {"delivered", Unit::number, "runs"},
      {"unchanged", Unit::number, "runs"},
      {"failed", Unit::number, "runs"},
      {"duration", Unit::time, "from the first fleet's creation to the last one's end"},
      {"runs_per_s", Unit::number, "ended runs over that time"},
      {"messages_per_s", Unit::number, "durable messages that actors of the engine took"},
      {"frames_per_s", Unit::number, "frames on the link, both ways"},
      {"log_bytes_per_s", Unit::size, "log bytes that became durable"},
      {"memory_peak", Unit::size, "resident memory of musterd, at most"},
      {"memory_end", Unit::size, "resident memory of musterd after the last run"},
      {"cpu", Unit::time, "processor time of musterd"},
      {"fairness", Unit::share,
       "Jain's index of the fleets' progress when half of all runs had ended; 1 is fair"},
      {"overload_answers", Unit::number, "requests that were refused with 429 and a Retry-After"},
      {"lease_losses", Unit::number, "leases that a host saw end while it was up"},
      {"reconnects", Unit::number, "sessions beyond the first of each host"},
  };
  for (const PhaseName& phase : phase_names())
    for (const char* rank : {"p50_", "p90_", "p95_", "p99_", "max_"})
      names.push_back({rank + std::string(phase.name), Unit::time, std::string(phase.meaning)});
  return names;
}

const MetricName* find_name(const std::string& name) {
  const auto& all = metric_names();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const MetricName& metric) { return metric.name == name; });
  return found == all.end() ? nullptr : &*found;
}

Result<double> parse_limit(Unit unit, std::string_view text) {
  if (unit == Unit::share) return parse_share(text);
  if (unit == Unit::time || unit == Unit::size) {
    const auto parsed = unit == Unit::time ? parse_millis(text) : parse_bytes(text);
    if (!parsed) return tl::unexpected<Error>(parsed.error());
    return static_cast<double>(*parsed);
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return fail(Errc::invalid, "not a number: '" + std::string(text) + "'");
  return value;
}

bool compare(double value, const std::string& comparison, double limit) {
  if (comparison == "<") return value < limit;
  if (comparison == "<=") return value <= limit;
  if (comparison == ">") return value > limit;
  if (comparison == ">=") return value >= limit;
  return value == limit;
}

std::string printed(const char* format, double value) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

}  // namespace

const std::vector<PhaseName>& phase_names() {
  static const std::vector<PhaseName> names{
      {"total", "from a run's creation to its end"},
      {"queue", "from queued to placed: waiting for a slot, and the scheduler"},
      {"start", "from placed to accepted: the engine's order reached the host and came back"},
      {"settle", "from the end on the host to the run's end, delivery included"},
      {"refill", "a host's slot stayed empty for so long between two attempts"},
      {"ack", "a host's event until it was durable"},
      {"renew", "a heartbeat until its answer"},
      {"log", "the last byte of a log until it was durable"},
      {"api", "an answer of the HTTP API"},
      {"operate", "an operator's pause, resume, drain or uncordon until it was done"},
  };
  return names;
}

const std::vector<MetricName>& metric_names() {
  static const std::vector<MetricName> names = make_names();
  return names;
}

Result<Expectation> parse_expectation(std::string_view text) {
  Expectation made;
  made.text = std::string(text);
  const std::size_t at = text.find_first_of("<>=");
  if (at == text.npos || at == 0)
    return fail(Errc::invalid, "'" + made.text + "': expected NAME<LIMIT, with < <= > >= or ==");
  made.name = std::string(text.substr(0, at));
  const MetricName* metric = find_name(made.name);
  if (metric == nullptr) {
    std::vector<std::string> names;
    for (const MetricName& known : metric_names()) names.push_back(known.name);
    const std::string nearest = actors::nearest(made.name, names);
    return fail(Errc::invalid, "nothing called '" + made.name + "' is measured" +
                                   (nearest.empty() ? "" : "; did you mean " + nearest + "?"));
  }
  std::string_view rest = text.substr(at);
  const auto* comparison = std::find_if(kComparisons.begin(), kComparisons.end(),
                                        [&](std::string_view c) { return rest.starts_with(c); });
  if (comparison == kComparisons.end())
    return fail(Errc::invalid, "'" + made.text + "': the comparison is < <= > >= or ==");
  made.comparison = std::string(*comparison);
  const auto limit = parse_limit(metric->unit, rest.substr(comparison->size()));
  if (!limit) return fail(limit.error(), "'" + made.text + "'");
  made.limit = *limit;
  return made;
}

std::vector<Verdict> judge(const std::vector<Expectation>& expected, const Metrics& metrics) {
  std::vector<Verdict> verdicts;
  for (const Expectation& one : expected) {
    Verdict verdict{one, false, 0, false};
    if (const auto found = metrics.find(one.name); found != metrics.end()) {
      verdict.measured = true;
      verdict.value = found->second;
      verdict.holds = compare(verdict.value, one.comparison, one.limit);
    }
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

std::string describe(const Verdict& verdict) {
  const MetricName* metric = find_name(verdict.expected.name);
  const Unit unit = metric == nullptr ? Unit::number : metric->unit;
  const std::string is =
      verdict.measured ? "is " + amount_text(unit, verdict.value) : "was not measured";
  return verdict.expected.name + " " + is + ", expected " +
         verdict.expected.text.substr(verdict.expected.name.size());
}

std::string amount_text(Unit unit, double value) {
  if (unit == Unit::share) return printed("%.1f%%", value * 100);
  if (unit == Unit::size) {
    for (const auto& [name, size] :
         {std::pair{"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}})
      if (value >= size) return printed("%.1f ", value / size) + name;
    return printed("%.0f B", value);
  }
  if (unit == Unit::time) {
    if (value < 10) return printed("%.2fms", value);
    if (value < 1'000) return printed("%.0fms", value);
    if (value < 120'000) return printed("%.2fs", value / 1'000);
    return printed("%.1fm", value / 60'000);
  }
  return value == std::floor(value) || std::abs(value) >= 1'000 ? printed("%.0f", value)
                                                                : printed("%.1f", value);
}

}  // namespace muster::load
