// What a shard does first after a start, with much that waits: it serves, and steps the rest behind
// that.
#include "tests/unit/engine/shard_bench.hpp"

using namespace muster;
using namespace muster::test;
using engine::Lane;
using engine::ShardLimits;

namespace {

std::string nth(int i) {
  return "c" + std::to_string(i);
}

void tell(ShardBench& bench, const std::string& key, std::int64_t amount) {
  bench.shard->tell(counter_id(key), Counter::Messages::encode(add(amount)), Lane::normal,
                    [](const Result<void>& taken) { CHECK(taken); });
}

/// One step per commit, so that what is told waits.
ShardLimits slow() {
  ShardLimits limits;
  limits.uncommitted_bytes = 1;
  return limits;
}

/// `actors` counters, each with one message more that is journaled and not stepped; then the
/// process ends.
void leave_waiting(ShardBench& bench, int actors) {
  for (int i = 0; i < actors; ++i) bench.call(nth(i), fbs::OpenT{});
  for (int i = 0; i < actors; ++i) tell(bench, nth(i), i);
  bench.run_strand();
  REQUIRE(bench.run_writer());
  bench.kill();
}

/// Until it serves, with what it does in its first turn.
void begin_to_serve(ShardBench& bench) {
  bench.open();
  REQUIRE(bench.run_writer());
  REQUIRE(bench.run_task());
  REQUIRE(bench.started);
}

/// One commit with all that its turn steps.
void one_commit(ShardBench& bench) {
  bench.run_task();
  bench.run_writer();
  bench.run_task();
}

}  // namespace

