#include "bench/load/plan.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "bench/load/histogram.hpp"

using namespace muster;
using namespace muster::load;

namespace {

Histogram sampled(const char* text, std::uint64_t most = kMaxPhaseMs) {
  const auto distribution = parse_times(text);
  REQUIRE(distribution);
  Random random(1);
  Histogram h;
  for (int i = 0; i < 100'000; ++i) h.record(distribution->sample(random, most));
  return h;
}

std::string why_no_plan(const char* text) {
  const auto distribution = parse_times(text);
  return distribution ? "" : distribution.error().message;
}

Workload workload(double unchanged, double failed) {
  Workload w;
  w.agent = *parse_times("exp:2s");
  w.log = *parse_sizes("8KiB");
  w.unchanged = unchanged;
  w.failed = failed;
  return w;
}

}  // namespace

TEST_CASE("Distributions are what they are called") {
  const Histogram fixed = sampled("2s");
  CHECK(fixed.min() == 2'000);
  CHECK(fixed.max() == 2'000);
  const Histogram uniform = sampled("uniform:1s..3s");
  CHECK(uniform.min() >= 1'000);
  CHECK(uniform.max() <= 3'000);
  CHECK(uniform.mean() == Approx(2'000).epsilon(0.01));
  const Histogram exponential = sampled("exp:2s");
  CHECK(exponential.mean() == Approx(2'000).epsilon(0.02));
  CHECK(static_cast<double>(exponential.percentile(50)) == Approx(2'000 * 0.6931).epsilon(0.02));
  const Histogram lognormal = sampled("lognormal:2s,1.0");
  CHECK(static_cast<double>(lognormal.percentile(50)) == Approx(2'000).epsilon(0.02));
  CHECK(lognormal.mean() == Approx(2'000 * 1.6487).epsilon(0.03));
}

TEST_CASE("No sample exceeds the bound") {
  CHECK(sampled("exp:2s", 3'000).max() == 3'000);
  CHECK(sampled("lognormal:1h,10", 5'000).max() == 5'000);
}

TEST_CASE("What is no distribution is refused with what was meant") {
  CHECK(why_no_plan("2s") == "");
  CHECK(why_no_plan("0") == "");
  CHECK(why_no_plan("normal:2s") ==
        "'normal' is no distribution: fixed (2s), uniform:1s..5s, exp:2s, lognormal:2s,1.0");
  CHECK(why_no_plan("uniform:5s") == "'uniform:5s': expected uniform:A..B or lognormal:MEDIAN,SIGMA");
  CHECK(why_no_plan("uniform:5s..1s") == "'uniform:5s..1s': the second is smaller than the first");
  CHECK(why_no_plan("lognormal:5s,x") == "not a number: 'x'");
  CHECK_FALSE(why_no_plan("exp:fast").empty());
  CHECK_FALSE(why_no_plan("").empty());
}

TEST_CASE("Shares are between none and all") {
  CHECK(*parse_share("5%") == Approx(0.05));
  CHECK(*parse_share("0.25") == Approx(0.25));
  CHECK_FALSE(parse_share("120%"));
  CHECK_FALSE(parse_share("-1"));
  CHECK_FALSE(parse_share("%"));
}

TEST_CASE("A plan is the same for the same seed, run and attempt, and another for any other") {
  Workload w = workload(0.3, 0.3);
  const Plan first = plan_attempt(w, "7K2MAAAAAAAAA", 1);
  const Plan again = plan_attempt(w, "7K2MAAAAAAAAA", 1);
  CHECK(first.agent == again.agent);
  CHECK(first.fate == again.fate);
  CHECK(first.agent != plan_attempt(w, "7K2MAAAAAAAAA", 2).agent);
  CHECK(first.agent != plan_attempt(w, "7K2MAAAAAAAAB", 1).agent);
  w.seed = 2;
  CHECK(first.agent != plan_attempt(w, "7K2MAAAAAAAAA", 1).agent);
}

TEST_CASE("Fates come in their shares") {
  const Workload w = workload(0.2, 0.3);
  std::map<Fate, int> fates;
  for (int i = 0; i < 30'000; ++i) ++fates[plan_attempt(w, std::to_string(i), 1).fate];
  CHECK(fates[Fate::changed] == Approx(15'000).epsilon(0.03));
  CHECK(fates[Fate::unchanged] == Approx(6'000).epsilon(0.05));
  CHECK(fates[Fate::agent_fails] == Approx(3'000).epsilon(0.07));
  CHECK(fates[Fate::verification_fails] == Approx(3'000).epsilon(0.07));
  CHECK(fates[Fate::host_fails] == Approx(3'000).epsilon(0.07));
}

TEST_CASE("What musterd says of a run is held against what its attempt did") {
  const Workload changes = workload(0, 0), changes_nothing = workload(1, 0), fails = workload(0, 1);
  CHECK(contradiction(changes, "R", {"delivered", "none", 1}, false).empty());
  CHECK(contradiction(changes_nothing, "R", {"unchanged", "none", 1}, false).empty());
  CHECK(contradiction(changes, "R", {"unchanged", "none", 1}, false) ==
        "run R ended as unchanged(none) after attempt 1, whose part was: changed");
  CHECK_FALSE(contradiction(fails, "R", {"delivered", "none", 1}, true).empty());
  CHECK_FALSE(contradiction(changes, "R", {"failed", "infrastructure", 1}, false).empty());
  CHECK(contradiction(changes, "R", {"failed", "infrastructure", 1}, true).empty());
  CHECK_FALSE(contradiction(changes, "R", {"failed", "agent", 1}, true).empty());
  CHECK_FALSE(contradiction(changes, "R", {"running", "none", 1}, true).empty());
}
