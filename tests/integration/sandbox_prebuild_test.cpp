// What a setup left, kept and given to the next: the same result as if it had run again, and nothing of anybody's agent.
#include "tests/integration/sandbox_daemon.hpp"
#include "tests/integration/sandbox_images.hpp"

namespace muster::sandbox::test {

namespace {

/// A host with an environment whose setup makes what a package manager would: a directory that git ignores, a cache in HOME.
struct Workshop {
  Workshop() {
    commit_file(sandboxes, ".gitignore", "deps/\n*.log\n");
    commit_file(sandboxes, "lock", "one\n");
    config = sandboxes.config();
    auto& tools = config.environments.named["tools"];
    tools.setup = {shell_command("mkdir -p deps/lib; cp lock deps/lib/version; echo run >> $HOME/runs; ln -s version deps/lib/current; "
                                 "echo built > generated.txt")};
    tools.prebuild = std::vector<std::string>{"lock", "absent.lock"};
    sandboxes.open(config);
  }
  static std::vector<std::string> shell_command(const std::string& script) { return {"bash", "-eo", "pipefail", "-c", script}; }

  wire::AttemptReportT run(const std::string& script, unsigned slot = 0,
                           const std::function<void(wire::SandboxSpecT&)>& change = {}) {
    auto spec = sandboxes.spec(script);
    spec.image = "env:tools";
    spec.attempt = ++attempt;
    if (change) change(spec);
    auto report = sandboxes.run(spec, slot);
    INFO(report.message);
    const Places places(sandboxes.host().config.paths, sandbox_id(spec.run, spec.attempt));
    const std::string log = read_file(places.log()).value_or("");
    const std::size_t at = log.find("prebuild ");
    note = at == std::string::npos ? "" : log.substr(at, log.find_first_of("\x05\x01", at) - at);
    sandboxes.require_gone(places.id);
    return report;
  }
  [[nodiscard]] bool hit() const { return note.find(": hit") != std::string::npos; }
  [[nodiscard]] bool kept() const { return note.find(": miss, kept in") != std::string::npos; }
  [[nodiscard]] std::set<std::string> layers() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(config.paths.host() / "prebuilds")) names.insert(entry.path().filename());
    return names;
  }
  std::string tree(const wire::AttemptReportT& report) {
    const fs::path pack = pack_path(Places(sandboxes.host().config.paths, sandbox_id("0123456789ABC", attempt)));
    shell("git index-pack --stdin --fix-thin < " + pack.string() + " > /dev/null", sandboxes.repository());
    return shell("git ls-tree -r --name-only " + report.head_sha + " | xargs", sandboxes.repository());
  }

  Sandboxes sandboxes;
  HostConfig config;
  std::string note;
  std::uint32_t attempt = 0;
};

constexpr const char* kLook = "cat deps/lib/current $HOME/runs; echo x > new.txt; ";
constexpr const char* kMissed = "changed setup:env:1=0 agent=0";
constexpr const char* kHit = "changed agent=0";

}  // namespace

