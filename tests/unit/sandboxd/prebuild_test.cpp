#include "sandboxd/prebuild.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/sandboxd/a_spec.hpp"
#include "tests/unit/storage/temp_directory.hpp"

namespace muster::sandbox::test {

namespace {

struct Asked {
  wire::SandboxSpecT spec = a_spec();
  Environment environment;
  std::string branch = "main", image = "sha";
  std::map<std::string, std::string> secrets;
  std::vector<std::string> locks = {"lock=1"};

  [[nodiscard]] PrebuildKey key() const {
    return prebuild_key(spec, environment, branch, image, secrets, locks);
  }
};

template <class Change>
std::string compared(Change change) {
  Asked asked;
  const auto before = asked.key();
  change(asked);
  const auto after = asked.key();
  return std::string(after.family == before.family ? "same family, " : "other family, ") +
         (after.key == before.key ? "same key" : "other key");
}

}  // namespace

TEST_CASE("a prebuild is known by everything that its setup could see and that stays") {
  CHECK(compared([](auto&) {}) == "same family, same key");
  CHECK(compared([](auto& a) { a.spec.run = "X"; a.spec.attempt = 7; a.spec.fleet = "other"; }) == "same family, same key");
  CHECK(compared([](auto& a) { a.spec.steps[0]->argv = {"another agent"}; }) == "same family, same key");
  CHECK(compared([](auto& a) { a.spec.agent_bundle = "x"; }) == "same family, same key");
  const auto setup = [](Asked& a, std::vector<std::string> argv) {
    a.environment.setup.emplace_back();
    a.environment.setup.back().argv = std::move(argv);
  };
  CHECK(compared([&](auto& a) { setup(a, {"npm", "ci"}); }) == "same family, other key");
  CHECK(compared([](auto& a) { a.locks = {"lock=2"}; }) == "same family, other key");
  CHECK(compared([](auto& a) { a.image = "other"; }) == "same family, other key");
  CHECK(compared([](auto& a) { a.secrets = {{"A", "b"}}; }) == "same family, other key");
  CHECK(compared([](auto& a) { a.environment.env = {"A=b"}; }) == "same family, other key");
  CHECK(compared([](auto& a) { a.spec.network = wire::Network::host; }) == "same family, other key");
  CHECK(compared([](auto& a) { a.branch = "release"; }) == "other family, other key");
  CHECK(compared([](auto& a) { a.spec.url = "/srv/git/other.git"; }) == "other family, other key");
  // Fields don't run into each other.
  Asked one, two;
  setup(one, {"a", "bc"});
  setup(two, {"ab", "c"});
  CHECK(one.key().key != two.key().key);
  // A setup that runs what travels with the agent depends on it.
  Asked with, without;
  setup(with, {"bash", "-c", "$MUSTER_AGENT_DIR/setup.sh"});
  setup(without, {"bash", "-c", "$MUSTER_AGENT_DIR/setup.sh"});
  with.spec.agent_bundle = "bundle";
  CHECK(with.key().key != without.key().key);
}

TEST_CASE("the newest layer of a key is taken, unless it is too old, and is in use as long as its sandbox is there") {
  const testing::TempDirectory directory;
  const Paths paths{directory.path()};
  Prebuilds prebuilds(paths, Duration{10'000});
  const PrebuildKey key{"ffffffffffffffff", "kkkk"};
  const Places places(paths, "7K2M4P0Q8RSTV-1");
  std::filesystem::create_directories(places.run);
  for (const char* name : {"ffffffffffffffff-kkkk-100", "ffffffffffffffff-kkkk-99", "ffffffffffffffff-other-200",
                           "ffffffffffffffff-kkkk-300.half"})
    std::filesystem::create_directories(prebuilds.directory() / name);
  CHECK(prebuilds.in_use().empty());
  CHECK_FALSE(prebuilds.take(key, places, Instant{111'000}));
  CHECK_FALSE(prebuilds.take({}, places, Instant{101'000}));
  CHECK(prebuilds.in_use().empty());
  CHECK((prebuilds.take(key, places, Instant{110'000}) == prebuilds.directory() / "ffffffffffffffff-kkkk-100"));
  CHECK(prebuilds.in_use() == std::set<std::string>{"ffffffffffffffff-kkkk-100"});
  std::filesystem::remove_all(places.run);
  CHECK(prebuilds.in_use().empty());
  prebuilds.remove_halves();
  CHECK_FALSE(std::filesystem::exists(prebuilds.directory() / "ffffffffffffffff-kkkk-300.half"));
}

}  // namespace muster::sandbox::test
