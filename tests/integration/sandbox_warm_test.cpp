// Sandboxes made ahead: an attempt in one sees and leaves exactly what it would in one of its own, nothing of an attempt is
// in one that waits, and none is left behind.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "sandboxd/pool.hpp"
#include "sandboxd/project_quota.hpp"
#include "tests/integration/sandbox_daemon.hpp"
#include "tests/integration/sandbox_images.hpp"

namespace muster::sandbox::test {

namespace {

/// A host that makes sandboxes ahead when it is told to.
struct Shelf {
  Shelf() : config(sandboxes.config()) { open(); }
  void open() {
    config.warm_pool.max = 4;
    if (check_projects(sandboxes.root())) config.disk_limit = DiskLimit::project;  // the host of quota_host_test.py
    sandboxes.open(config);
  }
  Host& host() { return sandboxes.host(); }
  [[nodiscard]] wire::SandboxSpecT spec(const std::string& script) {
    auto spec = sandboxes.spec(script);
    spec.attempt = ++attempt;
    return spec;
  }
  Started fetched(const wire::SandboxSpecT& spec) {
    auto started = fetch_attempt(host(), spec);
    if (!started) FAIL(started.error().message);
    return std::move(*started);
  }
  /// One that waits for attempts like this.
  WarmSandbox make(const wire::SandboxSpecT& like, unsigned slot = 7) {
    return make(like, fetched(like), slot);
  }
  WarmSandbox make(const wire::SandboxSpecT& like, const Started& started, unsigned slot = 7) {
    auto warm = make_warm(host(), like, started, new_warm_id(), slot, [] { return false; });
    if (!warm) FAIL(warm.error().message);
    return std::move(*warm);
  }
  [[nodiscard]] Places places(const std::string& id) { return Places(host().config.paths, id); }
  /// Its notes, after it ended.
  std::string notes() {
    return read_file(places(sandbox_id("0123456789ABC", attempt)).log()).value_or("");
  }
  void require_gone(const WarmSandbox& warm) {
    sandboxes.require_gone(warm.id);
    CHECK_FALSE(fs::exists(places(warm.id).kept));
    CHECK_FALSE(fs::exists(host().ops.exits() / warm.id));
    sandboxes.require_gone(sandbox_id("0123456789ABC", attempt));
  }

