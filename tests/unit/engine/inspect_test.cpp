// What operators' tools read: from the journal of a shard at work, and from the shard itself.
#include "engine/core/inspect.hpp"
#include "engine/core/replay.hpp"
#include "engine/core/revision.hpp"

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

TEST_CASE("A state is made again from the newest snapshot before it, whatever else is gone") {
  engine::ShardLimits limits;
  limits.snapshot_every = 4;
  limits.snapshots_kept = 2;
  limits.snapshot_rows = 2;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT());                          // 1
  for (int n = 2; n <= 15; ++n) bench.call("a", add(1));  // 2 to 15: totals 1 to 14
  const auto look = engine::look_at(journals(bench), counter_id("a"));
  REQUIRE((look && *look));
  const engine::KindOps& kind = bench.kinds.at("counter");
  const auto told_at = [&](engine::Sequence upto) {
    const auto then = engine::replay(journals(bench), kind, **look, upto);
    if (!then) return then.error().message.substr(then.error().message.rfind(':') + 2);
    return std::to_string(engine::decode_table<fbs::CounterHeadT>(then->state)->total) + ", row " +
           then->rows.at("total") + ", " + std::to_string(then->steps) + " steps from #" +
           std::to_string(then->snapshot);
  };
  // Of those after the 4th, 8th and 12th decision the last two are kept.
  CHECK(told_at(15) == "14, row 14, 3 steps from #12");
  CHECK(told_at(12) == "11, row 11, 0 steps from #12");
  CHECK(told_at(11) == "10, row 10, 3 steps from #8");
  CHECK(told_at(7) == "6, row 6, 7 steps from #0");
  CHECK(engine::replay(journals(bench), kind, **look, 15)->same_as_kept);
  CHECK(!engine::replay(journals(bench), kind, **look, 12)->newest);
  auto& inbox = bench.disk->rows[static_cast<std::size_t>(Family::inbox)];
  for (int n = 1; n <= 9; ++n) inbox.erase(engine::keys::sequence(static_cast<unsigned>(n)));
  CHECK(told_at(15) == "14, row 14, 3 steps from #12");
  CHECK(told_at(8) == "7, row 7, 0 steps from #8");
  CHECK(told_at(7) == "message 1 is no longer kept");
  CHECK(told_at(10) == "message 9 is no longer kept");

  // Snapshots are no rows and no heads, and an actor with many rows has none.
  CHECK(keys_of(bench, {"test", "", "", ""}, 100).size() == 1);
  bench.call("b", fbs::OpenT());
  for (int n = 0; n < 8; ++n) bench.call("b", fill(5, 10));
  std::size_t snapshots = 0;
  for (const auto& [key, value] : bench.disk->rows[static_cast<std::size_t>(Family::state)])
    if (key.starts_with(engine::keys::actor(counter_id("b")) + 'p')) ++snapshots;
  CHECK(snapshots == 0);
}

TEST_CASE("An actor in memory tells its steps and their time; slow ones are remembered, bounded") {
  engine::ShardLimits limits;
  limits.slow_step_us = 0;  // Every step counts as slow.
  limits.slow_steps_kept = 2;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT());
  bench.call("a", add(5));
  bench.call("a", failing("no"));  // Its time counts too.
  const auto live = bench.shard->look(counter_id("a"));
  REQUIRE(live);
  CHECK(live->steps == 3);
  CHECK(live->longest_us <= live->steps_us);
  CHECK(live->since.unix_ms > 0);
  const auto slow = bench.shard->stats().slow_steps;
  REQUIRE(slow.size() == 2);
  CHECK(slow[0].sequence == 2);
  CHECK(slow[1].sequence == 3);
  CHECK(slow[1].actor == counter_id("a"));
}

TEST_CASE("A call that says what its sender saw is stepped only while that is so") {
  ShardBench bench;
  bench.call("a", fbs::OpenT());
  const auto revision = [&](const std::string& key) {
    const auto look = engine::look_at(journals(bench), counter_id(key));
    REQUIRE((look && *look));
    engine::NamedRows rows;
    if (const auto total =
            bench.journal->get(Family::state, engine::keys::row(counter_id(key), "total"));
        total && *total)
      rows.emplace_back("total", **total);
    return engine::revision_of((*look)->state, rows);
  };
  const auto add_if = [&](std::int64_t amount, const std::string& only_if,
                          const std::string& api_key = {}) {
    engine::Call call;
    call.to = counter_id("a");
    call.payload = Counter::Messages::encode(add(amount));
    call.key = api_key.empty() ? bench.new_key() : api_key;
    call.digest = "digest";
    call.only_if = only_if;
    call.only_if_rows = "total";
    auto answer = std::make_shared<Result<std::string>>(fail(Errc::internal, "no answer"));
    bench.shard->call(std::move(call), [answer](Result<std::string> r) { *answer = std::move(r); });
    return answer;
  };
  const std::string seen = revision("a");
  // Two who saw the same, before either is committed: the first is taken, the second was too late.
  const auto first = add_if(5, seen);
  const std::string key = bench.new_key();
  const auto second = add_if(7, seen, key);
  bench.run();
  CHECK(**first == "5");
  REQUIRE_FALSE(*second);
  CHECK(engine::is_outdated(second->error()) == revision("a"));
  CHECK(bench.state("a").total == 5);
  CHECK(bench.dead_reasons().empty());
  // A repeat gets the first answer, whatever the revision is by then; a list may name it among
  // others.
  const auto repeated = add_if(7, seen, key);
  const auto third = add_if(1, "0000000000000000 " + revision("a"));
  bench.run();
  CHECK((!*repeated &&
         engine::is_outdated(repeated->error()) == engine::is_outdated(second->error())));
  CHECK(**third == "6");
  // The row counts as well as the state, a restart changes no revision, and a replay refuses the
  // same.
  const std::string last = revision("a");
  bench.restart();
  CHECK(revision("a") == last);
  CHECK(last !=
        engine::revision_of((*engine::look_at(journals(bench), counter_id("a")))->state, {}));
  const auto then = engine::replay(journals(bench), bench.kinds.at("counter"),
                                   **engine::look_at(journals(bench), counter_id("a")), ~0ull);
  REQUIRE(then);
  CHECK(then->same_as_kept);
  CHECK(then->rows.at("total") == "6");
  CHECK_FALSE(engine::is_outdated(Error{Errc::conflict, "another"}));
}
