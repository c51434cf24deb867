// The engine slow, deaf or gone: sandboxes go on, what they say waits on disk within bounds, and comes once and in order.
#include <utility>

#include "tests/integration/sandbox_daemon.hpp"

namespace muster::sandbox::test {

namespace {

constexpr std::uint64_t kQuota = 1u << 20;
const std::string kSettings = "log_spool_bytes: " + std::to_string(kQuota) + "\n";

/// 3 MB of numbered lines, slow enough for a busy host to notice when the quota is reached.
constexpr const char* kMany = "for i in $(seq 48); do seq -f '%0100.0f' $((i * 700)) $((i * 700 + 649)); sleep 0.05; done; ";
std::string many() {
  std::string text;
  for (int i = 1; i <= 48; ++i)
    for (int n = i * 700; n < i * 700 + 650; ++n) {
      const std::string number = std::to_string(n);
      text.append(100 - number.size(), '0').append(number).append("\n");
    }
  return text;
}

template <class Condition>
void await(Condition condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition() && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  REQUIRE(condition());
}

}  // namespace

TEST_CASE("a reader that does not take a log freezes its sandbox at the quota, and nothing of it is lost") {
  World world(kSettings);
  auto& ops = world.sandboxes.host().ops;
  const fs::path log = Places(world.sandboxes.host().config.paths, kId).log();
  world.engine.set_credit(0);
  auto spec = world.sandboxes.spec(std::string(kMany) + "echo x > new.txt");
  world.engine.start(spec);
  await([&] { return ops.frozen(kId); });
  std::uint64_t size = 0;
  SECTION("until it takes it") {
    // Still, over more heartbeats than the script pauses between two pieces.
    int beats = 0;
    bool still = false;
    await([&] {
      if (still || world.engine.heartbeats_heard() < beats) return still;
      beats = world.engine.heartbeats_heard() + 10;
      const std::uint64_t before = std::exchange(size, fs::file_size(log));
      return still = before == size;
    });
    CHECK(size > kQuota);
    CHECK(ops.frozen(kId));
  }
  SECTION("also over a kill -9 of sandboxd") {
    world.daemon->kill_and_restart();
    world.engine.wait([&] { return world.engine.hellos == 2; });
    CHECK(ops.frozen(kId));
  }
  world.engine.set_credit(300u << 10);  // parts as large as they may be, and small ones after them
  const auto report = world.engine.wait_report(kId);
  CHECK(brief(report) == "changed agent=0");
  REQUIRE(report->warnings.size() == 1);
  CHECK(report->warnings[0].find("it was frozen for") == 0);
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  CHECK((world.engine.log_text(kId) == many()));
  world.wait_forgotten(kId);
}

TEST_CASE("time that a sandbox is frozen counts for no step's limit") {
  World world(kSettings);
  auto& ops = world.sandboxes.host().ops;
  world.engine.set_credit(0);
  // It prints more than the quota and then only waits: the seconds it may run are for that.
  auto spec = world.sandboxes.spec("seq -f '%0100.0f' 20000; until [ -e $MUSTER_OUTPUT/go ]; do sleep 0.02; done; echo x > new.txt");
  spec.steps[0]->timeout_ms = 8'000;
  spec.steps[0]->idle_timeout_ms = 8'000;
  world.engine.start(spec);
  await([&] { return ops.frozen(kId); });
  const std::int64_t frozen_at = wall_clock_now().unix_ms;
  world.touch(world.output(kId) / "go");
  await([&] { return wall_clock_now().unix_ms > frozen_at + spec.steps[0]->timeout_ms; });
  world.engine.set_credit(64u << 10);
  const auto report = world.engine.wait_report(kId);
  CHECK(brief(report) == "changed agent=0");
  CHECK(report->steps[0]->ended_unix_ms - report->steps[0]->started_unix_ms > spec.steps[0]->timeout_ms);
  world.wait_forgotten(kId);
}

TEST_CASE("a frozen sandbox can be stopped, and its deadline ends it") {
  World world(kSettings);
  auto& ops = world.sandboxes.host().ops;
  world.engine.set_credit(0);
  auto spec = world.sandboxes.spec("while :; do " + std::string(kMany) + " done");
  std::string end;
  SECTION("by the engine") { end = "cancelled(cancelled) agent=143/stopped"; }
  SECTION("by the deadline of the attempt") {
    end = "step_failed(timed_out) agent=143/timed_out";
    spec.deadline_unix_ms = wall_clock_now().unix_ms + 10'000;
  }
  world.engine.start(spec);
  // On a slow machine the deadline may come before so much was written.
  const fs::path finished = Places(world.sandboxes.host().config.paths, kId).kept / "finished";
  await([&] { return ops.frozen(kId) || (spec.deadline_unix_ms > 0 && fs::exists(finished)); });
  if (spec.deadline_unix_ms == 0) world.engine.stop("0123456789ABC", 1, 5'000);
  CHECK(brief(world.engine.wait_report(kId)) == end);
  world.engine.set_credit(1u << 20);
  world.wait_forgotten(kId);
}

TEST_CASE("the engine goes away: sandboxes go on and end, and on its return everything comes once and in order") {
  World world(kSettings);
  world.engine.start(world.sandboxes.spec(std::string(kPause) + "seq 1 20000; echo x > new.txt"));
  auto second = world.sandboxes.spec(std::string(kPause) + kMany + "exit 7");
  second.attempt = 2;
  world.engine.start(second);
  const std::string other = "0123456789ABC-2";
  world.wait_file(world.output(kId) / "here");
  world.wait_file(world.output(other) / "here");
  world.engine.disconnect();
  world.touch(world.output(kId) / "go");
  world.touch(world.output(other) / "go");
  // One ends while nobody listens; the other is frozen at its quota, and lives.
  world.wait_file(Places(world.sandboxes.host().config.paths, kId).kept / "finished");
  await([&] { return world.sandboxes.host().ops.frozen(other); });
  SECTION("sandboxd lives") {}
  SECTION("sandboxd is killed meanwhile, too") { world.daemon->kill_and_restart(); }
  world.engine.listen();
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  CHECK(brief(world.engine.wait_report(other)) == "step_failed agent=7");
  world.engine.wait([&] { return world.engine.complete_logs.size() == 2; });
  CHECK(world.engine.story(kId) == "accepted running finished");
  CHECK(world.engine.story(other) == "accepted running finished");
  CHECK(world.engine.log_text(kId) == "before\nafter\n" + shell("seq 1 20000") + "\n");
  CHECK((world.engine.log_text(other) == "before\nafter\n" + many()));
  world.wait_forgotten(kId);
  world.wait_forgotten(other);
}

TEST_CASE("either side is killed while large parts of a log are on their way: each byte comes once, in order") {
  World world;
  world.engine.set_credit(1u << 20);
  auto spec = world.sandboxes.spec("for i in $(seq 30); do seq 100000; done; echo x > new.txt");
  spec.max_log_bytes = 64u << 20;
  world.engine.start(spec);
  int parts = 0;  // packed, of those that went before
  for (std::size_t heard = 2u << 20; heard < 14u << 20; heard += 2u << 20) {
    world.engine.wait([&] {
      parts += world.engine.logs[kId].size() >= heard ? world.engine.packed_parts : 0;
      return world.engine.logs[kId].size() >= heard;
    });
    if (heard % (4u << 20) == 0) {
      world.daemon->kill_and_restart();
    } else {
      world.engine.disconnect();
      world.engine.listen();
    }
  }
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  std::string text;
  for (int i = 0; i < 30; ++i) text += shell("seq 100000") + "\n";
  CHECK((world.engine.log_text(kId) == text));
  CHECK(parts > 0);
  world.wait_forgotten(kId);
}

TEST_CASE("what packing makes no smaller goes plain; what comes after it is packed again") {
  World world;
  world.engine.set_credit(0);  // until all of the log is there, and goes in large parts
  constexpr std::size_t kNoise = 2'000'000;
  auto spec = world.sandboxes.spec("head -c " + std::to_string(kNoise) + " /dev/urandom; for i in $(seq 20); do seq 100000; done; echo x > new.txt");
  spec.max_log_bytes = 64u << 20;
  world.engine.start(spec);
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  world.engine.set_credit(1u << 20);
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  std::string text;
  for (int i = 0; i < 20; ++i) text += shell("seq 100000") + "\n";
  const std::string log = world.engine.log_text(kId);
  CHECK(log.size() == kNoise + text.size());
  CHECK(log.ends_with(text));
  const int parts = world.engine.packed_parts;
  CHECK(parts > 0);
  CHECK(parts < 40);  // of more than fifty
  world.wait_forgotten(kId);
}

TEST_CASE("when the lease ends without a word, every sandbox is frozen until the engine is back") {
  World world;
  auto& ops = world.sandboxes.host().ops;
  world.engine.start(world.sandboxes.spec(std::string(kPause) + "echo x > new.txt"));
  world.wait_file(world.output(kId) / "here");
  world.engine.set_lease(300);
  world.engine.acknowledge(true, false);
  world.daemon->kill_and_restart();
  await([&] { return ops.frozen(kId); });
  world.engine.set_lease(60'000);
  world.engine.acknowledge(true, true);
  SECTION("and goes on, when the engine still wants it") {
    world.daemon->kill_and_restart();
    world.engine.wait([&] { return world.engine.hellos == 3; });
    world.touch(world.output(kId) / "go");
    CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  }
  SECTION("and goes on, when it was only the network") {
    world.engine.disconnect();
    world.engine.listen();
    world.touch(world.output(kId) / "go");
    CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  }
  SECTION("and is ended, when the engine gave its run to somebody else") {
    world.engine.place({});
    world.daemon->kill_and_restart();
    CHECK(brief(world.engine.wait_report(kId)).starts_with("cancelled(superseded)"));
  }
  world.wait_forgotten(kId);
}

}  // namespace muster::sandbox::test
