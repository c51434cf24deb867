// What operators do: dead letters that are replayed or discarded, actors that pause, and a way through what is full.
#include "engine/core/letters.hpp"
#include "engine/core/recovery.hpp"
#include "tests/unit/engine/shard_bench.hpp"

using namespace muster;
using namespace muster::test;
using engine::DeadLetter;
using engine::Lane;
using engine::OperatorCommand;
using engine::ShardLimits;
using Action = engine::OperatorCommand::Action;

namespace {

std::vector<DeadLetter> letters(ShardBench& bench, engine::Sequence after = 0,
                                std::size_t limit = 100) {
  auto found = engine::read_letters({bench.journal.get()}, bench.kinds, {0, after}, limit);
  REQUIRE(found);
  return *found;
}

OperatorCommand command(ShardBench& bench, Action action) {
  OperatorCommand c;
  c.action = action;
  c.who = "ann";
  c.why = "it is mended";
  c.key = bench.new_key();
  c.digest = "digest";
  return c;
}
OperatorCommand about(ShardBench& bench, Action action, const DeadLetter& letter) {
  auto c = command(bench, action);
  c.letter = letter.id;
  return c;
}
OperatorCommand about(ShardBench& bench, Action action, const std::string& key) {
  auto c = command(bench, action);
  c.actor = counter_id(key);
  return c;
}

std::string operate(ShardBench& bench, const OperatorCommand& c) {
  ShardBench::Answer answer;
  bench.shard->operate(c, [&](Result<std::string> r) { answer.result = std::move(r); });
  bench.run();
  return answer.text();
}

/// "who action detail", each on a line.
std::string audits(ShardBench& bench) {
  std::string text;
  for (const auto& [key, value] : bench.disk->rows[static_cast<std::size_t>(Family::audit)]) {
    const auto record = *engine::decode_record<engine::fbs::AuditRecordT>(value);
    if (record.who != "test") text += record.who + " " + record.action + " " + record.detail + "\n";
  }
  return text;
}

/// A message that waits without being stepped: the limits must allow one step a commit.
void wait_behind(ShardBench& bench, const std::string& key) {
  bench.send(key, add(0));
  bench.run_strand();
}

}  // namespace

TEST_CASE("A dead letter is read with its message, its reason and its fields") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.call("a", failing("broken"));
  bench.call("ghost", add(5));
  bench.send_payload({"test", "nokind", "x"}, {3, "abc"});
  bench.run();
  const auto all = letters(bench);
  REQUIRE(all.size() == 3);
  CHECK(all[0].message.to == counter_id("a"));
  CHECK(all[0].text == R"(Fail { why: "broken" })");
  CHECK(all[0].reason == "the step failed: broken");
  CHECK(all[0].state == DeadLetter::State::open);
  CHECK(all[1].text == "Add { amount: 5 }");
  CHECK(all[1].reason == "there is no counter ghost");
  CHECK(all[2].text == "#3 of 3 bytes");

  CHECK(letters(bench, all[0].id.sequence, 1).front().id == all[1].id);
  CHECK(letters(bench, all[2].id.sequence).empty());
  CHECK(engine::LetterId::parse(all[1].id.to_string()) == all[1].id);
  CHECK_FALSE(engine::LetterId::parse("0-"));
  CHECK_FALSE(engine::LetterId::parse("0-1x"));
  CHECK(engine::read_letter({bench.journal.get()}, bench.kinds, all[1].id)->value().text ==
        "Add { amount: 5 }");
  CHECK_FALSE(*engine::read_letter({bench.journal.get()}, bench.kinds, {1, 1}));
}

TEST_CASE("A replayed letter is stepped once, whatever is repeated or crashes") {
  ShardBench bench;
  bench.call("ghost", add(5));
  bench.call("ghost", fbs::OpenT{});
  const auto letter = letters(bench).at(0);
  const auto c = about(bench, Action::replay, letter);

  bench.shard->operate(c, [](Result<std::string>) {});
  bench.run_strand();
  bench.restart();  // Before it was durable: nothing of it happened.
  CHECK(bench.state("ghost").total == 0);
  CHECK(letters(bench).at(0).state == DeadLetter::State::open);
  CHECK(audits(bench).empty());

  const std::string sequence = operate(bench, c);
  CHECK(bench.state("ghost").total == 5);
  bench.restart();
  CHECK(operate(bench, c) == sequence);  // The same key, the same answer.
  CHECK(operate(bench, about(bench, Action::replay, letter)) == "refused");
  CHECK(operate(bench, about(bench, Action::discard, letter)) == "refused");
  auto changed = c;
  changed.digest = "another";
  CHECK(operate(bench, changed) == "key_reused");
  CHECK(bench.state("ghost").total == 5);

  const auto closed = letters(bench).at(0);
  CHECK(closed.state == DeadLetter::State::replayed);
  CHECK(closed.who == "ann");
  CHECK(closed.why == "it is mended");
  CHECK(std::to_string(closed.replayed_as) == sequence);
  CHECK(audits(bench) == "ann replay " + letter.id.to_string() + ": it is mended\n");
}