TEST_CASE(
    "A start serves before what waits is stepped: whoever is called answers soon, also one of "
    "those that wait") {
  constexpr int kActors = 400;
  ShardBench bench(slow());
  leave_waiting(bench, kActors);
  ShardLimits limits;
  limits.active_actors = 100;
  limits.idle_actors = 0;
  limits.steps_per_turn = 8;
  bench.set_limits(limits);
  begin_to_serve(bench);
  CHECK(bench.shard->active_actors() <= 8);
  const auto made = bench.send("new", fbs::OpenT{});
  const auto added = bench.send(nth(kActors - 1), add(1'000));
  const auto more = bench.send(nth(kActors / 2), add(1'000));
  for (int i = 0; i < 10 && made->text() == "nothing yet"; ++i) one_commit(bench);
  CHECK(made->text() == "created");
  CHECK(added->text() == std::to_string(1'000 + kActors - 1));  // Behind what waited for it.
  CHECK(more->text() == std::to_string(1'000 + kActors / 2));
  CHECK(bench.shard->stats().sleeping_actors > kActors / 2);
  bench.run();
  CHECK(bench.shard->stats().sleeping_actors == 0);
  CHECK(bench.rows(Family::backlog) == 0);
  for (int i = 0; i < kActors; ++i)
    CHECK(bench.state(nth(i)).total == i + (i == kActors - 1 || i == kActors / 2 ? 1'000 : 0));
}

TEST_CASE("Who sleeps leaves room for calls, and gets a turn while others always have work") {
  constexpr int kActors = 64;
  ShardBench bench(slow());
  leave_waiting(bench, kActors);
  ShardLimits limits;
  limits.active_actors = 16;
  limits.idle_actors = 0;
  limits.steps_per_turn = 0;  // Nothing gets done.
  bench.set_limits(limits);
  begin_to_serve(bench);
  for (int i = 0; i < 2 * kActors; ++i) bench.run_task();
  CHECK(bench.shard->active_actors() == 14);
  CHECK(bench.send("new", fbs::OpenT{})->text() == "nothing yet");
  CHECK(bench.send("newer", fbs::OpenT{})->text() == "nothing yet");
  CHECK(bench.send("newest", fbs::OpenT{})->text() == "overloaded");
  CHECK(bench.shard->stats().sleeping_actors == kActors - 14);
  bench.kill();

  limits.steps_per_turn = 4;
  limits.active_actors = 100;
  bench.set_limits(limits);
  begin_to_serve(bench);
  bool asleep = true;
  for (int turn = 0; turn < kActors && asleep; ++turn) {
    for (int i = 0; i < 8; ++i)
      tell(bench, "busy" + std::to_string(i), 1);  // More than a turn steps.
    bench.run_task();
    asleep = bench.shard->stats().sleeping_actors != 0;
  }
  CHECK_FALSE(asleep);
}

TEST_CASE(
    "What was consumed above the low-water mark is not stepped again, whether kept or looked up") {
  const bool looked_up = GENERATE(false, true);
  ShardBench bench(slow());
  for (const char* key : {"a", "b", "c"}) bench.call(key, fbs::OpenT{});
  tell(bench, "a", 1);
  tell(bench, "a", 10);  // Waits for the second round, and holds the mark.
  tell(bench, "b", 2);
  tell(bench, "c", 3);
  bench.shard->tell({"test", "stranger", "x"}, {1, ""}, Lane::normal, [](const Result<void>&) {});
  for (int i = 0; i < 4; ++i) {
    bench.run_strand();
    REQUIRE(bench.run_writer());
  }
  REQUIRE(bench.state("c").total == 3);
  REQUIRE(bench.state("a").total == 1);
  bench.kill();
  ShardLimits limits = slow();
  if (looked_up) limits.bytes_in_flight = 1;
  bench.set_limits(limits);
  begin_to_serve(bench);
  CHECK(bench.shard->stats().sleeping_actors + bench.shard->active_actors() == (looked_up ? 2 : 4));
  bench.run();
  CHECK(bench.state("a").log == "1 10 ");
  CHECK(bench.state("b").log == "2 ");
  CHECK(bench.state("c").log == "3 ");
  CHECK(bench.dead_reasons() == std::vector<std::string>{"there is no kind stranger"});
  CHECK(bench.rows(Family::backlog) == 0);
  bench.restart();
  CHECK(bench.state("a").steps == 3);
}

TEST_CASE(
    "A message of a kind that is not known any more is parked once, consumed ones of it never") {
  ShardBench bench(slow());
  bench.call("a", fbs::OpenT{});
  bench.call("z", fbs::OpenT{});
  tell(bench, "z", 1);
  tell(bench, "z", 10);
  tell(bench, "a", 2);
  tell(bench, "a", 20);
  for (int i = 0; i < 3; ++i) {
    bench.run_strand();
    REQUIRE(bench.run_writer());
  }
  REQUIRE(bench.state("a").total == 2);
  bench.kill();
  bench.kinds.clear();
  bench.start();
  CHECK(bench.dead_reasons() ==
        std::vector<std::string>{"there is no kind counter", "there is no kind counter"});
}

TEST_CASE(
    "More than may be in flight, and a backlog longer than a start reads, keep their order over a "
    "crash") {
  constexpr int kWords = 200;
  ShardLimits limits = slow();
  limits.window = 2;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  bench.call("b", fbs::OpenT{});
  std::string expected;
  for (int i = 0; i < kWords; ++i) {
    tell(bench, "a", i);
    expected += std::to_string(i) + " ";
  }
  tell(bench, "b", 7);
  bench.run_strand();
  REQUIRE(bench.run_writer());
  REQUIRE(bench.rows(Family::backlog) > 100);
  bench.kill();
  limits.bytes_in_flight = static_cast<std::size_t>(GENERATE(1, 1 << 20));
  bench.set_limits(limits);
  begin_to_serve(bench);
  for (int i = 0; i < 20; ++i) one_commit(bench);
  bench.restart();
  CHECK(bench.state("a").log == expected);
  CHECK(bench.state("b").log == "7 ");
  CHECK(bench.rows(Family::backlog) == 0);
}

TEST_CASE("Sleepers have their turns in the order of the journal's keys, round and round") {
  engine::Sleepers sleepers;
  std::vector<std::string> keys;
  for (int i = 0; i < 20; ++i) {
    sleepers.of(counter_id(nth(i))).backlog = true;
    keys.push_back(engine::keys::actor(counter_id(nth(i))));
  }
  std::sort(keys.begin(), keys.end());
  for (int i = 0; i < 45; ++i)
    CHECK(engine::keys::actor(sleepers.next()) == keys[static_cast<std::size_t>(i) % keys.size()]);
  CHECK(sleepers.take(counter_id(nth(3)))->id == counter_id(nth(3)));
  CHECK_FALSE(sleepers.take(counter_id(nth(3))));
  CHECK(sleepers.size() == 19);
}
