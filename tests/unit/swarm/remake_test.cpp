// Files that a program writes: who makes them anew, and the script that does, run with bash and git
// as a sandbox runs it.
#include "actors/swarm/remake.hpp"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "import.hpp"
#include "storage/base/process.hpp"

using namespace muster;
using namespace muster::actors::swarm;
using namespace muster::actors::swarm::test;
using nlohmann::json;

namespace {

SwarmSpec with_drivers(const json& drivers) {
  json file = json::parse(R"({
    "name": "s", "repositories": [{"id": "api", "path": "/srv/api.git"}], "agent": {"run": "./agent"},
    "verify": [{"name": "tests", "run": "true"}],
    "facets": [{"id": "a", "task": "x", "scope": ["**"]}]})");
  file["merge"] = {{"drivers", drivers}};
  return parse_swarm(file.dump()).value();
}

/// A work tree in which the script's agent works.
struct Tree {
  explicit Tree(const std::map<std::string, std::string>& files) {
    git(directory.path(), {"init", "-q", path().string()});
    for (const auto& [name, text] : files) actors::test::write(path() / name, text);
    git(path(), {"add", "-A"});
    git(path(), {"commit", "-q", "-m", "base"});
  }
  [[nodiscard]] std::filesystem::path path() const { return directory / "tree"; }
  ProcessResult run(const actors::FleetSpec& fleet, const std::string& programs = "/usr/bin:/bin") {
    ProcessSpec spec;
    spec.argv = fleet.agent.run.argv;
    spec.env = {{"PATH", programs}, {"HOME", directory.path().string()}};
    spec.directory = path().string();
    const auto done = run_process(spec);
    REQUIRE(done);
    return *done;
  }
  /// What the script's commit changes, and what is left beside it.
  std::string changed() {
    return git(path(), {"diff", "--name-only", "HEAD~1", "HEAD"}) + "|" +
           git(path(), {"status", "--porcelain", "--ignored"});
  }

  Directory directory;
};

}  // namespace