TEST_CASE("the setup of the first is the layer of the second: the same files, the same commit, another owner") {
  Workshop workshop;
  const auto first = workshop.run(kLook);
  CHECK(brief(first) == kMissed);
  INFO(workshop.note);
  CHECK(workshop.kept());
  CHECK(workshop.sandboxes.log == "one\nrun\n");
  const auto second = workshop.run(std::string(kLook), 1);  // another slot: other user ids
  CHECK(brief(second) == kHit);
  INFO(workshop.note);
  CHECK(workshop.hit());
  CHECK(workshop.sandboxes.log == "one\nrun\n");
  CHECK(second.head_sha == first.head_sha);
  CHECK(workshop.tree(second) == ".gitignore a.txt generated.txt lib/b.txt lock new.txt run.sh");
  SECTION("everything in it can be changed, and nobody else sees that") {
    const auto third = workshop.run("stat -c %u deps/lib/version; echo mine > deps/lib/version; mv deps/lib deps/gone; rm -r deps; mkdir deps; "
                                    "echo poison >> $HOME/runs; echo x > new.txt");
    CHECK(brief(third) == kHit);
    CHECK(workshop.sandboxes.log == "1000\n");
    CHECK(brief(workshop.run(kLook)) == kHit);
    CHECK(workshop.sandboxes.log == "one\nrun\n");
  }
  SECTION("also after a restart, and with a disk of its own") {
    workshop.config.disk_limit = DiskLimit::loop;
    workshop.sandboxes.open(workshop.config);
    CHECK(brief(workshop.run(kLook)) == kHit);
    CHECK(workshop.sandboxes.log == "one\nrun\n");
  }
  SECTION("what the repository tracks comes from its newer commit") {
    commit_file(workshop.sandboxes, "a.txt", "newer\n");
    commit_file(workshop.sandboxes, "lib/b.txt", "");
    commit_file(workshop.sandboxes, "generated.txt", "tracked now\n");
    const auto third = workshop.run(std::string(kLook) + "cat a.txt generated.txt; test ! -e lib/b.txt; test -z \"$(git status --porcelain -uno)\"");
    CHECK(brief(third) == kHit);
    CHECK(workshop.sandboxes.log == "one\nrun\nnewer\ntracked now\n");
    CHECK(workshop.tree(third) == ".gitignore a.txt generated.txt lock new.txt run.sh");
  }
}

TEST_CASE("another lock file, setup, variable, secret or branch is another prebuild; the replaced one goes") {
  Workshop workshop;
  workshop.run(kLook);
  REQUIRE(workshop.kept());
  auto before = workshop.layers();
  REQUIRE(before.size() == 1);
  SECTION("a lock file that changed") {
    commit_file(workshop.sandboxes, "lock", "two\n");
    CHECK(brief(workshop.run(kLook)) == kMissed);
    CHECK(workshop.sandboxes.log == "two\nrun\n");
  }
  SECTION("a lock file that was absent") {
    commit_file(workshop.sandboxes, "absent.lock", "x\n");
    CHECK(brief(workshop.run(kLook)) == kMissed);
  }
  SECTION("another setup") {
    workshop.config.environments.named["tools"].setup.push_back({"true"});
    workshop.sandboxes.open(workshop.config);
    CHECK(brief(workshop.run(kLook)) == "changed setup:env:1=0 setup:env:2=0 agent=0");
  }
  SECTION("a secret of the fleet") {
    const fs::path secrets = workshop.config.paths.secrets();
    fs::create_directories(secrets);
    std::ofstream(secrets / "KEY") << "hunter22";
    fs::permissions(secrets / "KEY", fs::perms(0600));
    CHECK(brief(workshop.run(kLook, 0, [](auto& spec) { spec.secrets = {"KEY"}; })) == kMissed);
  }
  SECTION("one that is too old") {
    workshop.config.prebuild_max_age_hours = 0;
    workshop.sandboxes.open(workshop.config);
    const auto old = before.begin()->substr(0, before.begin()->rfind('-')) + "-1000";  // its name ends in the time of its making
    shell("cd " + (workshop.config.paths.host() / "prebuilds").string() + "; mv " + *before.begin() + " " + old);
    before = workshop.layers();
    REQUIRE(before == decltype(before){old});
    CHECK(brief(workshop.run(kLook)) == kMissed);
  }
  CHECK(workshop.kept());
  CHECK(workshop.layers().size() == 1);
  CHECK(workshop.layers() != before);
}

