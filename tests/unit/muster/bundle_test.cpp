#include <catch2/catch.hpp>

#include "storage/base/ids.hpp"
#include "tests/unit/muster/scratch.hpp"
#include "tools/muster/agent_bundle.hpp"

namespace muster::cli {
namespace {

std::string listing(const std::string& tar) {
  ProcessSpec spec;
  spec.argv = {"tar", "--utc", "-tvf", "-"};
  spec.env = {{"PATH", "/usr/bin:/bin"}, {"LC_ALL", "C"}};
  spec.input = tar;
  const auto done = run_checked(spec);
  INFO((done ? "" : done.error().message));
  REQUIRE(done);
  return *done;
}

actors::FleetSpec fleet_with(actors::Command run, std::vector<std::string> files = {}) {
  actors::FleetSpec spec;
  spec.agent.run = std::move(run);
  spec.agent.files = std::move(files);
  return spec;
}

std::string text_of(const std::vector<actors::Problem>& problems) {
  std::string out;
  for (const auto& p : problems) out += p.pointer + ": " + p.message + "\n";
  return out;
}

TEST_CASE("script and files travel as a tar that depends on nothing but them") {
  const Scratch one, two;
  for (const Scratch* s : {&one, &two}) {
    s->write("lib/deep/b.txt", "b\n");
    s->write("bump.sh", "#!/bin/sh\n");
    s->write("lib/tool", "t\n", true);
    std::filesystem::create_symlink("deep/b.txt", s->path() / "lib/link");
  }
  std::vector<actors::Problem> problems;
  auto spec = fleet_with({"./bump.sh --to 2 | cat", {}}, {"lib/"});
  const auto bundle = bundle_agent(spec, one.path(), problems);
  CHECK(text_of(problems).empty());
  CHECK(spec.agent.run.shell == "\"$MUSTER_AGENT_DIR\"/bump.sh --to 2 | cat");
  CHECK(bundle.files ==
        std::vector<std::string>{"bump.sh", "lib/deep/b.txt", "lib/link", "lib/tool"});
  CHECK(listing(bundle.tar) ==
        "-rwxr-xr-x 0/0              10 1970-01-01 00:00 bump.sh\n"
        "-rw-r--r-- 0/0               2 1970-01-01 00:00 lib/deep/b.txt\n"
        "lrwxr-xr-x 0/0               0 1970-01-01 00:00 lib/link -> deep/b.txt\n"
        "-rwxr-xr-x 0/0               2 1970-01-01 00:00 lib/tool\n");
  auto again = fleet_with({"./bump.sh --to 2 | cat", {}}, {"lib"});
  CHECK(sha256_hex(bundle_agent(again, two.path(), problems).tar) == sha256_hex(bundle.tar));
}

TEST_CASE("files of the environment travel, too, as plain files of the fleet's directory") {
  const Scratch s;
  s.write("fleet/ci/npmrc", "x\n");
  s.write("outside", "x\n");
  std::filesystem::create_symlink("npmrc", s.path() / "fleet/ci/link");
  std::vector<actors::Problem> problems;
  auto spec = fleet_with({"true", {}});
  spec.environment.files = {{"./ci/../ci/npmrc", "/home/agent/.npmrc", 0600, false}};
  const auto bundle = bundle_agent(spec, s.path() / "fleet", problems);
  CHECK(text_of(problems).empty());
  CHECK(bundle.files == std::vector<std::string>{"ci/npmrc"});
  CHECK(spec.environment.files[0].source == "ci/npmrc");
  spec.environment.files = {{"../outside", "/tmp/a", 0644, false}, {"ci", "/tmp/b", 0644, false},
                            {"ci/none", "/tmp/c", 0644, false}, {"ci/link", "/tmp/d", 0644, false}};
  bundle_agent(spec, s.path() / "fleet", problems);
  const std::string root = std::filesystem::weakly_canonical(s.path() / "fleet").string();
  CHECK(text_of(problems) ==
        "/environment/files/0/source: \"../outside\" must lie below the fleet file's directory\n"
        "/environment/files/1/source: ci is not a plain file\n"
        "/environment/files/2/source: there is no " + root + "/ci/none\n"
        "/environment/files/3/source: ci/link is not a plain file\n");
}

TEST_CASE("which first words travel") {
  const Scratch s;
  s.write("fleet/scripts/a b.sh", "x");
  s.write("fleet/go.sh", "x");
  s.write("outside.sh", "x");
  const auto resolved = [&](actors::Command run) {
    std::vector<actors::Problem> problems;
    auto spec = fleet_with(std::move(run));
    bundle_agent(spec, s.path() / "fleet", problems);
    std::string out = spec.agent.run.shell;
    for (const auto& word : spec.agent.run.argv) out += "[" + word + "]";
    return s.anonymous(out + (problems.empty() ? "" : " ! " + problems.front().message));
  };
  CHECK(resolved({"", {"scripts/a b.sh", "x y"}}) ==
        "[sh][-c][exec \"$MUSTER_AGENT_DIR\"/'scripts/a b.sh' \"$@\"][scripts/a b.sh][x y]");
  CHECK(resolved({(s.path() / "fleet/go.sh").string() + " 1", {}}) ==
        "\"$MUSTER_AGENT_DIR\"/go.sh 1");
  CHECK(resolved({"go.sh", {}}) == "go.sh");
  CHECK(resolved({"npm test", {}}) == "npm test");
  CHECK(resolved({"/bin/sh -c true", {}}) == "/bin/sh -c true");
  CHECK(resolved({"scripts/of-the-repository.sh", {}}) == "scripts/of-the-repository.sh");
  CHECK(resolved({"../outside.sh", {}}) ==
        "../outside.sh ! \"../outside.sh\" must lie below the fleet file's directory to travel "
        "with it");
  CHECK(resolved({"./gone.sh", {}}) ==
        "./gone.sh ! there is no file ./gone.sh beside the fleet file; a script of the repository "
        "itself is run by \"bash ./gone.sh\"");
}

TEST_CASE("what may not travel is named") {
  const Scratch s;
  s.write("fleet/ok", "x");
  s.write("secret", "x");
  std::filesystem::create_symlink("../secret", s.path() / "fleet/escape");
  std::vector<actors::Problem> problems;
  auto spec =
      fleet_with({"true", {}}, {"gone", "../secret", "escape", (s.path() / "fleet/ok").string()});
  CHECK(bundle_agent(spec, s.path() / "fleet", problems).tar.empty());
  CHECK(s.anonymous(text_of(problems)) ==
        "/agent/files/0: there is no DIR/fleet/gone\n"
        "/agent/files/1: \"../secret\" must lie below the fleet file's directory\n"
        "/agent/files/2: escape is a symbolic link that leads outside the fleet file's directory\n"
        "/agent/files/3: \"DIR/fleet/ok\" must lie below the fleet file's directory\n");
}

TEST_CASE("a path of 200 bytes travels") {
  const Scratch s;
  const std::string name = std::string(90, 'd') + "/" + std::string(90, 'e') + "/f";
  s.write(name, "x");
  std::vector<actors::Problem> problems;
  auto spec = fleet_with({"true", {}}, {std::string(90, 'd')});
  const auto bundle = bundle_agent(spec, s.path(), problems);
  CHECK(listing(bundle.tar).find(name) != std::string::npos);
}

}  // namespace
}  // namespace muster::cli
