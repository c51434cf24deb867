// What operators' tools read: from the journal of a shard at work, and from the shard itself.
#include "engine/core/inspect.hpp"
#include "engine/core/replay.hpp"

#include <set>

#include "tests/unit/engine/shard_bench.hpp"

using namespace muster;
using namespace muster::test;

namespace {

engine::Journals journals(const ShardBench& bench) {
  return {bench.journal.get()};
}

std::vector<std::string> keys_of(const ShardBench& bench, const engine::ActorQuery& query,
                                 std::size_t limit, std::string* last = nullptr) {
  std::vector<std::string> found;
  const auto walked =
      engine::each_actor(journals(bench), query,
                         [&](const engine::ActorId& id, std::string_view, const std::string& key) {
                           found.push_back(id.key);
                           if (last != nullptr) *last = key;
                           return found.size() < limit;
                         });
  REQUIRE(walked);
  return found;
}

/// "Add#3 Open#1": the decisions on one actor, the newest first.
std::string steps_of(const ShardBench& bench, const engine::ActorId* actor, std::size_t scan_limit,
                     std::uint64_t below = 0, std::uint64_t* next = nullptr) {
  std::string text;
  const auto end = engine::each_step_back(
      *bench.journal, actor, below, scan_limit, [&](const engine::StepLook& step) {
        text += step.actor.key + "#" + std::to_string(step.sequence) + (step.dead ? "! " : " ");
        return true;
      });
  REQUIRE(end);
  if (next != nullptr) *next = end->next;
  return text;
}

}  // namespace

TEST_CASE("Every actor is listed once, page by page, however many rows lie between") {
  ShardBench bench;
  std::set<std::string> made;
  for (int n = 0; n < 40; ++n) {
    const std::string key = (n % 2 == 0 ? "even-" : "odd-") + std::to_string(n);
    REQUIRE(bench.call(key, fbs::OpenT()) == "created");
    bench.call(key, fill(n % 5 == 0 ? 40 : 2, 10));
    made.insert(key);
  }
  std::set<std::string> found;
  engine::ActorQuery query{"test", "counter", "", ""};
  for (std::size_t pages = 0;; ++pages) {
    REQUIRE(pages < 10);
    const auto page = keys_of(bench, query, 7, &query.after);
    if (page.empty()) break;
    for (const std::string& key : page) CHECK(found.insert(key).second);
  }
  CHECK(found == made);
  CHECK(keys_of(bench, {"test", "", "", ""}, 100).size() == 40);
  CHECK(keys_of(bench, {"test", "counter", "odd-", ""}, 100).size() == 20);
  CHECK(keys_of(bench, {"test", "other", "", ""}, 100).empty());
  CHECK(keys_of(bench, {"tes", "", "", ""}, 100).empty());
}