TEST_CASE("who makes a file anew: the swarm file's own first, then what is known by name") {
  const SwarmSpec swarm = with_drivers(json::parse(R"([
    {"path": "gen/*.lock", "run": "./relock", "timeout": "30s"}, {"path": "**/go.sum", "run": ["true"]}])"));
  CHECK(remaker_of(swarm, "gen/a.lock")->run.shell == "./relock");
  CHECK(remaker_of(swarm, "gen/a.lock")->timeout == Duration{30'000});
  CHECK(remaker_of(swarm, "gen/a.lock")->tool.empty());
  CHECK(remaker_of(swarm, "x/go.sum")->run.argv == std::vector<std::string>{"true"});
  CHECK(remaker_of(swarm, "x/package-lock.json")->tool == "npm");
  CHECK(remaker_of(swarm, "Cargo.lock")->run.shell == "cargo update --workspace");
  CHECK(remaker_of(swarm, "a/yarn.lock")->tool == "yarn");
  CHECK(remaker_of(swarm, "pnpm-lock.yaml")->tool == "pnpm");
  CHECK_FALSE(remaker_of(swarm, "Gemfile.lock"));
  CHECK_FALSE(remaker_of(swarm, "gen/deep/a.lock"));
  const Drivers drivers = drivers_of(swarm);
  CHECK(drivers.of("gen/a.lock") == Driver::regenerate);
  CHECK(drivers.of("Gemfile.lock") == Driver::regenerate);  // flagged, and left as it was merged
  CHECK(drivers.of("CHANGELOG.md") == Driver::unite);
  CHECK(drivers.of("a.lock") == Driver::none);
}

TEST_CASE("the files are made anew in their directories, and nothing else of it is kept") {
  const SwarmSpec swarm = with_drivers(json::parse(R"([
    {"path": "**/*.lock", "run": "sort names > $MUSTER_FILE; touch left-over ignored; echo changed >> names"}])"));
  Tree tree({{"a dir/x.lock", "stale\n"},
             {"a dir/names", "b\na\n"},
             {".gitignore", "ignored\n"},
             {"-odd'.lock", "old\n"},
             {"names", "2\n1\n"}});
  const std::vector<std::string> paths = {"a dir/x.lock", "-odd'.lock", "gone.lock"};
  const auto fleet = remake_fleet(swarm, paths);
  const auto done = tree.run(fleet);
  INFO(done.out << done.err);
  REQUIRE(done.exit_code == 0);
  CHECK(done.out.find("== making a dir/x.lock anew") != std::string::npos);
  CHECK(tree.changed() == "-odd'.lock\na dir/x.lock|");
  CHECK(git(tree.path(), {"show", "HEAD:a dir/x.lock"}) == "a\nb");
  CHECK(git(tree.path(), {"show", "HEAD:-odd'.lock"}) == "1\n2");
  CHECK(fleet.verify.size() == 1);
  CHECK(fleet.delivery.commit.message.starts_with(
      "Make 3 files anew after merges\n\n- a dir/x.lock\n"));
  // Made once more it is the same: there is nothing to commit.
  const std::string head = git(tree.path(), {"rev-parse", "HEAD"});
  CHECK(tree.run(fleet).exit_code == 0);
  CHECK(git(tree.path(), {"rev-parse", "HEAD"}) == head);
}

TEST_CASE("what can't be made anew fails; what no program here makes stays as it was merged") {
  Tree tree({{"x.lock", "stale\n"}, {"package-lock.json", "{}\n"}});
  const auto failing =
      with_drivers(json::parse(R"([{"path": "*.lock", "run": "echo no such thing >&2; exit 7"}])"));
  const auto done = tree.run(remake_fleet(failing, {"x.lock"}));
  CHECK(done.exit_code == 1);
  CHECK(done.out.find("== x.lock could not be made anew: exit 7") != std::string::npos);
  CHECK(done.err.find("no such thing") != std::string::npos);
  const auto slow =
      with_drivers(json::parse(R"([{"path": "*.lock", "run": "sleep 60", "timeout": "1s"}])"));
  CHECK(tree.run(remake_fleet(slow, {"x.lock"})).out.find("exit 124") != std::string::npos);

  const std::filesystem::path bin = tree.directory / "bin";
  std::filesystem::create_directories(bin);
  for (const char* program : {"bash", "git", "timeout", "env"})
    std::filesystem::create_symlink(std::filesystem::path("/usr/bin") / program, bin / program);
  const std::string head = git(tree.path(), {"rev-parse", "HEAD"});
  const auto without = tree.run(remake_fleet(failing, {"package-lock.json"}), bin.string());
  INFO(without.err);
  CHECK(without.exit_code == 0);
  CHECK(without.out.find("package-lock.json stays as it was merged: there is no npm here") !=
        std::string::npos);
  CHECK(git(tree.path(), {"rev-parse", "HEAD"}) == head);
}

namespace {

/// Where a sandbox whose image is the host finds programs; and a directory for those that a machine has elsewhere.
std::string program_places() {
  const char* more = std::getenv("MUSTER_TEST_TOOLS");
  return std::string(more == nullptr ? "" : std::string(more) + ":") + "/usr/local/bin:/usr/bin:/bin";
}

bool has_program(const std::string& name) {
  std::istringstream places(program_places());
  for (std::string place; std::getline(places, place, ':');)
    if (std::filesystem::exists(std::filesystem::path(place) / name)) return true;
  return false;
}

/// A package manager with a package that depends on two others beside it, which needs no registry. Its lock file knows
/// the first only.
struct Manager {
  const char* tool;
  const char* lock;                          ///< Below app/.
  std::map<std::string, std::string> files;  ///< That lock file included.
  std::vector<std::string> made;             ///< What the lock file must say then.
};

std::string package_json(const std::string& name, const std::string& more = "") {
  return "{\"name\": \"" + name + "\", \"version\": \"1.0.0\"" + more + "}\n";
}

std::vector<Manager> managers() {
  const std::string app = package_json(
      "app", ", \"dependencies\": {\"one\": \"file:../one\", \"two\": \"file:../two\"}");
  const std::map<std::string, std::string> node = {{"app/package.json", app},
                                                   {"one/package.json", package_json("one")},
                                                   {"two/package.json", package_json("two")}};
  const auto with = [](std::map<std::string, std::string> files, const std::string& lock,
                       const std::string& text) {
    files[lock] = text;
    return files;
  };
  const auto crate = [](const std::string& name, const std::string& more = "") {
    return "[package]\nname = \"" + name + "\"\nversion = \"1.0.0\"\nedition = \"2021\"\n" + more;
  };
  const auto poetry = [](const std::string& name, const std::string& more = "") {
    return "[tool.poetry]\nname = \"" + name +
           "\"\nversion = \"1.0.0\"\ndescription = \"\"\nauthors = []\n"
           "[tool.poetry.dependencies]\npython = \"^3.8\"\n" + more +
           "[build-system]\nrequires = [\"poetry-core\"]\nbuild-backend = \"poetry.core.masonry.api\"\n";
  };
  const auto uv = [](const std::string& name, const std::string& more = "") {
    return "[project]\nname = \"" + name + "\"\nversion = \"1.0.0\"\nrequires-python = \">=3.8\"\n" + more;
  };
  return {
      {"npm", "package-lock.json",
       with(node, "app/package-lock.json",
            "{\"name\": \"app\", \"version\": \"1.0.0\", \"lockfileVersion\": 3, \"requires\": true, "
            "\"packages\": {\"\": {\"name\": \"app\", \"version\": \"1.0.0\"}}}\n"),
       {"\"../one\"", "\"../two\""}},
      {"yarn", "yarn.lock",
       with(node, "app/yarn.lock", "# yarn lockfile v1\n\n\n\"one@file:../one\":\n  version \"1.0.0\"\n"),
       {"one@file:../one", "two@file:../two"}},
      {"pnpm", "pnpm-lock.yaml", with(node, "app/pnpm-lock.yaml", "lockfileVersion: '9.0'\n"),
       {"../one", "../two"}},
      {"cargo", "Cargo.lock",
       {{"app/Cargo.toml", crate("app", "[dependencies]\none = {path = \"../one\"}\ntwo = {path = \"../two\"}\n")},
        {"app/src/lib.rs", ""},
        {"app/Cargo.lock", "version = 3\n\n[[package]]\nname = \"app\"\nversion = \"1.0.0\"\n"},
        {"one/Cargo.toml", crate("one")},
        {"one/src/lib.rs", ""},
        {"two/Cargo.toml", crate("two")},
        {"two/src/lib.rs", ""}},
       {"name = \"one\"", "name = \"two\""}},
      {"poetry", "poetry.lock",
       {{"app/pyproject.toml", poetry("app", "one = {path = \"../one\"}\ntwo = {path = \"../two\"}\n")},
        {"app/poetry.lock", "package = []\n\n[metadata]\nlock-version = \"2.0\"\npython-versions = \"^3.8\"\n"
                            "content-hash = \"stale\"\n"},
        {"one/pyproject.toml", poetry("one")},
        {"one/one.py", ""},
        {"two/pyproject.toml", poetry("two")},
        {"two/two.py", ""}},
       {"name = \"one\"", "name = \"two\""}},
      {"uv", "uv.lock",
       {{"app/pyproject.toml", uv("app", "dependencies = [\"one\", \"two\"]\n[tool.uv.sources]\n"
                                         "one = {path = \"../one\"}\ntwo = {path = \"../two\"}\n")},
        {"app/uv.lock", "version = 1\nrequires-python = \">=3.8\"\n"},
        {"one/pyproject.toml", uv("one")},
        {"two/pyproject.toml", uv("two")}},
       {"name = \"one\"", "name = \"two\""}}};
}

}  // namespace

TEST_CASE("package managers make their lock files anew, and nothing else of it is kept") {
  for (const Manager& manager : managers()) {
    if (!has_program(manager.tool)) {
      WARN("skipped: there is no " << manager.tool << " on this machine (MUSTER_TEST_TOOLS names a directory with one)");
      continue;
    }
    INFO(manager.tool);
    Tree tree(manager.files);
    const std::string lock = std::string("app/") + manager.lock;
    const auto done = tree.run(remake_fleet(with_drivers(json::array()), {lock}), program_places());
    INFO(done.out << done.err);
    REQUIRE(done.exit_code == 0);
    CHECK(tree.changed() == lock + "|");
    const std::string text = git(tree.path(), {"show", "HEAD:" + lock});
    INFO(text);
    for (const std::string& word : manager.made) CHECK(text.find(word) != std::string::npos);
  }
}

TEST_CASE("go makes go.sum anew: what no module needs is gone") {
  if (!has_program("go")) {
    WARN("skipped: there is no go on this machine");
    return;
  }
  const std::string stale = "golang.org/x/text v0.3.0 h1:g61tztE5qeGQ89tm6NTjjM9VPIm088od1l6aSorWRWg=\n";
  Tree tree({{"app/go.mod", "module example.org/app\n\ngo 1.19\n\nrequire example.org/one v1.0.0\n\n"
                            "replace example.org/one => ../one\n"},
             {"app/app.go", "package app\n\nimport _ \"example.org/one\"\n"},
             {"app/go.sum", stale},
             {"one/go.mod", "module example.org/one\n\ngo 1.19\n"},
             {"one/one.go", "package one\n"}});
  const auto done = tree.run(remake_fleet(with_drivers(json::array()), {"app/go.sum"}), program_places());
  INFO(done.out << done.err);
  REQUIRE(done.exit_code == 0);
  CHECK(tree.changed() == "app/go.sum|");
}

TEST_CASE("a driver that is none is refused by name") {
  const auto problem = [](const json& driver) {
    json file = json::parse(R"({
      "name": "s", "repositories": [{"id": "api", "path": "/srv/api.git"}], "agent": {"run": "./agent"},
      "facets": [{"id": "a", "task": "x", "scope": ["**"]}]})");
    file["merge"] = {{"drivers", json::array({driver})}};
    const auto spec = parse_swarm(file.dump());
    REQUIRE_FALSE(spec);
    return spec.error().front().pointer + " " + spec.error().front().message;
  };
  CHECK(problem({{"path", "/x"}, {"run", "true"}}) ==
        "/merge/drivers/0/path \"/x\" must be relative to the repository's root");
  CHECK(problem({{"path", "x"}, {"run", "true"}, {"timeout", "2h"}}) ==
        "/merge/drivers/0/timeout must be an hour at most");
  CHECK(problem({{"path", "x"}}).find("\"run\" is missing") != std::string::npos);
}
