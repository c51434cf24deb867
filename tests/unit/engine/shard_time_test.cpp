// Timers and effects of a shard.
#include <cstdlib>

#include "tests/unit/engine/shard_bench.hpp"

using namespace muster;
using namespace muster::test;
using engine::ShardLimits;

TEST_CASE("A timer fires once, at its time, also when it came due while the engine was down") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.call("b", fbs::OpenT{});
  bench.call("a", add_later(1, 1'000));
  bench.call("b", add_later(2, 60'000));
  bench.advance(999);
  CHECK(bench.state("a").total == 0);
  bench.advance(1);
  CHECK(bench.state("a").total == 1);
  CHECK(bench.rows(Family::timers) == 1);
  bench.kill();
  bench.advance(120'000);
  bench.start();
  CHECK(bench.state("b").total == 2);
  bench.restart();
  bench.advance(600'000);
  CHECK(bench.state("a").total == 1);
  CHECK(bench.state("b").total == 2);
  CHECK(bench.rows(Family::timers) == 0);
}

TEST_CASE("A timer that was set again or cancelled does not fire, even when it already did") {
  ShardLimits limits;
  limits.uncommitted_bytes = 1;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  bench.call("a", add_later(1, 1'000));
  bench.call("a", add_later(2, 5'000));
  bench.advance(2'000);
  CHECK(bench.state("a").total == 0);
  bench.advance(3'000);
  CHECK(bench.state("a").total == 2);

  bench.call("a", add_later(4, 1'000));
  bench.call("a", fbs::ForgetT{});
  bench.advance(10'000);
  CHECK(bench.state("a").total == 2);

  // It fires behind a message that cancels it: journaled, and dropped before its step.
  bench.call("a", add_later(8, 1'000));
  bench.send("a", add(0));
  bench.run_strand();
  bench.send("a", fbs::ForgetT{});
  bench.advance(1'000);
  CHECK(bench.state("a").total == 2);
  CHECK(bench.rows(Family::timers) == 0);
}

TEST_CASE("More timers than memory holds fire in order of their time") {
  ShardLimits limits;
  limits.timers_in_memory = 2;
  ShardBench bench(limits);
  for (int i = 0; i < 12; ++i) {
    const std::string key = "c" + std::to_string(i);
    bench.call(key, fbs::OpenT{});
    bench.call(key, add_later(1, 1'000 + (i * 7 % 12) * 100));
  }
  bench.changes.clear();
  bench.advance(10'000);
  std::vector<std::string> order;
  for (const auto& change : bench.changes) order.push_back(change.actor.key);
  CHECK(order == std::vector<std::string>{"c0", "c7", "c2", "c9", "c4", "c11", "c6", "c1", "c8",
                                          "c3", "c10", "c5"});
}

TEST_CASE("Any number of pending timers takes a bounded window of memory, over a restart too") {
  ShardLimits limits;
  limits.timers_in_memory = 64;
  limits.idle_actors = 64;
  limits.inbox_retention = limits.changes_retention = limits.trim_chunk = 1'000;
  ShardBench bench(limits);
  const int count = std::getenv("MUSTER_SOAK") != nullptr ? 200'000 : 5'000;
  const auto tell = [&](int actor, const engine::Payload& payload) {
    bench.shard->tell(counter_id(std::to_string(actor)), payload, engine::Lane::normal,
                      [](const Result<void>& taken) { REQUIRE(taken); });
    if (actor % 500 == 0) bench.run();
  };
  // In an order that has nothing to do with the times, so that each part of the window is left and found again.
  const auto delay_of = [count](int actor) { return 1'000 + std::int64_t{actor} * 7'919 % count; };
  for (int i = 0; i < count; ++i) tell(i, Counter::Messages::encode(fbs::OpenT{}));
  for (int i = 0; i < count; ++i) tell(i, Counter::Messages::encode(add_later(1, delay_of(i) * 100)));
  bench.run();
  CHECK(bench.rows(Family::timers) == static_cast<std::size_t>(count));
  CHECK(bench.shard->timers_in_memory() <= limits.timers_in_memory);
  CHECK(bench.shard->active_actors() <= limits.idle_actors);
  bench.restart();
  CHECK(bench.shard->timers_in_memory() <= limits.timers_in_memory);

  bench.changes.clear();
  std::size_t most = 0;
  for (int i = 0; i < 100; ++i) {
    bench.advance(std::int64_t{count} + 1'100);
    most = std::max(most, bench.shard->timers_in_memory());
  }
  CHECK(most <= limits.timers_in_memory);
  CHECK(bench.rows(Family::timers) == 0);
  REQUIRE(bench.changes.size() == static_cast<std::size_t>(count));  // Each once, …
  std::int64_t last = 0;
  for (const auto& change : bench.changes) {  // … in the order of their times.
    const std::int64_t due = delay_of(std::stoi(change.actor.key));
    CHECK(due >= last);
    last = due;
  }
}

TEST_CASE("Shard time never goes back, not even over a restart with a wrong clock") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.advance(100'000);
  bench.call("a", add_later(1, 50'000));
  const Instant before = bench.shard->now();
  bench.kill();
  bench.set_clock(before - Duration{90'000});
  bench.start();
  CHECK(bench.shard->now() >= before);
  bench.advance(50'000);  // It goes on from there, at the pace of the clock.
  CHECK(bench.state("a").total == 1);
}

TEST_CASE("An effect leaves when its decision is durable, and its result counts once") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.send("a", lookup("k"));
  bench.run_strand();
  CHECK(bench.effects.empty());
  bench.run();
  REQUIRE(bench.effects.size() == 1);
  const auto effect = bench.effects[0];
  CHECK(effect.key == "k");
  CHECK_FALSE(effect.repeated);
  bench.shard->effect_done(effect, answer(7));
  bench.shard->effect_done(effect, answer(7));
  bench.run();
  bench.shard->effect_done(effect, answer(7));
  bench.run();
  CHECK(bench.state("a").total == 7);
  CHECK(bench.rows(Family::effects) == 0);
  CHECK(bench.rows(Family::timers) == 0);
}

TEST_CASE("An effect without a result is unknown at its deadline; what comes later is dropped") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.call("a", lookup("k"));
  CHECK(bench.call("a", add(1)) == "1");  // It does not block the mailbox.
  bench.advance(59'999);
  CHECK(bench.state("a").log == "1 ");
  bench.advance(1);
  CHECK(bench.state("a").log == "1 unknown ");
  bench.shard->effect_done(bench.effects[0], answer(7));
  bench.run();
  CHECK(bench.state("a").total == 1);
}

TEST_CASE("Time without the engine does not count for an effect: handed out again, it has its whole time") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.call("a", lookup("k"));
  bench.kill();
  bench.advance(600'000);
  bench.start();
  REQUIRE(bench.effects.size() == 1);
  CHECK(bench.effects[0].deadline == bench.shard->now() + Duration{60'000});
  bench.advance(59'999);
  CHECK(bench.state("a").log == "");
  SECTION("until its new deadline") {
    bench.advance(1);
    CHECK(bench.state("a").log == "unknown ");
  }
  SECTION("and its result counts until then") {
    bench.shard->effect_done(bench.effects[0], answer(7));
    bench.run();
    CHECK(bench.state("a").total == 7);
  }
  CHECK(bench.rows(Family::effects) == 0);
  CHECK(bench.rows(Family::timers) == 0);
}

TEST_CASE("After a crash effects without a result are handed out again") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.call("a", lookup("k"));
  bench.restart();
  REQUIRE(bench.effects.size() == 1);
  CHECK(bench.effects[0].repeated);
  bench.shard->effect_done(bench.effects[0], answer(3));
  bench.run();
  bench.restart();
  CHECK(bench.effects.empty());
  CHECK(bench.state("a").total == 3);
}