TEST_CASE("An actor's head tells its marks and timers; what it asked of the outside is listed") {
  ShardBench bench;
  bench.call("a", fbs::OpenT());
  bench.call("a", add_later(5, 60'000));
  bench.call("a", lookup("name"));
  const auto look = engine::look_at(journals(bench), counter_id("a"));
  REQUIRE(look);
  REQUIRE(*look);
  CHECK((*look)->decision == 3);
  CHECK((*look)->consumed[0] == 3);
  REQUIRE((*look)->timers.size() == 1);
  CHECK((*look)->timers.front().name == "later");
  const auto effects = engine::pending_effects(journals(bench), counter_id("a"), 10);
  REQUIRE(effects);
  REQUIRE(effects->size() == 1);
  CHECK(effects->front().key == "name");
  CHECK(!*engine::look_at(journals(bench), counter_id("nobody")));
}

TEST_CASE("Decisions are found backwards, of one actor or of all, in bounded pieces") {
  ShardBench bench;
  bench.call("a", fbs::OpenT());   // 1
  bench.call("b", fbs::OpenT());   // 2
  bench.call("a", pass("b", 4));   // 3, which sends 4
  bench.call("a", failing("no"));  // 5
  const engine::ActorId a = counter_id("a");
  CHECK(steps_of(bench, nullptr, 100) == "a#5! b#4 a#3 b#2 a#1 ");
  CHECK(steps_of(bench, &a, 100) == "a#5! a#3 a#1 ");
  std::string pieces;
  std::uint64_t next = 0;
  std::size_t looks = 0;
  do pieces += steps_of(bench, &a, 1, next, &next);
  while (next != 0 && ++looks < 10);
  CHECK(pieces == "a#5! a#3 a#1 ");
  CHECK(looks > 1);

  const auto messages = engine::read_messages(*bench.journal, {4, 1, 99});
  REQUIRE(messages);
  REQUIRE(messages->size() == 2);
  CHECK((*messages)[1].causation == 3);
  CHECK((*messages)[1].from == a);
  CHECK((*messages)[1].correlation == engine::read_message(*bench.journal, 3)->value().correlation);
  CHECK(!*engine::read_message(*bench.journal, 99));

  std::string dead;
  REQUIRE(engine::each_dead_back(*bench.journal, 0, [&](const engine::DeadLook& look) {
    dead += look.message.to.key + ": " + look.reason;
    return true;
  }));
  CHECK(dead == "a: the step failed: no");
}

TEST_CASE("What waits is seen in the mailbox and in the journal") {
  engine::ShardLimits limits;
  limits.steps_per_turn = 1;
  limits.window = 4;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT());
  std::vector<std::shared_ptr<ShardBench::Answer>> answers;
  for (int n = 0; n < 10; ++n) answers.push_back(bench.send("a", add(1)));
  const auto live = bench.shard->look(counter_id("a"));
  REQUIRE(live);
  CHECK(live->pending[0] == 10);
  CHECK(live->oldest);
  CHECK(bench.shard->look(5).size() == 1);

  // Committed before it is stepped: the first batch goes to the disk with one step of the ten.
  bench.run_strand();
  bench.run_writer();
  auto look = engine::look_at(journals(bench), counter_id("a"));
  auto pending = engine::pending_messages(journals(bench), **look, 5);
  REQUIRE(pending);
  CHECK(pending->messages.size() == 5);
  CHECK(pending->more);
  CHECK(pending->messages.front().sequence == (*look)->consumed[0] + 1);

  bench.run();
  look = engine::look_at(journals(bench), counter_id("a"));
  CHECK(engine::pending_messages(journals(bench), **look, 5)->messages.empty());
  CHECK(bench.shard->look(counter_id("a"))->idle);
  CHECK(bench.call("a", add(1)) == "11");
}

TEST_CASE("An actor's state is made again as it was after any of its messages") {
  ShardBench bench;
  bench.call("a", fbs::OpenT());  // 1
  bench.call("a", add(5));        // 2
  bench.advance(1'000);
  bench.call("a", failing("no"));  // 3: a dead letter
  bench.call("a", add(7));         // 4
  const auto look = engine::look_at(journals(bench), counter_id("a"));
  REQUIRE((look && *look));
  const engine::KindOps& kind = bench.kinds.at("counter");
  const auto total_at = [&](engine::Sequence upto) {
    const auto then = engine::replay(journals(bench), kind, **look, upto);
    REQUIRE(then);
    return std::to_string(engine::decode_table<fbs::CounterHeadT>(then->state)->total) +
           " after #" + std::to_string(then->last_sequence) + ", row " +
           (then->rows.contains("total") ? then->rows.at("total") : "-");
  };
  CHECK(total_at(1) == "0 after #1, row -");
  CHECK(total_at(2) == "5 after #2, row 5");
  CHECK(total_at(3) == "5 after #3, row 5");
  CHECK(total_at(99) == "12 after #4, row 12");
  const auto newest = engine::replay(journals(bench), kind, **look, 99);
  CHECK(newest->newest);
  CHECK(newest->same_as_kept);
  CHECK(engine::replay(journals(bench), kind, **look, 0).error().code == Errc::not_found);

  engine::KindOps changed = kind;
  changed.version = 2;
  CHECK(engine::replay(journals(bench), changed, **look, 4)->oldest_version == 1);
  CHECK(engine::replay(journals(bench), changed, **look, 4)->version == 2);

  auto& inbox = bench.disk->rows[static_cast<std::size_t>(Family::inbox)];
  inbox.erase(engine::keys::sequence(2));
  CHECK(total_at(1) == "0 after #1, row -");
  const auto lost = engine::replay(journals(bench), kind, **look, 4);
  REQUIRE(!lost);
  CHECK(lost.error().code == Errc::refused);
  CHECK(lost.error().message.find("message 2 is no longer kept") != std::string::npos);
}
