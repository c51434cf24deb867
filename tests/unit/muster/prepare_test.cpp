#include "tools/muster/prepare.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

#include "actors/swarm/swarm_spec.hpp"
#include "storage/base/files.hpp"
#include "tests/unit/muster/scratch.hpp"
#include "tools/muster/commands/template.hpp"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;

/// Runs in the scratch directory, as a person would.
struct Here : Scratch {
  Here() : before(fs::current_path()) { fs::current_path(path()); }
  ~Here() { fs::current_path(before); }
  fs::path before;
};

std::string problems_of(const Scratch& s, const FleetInput& input) {
  const auto fleet = prepare_fleet(input);
  return fleet ? "none\n" : s.anonymous(render_problems(fleet.error()));
}

TEST_CASE("every problem of a fleet file has its line, its column and what was meant") {
  const Here s;
  s.write("fleet.yaml", R"(version: 1
name: Greet
repositories:
  - path: /srv/git/*.git
    labels: {team: 7}
  - /srv/other
agent:
  rnu: ./bump.sh
  timeout: 20 minutes
  timeout: 10m
verify:
  - {name: tests, run: npm test, if_exist: package.json}
rollout:
  waves: [5, 120%, 100%]
  halt:
    failure_rate: 20
delivery:
  commit: {author: nobody}
)");
  FleetInput input;
  input.file = "fleet.yaml";
  CHECK(
      problems_of(s, input) ==
      R"(fleet.yaml:2:7: error: name: "Greet" must be lower-case letters, digits, dots and dashes, at most 63
    2 | name: Greet
      |       ^
fleet.yaml:5:20: error: repositories[0].labels.team: must be text, not the number 7: put it in quotes, "7"
    5 |     labels: {team: 7}
      |                    ^
fleet.yaml:6:5: error: repositories[1]: say what it is: "path: ...", "url: ..." or "file: ..."
    6 |   - /srv/other
      |     ^
fleet.yaml:8:3: error: agent: "run" is missing
    8 |   rnu: ./bump.sh
      |   ^
fleet.yaml:8:3: error: unknown key "rnu"; did you mean "run"?
    8 |   rnu: ./bump.sh
      |   ^
fleet.yaml:9:12: error: agent.timeout: not a duration like 90s, 20m or 24h: "20 minutes"
    9 |   timeout: 20 minutes
      |            ^
fleet.yaml:10:3: error: "timeout" is there twice
   10 |   timeout: 10m
      |   ^
fleet.yaml:12:34: error: unknown key "if_exist"; did you mean "if_exists"?
   12 |   - {name: tests, run: npm test, if_exist: package.json}
      |                                  ^
fleet.yaml:14:14: error: rollout.waves[1]: 120% is over 100%
   14 |   waves: [5, 120%, 100%]
      |              ^
fleet.yaml:16:19: error: rollout.halt.failure_rate: "20" is not a percentage like 20% or 0.5%
   16 |     failure_rate: 20
      |                   ^
fleet.yaml:18:20: error: delivery.commit.author: must look like "Name <name@example.org>"
   18 |   commit: {author: nobody}
      |                    ^
)");
}

TEST_CASE("text that is no YAML, no mapping, or nothing") {
  const Here s;
  const auto problems = [&](const std::string& text) {
    s.write("f.yaml", text);
    FleetInput input;
    input.file = "f.yaml";
    return problems_of(s, input);
  };
  CHECK(problems("name: [a\nagent: {}\n") ==
        "f.yaml:2:6: error: this is not YAML: end of sequence flow not found\n    2 | agent: {}\n  "
        "    |      ^\n");
  CHECK(problems("") == "f.yaml:1:1: error: the file is empty\n");
  CHECK(problems("- a\n") ==
        "f.yaml:1:1: error: a fleet file is a mapping (key: value)\n    1 | - a\n      | ^\n");
  CHECK(problems("a: 1\n---\nb: 2\n").find("a second document begins here") != std::string::npos);
  CHECK(problems("name: \"a\xff\"\n") ==
        "f.yaml:1:1: error: the file is not valid UTF-8\n    1 | name: \"a\\xff\"\n      | ^\n");
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) bomb += (j == 0 ? "*a" : ", *a") + std::to_string(i - 1);
    bomb += "]\n";
  }
  CHECK(problems(bomb).find("error: the file is too large or too deep") != std::string::npos);
  FleetInput absent;
  absent.file = "absent.yaml";
  CHECK(problems_of(s, absent) == "error: no file absent.yaml\n");
}

TEST_CASE("problems of the selection and the agent stand at their lines too") {
  const Here s;
  s.repository("acme/api.git");
  s.write("repos.txt", "acme/api.git\ngone.git\n");
  s.write("fleet.yaml",
          "name: x\nrepositories:\n  - file: repos.txt\n  - path: nowhere\nagent:\n  run: "
          "./gone.sh\n  files: [lib]\n");
  FleetInput input;
  input.file = "fleet.yaml";
  CHECK(problems_of(s, input) ==
        "fleet.yaml:4:5: error: repositories[1]: " + fs::path(s.path()).filename().string() +
            "/nowhere: there is no DIR/nowhere\n"
            "    4 |   - path: nowhere\n      |     ^\n"
            "fleet.yaml:6:8: error: agent.run: there is no file ./gone.sh beside the fleet file; a "
            "script of the repository itself is run by \"bash ./gone.sh\"\n"
            "    6 |   run: ./gone.sh\n      |        ^\n"
            "fleet.yaml:7:11: error: agent.files[0]: there is no DIR/lib\n"
            "    7 |   files: [lib]\n      |           ^\n"
            "repos.txt:2: error: " +
            fs::path(s.path()).filename().string() + "/gone: there is no DIR/gone.git\n");
}

TEST_CASE("one line does what a file does") {
  const Here s;
  s.repository("acme/api.git");
  s.write("bump.sh", "#!/bin/sh\n", true);
  s.write("repos.txt", "acme/api.git\n");
  FleetInput input;
  input.command = {"./bump.sh", "--to", "2 0"};
  input.lists = {"repos.txt"};
  input.branch = "muster/LibGreet_2";
  input.message = "Use libgreet 2";
  input.verify = {"make check", "make lint"};
  input.concurrency = 7;
  input.conflict_strategy = "replace";
  const auto fleet = prepare_fleet(input);
  INFO(problems_of(s, input));
  REQUIRE(fleet);
  const auto spec = nlohmann::json::parse(fleet->spec_json);
  CHECK(spec["name"] == "libgreet-2");
  CHECK(spec["delivery"]["branch"] == "muster/LibGreet_2");
  CHECK(spec["delivery"]["commit"]["message"] == "Use libgreet 2");
  CHECK(spec["delivery"]["conflict_strategy"] == "replace");
  CHECK(spec["rollout"]["concurrency"] == 7);
  CHECK(
      spec["verify"].dump() ==
      R"([{"name":"verify","run":"make check","timeout":"10m"},{"name":"verify-2","run":"make lint","timeout":"10m"}])");
  CHECK(spec["agent"]["run"].dump() ==
        R"(["sh","-c","exec \"$MUSTER_AGENT_DIR\"/bump.sh \"$@\"","bump.sh","--to","2 0"])");
  CHECK(fleet->selection.repositories.size() == 1);
  CHECK(fleet->bundle.files == std::vector<std::string>{"bump.sh"});
}

TEST_CASE("in one line, what is wrong is said of the option") {
  const Here s;
  FleetInput input;
  input.command = {"true"};
  CHECK(problems_of(s, input) ==
        "error: give a branch with -B, or a name with --name\nerror: give the repositories with -R "
        "or --repos\n");
  input.repositories = {"gone.git"};
  input.branch = "a..b";
  input.concurrency = 0;
  CHECK(problems_of(s, input) ==
        "error: --concurrent: must be between 1 and 100000, not 0\nerror: --branch: \"a..b\" is "
        "not a branch name that git accepts\nerror: -R gone.git: " +
            fs::path(s.path()).filename().string() + "/gone: there is no DIR/gone.git\n");
}

TEST_CASE("options stand above the file") {
  const Here s;
  s.repository("acme/api.git");
  s.write("fleet.yaml",
          "name: x\nrepositories: [{path: acme/*.git}]\nagent: {run: 'true'}\nrollout: "
          "{concurrency: 3, priority: 2}\n");
  FleetInput input;
  input.file = "fleet.yaml";
  input.name = "y";
  input.concurrency = 9;
  const auto fleet = prepare_fleet(input);
  REQUIRE(fleet);
  CHECK(fleet->spec.name == "y");
  CHECK(fleet->spec.rollout.concurrency == 9);
  CHECK(fleet->spec.rollout.priority == 2);
}

TEST_CASE("what fleet init writes is valid once its repositories are there") {
  const Here s;
  s.write("fleet.yaml", std::string(kFleetTemplate));
  FleetInput input;
  input.file = "fleet.yaml";
  CHECK(problems_of(s, input).starts_with(
      "fleet.yaml:10:5: error: repositories[0]: nothing matches /srv/git/*.git\n"));
  s.repository("acme/api.git");
  input.repositories = {"acme/api.git"};
  CHECK(problems_of(s, input) == "none\n");
}

template <class Spec>
std::string problems_in(const Spec& spec) {
  std::string problems;
  if (!spec)
    for (const auto& problem : spec.error()) problems += problem.pointer + " " + problem.message + "\n";
  return problems;
}

TEST_CASE("every fleet file and swarm file in the documents is valid") {
  std::size_t checked = 0;
  for (const auto& entry : fs::recursive_directory_iterator(MUSTER_SOURCE_DIR)) {
    const std::string path = entry.path().string();
    if (entry.path().extension() != ".md" || path.find("/build/") != std::string::npos ||
        path.find("node_modules") != std::string::npos)
      continue;
    std::istringstream lines(*read_file(entry.path()));
    std::string line, block;
    bool inside = false;
    while (std::getline(lines, line)) {
      if (!line.starts_with("```")) {
        if (inside) block += line + "\n";
        continue;
      }
      if (inside && block.find("\nrepositories:") != std::string::npos) {
        const YamlSource source = read_yaml(path, block);
        INFO(path << "\n" << block);
        CHECK(source.problems.empty());
        const bool swarm = block.find("\nfacets:") != std::string::npos;
        const auto problems = swarm ? problems_in(actors::swarm::parse_swarm(source.json))
                                    : problems_in(actors::parse_fleet(source.json));
        CHECK(problems == "");
        ++checked;
      }
      inside = !inside && line == "```yaml";
      block.clear();
    }
  }
  CHECK(checked >= 1);
}

TEST_CASE("names of fleets and of dry runs") {
  CHECK(name_from_branch("muster/LibGreet 2") == "libgreet-2");
  CHECK(name_from_branch("--x") == "x");
  CHECK(dry_run_name("x", *parse_rfc3339("2026-11-22T15:45:01Z")) == "x.dry-1122154501");
  CHECK(actors::dotted("/a/0/b") == "a[0].b");
  CHECK(dry_run_name(std::string(63, 'a'), Instant{0}).size() == 63);
}

}  // namespace
}  // namespace muster::cli