TEST_CASE("a setup that changes tracked files, or fails, is not kept") {
  Workshop workshop;
  auto& setup = workshop.config.environments.named["tools"].setup;
  SECTION("changed") {
    setup = {Workshop::shell_command("echo more >> a.txt; mkdir deps; echo x > $HOME/runs")};
    workshop.sandboxes.open(workshop.config);
    for (int i = 0; i < 2; ++i) {
      CHECK(brief(workshop.run("echo x > new.txt")) == kMissed);
      CHECK(workshop.note.find("not kept: the setup changes files that the repository tracks") != std::string::npos);
    }
  }
  SECTION("replaced by a link") {
    setup = {Workshop::shell_command("rm -r lib; ln -s /etc lib")};
    workshop.sandboxes.open(workshop.config);
    CHECK(brief(workshop.run("echo x > new.txt")) == kMissed);
    CHECK(workshop.note.find("not kept") != std::string::npos);
  }
  SECTION("failed") {
    setup = {Workshop::shell_command("echo x > $HOME/runs; exit 3")};
    workshop.sandboxes.open(workshop.config);
    CHECK(brief(workshop.run("echo never")) == "step_failed setup:env:1=3");
  }
  SECTION("not wanted") {
    workshop.config.environments.named["tools"].prebuild.reset();
    workshop.sandboxes.open(workshop.config);
    CHECK(brief(workshop.run("echo x > new.txt")) == kMissed);
    CHECK(workshop.note.empty());
  }
  CHECK(workshop.layers().empty());
}

TEST_CASE("links of a setup lead nowhere but inside its sandbox") {
  Workshop workshop;
  workshop.config.environments.named["tools"].setup = {
      Workshop::shell_command("mkdir deps; ln -s /etc deps/etc; ln -s ../../../../../../../etc/passwd deps/up; mkfifo deps/pipe; "
                              "ln a.txt deps/hard; mkdir deps/deep; cd deps/deep; for i in $(seq 60); do mkdir d; cd d; done")};
  workshop.sandboxes.open(workshop.config);
  CHECK(brief(workshop.run("echo x > new.txt")) == kMissed);
  INFO(workshop.note);
  CHECK(workshop.kept());
  const fs::path layer = workshop.config.paths.host() / "prebuilds" / *workshop.layers().begin() / "work";
  CHECK(fs::is_symlink(layer / "deps/etc"));
  CHECK_FALSE(fs::exists(layer / "a.txt"));
  CHECK(shell("find " + layer.string() + " ! -uid 1000 | wc -l") == "0");
  CHECK(shell("stat -c %u /etc /etc/passwd | xargs") == "0 0");
  CHECK(brief(workshop.run("readlink deps/etc; cat deps/hard; echo x > new.txt")) == kHit);
  CHECK(workshop.sandboxes.log == "/etc\none\n");
}

TEST_CASE("sandboxd killed during a setup: the sandbox goes on, and nothing is kept of it; the next one is") {
  World world("environments:\n  tools:\n    setup: ['" + std::string(kPause) + "echo x > $HOME/state']\n    prebuild: [lock]\n");
  auto spec = world.sandboxes.spec("cat $HOME/state; echo x > new.txt");
  spec.image = "env:tools";
  const fs::path prebuilds = world.sandboxes.host().config.paths.host() / "prebuilds";
  const auto let = [&](const std::string& id, bool kill) {
    world.engine.start(spec);
    world.wait_file(world.output(id) / "here");
    if (kill) world.daemon->kill_and_restart();
    if (kill) world.engine.wait([&] { return world.engine.hellos == 2; });
    world.touch(world.output(id) / "go");
    CHECK(brief(world.engine.wait_report(id)) == "changed setup:env:1=0 agent=0");
    world.wait_forgotten(id);
  };
  let(kId, true);
  CHECK(fs::is_empty(prebuilds));
  spec.attempt = 2;
  let("0123456789ABC-2", false);
  CHECK_FALSE(fs::is_empty(prebuilds));
  spec.attempt = 3;
  world.engine.start(spec);
  CHECK(brief(world.engine.wait_report("0123456789ABC-3")) == "changed agent=0");
  world.wait_forgotten("0123456789ABC-3");
}

}  // namespace muster::sandbox::test
