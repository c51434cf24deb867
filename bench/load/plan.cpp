#include "bench/load/plan.hpp"

#include <array>

namespace muster::load {

namespace {

constexpr std::array kFailures{Fate::agent_fails, Fate::verification_fails, Fate::host_fails};

Fate draw_fate(const Workload& workload, Random& random) {
  const double drawn = random.unit();
  if (drawn < workload.failed) return kFailures[random.below(kFailures.size())];
  return drawn < workload.failed + workload.unchanged ? Fate::unchanged : Fate::changed;
}

}  // namespace

std::string_view to_string(Fate fate) {
  switch (fate) {
    case Fate::changed:
      return "changed";
    case Fate::unchanged:
      return "unchanged";
    case Fate::agent_fails:
      return "agent fails";
    case Fate::verification_fails:
      return "verification fails";
    case Fate::host_fails:
      return "host fails";
  }
  return "";
}

Plan plan_attempt(const Workload& workload, std::string_view run, std::uint32_t attempt) {
  Random random(seed_of(workload.seed, std::string(run) + "-" + std::to_string(attempt)));
  Plan plan;
  plan.fate = draw_fate(workload, random);
  const auto time = [&](const Distribution& of) {
    return Duration{static_cast<std::int64_t>(of.sample(random, kMaxPhaseMs))};
  };
  plan.provision = time(workload.provision);
  plan.agent = time(workload.agent);
  plan.verify = time(workload.verify);
  plan.log_bytes = workload.log.sample(random, kMaxLogBytes);
  plan.pack_bytes = 1 + workload.pack.sample(random, kMaxPackBytes - 1);
  return plan;
}

std::string contradiction(const Workload& workload, std::string_view run, const Outcome& outcome,
                          bool faults) {
  const Fate fate = plan_attempt(workload, run, outcome.attempt).fate;
  const bool lost = faults && outcome.failure_class == "infrastructure";
  bool agrees = false;
  if (outcome.state == "delivered") {
    agrees = fate == Fate::changed;
  } else if (outcome.state == "unchanged") {
    agrees = fate == Fate::unchanged;
  } else if (outcome.state == "failed") {
    agrees = lost || (fate == Fate::agent_fails && outcome.failure_class == "agent") ||
             (fate == Fate::verification_fails && outcome.failure_class == "verification") ||
             (fate == Fate::host_fails && outcome.failure_class == "infrastructure");
  }
  if (agrees) return "";
  return "run " + std::string(run) + " ended as " + std::string(outcome.state) + "(" +
         std::string(outcome.failure_class) + ") after attempt " + std::to_string(outcome.attempt) +
         ", whose part was: " + std::string(to_string(fate));
}

}  // namespace muster::load
