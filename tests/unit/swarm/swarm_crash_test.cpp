// A swarm over real git, killed between any two writes; the ledger is the invariant.
#include "swarm_world.hpp"

using namespace muster;
using namespace muster::actors::swarm;
using namespace muster::actors::swarm::test;
namespace fbs = muster::actors::fbs;

namespace {

// f3's work never passes verification; f5's only when it was told why; f1 and f6 pass alone and not together, unless
// one is redone; f0, f2 and f4 write the same line of the same file; f7 needs f3; f8 leaves its scope until told; f9
// changes nothing; f10 needs f9 and f0.
constexpr const char* kPlan = R"({
  "name": "x", "repositories": [{"id": "r", "path": "/x"}], "agent": {"run": "true"},
  "verify": [{"name": "tests", "run": "true"}], "shared": ["shared"],
  "limits": {"agents": 4, "batch": 5, "conflicts": 3, "stall": "24h"},
  "facets": [
    {"id": "f0", "task": "t", "scope": ["f0", "shared"]}, {"id": "f1", "task": "t", "scope": ["f1"]},
    {"id": "f2", "task": "t", "scope": ["f2", "shared"]}, {"id": "f3", "task": "t", "scope": ["f3"]},
    {"id": "f4", "task": "t", "scope": ["f4", "shared"]}, {"id": "f5", "task": "t", "scope": ["f5"]},
    {"id": "f6", "task": "t", "scope": ["f6"]}, {"id": "f7", "task": "t", "scope": ["f7"], "needs": ["f3"]},
    {"id": "f8", "task": "t", "scope": ["f8"]}, {"id": "f9", "task": "t", "scope": ["f9"]},
    {"id": "f10", "task": "t", "scope": ["f10"], "needs": ["f9", "f0"]}
  ]})";

Files beginning() {
  Files files = {{"shared", {"100644", "nobody\n"}}};
  for (int i = 0; i <= 10; ++i) files["f" + std::to_string(i)] = {"100644", "before\n"};
  return files;
}

std::map<std::string, std::string> work_of(const std::string& facet, bool told) {
  if (facet == "f9") return {};
  std::string text = "work\n";
  if (facet == "f3" || (facet == "f5" && !told)) text = "BAD\n";
  if ((facet == "f1" || facet == "f6") && !told) text = "PAIR\n";
  std::map<std::string, std::string> files = {{facet, text}};
  if (facet == "f0" || facet == "f2" || facet == "f4") files["shared"] = "by " + facet + "\n";
  if (facet == "f8" && !told) files["f9"] = "not mine\n";
  return files;
}

WorldOptions options_of(WorkRepository& repository, unsigned seed, int kill_at) {
  WorldOptions options;
  options.plan = kPlan;
  options.work = work_of;
  options.passes = [&repository](const std::string& tip) {
    for (int i = 0; i <= 10; ++i)
      if (repository.read(tip, "f" + std::to_string(i)) == "BAD\n") return false;
    return repository.read(tip, "f1") != "PAIR\n" || repository.read(tip, "f6") != "PAIR\n";
  };
  options.seed = seed;
  options.kill_at = kill_at;
  return options;
}

/// Everything is accounted for, and ended as it must; a host that is lost may cost any facet its place.
void check_end(SwarmWorld& world) {
  CHECK(world.proof() == "");
  for (const auto& [id, row] : world.facets()) {
    INFO(id << ": " << row.why);
    CHECK(is_over(row.state));
    if (row.state == fbs::FacetState::rejected) CHECK_FALSE(row.why.empty());
  }
  const auto facets = world.facets();
  CHECK(facets.at("f3").state == fbs::FacetState::rejected);
  CHECK(facets.at("f7").why == "it needs f3, which was rejected");
  CHECK(facets.at("f9").state != fbs::FacetState::merged);
  const auto line = world.line();
  CHECK(world.pulls().size() == (line.green == line.begin ? 0 : 1));
}

}  // namespace

TEST_CASE("killed before any write, a swarm ends with every commit accounted for") {
  WorkRepository repository(beginning());
  WorldOptions options = options_of(repository, 1, -1);
  options.lost_one_in = 0;
  SwarmWorld unhurt(repository, options);
  unhurt.run();
  check_end(unhurt);
  CHECK(unhurt.head().state == fbs::SwarmState::completed_with_rejections);
  for (const char* id : {"f0", "f1", "f2", "f4", "f5", "f6", "f8", "f10"}) {
    INFO(id << " " << unhurt.facets().at(id).why);
    CHECK(unhurt.facets().at(id).state == fbs::FacetState::merged);
  }
  CHECK(unhurt.facets().at("f8").evictions > 0);
  CHECK(unhurt.facets().at("f9").state == fbs::FacetState::unchanged);
  REQUIRE(unhurt.pulls().size() == 1);
  CHECK(unhurt.pulls()[0].body.find("| f0 |") != std::string::npos);
  CHECK(unhurt.pulls()[0].body.find("- f3: the verification of the integrated tree failed") !=
        std::string::npos);
  killed_before_writes(
      repository, unhurt.writes(), 17,
      [&](unsigned seed, int kill_at) { return options_of(repository, seed, kill_at); }, check_end);
}

TEST_CASE("whatever the order of messages, a swarm ends with every commit accounted for") {
  WorkRepository repository(beginning());
  const unsigned seeds = soak() ? 500 : 12;
  for (unsigned seed = 100; seed < 100 + seeds; ++seed) {
    INFO("seed " << seed);
    SwarmWorld world(repository, options_of(repository, seed, static_cast<int>(seed * 7 % 150)));
    world.run();
    check_end(world);
  }
}

TEST_CASE("cancelled at any moment, nothing stays open and green stays what it was") {
  WorkRepository repository(beginning());
  for (int at = 2; at < 120; at += 9) {
    INFO("cancelled at step " << at);
    WorldOptions options = options_of(repository, 7, -1);
    options.stop_at = at;
    SwarmWorld world(repository, options);
    world.run();
    CHECK(world.proof() == "");
    const bool late = world.head().state != fbs::SwarmState::cancelled;
    if (!late) CHECK(world.head().reason == "cancelled: enough");
    if (!late) CHECK(world.pulls().empty());
  }
}

TEST_CASE("what was rejected is tried again, and joins what was integrated") {
  WorkRepository repository(beginning());
  bool mended = false;
  WorldOptions options = options_of(repository, 3, -1);
  options.lost_one_in = 0;
  options.work = [&mended](const std::string& facet, bool told) {
    if (facet == "f3" && mended) return std::map<std::string, std::string>{{"f3", "work\n"}};
    return work_of(facet, told);
  };
  SwarmWorld world(repository, options);
  world.run();
  check_end(world);
  mended = true;
  const std::string before = world.line().green;
  world.retry();
  CHECK(world.proof() == "");
  CHECK(world.head().state == fbs::SwarmState::completed);
  CHECK(world.facets().at("f7").state == fbs::FacetState::merged);
  CHECK(world.line().green != before);
  CHECK(world.pulls().size() == 2);
}
