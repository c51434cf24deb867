// sandboxd killed again and again at random moments under load: no sandbox, event or log byte is lost, and nothing
// stays behind.
#include <algorithm>
#include <cstdlib>
#include <random>

#include "sandboxd/spool.hpp"
#include "tests/integration/sandbox_daemon.hpp"

namespace muster::sandbox::test {

namespace {

constexpr unsigned kSlots = 4;

bool soak() {
  const char* given = std::getenv("MUSTER_SOAK");
  return given != nullptr && std::string_view(given) == "1";
}

unsigned seed() {
  const char* given = std::getenv("MUSTER_SEED");
  return given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
}

/// What the sandboxes of the first test print in `rounds` rounds.
std::string rounds_text(int rounds) {
  std::string text;
  for (int i = 1; i <= rounds; ++i)
    for (int n = 1; n <= 200; ++n) text += std::to_string(i) + " " + std::to_string(n) + "\n";
  return text;
}

std::string attempt_id(std::uint32_t n) { return "0123456789ABC-" + std::to_string(n); }

}  // namespace

TEST_CASE("killed under load: no sandbox, event or log byte is lost") {
  const unsigned kills = soak() ? 100 : 12;
  const unsigned start = seed();
  INFO("MUSTER_SEED=" << start);
  std::mt19937 random(start);
  World world("", kSlots);
  // Each goes on until the kills are over, and something of its log is always on its way.
  for (std::uint32_t n = 1; n <= kSlots; ++n) {
    auto spec = world.sandboxes.spec("touch $MUSTER_OUTPUT/here; i=0; until [ -e $MUSTER_OUTPUT/go ]; do i=$((i+1)); seq -f \"$i %g\" 200; sleep 0.02; done; "
                                     "echo $i > $MUSTER_OUTPUT/summary.md; echo x > new.txt");
    spec.attempt = n;
    spec.steps[0]->timeout_ms = 600'000;
    world.engine.start_or_repeat(spec);
  }
  for (std::uint32_t n = 1; n <= kSlots; ++n) world.wait_file(world.output(attempt_id(n)) / "here");
  for (unsigned kill = 0; kill < kills; ++kill) {
    std::this_thread::sleep_for(std::chrono::milliseconds(std::uniform_int_distribution<int>(0, 400)(random)));
    world.daemon->kill_and_restart();
  }
  for (std::uint32_t n = 1; n <= kSlots; ++n) world.touch(world.output(attempt_id(n)) / "go");
  for (std::uint32_t n = 1; n <= kSlots; ++n) {
    const std::string id = attempt_id(n);
    const auto report = world.engine.wait_report(id);
    INFO(id << ": " << report->message);
    CHECK(brief(report) == "changed agent=0");
    CHECK(world.engine.story(id) == "accepted running finished");
    world.engine.wait([&] { return world.engine.complete_logs.contains(id); });
    CHECK(world.engine.logs[id].size() == report->log_bytes);
    const int rounds = std::atoi(report->summary.c_str());
    CHECK(rounds > 0);
    CHECK((world.engine.log_text(id) == rounds_text(rounds)));
    world.wait_forgotten(id);
  }
  CHECK(leftovers(world.sandboxes).empty());
}

TEST_CASE("killed between two writes of what it says: each phase is said once") {
  World world;
  world.engine.acknowledge(false, true);
  auto spec = world.sandboxes.spec("echo x > new.txt");
  Sandboxes::add_step(spec, "verify:a", "true");
  world.engine.start(spec);
  world.engine.wait_report(kId);
  const Paths& paths = world.sandboxes.host().config.paths;
  const fs::path kept = Places(paths, kId).kept;
  world.wait_file(kept / "finished");
  world.daemon->end(SIGKILL);
  const auto all = EventSpool::open(paths.host() / "events");
  REQUIRE(all);
  REQUIRE(all->waiting().size() == 4);
  // `events` of the four are in the spool; the marker of the last of them is there, or was not yet written.
  for (std::size_t events = 0; events <= 4; ++events)
    for (const bool marked : {true, false}) {
      if (events == 0 && marked) continue;
      INFO(events << " events, " << (marked ? "" : "not ") << "marked");
      for (const fs::path& file : {paths.host() / "events", kept / "said", kept / "finished"}) fs::remove(file);
      auto spool = EventSpool::open(paths.host() / "events");
      REQUIRE(spool);
      for (std::size_t i = 0; i < events; ++i) REQUIRE(spool->append(all->waiting()[i].frame));
      const std::size_t phases = std::min<std::size_t>(events, 3) - (events < 4 && !marked && events > 0 ? 1 : 0);
      if (phases > 0) std::ofstream(kept / "said") << phases - 1;
      if (events == 4 && marked) std::ofstream(kept / "finished") << "4 0";
      world.engine.wait([&] {
        world.engine.events.clear();
        world.engine.reports.clear();
        return true;
      });
      world.daemon->start();
      CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0 verify:a=0");
      CHECK(world.engine.story(kId) == "accepted running verifying finished");
      world.daemon->end(SIGKILL);
    }
  world.engine.acknowledge(true, true);
  world.daemon->start();
  world.wait_forgotten(kId);
  CHECK(leftovers(world.sandboxes).empty());
}

TEST_CASE("killed at any moment of a life: every attempt ends once, and nothing is left of any") {
  const unsigned runs = soak() ? 1000 : 24;
  const unsigned start = seed();
  INFO("MUSTER_SEED=" << start);
  std::mt19937 random(start);
  // With sandboxes made ahead: those that wait, are being made or handed over are killed and found, too.
  World world("warm_pool: {max: 2, per_environment: 2}\n", kSlots);
  const auto ended = [&](std::uint32_t n) { return world.engine.reports.contains(attempt_id(n)); };
  for (std::uint32_t first = 1; first <= runs; first += kSlots) {
    const std::uint32_t last = std::min(first + kSlots - 1, runs);
    for (std::uint32_t n = first; n <= last; ++n) {
      auto spec = world.sandboxes.spec("seq 500; (setsid sleep 100 &); echo x > new.txt");
      spec.attempt = n;
      Sandboxes::add_step(spec, "verify:a", "test -s new.txt");
      world.engine.start_or_repeat(spec);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(std::uniform_int_distribution<int>(0, 900)(random)));
    world.daemon->kill_and_restart();
    world.engine.wait([&] {
      for (std::uint32_t n = first; n <= last; ++n)
        if (!ended(n)) return false;
      return true;
    });
    for (std::uint32_t n = first; n <= last; ++n) {
      INFO(attempt_id(n) << ": " << world.engine.reports[attempt_id(n)]->message);
      CHECK(brief(world.engine.reports[attempt_id(n)]) == "changed agent=0 verify:a=0");
      CHECK(world.engine.story(attempt_id(n)) == "accepted running verifying finished");
      world.wait_forgotten(attempt_id(n));
    }
  }
  world.daemon->end(SIGTERM);
  CHECK(leftovers(world.sandboxes) == "");
}

}  // namespace muster::sandbox::test
