// What an agent can write, kept while its sandbox stands still, and other attempts that begin with it.
#include <nlohmann/json.hpp>

#include "storage/link/host_order.hpp"
#include "tests/integration/sandbox_daemon.hpp"

namespace muster::sandbox::test {

namespace {

constexpr const char* kSnap = "snap-00112233445566aa";
constexpr const char* kOtherSnap = "snap-ffffffffffffffff";
constexpr const char* kForkRun = "0123456789ABD";
constexpr const char* kFork = "0123456789ABD-1";
/// New, changed, removed and ignored files; some beside the workspace, a link that leads out of it.
constexpr const char* kChanges =
    "echo wip > wip.txt; echo more >> lib/b.txt; rm a.txt; echo no > x.log; echo state > $HOME/state; echo temporary > /tmp/t; "
    "ln -s /etc/shadow $HOME/link; mkfifo /tmp/pipe; git tag mine; ";

wire::ExecEndT ask(World& world, const std::string& id, const storage::HostOrder& order) {
  static std::uint64_t number = 0;
  wire::ExecOpenT open = storage::to_exec(order);
  open.exec = ++number;
  world.engine.tell_exec(id, std::move(open));
  wire::ExecEndT end;
  world.engine.wait([&] {
    const bool ended = world.engine.exec_ends.contains(number);
    if (ended) end = world.engine.exec_ends[number];
    return ended;
  });
  return end;
}

/// The answer, which is none of an error.
nlohmann::json done(World& world, const std::string& id, const storage::HostOrder& order) {
  const auto end = ask(world, id, order);
  INFO(end.reason << ": " << end.message);
  REQUIRE(end.reason.empty());
  REQUIRE(end.exit_code == 0);
  return nlohmann::json::parse(end.message);
}

wire::SandboxSpecT forking(World& world, const std::string& script, const char* snapshot = kSnap) {
  auto spec = world.sandboxes.spec(script);
  spec.run = kForkRun;
  spec.branch = "muster/fork";
  spec.snapshot = snapshot;
  return spec;
}

std::string tree_of(World& world, const wire::AttemptReportT& report) {
  const fs::path file = world.sandboxes.root() / "fork.pack";
  std::ofstream(file, std::ios::binary) << world.engine.packs[report.pack_digest];
  const fs::path to = world.sandboxes.repository();
  shell("git index-pack --stdin --fix-thin < " + file.string() + " > /dev/null", to);
  return shell("git ls-tree -r --name-only " + report.head_sha + " | xargs", to);
}

fs::path snapshots(World& world) { return world.sandboxes.host().config.paths.host() / "snapshots"; }

void wait_running(World& world, const std::string& id) {
  world.wait_file(world.output(id) / "here");
  world.engine.wait_story(id, "accepted running");  // sandboxd, too, knows that a step runs
}

std::string log_of(World& world, const std::string& id) {
  world.engine.wait([&] { return world.engine.complete_logs.contains(id); });
  return world.engine.log_text(id);
}

}  // namespace

TEST_CASE("a fork begins with every file of the sandbox, and the origin goes on untouched") {
  const bool loop = GENERATE(false, true);
  World world(loop ? "disk_limit: loop\n" : "");
  const fs::path secrets = world.sandboxes.host().config.paths.secrets();
  fs::create_directories(secrets);
  std::ofstream(secrets / "KEY") << "hunter22-secret";
  fs::permissions(secrets / "KEY", fs::perms(0600));
  auto spec = world.sandboxes.spec(std::string(kChanges) + "test $KEY = hunter22-secret; " + kPause + "echo origin > o.txt");
  spec.secrets = {"KEY"};
  world.engine.start(spec);
  wait_running(world, kId);

  const auto kept = done(world, kId, {storage::kTakeSnapshot, kSnap, "before"});
  CHECK(kept["id"] == kSnap);
  CHECK(kept["name"] == "before");
  CHECK(kept["run"] == "0123456789ABC");
  CHECK(kept["base_sha"] == world.sandboxes.base());
  CHECK(kept["bytes"].get<std::uint64_t>() > 0);
  CHECK_FALSE(world.sandboxes.host().ops.frozen(kId));
  CHECK(done(world, kId, {storage::kTakeSnapshot, kSnap, "before"}) == kept);  // again: it is that one
  CHECK(done(world, kId, {storage::kListSnapshots}) == nlohmann::json::array({kept}));
  CHECK(done(world, "0000000000000-1", {storage::kListSnapshots}).empty());
  const std::string place = snapshots(world).string();
  CHECK(shell("ls " + place) == kSnap);
  CHECK(shell("grep -rl -D skip hunter22 " + place + " || true").empty());
  CHECK(shell("find " + place + "/*/work " + place + "/*/home " + place + "/*/tmp " + place + "/*/out ! -uid 1000 | wc -l") == "0");
  CHECK(shell("readlink " + place + "/*/home/link; stat -c %u /etc/shadow") == "/etc/shadow\n0");

  world.daemon->kill_and_restart();
  world.engine.wait([&] { return world.engine.hellos == 2; });
  CHECK(done(world, kId, {storage::kListAllSnapshots}) == nlohmann::json::array({kept}));
  auto fork = forking(world,
                      "cat wip.txt lib/b.txt x.log $HOME/state /tmp/t; test ! -e a.txt; stat -c %u wip.txt /tmp/t; test -p /tmp/pipe; "
                      "git tag; test -e $MUSTER_OUTPUT/here; echo more >> wip.txt; echo fork > f.txt; "
                      "until [ -e $MUSTER_OUTPUT/end ]; do touch $MUSTER_OUTPUT/begun; sleep 0.02; done; echo $MUSTER_BRANCH");
  Sandboxes::add_step(fork, "verify:kept", "grep -q more wip.txt; test ! -e x.none");
  auto setup = std::make_unique<wire::StepT>(*fork.steps.front());
  setup->name = "setup:1";
  setup->argv = {"false"};  // was done by the origin
  fork.steps.insert(fork.steps.begin(), std::move(setup));
  world.engine.start(fork);
  world.wait_file(world.output(kFork) / "begun");
  CHECK(ask(world, kId, {storage::kRemoveSnapshot, kSnap}).reason == "conflict");
  CHECK_FALSE(fs::exists(world.output(kId) / "begun"));
  // A fork of the fork.
  done(world, kFork, {storage::kTakeSnapshot, kOtherSnap});
  world.touch(world.output(kFork) / "end");
  const auto report = world.engine.wait_report(kFork);
  INFO(report->message);
  CHECK(brief(report) == "changed agent=0 verify:kept=0");
  CHECK(report->base_sha == world.sandboxes.base());
  CHECK(log_of(world, kFork) == "wip\ntwo\nmore\nno\nstate\ntemporary\n1000\n1000\nmine\nmuster/fork\n");
  CHECK(tree_of(world, *report) == ".gitignore f.txt lib/b.txt run.sh wip.txt");

  world.touch(world.output(kId) / "go");
  const auto origin = world.engine.wait_report(kId);
  CHECK(brief(origin) == "changed agent=0");
  CHECK(tree_of(world, *origin) == ".gitignore lib/b.txt o.txt run.sh wip.txt");
  world.wait_forgotten(kId);
  world.wait_forgotten(kFork);

  // They outlive their sandboxes, until somebody who may removes them.
  CHECK(ask(world, "0000000000000-1", {storage::kRemoveSnapshot, kSnap}).reason == "not_found");
  done(world, kId, {storage::kRemoveSnapshot, kSnap});
  CHECK(ask(world, kId, {storage::kRemoveSnapshot, kSnap}).reason == "not_found");
  auto second = forking(world, "cat wip.txt f.txt $HOME/state; rm -r lib; git stash list; echo x > again.txt", kOtherSnap);
  second.attempt = 2;
  world.engine.start(second);
  const auto last = world.engine.wait_report("0123456789ABD-2");
  INFO(last->message);
  CHECK(brief(last) == "changed agent=0");
  CHECK(tree_of(world, *last) == ".gitignore again.txt f.txt run.sh wip.txt");
  CHECK(log_of(world, "0123456789ABD-2") == "wip\nmore\nfork\nstate\n");
  world.wait_forgotten("0123456789ABD-2");
  done(world, kFork, {storage::kRemoveSnapshot, kOtherSnap});
  CHECK(shell("ls " + place).empty());
  world.daemon->end(SIGTERM);
  CHECK(leftovers(world.sandboxes).empty());
}

TEST_CASE("a sandbox stands still while it is copied, also one that stands still already") {
  SECTION("what it writes fits together") {
    World world;
    world.engine.start(world.sandboxes.spec("for i in $(seq 3000); do echo x > f$i.txt; done; touch $MUSTER_OUTPUT/here; i=0; "
                                            "until [ -e $MUSTER_OUTPUT/go ]; do i=$((i+1)); "
                                            "echo $i > next; mv next first; echo $i > $HOME/next; mv $HOME/next $HOME/second; done"));
    wait_running(world, kId);
    world.wait_file(Places(world.sandboxes.host().config.paths, kId).writable() / "home/second");
    done(world, kId, {storage::kTakeSnapshot, kSnap});
    const std::string place = (snapshots(world) / kSnap).string();
    const int first = std::stoi(shell("cat " + place + "/work/first")), second = std::stoi(shell("cat " + place + "/home/second"));
    INFO(first << " " << second);
    CHECK((first == second || first == second + 1));
    world.touch(world.output(kId) / "go");
    const auto report = world.engine.wait_report(kId);
    CHECK(brief(report) == "changed agent=0");
    REQUIRE(report->warnings.size() == 1);
    CHECK(report->warnings[0].find("for a snapshot") != std::string::npos);
  }
  SECTION("frozen, until its log is taken") {
    World world("log_spool_bytes: 65536\n");
    world.engine.set_credit(0);
    world.engine.start(world.sandboxes.spec("echo kept > wip.txt; for i in $(seq 200); do head -c 4000 /dev/zero | tr '\\0' a; echo; done; " +
                                            std::string(kPause)));
    auto& ops = world.sandboxes.host().ops;
    world.engine.wait([&] { return ops.frozen(kId) || world.engine.reports.contains(kId); });
    done(world, kId, {storage::kTakeSnapshot, kSnap});
    CHECK(ops.frozen(kId));
    CHECK(shell("cat " + (snapshots(world) / kSnap / "work/wip.txt").string()) == "kept");
    world.engine.set_credit(64u << 10);
    wait_running(world, kId);
    world.touch(world.output(kId) / "go");
    CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  }
}

TEST_CASE("kill -9 of sandboxd while it copies: nothing half remains, and the sandbox goes on") {
  World world;
  world.engine.start(world.sandboxes.spec("mkdir many; for i in $(seq 6000); do echo $i > many/$i.log; done; " + std::string(kPause) +
                                          "echo x > new.txt"));
  wait_running(world, kId);
  wire::ExecOpenT open = storage::to_exec({storage::kTakeSnapshot, kSnap});
  open.exec = 1'000'000;
  world.engine.tell_exec(kId, std::move(open));
  world.wait_file(snapshots(world) / (std::string(kSnap) + ".half"));
  world.daemon->kill_and_restart();
  world.engine.wait([&] { return world.engine.hellos == 2; });
  CHECK(done(world, kId, {storage::kListAllSnapshots}).empty());
  CHECK(fs::is_empty(snapshots(world)));
  done(world, kId, {storage::kTakeSnapshot, kSnap});
  world.touch(world.output(kId) / "go");
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  world.wait_forgotten(kId);
}

TEST_CASE("a sandbox that is ended while it is copied ends, and nothing is kept") {
  World world;
  world.engine.start(world.sandboxes.spec("mkdir many; for i in $(seq 6000); do echo $i > many/$i.log; done; " + std::string(kPause)));
  wait_running(world, kId);
  wire::ExecOpenT open = storage::to_exec({storage::kTakeSnapshot, kSnap});
  open.exec = 1'000'001;
  world.engine.tell_exec(kId, std::move(open));
  world.wait_file(snapshots(world) / (std::string(kSnap) + ".half"));
  world.engine.stop("0123456789ABC", 1, 0);
  CHECK(world.engine.wait_report(kId)->outcome == wire::Outcome::cancelled);
  world.engine.wait([&] { return world.engine.exec_ends.contains(1'000'001); });
  CHECK_FALSE(world.engine.exec_ends[1'000'001].reason.empty());
  CHECK(fs::is_empty(snapshots(world)));
  world.wait_forgotten(kId);
}

TEST_CASE("limits, and what is no order") {
  const bool by_number = GENERATE(true, false);
  World world(by_number ? "snapshots: {max: 1}\n" : "snapshots: {max_bytes: 1000000}\n");
  world.engine.start(world.sandboxes.spec(std::string(by_number ? "" : "head -c 700000 /dev/urandom > big.log; ") + kPause));
  wait_running(world, kId);
  done(world, kId, {storage::kTakeSnapshot, kSnap});
  const auto refused = ask(world, kId, {storage::kTakeSnapshot, kOtherSnap});
  CHECK(refused.reason == "refused");
  CHECK(refused.message.find(by_number ? "snapshots.max of" : "snapshots.max_bytes of") != std::string::npos);
  CHECK(shell("ls " + snapshots(world).string()) == kSnap);
  CHECK_FALSE(world.sandboxes.host().ops.frozen(kId));
  done(world, kId, {storage::kRemoveSnapshot, kSnap});
  done(world, kId, {storage::kTakeSnapshot, kOtherSnap});
  done(world, kId, {storage::kRemoveSnapshot, kOtherSnap});

  for (const char* id : {"", "../../../etc", "snap-0011", "snap-00112233445566AA", "snap-00112233445566aa/x"}) {
    CHECK(ask(world, kId, {storage::kTakeSnapshot, id}).reason == "invalid");
    CHECK(ask(world, kId, {storage::kRemoveSnapshot, id}).reason == "not_found");
  }
  CHECK(ask(world, kId, {storage::kTakeSnapshot, kSnap, "two\nlines"}).reason == "invalid");
  CHECK(ask(world, kId, {storage::kTakeSnapshot, kSnap, std::string(64, 'a')}).reason == "invalid");
  CHECK(ask(world, kId, {"snapshot-eat", kSnap}).reason == "invalid");
  CHECK(ask(world, kId, {""}).reason == storage::kKnowsNoOrders);
  CHECK(ask(world, "0000000000000-1", {storage::kTakeSnapshot, kSnap}).reason == "conflict");
  CHECK(fs::is_empty(snapshots(world)));

  world.engine.start(forking(world, "true"));
  world.engine.wait([&] { return world.engine.events.rbegin()->second.second == "refused:no_snapshot"; });
  auto hostile = forking(world, "true", "../../../etc");
  hostile.attempt = 2;
  world.engine.start(hostile);
  world.engine.wait([&] { return world.engine.events.rbegin()->second.second == "refused:bad_spec"; });
  world.touch(world.output(kId) / "go");
  world.engine.wait_report(kId);
}

TEST_CASE("a fork of a run that began with a checkpoint has that, too") {
  World world;
  auto first = world.sandboxes.spec("echo wip > wip.txt; exit 3");
  first.checkpoint_interval_ms = 1'000;
  world.engine.start(first);
  const auto failed = world.engine.wait_report(kId);
  REQUIRE(failed->checkpoint);
  auto next = world.sandboxes.spec(std::string("git reset -q --hard $MUSTER_CHECKPOINT; ") + kPause);
  next.attempt = 2;
  next.resume = std::make_unique<wire::CheckpointT>(*failed->checkpoint);
  world.engine.send_blob(failed->checkpoint->digest, world.engine.packs[failed->checkpoint->digest]);
  world.engine.start(next);
  const std::string id = "0123456789ABC-2";
  wait_running(world, id);
  done(world, id, {storage::kTakeSnapshot, kSnap});
  world.touch(world.output(id) / "go");
  world.engine.wait_report(id);
  world.wait_forgotten(id);
  world.engine.start(forking(world, "git log --format=%H -1; git show $MUSTER_CHECKPOINT:wip.txt; git fsck; echo x > new.txt"));
  const auto report = world.engine.wait_report(kFork);
  INFO(log_of(world, kFork));
  CHECK(brief(report) == "changed agent=0");
  CHECK(report->resumed == failed->checkpoint->commit);
  CHECK(log_of(world, kFork).starts_with(failed->checkpoint->commit + "\nwip\n"));
  CHECK(tree_of(world, *report) == ".gitignore a.txt lib/b.txt new.txt run.sh wip.txt");
}

}  // namespace muster::sandbox::test
