// The simulation's git in memory against the port over real git: the same orders, the same answers.
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "storage/base/ids.hpp"
#include "swarm_world.hpp"
#include "tests/simulation/git_model.hpp"

using namespace muster;
using namespace muster::actors::swarm;
using namespace muster::actors::swarm::test;
namespace fbs = muster::actors::fbs;

namespace {

constexpr int kFacets = 6;
const std::vector<std::string> kPaths = {"CHANGELOG.md", "f0", "f1",    "f2",     "f3",
                                         "f4",           "f5", "other", "shared", "shared2"};

/// Both repositories, which have the same commits under other ids.
class Twins {
 public:
  explicit Twins(unsigned seed)
      : random_(seed), real_(as_files(begin_)), blobs_(real_.scratch() / "blobs"), specs_(blobs_) {
    std::filesystem::create_directories(real_.scratch() / "blobs");
    nlohmann::json facets = nlohmann::json::array();
    for (int i = 0; i < kFacets; ++i) {
      const std::string name = "f" + std::to_string(i);
      facets.push_back({{"id", name}, {"task", "t"}, {"scope", {name}}});
    }
    const std::string plan = nlohmann::json{
        {"name", "x"},
        {"repositories", {{{"id", "r"}, {"path", real_.path()}}}},
        {"agent", {{"run", "true"}}},
        {"shared", {"shared", "shared2", "CHANGELOG.md"}},
        {"facets", facets}}.dump();
    digest_ = sha256_hex(plan);
    REQUIRE(blobs_.put(digest_, plan));
    model_.branches["main"] = model_.add({begin_, {}, "begin"});
    pair(real_.begin(), model_.branches["main"]);
  }

  void start() {
    fbs::StartLineT start;
    start.url = real_.path();
    start.green_branch = "muster-swarm/x/green";
    SwarmWork work(specs_, real_.scratch());
    const auto real = work.start_line(start);
    const auto model = sim::start_line(model_, start);
    CHECK(real.error == model.error);
    same(real.begin, model.begin);
    tip_ = real.begin;
  }

  /// A facet's work on `base`: its own file, often, and others.
  std::string work(int facet, const std::string& base) {
    std::map<std::string, std::string> changed;
    const std::string by = "by f" + std::to_string(facet) + " " + std::to_string(works_) + "\n";
    if (chance(80)) changed["f" + std::to_string(facet)] = by;
    if (chance(30)) changed["shared"] = by;
    if (chance(20)) changed["shared2"] = "all the same\n";
    if (chance(15)) changed["other"] = by;
    if (chance(30))
      changed["CHANGELOG.md"] = by + model_.commits.at(models_.at(base)).files.at("CHANGELOG.md");
    if (changed.empty()) changed["f" + std::to_string(facet)] = by;
    const std::string message = "Work " + std::to_string(++works_);
    sim::ModelCommit commit{model_.commits.at(models_.at(base)).files, {models_.at(base)}, message};
    for (const auto& [path, bytes] : changed) commit.files[path] = bytes;
    const std::string made = real_.commit(base, changed, message);
    pair(made, model_.add(commit));
    return made;
  }

  /// One order of some facets, each from the tip or from where the line was before.
  void merge() {
    fbs::MergeFacetsT order;
    order.swarm = "x";
    order.url = real_.path();
    order.plan_digest = digest_;
    order.onto = tip_;
    order.try_branch = "muster-swarm/x/try";
    order.unix_seconds = 1'700'000'000;
    for (int i = 0; i < kFacets; ++i) {
      if (chance(25)) continue;
      auto head = std::make_unique<fbs::FacetHeadT>();
      head->facet = static_cast<std::uint32_t>(i);
      head->id = "f" + std::to_string(i);
      head->commit = chance(10) ? tip_ : work(i, chance(50) ? tip_ : real_.begin());
      order.heads.push_back(std::move(head));
    }
    fbs::MergeFacetsT there = order;
    there.onto = models_.at(order.onto);
    for (auto& head : there.heads) head->commit = models_.at(head->commit);
    SwarmWork work_on(specs_, real_.scratch());
    const auto real = work_on.merge(order);
    const auto plan = specs_.find(digest_);
    const auto model = sim::merge_facets(model_, **plan, there);
    CHECK(real.error.empty());
    REQUIRE(real.heads.size() == model.answer.heads.size());
    for (const auto& commit : model.made) model_.add(commit);
    for (std::size_t i = 0; i < real.heads.size(); ++i)
      compare(*real.heads[i], *model.answer.heads[i]);
    same(real.tip, model.answer.tip);
    move(real.tip);
  }

  /// Green to that tip, twice; then from where it no longer is.
  void move(const std::string& to) {
    compare_move(tip_, to);
    compare_move(tip_, to);
    if (to != real_.begin()) compare_move(real_.begin(), real_.begin());
    tip_ = to;
  }

  [[nodiscard]] int compared() const { return compared_; }

 private:
  static Files as_files(const sim::Files& files) {
    Files all;
    for (const auto& [path, bytes] : files) all[path] = {"100644", bytes};
    return all;
  }
  static sim::Files beginning() {
    sim::Files files;
    for (const std::string& path : kPaths) files[path] = "before\n";
    return files;
  }

  bool chance(unsigned percent) { return random_() % 100 < percent; }
  void pair(const std::string& real, const std::string& model) { models_[real] = model; }

  void same(const std::string& real, const std::string& model) {
    if (models_.contains(real)) {
      CHECK(models_.at(real) == model);
      return;
    }
    REQUIRE(model_.commits.contains(model));
    for (const std::string& path : kPaths) {
      INFO(path);
      const auto& files = model_.commits.at(model).files;
      CHECK(real_.read(real, path) == (files.contains(path) ? files.at(path) : ""));
    }
    pair(real, model);
  }

  void compare_move(const std::string& from, const std::string& to) {
    fbs::MoveGreenT order;
    order.url = real_.path();
    order.green_branch = "muster-swarm/x/green";
    order.from = from;
    order.to = to;
    const auto real = SwarmWork(specs_, real_.scratch()).move_green(order);
    order.from = models_.at(from);
    order.to = models_.at(to);
    const auto model = sim::move_green(model_, order);
    CHECK(real.lost == model.lost);
    CHECK(real.error.empty() == model.error.empty());
  }

  void compare(const fbs::MergedFacetT& real, const fbs::MergedFacetT& model) {
    INFO("facet " << real.facet << ": " << real.why << " | " << model.why);
    ++compared_;
    CHECK(real.facet == model.facet);
    CHECK(real.outcome == model.outcome);
    CHECK(real.why == model.why);
    CHECK(real.by_driver == model.by_driver);
    if (real.outcome == fbs::HeadOutcome::merged && model.outcome == real.outcome)
      same(real.merge, model.merge);
  }

  std::mt19937 random_;
  sim::Files begin_ = beginning();
  WorkRepository real_;
  Blobs blobs_;
  SwarmSpecs specs_;
  std::string digest_;
  sim::GitModel model_;
  std::map<std::string, std::string> models_;  ///< Ids of commits in the model by their ids in git.
  std::string tip_;
  int works_ = 0, compared_ = 0;
};

}  // namespace

TEST_CASE("the simulation's git answers as the port over real git does") {
  const unsigned seeds = std::getenv("MUSTER_SOAK") != nullptr ? 100 : 4;
  int compared = 0;
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    INFO("seed " << seed);
    Twins twins(seed);
    twins.start();
    twins.start();  // An earlier try made it.
    for (int round = 0; round < 4; ++round) twins.merge();
    compared += twins.compared();
  }
  CHECK(compared > 40);
}
