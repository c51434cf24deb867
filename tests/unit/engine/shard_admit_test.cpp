// What a shard takes, refuses and parks.
#include "tests/unit/engine/shard_bench.hpp"

using namespace muster;
using namespace muster::test;
using engine::Lane;
using engine::ShardLimits;

TEST_CASE("A reply comes only when what it tells is durable") {
  ShardBench bench;
  const auto created = bench.send("a", fbs::OpenT{});
  bench.run_strand();
  CHECK(created->text() == "nothing yet");
  CHECK(bench.rows(Family::inbox) == 0);
  REQUIRE(bench.run_writer());
  CHECK(bench.rows(Family::inbox) == 1);
  CHECK(created->text() == "nothing yet");
  bench.run_strand();
  CHECK(created->text() == "created");
  CHECK(bench.changes.size() == 1);
}

TEST_CASE("While a batch is with the writer, stepping goes on, and the next batch takes it all") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.send("a", add(1));
  bench.run_strand();  // The first batch is on its way.
  std::vector<std::shared_ptr<ShardBench::Answer>> answers;
  for (int i = 0; i < 100; ++i) answers.push_back(bench.send("a", add(1)));
  bench.run_strand();
  int commits = 0;
  while (bench.run_writer()) {
    ++commits;
    bench.run_strand();
  }
  CHECK(commits == 2);
  CHECK(answers.back()->text() == "101");
  CHECK(bench.state("a").steps == 102);
}

TEST_CASE("What only changes a state is committed at once, also when its message was before") {
  ShardLimits limits;
  limits.steps_per_turn = 1;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  for (int i = 0; i < 3; ++i)
    bench.shard->tell(counter_id("a"), Counter::Messages::encode(add(1)), Lane::normal,
                      [](const Result<void>& taken) { CHECK(taken); });
  bench.run();
  CHECK(bench.state("a").total == 3);
  CHECK(bench.changes.size() == 4);
}

TEST_CASE("Too many messages for one actor are refused from outside, and taken again later") {
  ShardLimits limits;
  limits.pending_per_actor = 3;
  limits.uncommitted_bytes = 1;  // One step per commit, so that messages wait.
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  bench.send("a", add(1));
  bench.run_strand();
  for (int i = 0; i < 2; ++i) bench.send("a", add(1));
  const auto refused = bench.send("a", add(1));
  CHECK(refused->text() == "overloaded");
  CHECK(refused->result->error().message.find("retry after 1s") != std::string::npos);
  const auto cancel = bench.send("a", add(10), Lane::operator_);
  CHECK(cancel->text() == "nothing yet");  // Taken: its lane has its own room.
  bench.run();
  CHECK(cancel->text() == "10");  // And it went first.
  CHECK(bench.call("a", add(1)) == "14");
}

TEST_CASE("Bytes in flight and active actors are bounded for the outside") {
  ShardLimits limits;
  limits.bytes_in_flight = 2'000;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  bench.send("a", fill(1, 4'000));
  bench.run_strand();
  CHECK(bench.send("a", add(1))->text() == "overloaded");
  CHECK(bench.send("a", add(1), Lane::operator_)->text() == "nothing yet");
  bench.run();
  CHECK(bench.call("a", add(1)) == "2");

  ShardLimits few;
  few.active_actors = 1;
  few.idle_actors = 0;
  ShardBench small(few);
  const auto first = small.send("a", fbs::OpenT{});
  CHECK(small.send("b", fbs::OpenT{})->text() == "overloaded");
  small.run();
  CHECK(first->text() == "created");
  CHECK(small.call("b", fbs::OpenT{}) == "created");
}

TEST_CASE("A send inside is never refused: what finds no room lies on disk and gets its turn") {
  ShardLimits limits;
  limits.active_actors = 1;
  limits.idle_actors = 0;
  limits.window = 2;
  limits.pending_per_actor = 2;
  ShardBench bench(limits);
  for (const char* key : {"a", "b", "c"}) bench.call(key, fbs::OpenT{});
  std::vector<std::shared_ptr<ShardBench::Answer>> answers;
  for (int i = 0; i < 40; ++i) {
    answers.push_back(bench.send("a", pass(i % 2 == 0 ? "b" : "c", 1)));
    bench.run_strand();
    if (i % 4 == 3) bench.run();
  }
  bench.run();
  std::int64_t passed = 0;
  for (const auto& answer : answers) passed += answer->text() == "passed" ? 1 : 0;
  CHECK(passed > 20);
  CHECK(bench.state("a").total == -passed);
  CHECK(bench.state("b").total + bench.state("c").total == passed);
  CHECK(bench.rows(Family::backlog) == 0);
  CHECK(bench.shard->active_actors() <= 1);
}

TEST_CASE("Windows hold much while there is memory, and little when it is short; order is kept") {
  ShardLimits limits;
  limits.window = 1'000;
  limits.window_when_full = 2;
  limits.uncommitted_bytes = 1;  // One step per commit, so that messages wait.
  const bool is_short = GENERATE(false, true);
  if (is_short) limits.bytes_in_flight = 10'000;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  std::string expected;
  for (int i = 0; i < 200; ++i) {
    if (bench.send("a", add(i))->text() == "nothing yet") expected += std::to_string(i) + " ";
    if (i % 4 != 3) continue;  // More come than are stepped.
    bench.run_strand();
    bench.run_writer();
  }
  CHECK((bench.rows(Family::backlog) > 0) == is_short);
  CHECK(bench.shard->stats().window_bytes < limits.bytes_in_flight);
  bench.run();
  CHECK(bench.state("a").log == expected);
  CHECK(bench.rows(Family::backlog) == 0);
}