  Sandboxes sandboxes;
  HostConfig config;
  std::uint32_t attempt = 0;
};

/// Everything an agent could tell one sandbox from another by.
constexpr const char* kLookAround =
    "env | grep -v -e ^MUSTER_ATTEMPT -e ^MUSTER_DEADLINE | sort; id; ulimit -a | grep -v 'pending signals'; git status --porcelain=v2 --branch; "
    "git for-each-ref; git config --list --local; git log --format=%H; ls -lA --time-style=+; "
    "find /muster $HOME /tmp -path /muster/objects -prune -o -printf '%p %y %m %u %g %l\\n' | sort; cat $MUSTER_PROMPT_FILE $MUSTER_CONTEXT_FILE $MUSTER_AGENT_DIR/greeting; "
    "cat /proc/1/comm /proc/self/cgroup | sed s/[^/]*-[0-9]*$//; set -- /proc/[0-9]*; echo $#; awk '{print $5, $6}' /proc/self/mountinfo; "
    "echo changed >> a.txt; echo new > new.txt; git commit -qam own; ls -A .git/refs/heads";

/// A bundle with one file, among the host's blobs.
std::string put_bundle(Shelf& shelf) {
  const fs::path tar = shelf.sandboxes.root() / "bundle.tar";
  shell("mkdir -p bundle/lib && echo hello > bundle/greeting && echo x > bundle/lib/x && ln -s greeting bundle/link && "
        "tar -C bundle -cf bundle.tar greeting lib link", shelf.sandboxes.root());
  const std::string bytes = read_file(tar).value();
  REQUIRE(shelf.host().blobs.put(sha256_hex(bytes), bytes));
  return sha256_hex(bytes);
}

}  // namespace

TEST_CASE("an attempt in a sandbox made ahead sees and leaves what it would in one of its own") {
  Shelf shelf;
  const std::string bundle = put_bundle(shelf);
  const auto asked = [&] {
    auto spec = shelf.spec(kLookAround);
    spec.agent_bundle = bundle;
    Sandboxes::add_step(spec, "verify:a", "grep -q changed a.txt; test -e new.txt");
    return spec;
  };
  const auto cold = shelf.sandboxes.run(asked(), 3);
  const std::string seen = shelf.sandboxes.log;
  CHECK(brief(cold) == "changed agent=0 verify:a=0");
  CHECK_THAT(shelf.notes(), Catch::Contains("warm sandbox: miss"));
  const auto like = asked();
  const auto warm = shelf.make(like);
  const auto report = shelf.sandboxes.run(like, 0, warm);
  INFO(report.message);
  CHECK(brief(report) == "changed agent=0 verify:a=0");
  CHECK(shelf.sandboxes.log == seen);
  CHECK(report.head_sha == cold.head_sha);
  CHECK_THAT(shelf.notes(), Catch::Contains("warm sandbox: hit"));
  shelf.require_gone(warm);
}

TEST_CASE("a base that has moved since is checked out at the hand-over") {
  Shelf shelf;
  const auto warm = shelf.make(shelf.spec(""));
  commit_file(shelf.sandboxes, "b.txt", "newer\n");
  commit_file(shelf.sandboxes, "lib/b.txt", "");
  commit_file(shelf.sandboxes, "a.txt", "changed\n");
  const auto report = shelf.sandboxes.run(
      shelf.spec("ls; cat a.txt b.txt; git status --porcelain; test $(git rev-parse HEAD) = $MUSTER_BASE_SHA; echo x > new.txt"), 0, warm);
  CHECK(brief(report) == "changed agent=0");
  CHECK(shelf.sandboxes.log == "a.txt\nb.txt\nrun.sh\nchanged\nnewer\n");
  CHECK(report.base_sha == shelf.sandboxes.base());
  CHECK_THAT(shelf.notes(), Catch::Contains("warm sandbox: hit"));
  shelf.require_gone(warm);
}

TEST_CASE("who waits has nothing of any attempt: no secret, variable, prompt, agent or limit") {
  Shelf shelf;
  const fs::path secrets = shelf.config.paths.secrets();
  fs::create_directories(secrets);
  shell("printf 's3cret-value\n' > KEY && chmod 0600 KEY", secrets);
  auto spec = shelf.spec("test $KEY = s3cret-value; echo $ONLY_MINE; ulimit -f; echo $KEY; "
                         "head -c 300M /dev/zero | tail");
  spec.secrets = {"KEY"};
  spec.prompt = "prompt-of-one";
  spec.agent_bundle = put_bundle(shelf);
  spec.disk_bytes = 123u << 20;
  spec.memory_bytes = 96u << 20;
  auto variable = std::make_unique<wire::KeyValueT>();
  variable->key = "ONLY_MINE";
  variable->value = "value-of-one";
  spec.env.push_back(std::move(variable));
  const auto warm = shelf.make(spec);
  const Places places = shelf.places(warm.id);
  const auto pid = read_file(places.pid()).value();
  const std::string all = shell("cat /proc/" + pid + "/environ /proc/" + pid + "/cmdline " + places.config().string() + "; grep -r '' " +
                                    places.in().string() + " " + places.kept.string() + " --exclude-dir=work", "/");
  for (const char* word : {"s3cret-value", "KEY", "prompt-of-one", "value-of-one", "hello", "0123456789ABC", "test/acme"})
    CHECK_THAT(all, !Catch::Contains(word));
  CHECK(fs::is_empty(places.agent()));
  CHECK(fs::file_size(places.log()) == 0);
  CHECK_THAT(shell("cat /proc/" + pid + "/limits", "/"), !Catch::Contains(std::to_string(spec.disk_bytes)));
  // And what it gets are the attempt's own limits.
  const auto report = shelf.sandboxes.run(spec, 0, warm);
  CHECK(brief(report) == "step_failed agent=137/out_of_memory");
  CHECK_THAT(shelf.sandboxes.log, Catch::StartsWith("value-of-one\n" + std::to_string(123 * 1024) + "\n***\n"));
  shelf.require_gone(warm);
}

TEST_CASE("only attempts that want the same container take it") {
  Shelf shelf;
  shelf.config.allow_host_network = true;
  shelf.open();
  const auto key = [&](const std::function<void(wire::SandboxSpecT&)>& change) {
    auto spec = shelf.spec("true");
    change(spec);
    return shelf.fetched(spec).warm_key;
  };
  shell("git branch other main; git clone -q --bare . ../twin.git", shelf.sandboxes.repository());
  const std::string usual = key([](auto&) {});
  CHECK(usual.size() == 64);
  CHECK(key([](auto& spec) {
          spec.fleet = "another";
          spec.branch = "muster/another";
          spec.prompt = "else";
          spec.memory_bytes *= 2;
          spec.pids = 3;
          spec.secrets = {"KEY"};
          spec.agent_bundle = std::string(64, 'a');
          spec.steps[0]->name = "setup:1";
        }) == usual);
  CHECK(key([](auto& spec) { spec.network = wire::Network::host; }) != usual);
  CHECK(key([](auto& spec) { spec.base_branch = "other"; }) != usual);
  CHECK(key([&](auto& spec) { spec.url = (shelf.sandboxes.root() / "acme/twin.git").string(); }) != usual);
  fs::create_directories(shelf.sandboxes.root() / "images/plain");
  CHECK(key([&](auto& spec) { spec.image = "dir:" + (shelf.sandboxes.root() / "images/plain").string(); }) != usual);
}

TEST_CASE("one that has died, or was touched, is not used: another is made, and the attempt does not notice") {
  Shelf shelf;
  auto spec = shelf.spec("echo here; echo x > new.txt");
  const auto warm = shelf.make(spec);
  const Places places = shelf.places(warm.id);
  SECTION("killed") {
    shell("kill -9 " + read_file(places.pid()).value(), "/");
    while (!shelf.host().ops.exit_code(warm.id)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  SECTION("its supervisor is gone") {
    shell("kill -9 " + read_file(places.conmon_pid()).value(), "/");
    while (shelf.host().ops.supervised(warm.id)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  SECTION("it has said something") { std::ofstream(places.log()) << "x"; }
  SECTION("its agent directory is not empty") {
    spec.agent_bundle = put_bundle(shelf);
    std::ofstream(places.agent() / "greeting") << "x";
  }
  SECTION("the attempt has a log already") {
    fs::create_directories(shelf.places("0123456789ABC-1").kept);
    std::ofstream(shelf.places("0123456789ABC-1").log()).close();
  }
  const auto report = shelf.sandboxes.run(spec, 0, warm);
  CHECK(brief(report) == "changed agent=0");
  CHECK(shelf.sandboxes.log == "here\n");
  shelf.require_gone(warm);
}

TEST_CASE("a hand-over that broke off leaves nothing, wherever it did") {
  Shelf shelf;
  const auto spec = shelf.spec("true");
  const std::string id = sandbox_id(spec.run, spec.attempt);
  const auto warm = shelf.make(spec);
  const Places from = shelf.places(warm.id), to = shelf.places(id);
  fs::create_directories(to.kept);
  fs::rename(from.log(), to.log());
  SECTION("before the workspace was moved") {}
  SECTION("after it") { fs::rename(from.writable(), to.writable()); }
  SECTION("after the last rename") {
    std::ofstream(from.container()) << warm.id;
    fs::rename(from.writable(), to.writable());
    fs::rename(from.run, to.run);
    CHECK(shelf.host().ops.container(id) == warm.id);
    CHECK(shelf.host().ops.alive(id));
    CHECK(shelf.host().ops.leftovers() == std::vector<std::string>{id});
  }
  for (const auto& name : shelf.host().ops.leftovers()) CHECK(shelf.host().ops.teardown(name, true));
  CHECK(shelf.host().ops.leftovers().empty());
  shelf.require_gone(warm);
}

TEST_CASE("a prebuilt layer lies under a sandbox that was made ahead, too") {
  Shelf shelf;
  auto& tools = shelf.config.environments.named["tools"];
  tools.setup = {{"bash", "-c", "echo run >> $HOME/runs"}};
  tools.prebuild = std::vector<std::string>{};
  shelf.open();
  const auto asked = [&] {
    auto spec = shelf.spec("cat $HOME/runs; echo mine >> $HOME/runs; echo x > new.txt");
    spec.image = "env:tools";
    return spec;
  };
  CHECK(brief(shelf.sandboxes.run(asked())) == "changed setup:env:1=0 agent=0");
  auto spec = asked();
  auto started = create_attempt(shelf.host(), spec, shelf.fetched(spec), 1);  // what a daemon knows after a placement
  REQUIRE(started);
  CHECK_THAT(started->prebuild_note, Catch::Contains(": hit"));
  CHECK(shelf.host().ops.teardown(sandbox_id(spec.run, spec.attempt), true));
  const auto warm = shelf.make(spec, *started);
  CHECK_FALSE(warm.layer.empty());
  CHECK(shelf.host().prebuilds.in_use() == std::set<std::string>{warm.layer.filename().string()});
  CHECK(brief(shelf.sandboxes.run(asked(), 0, warm)) == "changed agent=0");
  CHECK(shelf.sandboxes.log == "run\n");
  CHECK_THAT(shelf.notes(), Catch::Contains(": hit, its setup is not repeated, warm sandbox: hit"));
  shelf.require_gone(warm);
}

// ---- the daemon's pool ----

namespace {

constexpr const char* kPool = "warm_pool: {max: 2, per_environment: 1}\n";

std::string attempt_id(std::uint32_t n) { return "0123456789ABC-" + std::to_string(n); }

/// Until one waits for the next attempt, after `placed` attempts since the daemon began; its name.
std::string wait_for_one(World& world, std::uint64_t placed) {
  world.engine.wait([&] {
    const auto& pool = world.engine.pool;
    return pool && pool->hits + pool->misses == placed && pool->waiting == 1 && pool->making == 0;
  });
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(world.sandboxes.host().config.paths.runtime() / "s"))
    if (const std::string name = entry.path().filename(); name.starts_with("warm")) found.push_back(name);
  REQUIRE(found.size() == 1);
  return found[0];
}

/// Three attempts, one after the other; the third, which runs `script`, gets a sandbox made ahead.
void place_three(World& world, const std::string& script) {
  for (std::uint32_t n = 1; n <= 3; ++n) {
    auto spec = world.sandboxes.spec(n < 3 ? "true" : script);
    spec.attempt = n;
    if (n == 3) wait_for_one(world, 2);
    world.engine.start(spec);
    if (n < 3) world.engine.wait_report(attempt_id(n));
  }
}

}  // namespace

TEST_CASE("asked for twice, the next attempts get sandboxes made ahead, each another, and the daemon takes its pool along") {
  World world(kPool);
  std::set<std::string> containers;
  for (std::uint32_t n = 1; n <= 5; ++n) {
    INFO("attempt " << n);
    if (n > 2) containers.insert(wait_for_one(world, n - 1));
    auto spec = world.sandboxes.spec("ls -A $HOME /tmp; touch $HOME/left /tmp/left left; echo $MUSTER_ATTEMPT > new.txt");
    spec.attempt = n;
    world.engine.start(spec);
    const auto report = world.engine.wait_report(attempt_id(n));
    INFO(report->message);
    CHECK(brief(report) == "changed agent=0");
    world.engine.wait([&] { return world.engine.complete_logs.contains(attempt_id(n)); });
    CHECK(world.engine.log_text(attempt_id(n)) == "/home/agent:\n\n/tmp:\n");
    CHECK(world.engine.story(attempt_id(n)) == "accepted running finished");
    CHECK(report->warm_sandbox == (n > 2 ? wire::Reuse::hit : wire::Reuse::miss));
    CHECK_THAT(world.engine.logs[attempt_id(n)], Catch::Contains(n > 2 ? "warm sandbox: hit" : "warm sandbox: miss"));
    world.wait_forgotten(attempt_id(n));
  }
  CHECK(containers.size() == 3);
  CHECK_FALSE(containers.contains(wait_for_one(world, 5)));
  const auto pool = world.engine.pool_said();
  CHECK(pool->max == 2);
  CHECK(pool->hits == 3);
  CHECK(pool->misses == 2);
  REQUIRE(pool->lines.size() == 1);
  const auto& line = *pool->lines[0];
  CHECK(line.url == world.sandboxes.repository().string());
  CHECK(line.branch == "main");
  CHECK(line.image == "host");
  CHECK((line.waiting == 1 && line.wanted == 1 && line.hits == 3 && line.misses == 2));
  world.daemon->end(SIGTERM);
  CHECK(leftovers(world.sandboxes) == "");
}

TEST_CASE("a daemon that was killed takes up an attempt in a sandbox made ahead, and removes those that wait") {
  World world(kPool);
  place_three(world, kPause);
  world.wait_file(world.output(attempt_id(3)) / "here");
  CHECK(world.sandboxes.host().ops.container(attempt_id(3)) != attempt_id(3));
  const std::string waits = wait_for_one(world, 3);
  world.daemon->kill_and_restart();
  world.touch(world.output(attempt_id(3)) / "go");
  const auto report = world.engine.wait_report(attempt_id(3));
  CHECK(brief(report) == "unchanged agent=0");
  CHECK(report->warm_sandbox == wire::Reuse::hit);
  world.engine.wait([&] { return world.engine.complete_logs.contains(attempt_id(3)); });
  CHECK(world.engine.log_text(attempt_id(3)) == "before\nafter\n");
  CHECK_THAT(world.engine.logs[attempt_id(3)], Catch::Contains("warm sandbox: hit"));
  world.wait_forgotten(attempt_id(3));
  CHECK_FALSE(fs::exists(Places(world.sandboxes.host().config.paths, waits).kept));
  world.daemon->end(SIGTERM);
  CHECK(leftovers(world.sandboxes) == "");
}

TEST_CASE("a command and a stop reach an attempt in a sandbox made ahead") {
  World world(kPool);
  place_three(world, kPause);
  world.wait_file(world.output(attempt_id(3)) / "here");
  world.engine.wait_story(attempt_id(3), "accepted running");
  wire::ExecOpenT open;
  open.exec = 1;
  open.argv = {"bash", "-c", "pwd; cat a.txt; cat /proc/1/comm; ulimit -f"};
  world.engine.tell_exec(attempt_id(3), std::move(open));
  wire::ExecCreditT credit;
  credit.exec = 1;
  credit.bytes = 1000;
  world.engine.tell_exec(attempt_id(3), credit);
  world.engine.wait([&] { return world.engine.exec_ends.contains(1); });
  CHECK(world.engine.exec_output[1] == "/work\none\ninit\n1048576\n");
  CHECK(world.engine.exec_ends[1].exit_code == 0);
  world.engine.stop("0123456789ABC", 3, 5'000);
  CHECK(brief(world.engine.wait_report(attempt_id(3))) == "cancelled(cancelled) agent=143/stopped");
  world.wait_forgotten(attempt_id(3));
}

TEST_CASE("a daemon that died within a hand-over: the attempt goes on there or begins again, and nothing is left") {
  World world;
  world.daemon->end(SIGKILL);
  auto& host = world.sandboxes.host();
  for (std::uint32_t moved = 0; moved <= 3; ++moved) {
    INFO("renames that were done: " << moved);
    auto spec = world.sandboxes.spec("cat a.txt; echo x > new.txt");
    spec.attempt = moved + 1;
    const std::string id = attempt_id(spec.attempt);
    auto started = fetch_attempt(host, spec);
    REQUIRE(started);
    started->warm_reuse = wire::Reuse::hit;
    const auto warm = make_warm(host, spec, *started, new_warm_id(), 7, [] { return false; });
    REQUIRE(warm);
    const Places from(host.config.paths, warm->id), to(host.config.paths, id);
    fs::create_directories(to.kept);
    REQUIRE(write_file_durably(to.kept / "start", storage::encode_frame(FakeEngine::start_frame(spec))));
    const auto facts = host_facts(host, *started, 7);
    REQUIRE(facts);
    REQUIRE(hand_over(host, *warm, spec, *started, *facts));  // and it was not let go
    if (moved < 3) {
      fs::create_directories(from.kept);
      fs::rename(to.run, from.run);
    }
    if (moved < 2) fs::rename(to.writable(), from.writable());
    if (moved < 1) {
      fs::rename(to.log(), from.log());
      fs::rename(to.agent(), from.agent());
    }
    world.engine.place({id});
    world.daemon->start();
    const auto report = world.engine.wait_report(id);
    INFO(report->message);
    CHECK(brief(report) == "changed agent=0");
    CHECK(report->warm_sandbox == (moved == 3 ? wire::Reuse::hit : wire::Reuse::none));
    CHECK(world.engine.story(id) == "accepted running finished");
    world.engine.wait([&] { return world.engine.complete_logs.contains(id); });
    CHECK(world.engine.log_text(id) == "one\n");
    world.wait_forgotten(id);
    world.daemon->end(SIGTERM);
    CHECK(leftovers(world.sandboxes) == "");
  }
}

TEST_CASE("of one that was being made when the daemon died nothing goes on, and nothing is left") {
  World world;
  world.daemon->end(SIGKILL);
  auto& host = world.sandboxes.host();
  const auto spec = world.sandboxes.spec("true");
  const auto started = fetch_attempt(host, spec);
  REQUIRE(started);
  const auto warm = make_warm(host, spec, *started, new_warm_id(), 7, [] { return false; });
  REQUIRE(warm);
  const Places places(host.config.paths, warm->id);
  // In place of the conmon that is still at it: whoever has the bundle among its arguments.
  const fs::path never = world.sandboxes.root() / "never";
  REQUIRE(::mkfifo(never.c_str(), 0600) == 0);
  const pid_t maker = ::fork();
  if (maker == 0) {
    ::execlp("cat", "cat", never.c_str(), places.run.c_str(), "x", nullptr);
    ::_exit(127);
  }
  while (read_file("/proc/" + std::to_string(maker) + "/comm").value_or("") != "cat\n") std::this_thread::yield();
  world.daemon->start();
  int status = 0;
  REQUIRE(::waitpid(maker, &status, 0) == maker);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
  world.engine.wait([&] { return world.engine.hellos == 2; });
  world.daemon->end(SIGTERM);
  CHECK(leftovers(world.sandboxes) == "");
}

TEST_CASE("conmon, killed while it writes its exit file, leaves no half of it") {
  Shelf shelf;
  const auto warm = shelf.make(shelf.spec("true"));
  const fs::path half = shelf.host().ops.exits() / (warm.id + ".A1B2C3");
  std::ofstream(half).close();
  SECTION("known") { remove_warm(shelf.host(), warm.id); }
  SECTION("after a crash, which had removed all else") {
    remove_warm(shelf.host(), warm.id);
    std::ofstream(half).close();
    CHECK(shelf.host().ops.leftovers() == std::vector<std::string>{warm.id});
    CHECK(shelf.host().ops.teardown(warm.id, true));
  }
  CHECK(fs::is_empty(shelf.host().ops.exits()));
  CHECK(shelf.host().ops.leftovers().empty());
  shelf.require_gone(warm);
}

TEST_CASE("killed at any moment while sandboxes are made ahead and handed over: each attempt ends once, nothing is left") {
  const char* soak = std::getenv("MUSTER_SOAK");
  const unsigned rounds = soak != nullptr && std::string_view(soak) == "1" ? 300 : 4;
  const char* given = std::getenv("MUSTER_SEED");
  const unsigned start = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
  INFO("MUSTER_SEED=" << start);
  std::mt19937 random(start);
  World world(kPool);
  std::uint32_t n = 0;
  for (unsigned round = 0; round < rounds; ++round) {
    const std::uint32_t first = n + 1;
    // The first two make the daemon want one; the third finds it, or is there while it is made.
    for (int i = 0; i < 3; ++i) {
      auto spec = world.sandboxes.spec("seq 500; (setsid sleep 100 &); echo x > new.txt");
      spec.attempt = ++n;
      Sandboxes::add_step(spec, "verify:a", "test -s new.txt");
      if (i == 2 && round % 2 == 0) world.engine.wait([&] { return world.engine.pool && world.engine.pool->waiting > 0; });
      world.engine.start_or_repeat(spec);
      if (i < 2) world.engine.wait([&] { return world.engine.reports.contains(attempt_id(n)); });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(std::uniform_int_distribution<int>(0, 400)(random)));
    world.daemon->kill_and_restart();
    for (std::uint32_t m = first; m <= n; ++m) {
      const auto report = world.engine.wait_report(attempt_id(m));
      INFO(attempt_id(m) << ": " << report->message);
      CHECK(brief(report) == "changed agent=0 verify:a=0");
      CHECK(world.engine.story(attempt_id(m)) == "accepted running verifying finished");
      world.wait_forgotten(attempt_id(m));
    }
  }
  world.daemon->end(SIGTERM);
  CHECK(leftovers(world.sandboxes) == "");
}

}  // namespace muster::sandbox::test
