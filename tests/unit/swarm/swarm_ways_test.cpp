// Planners, several agents at one facet, resolvers: over real git, killed between any two writes,
// in random orders.
#include <nlohmann/json.hpp>

#include "swarm_world.hpp"

using namespace muster;
using namespace muster::actors::swarm;
using namespace muster::actors::swarm::test;
namespace fbs = muster::actors::fbs;

namespace {

// p plans p1, p3 and the planner p2, at first wrongly; p2 plans one more; p plans once more because
// of what p1 notes. q needs all that. Three agents try b. The s write the same line of one file,
// and a resolver unites two of them.
constexpr const char* kWaysPlan = R"({
  "name": "x", "repositories": [{"id": "r", "path": "/x"}], "agent": {"run": "true"},
  "verify": [{"name": "tests", "run": "true"}], "shared": ["shared"], "resolver": {"run": "true", "tries": 2},
  "limits": {"agents": 6, "batch": 3, "conflicts": 3, "stall": "24h"},
  "results": {"schema": {"not": {"required": ["unfit"]}}},
  "facets": [
    {"id": "p", "task": "t", "scope": ["p*"], "planner": {"rounds": 2}},
    {"id": "q", "task": "t", "scope": ["q"], "needs": ["p"]},
    {"id": "b", "task": "t", "scope": ["b"], "best_of": {"agents": 3, "score": {"run": "true"}}},
    {"id": "j", "task": "t", "scope": ["j"], "best_of": {"agents": 2, "judge": {"run": "true"}}},
    {"id": "s0", "task": "t", "scope": ["s0", "shared"]}, {"id": "s1", "task": "t", "scope": ["s1", "shared"]},
    {"id": "s2", "task": "t", "scope": ["s2", "shared"]}
  ]})";

std::string ways_says(const std::string& facet, bool told, int round) {
  if (facet == "p" && round == 2)
    return R"({"facets": [{"id": "last", "task": "t", "scope": ["pz"]}]})";
  if (facet == "p" && !told) return R"({"facets": [{"id": "p1", "task": "t", "scope": ["q"]}]})";
  if (facet == "p")
    return R"({"facets": [
      {"id": "p3", "task": "t", "scope": ["p3"], "needs": ["p1"]}, {"id": "p1", "task": "t", "scope": ["p1"]},
      {"id": "p2", "task": "t", "scope": ["p2*"], "planner": {}}]})";
  if (facet == "p.p2") return R"({"facets": [{"id": "x", "task": "t", "scope": ["p2x"]}]})";
  if (facet == "p.p1") return R"({"notes": ["look at pz"]})";
  return told || facet != "q" ? "" : R"({"unfit": 1})";
}

std::map<std::string, std::string> ways_work(const std::string& facet, bool) {
  if (facet.ends_with(" resolved")) return {{"shared", "all of it\n"}};
  if (facet == "p.last") return {{"pz", "work\n"}};
  if (facet == "p.p2.x") return {{"p2x", "work\n"}};
  const std::string file = facet.substr(facet.rfind('.') + 1);
  std::map<std::string, std::string> files = {{file, "work\n"}};
  if (file[0] == 's') files["shared"] = "by " + facet + "\n";
  return files;
}

WorldOptions ways_options(WorkRepository& repository, unsigned seed, int kill_at) {
  WorldOptions options;
  options.plan = kWaysPlan;
  options.work = ways_work;
  options.says = ways_says;
  options.passes = [&repository](const std::string& tip) {
    return repository.read(tip, "shared").find("<<<<<<<") == std::string::npos;
  };
  options.seed = seed;
  options.kill_at = kill_at;
  return options;
}

void check_ways(SwarmWorld& world) {
  CHECK(world.proof() == "");
  for (const auto& [id, row] : world.facets()) {
    INFO(id << ": " << row.why);
    CHECK(is_over(row.state));
  }
  CHECK(world.head().owners == 0);
  CHECK(world.head().extra_agents == 0);
  CHECK(world.head().facets == world.facets().size());
}

// All write the lock file too, whose content says what is there; f2's work fails its verification until told why, and f4's change
// of a line that others have changed conflicts.
constexpr const char* kLockPlan = R"({
  "name": "x", "repositories": [{"id": "r", "path": "/x"}], "agent": {"run": "true"},
  "verify": [{"name": "tests", "run": "true"}], "shared": ["package-lock.json", "shared"],
  "limits": {"agents": 6, "batch": 4, "conflicts": 3, "stall": "24h"},
  "facets": [
    {"id": "f0", "task": "t", "scope": ["f0"]}, {"id": "f1", "task": "t", "scope": ["f1"]},
    {"id": "f2", "task": "t", "scope": ["f2"]}, {"id": "f3", "task": "t", "scope": ["f3"]},
    {"id": "f4", "task": "t", "scope": ["f4"]}, {"id": "f5", "task": "t", "scope": ["f5"], "needs": ["f0"]}
  ]})";