TEST_CASE("A state that one message makes too large is refused, and the actor goes on") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  fbs::AnswerT large;
  large.error = std::string(70'000, 'x');  // The step puts it into its state.
  CHECK(bench.call("a", large) == "internal");
  CHECK(bench.dead_reasons().at(0).find("keep the rest in rows") != std::string::npos);
  CHECK(bench.state("a").log == "");
  CHECK(bench.call("a", add(1)) == "1");
}

TEST_CASE("Order is kept through window and backlog") {
  ShardLimits limits;
  limits.window = 2;
  limits.uncommitted_bytes = 1;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  std::string expected;
  for (int i = 1; i <= 20; ++i) {
    bench.send("a", add(i));
    if (i % 7 == 0) bench.run_strand();
    expected += std::to_string(i) + " ";
  }
  CHECK(bench.rows(Family::backlog) == 0);
  bench.run_strand();
  bench.run_writer();
  CHECK(bench.rows(Family::backlog) > 0);
  bench.run();
  CHECK(bench.state("a").log == expected);
  CHECK(bench.rows(Family::backlog) == 0);
}

TEST_CASE("What can't be stepped is parked with its reason, and the actor goes on") {
  ShardBench bench;
  CHECK(bench.call("a", add(1)) == "not_found");
  CHECK(bench.call("a", fbs::OpenT{}) == "created");
  CHECK(bench.call("a", add(5)) == "5");
  CHECK(bench.call("a", failing("broken")) == "internal");
  CHECK(bench.call("a", fill(2, 600'000)) == "internal");
  const auto unknown = bench.send_payload(counter_id("a"), {99, "?"});
  const auto torn = bench.send_payload(counter_id("a"), {2, "?"});
  const auto stranger = bench.send_payload({"test", "stranger", "x"}, {1, ""});
  bench.run();
  CHECK(unknown->text() == "corrupt");
  CHECK(torn->text() == "corrupt");
  CHECK(stranger->text() == "not_found");
  CHECK(bench.call("a", add(1)) == "6");
  CHECK(bench.state("a").steps == 3);  // The steps that threw left nothing.
  CHECK(bench.dead_reasons() ==
        std::vector<std::string>{"there is no counter a", "the step failed: broken",
                                 "the step failed: a decision may take 1048576 bytes: proceed in pages",
                                 "unknown message type 99", "not a valid muster.test.fbs.Add",
                                 "there is no kind stranger"});
  bench.restart();
  CHECK(bench.call("a", add(1)) == "7");
  CHECK(bench.dead_reasons().size() == 6);
}

TEST_CASE("A key gets one answer: while it waits, afterwards, and after a restart") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  const std::string key = bench.new_key();
  const auto first = bench.send("a", add(5), Lane::normal, key);
  const auto second = bench.send("a", add(5), Lane::normal, key);
  const auto other = bench.send("a", add(6), Lane::normal, key, "another digest");
  CHECK(other->text() == "key_reused");
  bench.run_strand();
  const auto third = bench.send("a", add(5), Lane::normal, key);  // Decided, not durable.
  CHECK(third->text() == "nothing yet");
  bench.run();
  CHECK(first->text() == "5");
  CHECK(second->text() == "5");
  CHECK(third->text() == "5");
  CHECK(bench.call("a", add(5), Lane::normal, key) == "5");
  bench.restart();
  CHECK(bench.call("a", add(5), Lane::normal, key) == "5");
  CHECK(bench.call("a", add(6), Lane::normal, key, "another digest") == "key_reused");
  CHECK(bench.call("a", add(1)) == "6");
}

TEST_CASE("Keys that are no UUIDv7, too old, or of the future are refused") {
  ShardBench bench;
  const Instant now = bench.shard->now();
  const Duration day{24LL * 3'600'000};
  CHECK(bench.call("a", fbs::OpenT{}, Lane::normal, "hello") == "invalid");
  CHECK(bench.call("a", fbs::OpenT{}, Lane::normal, new_uuid_v7(now - day * 8)) == "refused");
  CHECK(bench.call("a", fbs::OpenT{}, Lane::normal, new_uuid_v7(now + day * 8)) == "invalid");
  CHECK(bench.call("a", fbs::OpenT{}, Lane::normal, new_uuid_v7(now - day * 6)) == "created");
}

TEST_CASE("Replies are forgotten after their retention, and their keys are refused by then") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  const std::string key = bench.new_key();
  CHECK(bench.call("a", add(1), Lane::normal, key) == "1");
  CHECK(bench.rows(Family::dedup) == 2);
  bench.advance(8LL * 24 * 3'600'000);
  bench.call("a", add(1));
  bench.call("a", add(1));
  CHECK(bench.rows(Family::dedup) == 2);  // The two new ones.
  CHECK(bench.call("a", add(1), Lane::normal, key) == "refused");
}

TEST_CASE("A channel's message is taken with its mark, once and without a gap") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  const auto deliver = [&](std::uint64_t number) {
    auto taken = std::make_shared<std::optional<Result<void>>>();
    bench.shard->deliver({"host/h", number, counter_id("a"), Counter::Messages::encode(add(1))},
                         [taken](Result<void> r) { *taken = std::move(r); });
    return taken;
  };
  const auto one = deliver(1);
  const auto again = deliver(1);
  CHECK_FALSE(*one);
  CHECK_FALSE(*again);  // Not durable yet either.
  const auto gap = deliver(3);
  REQUIRE(*gap);
  CHECK((*gap)->error().code == Errc::conflict);
  bench.run();
  CHECK((*one)->has_value());
  CHECK((*again)->has_value());
  bench.restart();
  const auto old = deliver(1);
  const auto two = deliver(2);
  bench.run();
  CHECK((*old)->has_value());
  CHECK((*two)->has_value());
  CHECK(bench.state("a").total == 2);
}