TEST_CASE("A letter that fails again is a letter again; a discarded one stays what it is") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.call("a", failing("broken"));
  operate(bench, about(bench, Action::replay, letters(bench).at(0)));
  auto all = letters(bench);
  REQUIRE(all.size() == 2);
  CHECK(all[1].id.sequence == all[0].replayed_as);
  CHECK(all[1].message.causation == all[0].id.sequence);
  CHECK(operate(bench, about(bench, Action::discard, all[1])) == "");
  bench.restart();
  all = letters(bench);
  CHECK(all[1].state == DeadLetter::State::discarded);
  CHECK(operate(bench, about(bench, Action::replay, all[1])) == "refused");
  DeadLetter none;
  none.id = {0, 9'999};
  CHECK(operate(bench, about(bench, Action::replay, none)) == "not_found");
  CHECK(bench.state("a").total == 0);
}

TEST_CASE("A letter of a timer is stepped when it is replayed, though the timer has fired") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.call("a", add_later(7, 1'000));
  auto& step = bench.kinds.at("counter").step;
  const auto good = step;
  step = [](void*, const engine::Payload&, engine::Context&) -> Result<void> {
    throw std::runtime_error("not today");
  };
  bench.advance(2'000);
  REQUIRE(letters(bench).size() == 1);
  step = good;
  operate(bench, about(bench, Action::replay, letters(bench).at(0)));
  CHECK(bench.state("a").total == 7);
}

TEST_CASE("A paused actor hears its operators only, over a restart too, and goes on in order") {
  ShardLimits limits;
  limits.window = 3;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  CHECK(operate(bench, about(bench, Action::pause, "a")) == "paused");
  std::vector<std::shared_ptr<ShardBench::Answer>> waiting;
  for (int i = 1; i <= 9; ++i) waiting.push_back(bench.send("a", add(i)));
  bench.run();
  CHECK(waiting[0]->text() == "nothing yet");
  CHECK(bench.call("a", add(100), Lane::operator_) == "100");
  CHECK(bench.rows(Family::backlog) == 9);
  bench.restart();
  CHECK(bench.state("a").log == "100 ");
  CHECK(bench.shard->active_actors() <= 1);
  bench.send("a", add(10));
  bench.run();
  CHECK(bench.state("a").log == "100 ");
  CHECK(operate(bench, about(bench, Action::resume, "a")) == "resumed");
  CHECK(bench.state("a").log == "100 1 2 3 4 5 6 7 8 9 10 ");
  CHECK(bench.rows(Family::backlog) == 0);
  CHECK(operate(bench, about(bench, Action::pause, "nobody")) == "not_found");
  CHECK(audits(bench) == "ann pause it is mended\nann resume it is mended\n");
}

TEST_CASE("The bound on waiting messages holds over a restart") {
  ShardLimits limits;
  limits.window = 2;
  limits.pending_per_actor = 5;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  operate(bench, about(bench, Action::pause, "a"));
  for (int i = 1; i <= 5; ++i) CHECK(bench.call("a", add(1)) == "nothing yet");
  CHECK(bench.call("a", add(1)) == "overloaded");
  bench.restart();
  CHECK(bench.call("a", add(1)) == "overloaded");
  operate(bench, about(bench, Action::resume, "a"));
  CHECK(bench.state("a").total == 5);
}

TEST_CASE("What comes for a paused actor waits on disk, and takes no other actor's place in memory") {
  ShardLimits limits;
  limits.active_actors = 1;
  ShardBench bench(limits);
  bench.call("b", fbs::OpenT{});
  bench.call("a", fbs::OpenT{});
  operate(bench, about(bench, Action::pause, "a"));
  const auto waits = bench.send("a", add(1));
  bench.run();
  CHECK(waits->text() == "nothing yet");
  CHECK(bench.call("b", add(1)) == "1");
}

TEST_CASE("Messages on their way when an actor pauses wait for it, without holding the low-water mark") {
  ShardLimits limits;
  limits.uncommitted_bytes = 1;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  wait_behind(bench, "a");
  for (int i = 1; i <= 5; ++i) bench.send("a", add(i));
  operate(bench, about(bench, Action::pause, "a"));
  CHECK(bench.rows(Family::backlog) == 6);
  const auto shard = engine::recover(*bench.journal, {0, 1}, 1u << 20);
  REQUIRE(shard);
  CHECK(shard->shard.low_water == shard->shard.next_sequence);
  operate(bench, about(bench, Action::resume, "a"));
  CHECK(bench.state("a").log == "0 1 2 3 4 5 ");
}

TEST_CASE("An idle actor leaves memory when told, a busy one does not") {
  ShardLimits limits;
  limits.uncommitted_bytes = 1;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  CHECK(bench.shard->active_actors() == 1);
  CHECK(operate(bench, about(bench, Action::passivate, "a")) == "passivated");
  CHECK(bench.shard->active_actors() == 0);
  CHECK(operate(bench, about(bench, Action::passivate, "a")) == "not in memory");
  wait_behind(bench, "a");
  bench.send("a", add(1));
  CHECK(operate(bench, about(bench, Action::passivate, "a")) == "refused");
  CHECK(bench.call("a", add(1)) == "2");
}

TEST_CASE("The operator lane gets through a full mailbox, a full directory and a full shard") {
  ShardLimits limits;
  limits.uncommitted_bytes = 1;
  limits.pending_per_actor = 5;
  limits.active_actors = 1;
  limits.idle_actors = 0;
  limits.bytes_in_flight = 4'000;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  bench.call("b", fbs::OpenT{});
  wait_behind(bench, "a");
  while (bench.send("a", add(1))->text() == "nothing yet") {
  }
  CHECK(bench.send("a", add(1))->text() == "overloaded");
  CHECK(bench.send("b", add(1))->text() == "overloaded");

  const auto to_full = bench.send("a", add(1'000), Lane::operator_);
  const auto to_absent = bench.send("b", add(2'000), Lane::operator_);
  std::string paused = "nothing yet";
  bench.shard->operate(about(bench, Action::pause, "a"),
                       [&](Result<std::string> r) { paused = r ? *r : r.error().message; });
  bench.run();
  CHECK(to_full->text() == "1000");  // Before all that waited.
  CHECK(to_absent->text() == "2000");
  CHECK(paused == "paused");
  CHECK(bench.state("a").log == "1000 ");
}

TEST_CASE("A restore raises the generation, which no ordinary start does") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  CHECK(bench.shard->generation() == 1);
  bench.restart();
  CHECK(bench.shard->generation() == 1);
  bench.kill();
  {
    MemoryJournal journal(bench.disk);
    CHECK(*engine::stored_generation(journal) == 1);
    CHECK(engine::store_generation(journal, 2));
    MemoryJournal never_used;
    CHECK(engine::stored_generation(never_used).error().code == Errc::not_found);
  }
  bench.start();
  CHECK(bench.shard->generation() == 2);
  CHECK(bench.call("a", add(1)) == "1");
  bench.restart();
  CHECK(bench.shard->generation() == 2);
}

TEST_CASE("Followers of changes hear of a dead letter when it is made and when it is closed") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.call("a", failing("broken"));
  bench.call("a", failing("again"));
  operate(bench, about(bench, Action::discard, letters(bench)[0]));
  operate(bench, about(bench, Action::replay, letters(bench)[1]));
  std::string told;
  for (const engine::Change& change : bench.changes)
    told += std::to_string(change.message_type) + ":" + std::to_string(change.letter) + " ";
  const std::string type = std::to_string(Counter::Messages::encode(failing("")).type);
  const std::string made = std::to_string(Counter::Messages::encode(fbs::OpenT{}).type);
  // The replayed one fails again, as a letter of its own.
  CHECK(told == made + ":0 " + type + ":2 " + type + ":3 0:2 0:3 " + type + ":" +
                    std::to_string(letters(bench)[2].id.sequence) + " ");
}
