#include "bench/load/expect.hpp"

#include <catch2/catch.hpp>
#include <set>

using namespace muster::load;

namespace {

std::string why_not(const char* text) {
  const auto parsed = parse_expectation(text);
  return parsed ? "" : parsed.error().message;
}

std::string judged(const char* text, const Metrics& metrics) {
  const auto parsed = parse_expectation(text);
  REQUIRE(parsed);
  const Verdict verdict = judge({*parsed}, metrics).front();
  return (verdict.holds ? "holds: " : "fails: ") + describe(verdict);
}

}  // namespace

TEST_CASE("Expectations are judged in the metric's own unit") {
  const Metrics metrics{{"p99_total", 6'100},
                        {"errors", 0},
                        {"memory_peak", 400.0 * (1 << 20)},
                        {"fairness", 0.97},
                        {"runs_per_s", 312.5}};
  CHECK(judged("p99_total<5s", metrics) == "fails: p99_total is 6.10s, expected <5s");
  CHECK(judged("p99_total<=7s", metrics) == "holds: p99_total is 6.10s, expected <=7s");
  CHECK(judged("errors==0", metrics) == "holds: errors is 0, expected ==0");
  CHECK(judged("memory_peak<512MiB", metrics) ==
        "holds: memory_peak is 400.0 MiB, expected <512MiB");
  CHECK(judged("fairness>=98%", metrics) == "fails: fairness is 97.0%, expected >=98%");
  CHECK(judged("runs_per_s>300", metrics) == "holds: runs_per_s is 312.5, expected >300");
}

TEST_CASE("What was not measured does not hold") {
  CHECK(judged("p99_log<1s", {}) == "fails: p99_log was not measured, expected <1s");
}

TEST_CASE("A wrong expectation is refused before anything runs") {
  CHECK(why_not("p99_totl<5s") == "nothing called 'p99_totl' is measured; did you mean p99_total?");
  CHECK(why_not("p99_total") == "'p99_total': expected NAME<LIMIT, with < <= > >= or ==");
  CHECK(why_not("errors=0") == "'errors=0': the comparison is < <= > >= or ==");
  CHECK_FALSE(why_not("p99_total<fast").empty());
  CHECK_FALSE(why_not("errors==none").empty());
  CHECK_FALSE(why_not("<5s").empty());
}

TEST_CASE("Every metric has a name of its own") {
  std::set<std::string> names;
  for (const MetricName& metric : metric_names()) CHECK(names.insert(metric.name).second);
}

TEST_CASE("Amounts are written as a person reads them") {
  CHECK(amount_text(Unit::time, 0.25) == "0.25ms");
  CHECK(amount_text(Unit::time, 812) == "812ms");
  CHECK(amount_text(Unit::time, 1'234) == "1.23s");
  CHECK(amount_text(Unit::time, 600'000) == "10.0m");
  CHECK(amount_text(Unit::size, 512) == "512 B");
  CHECK(amount_text(Unit::size, 1'572'864) == "1.5 MiB");
  CHECK(amount_text(Unit::number, 12) == "12");
  CHECK(amount_text(Unit::number, 0.5) == "0.5");
}