std::map<std::string, std::string> lock_work(const std::string& facet, bool told) {
  std::map<std::string, std::string> files = {{facet, "work\n"}, {"package-lock.json", "by " + facet + "\n"}};
  if (facet == "f2" && !told) files["f2"] = "BAD\n";
  if (facet == "f3" || facet == "f4") files["shared"] = "by " + facet + "\n";
  return files;
}

WorldOptions lock_options(WorkRepository& repository, unsigned seed, int kill_at) {
  WorldOptions options;
  options.plan = kLockPlan;
  options.work = lock_work;
  options.remake = [&repository](const std::string& tip) {
    std::string list;
    for (int i = 0; i <= 5; ++i)
      if (!repository.read(tip, "f" + std::to_string(i)).empty()) list += "f" + std::to_string(i) + "\n";
    return list;
  };
  // The lock file says what is there, or is that of one facet, which saw no other's.
  options.passes = [&repository, remake = options.remake](const std::string& tip) {
    const std::string lock = repository.read(tip, "package-lock.json");
    return repository.read(tip, "f2") != "BAD\n" &&
           (lock == remake(tip) || lock == "{}\n" || lock.starts_with("by "));
  };
  options.seed = seed;
  options.kill_at = kill_at;
  options.lost_one_in = 0;
  return options;
}

}  // namespace

TEST_CASE("planned, chosen and resolved facets, killed before any write, are accounted for") {
  WorkRepository repository({{"shared", {"100644", "nobody\n"}}});
  WorldOptions options = ways_options(repository, 1, -1);
  options.lost_one_in = 0;
  SwarmWorld unhurt(repository, options);
  unhurt.run();
  check_ways(unhurt);
  CHECK(unhurt.head().state == fbs::SwarmState::completed);
  const auto facets = unhurt.facets();
  for (const char* id : {"p.p1", "p.p3", "p.p2.x", "p.last", "q", "b", "j", "s0", "s1", "s2"}) {
    REQUIRE(facets.contains(id));
    INFO(id << " " << facets.at(id).why);
    CHECK(facets.at(id).state == fbs::FacetState::merged);
  }
  CHECK(facets.at("p").rounds == 2);
  CHECK(facets.at("p").state == fbs::FacetState::unchanged);
  CHECK(facets.at("s0").resolves + facets.at("s1").resolves + facets.at("s2").resolves >= 2);
  CHECK(facets.at("q").runs == 2);
  killed_before_writes(
      repository, unhurt.writes(), 23,
      [&](unsigned seed, int kill_at) { return ways_options(repository, seed, kill_at); }, check_ways);
}

TEST_CASE("planned, chosen and resolved facets in any order, cancelled, and tried again") {
  WorkRepository repository({{"shared", {"100644", "nobody\n"}}});
  const unsigned seeds = soak() ? 500 : 12;
  for (unsigned seed = 100; seed < 100 + seeds; ++seed) {
    INFO("seed " << seed);
    WorldOptions options = ways_options(repository, seed, static_cast<int>(seed * 7 % 150));
    if (seed % 3 == 0) options.stop_at = static_cast<int>(seed * 11 % 90) + 2;
    SwarmWorld world(repository, options);
    world.run();
    check_ways(world);
    if (world.head().counts[static_cast<std::size_t>(fbs::FacetState::rejected)] == 0) continue;
    world.retry();
    check_ways(world);
  }
}

TEST_CASE("files made anew on the line, killed before any write and in any order, are accounted for") {
  WorkRepository repository({{"package-lock.json", {"100644", "{}\n"}}, {"shared", {"100644", "nobody\n"}}});
  SwarmWorld unhurt(repository, lock_options(repository, 1, -1));
  unhurt.run();
  check_ways(unhurt);
  CHECK(unhurt.head().state == fbs::SwarmState::completed);
  CHECK(unhurt.line().remade > 0);
  REQUIRE(unhurt.pulls().size() == 1);
  CHECK(unhurt.pulls()[0].body.find("make files anew") != std::string::npos);
  killed_before_writes(
      repository, unhurt.writes(), 19,
      [&](unsigned seed, int kill_at) { return lock_options(repository, seed, kill_at); },
      [](SwarmWorld& world) {
        check_ways(world);
        CHECK(world.head().state == fbs::SwarmState::completed);
      });
  const unsigned seeds = soak() ? 300 : 8;
  for (unsigned seed = 300; seed < 300 + seeds; ++seed) {
    INFO("seed " << seed);
    WorldOptions options = lock_options(repository, seed, static_cast<int>(seed * 7 % 90));
    if (seed % 3 == 0) options.stop_at = static_cast<int>(seed * 11 % 60) + 2;
    SwarmWorld world(repository, options);
    world.run();
    CHECK(world.proof() == "");  // cancelled early, it has not read its plan
    if (options.stop_at < 0) check_ways(world);
  }
}
