// Finished actors become one record, which reads as they did, and which a message turns back.
#include <set>

#include "engine/core/archive.hpp"
#include "engine/core/inspect.hpp"
#include "tests/unit/engine/shard_bench.hpp"

using namespace muster;
using namespace muster::test;

namespace {

constexpr std::int64_t kAfter = 60'000;

engine::ShardLimits soon() {
  engine::ShardLimits limits;
  limits.archive_after = Duration{kAfter};
  limits.archive_rows = 8;
  return limits;
}

/// An actor with a total of 7 and five rows, finished.
void finish(ShardBench& bench, const std::string& key) {
  REQUIRE(bench.call(key, fbs::OpenT{}) == "created");
  REQUIRE(bench.call(key, add(7)) == "7");
  bench.call(key, fill(4, 10));
  bench.call(key, fbs::CloseT{});
}

bool archived(const ShardBench& bench, const std::string& key) {
  const auto& rows = bench.disk->rows[static_cast<std::size_t>(Family::state)];
  const bool record = rows.contains(engine::keys::archive(counter_id(key)));
  CHECK(record != rows.contains(engine::keys::head(counter_id(key))));
  return record;
}

/// As the API reads it.
std::string read(const ShardBench& bench, const std::string& key) {
  const auto id = counter_id(key);
  const auto head = engine::find_head(*bench.journal, id).value();
  if (!head) return "nothing";
  const auto state = engine::decode_table<fbs::CounterHeadT>(engine::state_in_head(*head).value());
  std::string text = std::to_string(state->total);
  REQUIRE(engine::find_rows(*bench.journal, id, "", "", [&](auto name, auto value) {
    text += " " + std::string(name);
    CHECK(engine::find_row(*bench.journal, id, name).value() == std::string(value));
    return true;
  }));
  return text;
}

constexpr const char* kWhole = "7 fill/0 fill/1 fill/2 fill/3 total";

}  // namespace

TEST_CASE("A finished actor that nobody speaks to becomes one record, which reads the same") {
  ShardBench bench(soon());
  finish(bench, "a");
  CHECK(read(bench, "a") == kWhole);
  bench.advance(kAfter - 1);
  CHECK_FALSE(archived(bench, "a"));
  bench.advance(1);
  CHECK(archived(bench, "a"));
  CHECK(bench.rows(Family::state) == 1);
  CHECK(bench.rows(Family::timers) == 0);
  CHECK(bench.shard->active_actors() == 0);
  CHECK(read(bench, "a") == kWhole);
  bench.restart();
  CHECK(read(bench, "a") == kWhole);

  SECTION("in parts too") {
    std::string names;
    REQUIRE(engine::find_rows(*bench.journal, counter_id("a"), "fill/1", "fill/3",
                              [&](auto name, auto) {
                                names += name;
                                return true;
                              }));
    CHECK(names == "fill/1fill/2");
    CHECK_FALSE(engine::find_row(*bench.journal, counter_id("a"), "none").value());
  }
  SECTION("and is listed among the others") {
    REQUIRE(bench.call("b", fbs::OpenT{}) == "created");
    const engine::Journals journals{bench.journal.get()};
    std::set<std::string> keys;
    const engine::ActorQuery all{"test", "", "", ""};
    REQUIRE(engine::each_actor(journals, all, [&](const auto& id, auto head, const auto&) {
      CHECK(engine::parse_head(id, head).value().finished == (id.key == "a"));
      keys.insert(id.key);
      return true;
    }));
    CHECK(keys == std::set<std::string>{"a", "b"});
    const auto look = engine::look_at(journals, counter_id("a")).value();
    REQUIRE(look);
    CHECK(look->finished);
    CHECK(look->timers.empty());
  }
}

TEST_CASE(
    "A message turns an archived actor back, with all of its rows, and it is archived again") {
  ShardBench bench(soon());
  finish(bench, "a");
  bench.advance(kAfter);
  REQUIRE(archived(bench, "a"));
  SECTION("at once") {}
  SECTION("after a restart") {
    bench.restart();
  }
  CHECK(bench.call("a", add(5)) == "12");
  CHECK_FALSE(archived(bench, "a"));
  CHECK(read(bench, "a") == "12 fill/0 fill/1 fill/2 fill/3 total");
  CHECK(bench.call("a", fbs::OpenT{}) == "created");  // The same incarnation: its total stays.
  CHECK(bench.state("a").total == 12);
  bench.advance(kAfter);
  CHECK(archived(bench, "a"));
  CHECK(read(bench, "a") == "12 fill/0 fill/1 fill/2 fill/3 total");
}

TEST_CASE("A message on its way to the same commit as the archiving turns the actor back") {
  ShardBench bench(soon());
  finish(bench, "a");
  bench.set_clock(bench.shard->now() + Duration{kAfter});
  const auto fires = bench.send("b", fbs::OpenT{});
  bench.run_strand();  // Archived, and not committed.
  const auto added = bench.send("a", add(5));
  SECTION("in one batch") {
    bench.run();
  }
  SECTION("in two") {
    bench.run_writer();
    bench.run();
  }
  CHECK(added->text() == "12");
  CHECK(read(bench, "a") == "12 fill/0 fill/1 fill/2 fill/3 total");
  CHECK_FALSE(archived(bench, "a"));
  bench.restart();
  CHECK(read(bench, "a") == "12 fill/0 fill/1 fill/2 fill/3 total");
}

TEST_CASE("After a crash an actor is wholly in its rows or wholly in the record") {
  ShardBench bench(soon());
  finish(bench, "a");
  bench.set_clock(bench.shard->now() + Duration{kAfter});
  const auto fires = bench.send("b", fbs::OpenT{});
  bench.run_strand();
  SECTION("before the commit") {
    bench.kill();
    CHECK_FALSE(archived(bench, "a"));
  }
  SECTION("after it") {
    bench.run_writer();
    bench.kill();
    CHECK(archived(bench, "a"));
  }
  bench.start();
  CHECK(archived(bench, "a"));  // The timer fired once, now or before.
  CHECK(read(bench, "a") == kWhole);
}

TEST_CASE("An actor stays that is not finished, still has a timer, is spoken to, or is too large") {
  ShardBench bench(soon());
  SECTION("not finished") {
    REQUIRE(bench.call("a", fbs::OpenT{}) == "created");
    bench.advance(2 * kAfter);
    CHECK_FALSE(archived(bench, "a"));
  }
  SECTION("a timer") {
    REQUIRE(bench.call("a", fbs::OpenT{}) == "created");
    bench.call("a", add_later(1, 2 * kAfter));
    bench.call("a", fbs::CloseT{});
    bench.advance(2 * kAfter - 1);
    CHECK_FALSE(archived(bench, "a"));
    bench.advance(kAfter + 1);  // The timer's own decision began the time anew.
    CHECK(archived(bench, "a"));
    CHECK(read(bench, "a") == "1 total");
  }
  SECTION("spoken to") {
    finish(bench, "a");
    bench.advance(kAfter / 2);
    CHECK(bench.call("a", add(1)) == "8");
    bench.advance(kAfter / 2);
    CHECK_FALSE(archived(bench, "a"));
    bench.advance(kAfter / 2);
    CHECK(archived(bench, "a"));
  }
  SECTION("too large") {
    finish(bench, "a");
    bench.call("a", fill(9, 10));
    bench.advance(2 * kAfter);
    CHECK_FALSE(archived(bench, "a"));
    CHECK(bench.rows(Family::timers) == 0);
  }
}

// ---- removed ----

namespace {

bool has_head(const ShardBench& bench, const std::string& key) {
  const auto& rows = bench.disk->rows[static_cast<std::size_t>(Family::state)];
  return rows.contains(engine::keys::head(counter_id(key)));
}

/// As tools see it.
bool listed(const ShardBench& bench, const std::string& key) {
  const engine::Journals journals{bench.journal.get()};
  bool found = false;
  const engine::ActorQuery all{"test", "", "", ""};
  REQUIRE(engine::each_actor(journals, all, [&](const auto& id, auto, const auto&) {
    found = found || id.key == key;
    return true;
  }));
  CHECK(engine::look_at(journals, counter_id(key)).value().has_value() == found);
  return found;
}

}  // namespace

TEST_CASE("An actor that has itself removed leaves what it consumed, and in the end nothing") {
  ShardBench bench(soon());
  REQUIRE(bench.call("a", fbs::OpenT{}) == "created");
  REQUIRE(bench.call("a", add(7)) == "7");
  bench.call("a", fill(4, 10));
  bench.call("a", add_later(1, 10 * kAfter));
  SECTION("as it is") {}
  SECTION("archived") {
    bench.call("a", fbs::ForgetT{});
    bench.call("a", fbs::CloseT{});
    bench.advance(kAfter);
    REQUIRE(archived(bench, "a"));
  }
  REQUIRE(bench.call("a", fbs::DepartT{}) == "gone");
  CHECK(bench.rows(Family::state) == 1);
  CHECK(has_head(bench, "a"));
  CHECK(bench.rows(Family::index) == 0);
  CHECK(bench.rows(Family::timers) == 1);
  CHECK_FALSE(listed(bench, "a"));
  CHECK(bench.call("a", add(1)) == "not_found");
  SECTION("in one life") {}
  SECTION("over a restart") {
    bench.restart();
    CHECK_FALSE(listed(bench, "a"));
    CHECK(bench.call("a", add(1)) == "not_found");
  }
  bench.advance(kAfter);
  CHECK(bench.rows(Family::state) == 0);
  CHECK(bench.rows(Family::timers) == 0);
  CHECK(bench.shard->active_actors() == 0);
  CHECK(bench.call("a", fbs::OpenT{}) == "created");
  CHECK(bench.state("a").total == 0);
}

TEST_CASE("A new actor takes a removed one's name, at once too, and is as new") {
  ShardBench bench(soon());
  finish(bench, "a");
  REQUIRE(bench.call("a", fbs::DepartT{}) == "gone");
  SECTION("at once") {}
  SECTION("after a restart") {
    bench.restart();
  }
  REQUIRE(bench.call("a", fbs::OpenT{}) == "created");
  CHECK(bench.call("a", add(3)) == "3");
  CHECK(read(bench, "a") == "3 total");
  CHECK(bench.rows(Family::timers) == 0);
  bench.advance(2 * kAfter);
  CHECK(read(bench, "a") == "3 total");
  CHECK_FALSE(archived(bench, "a"));  // Its predecessor had finished, not it.
  bench.restart();
  CHECK(bench.state("a").total == 3);
}

TEST_CASE(
    "After a crash an actor is wholly there or wholly removed, and nothing is stepped twice") {
  ShardBench bench(soon());
  finish(bench, "a");
  const auto departs = bench.send("a", fbs::DepartT{});
  const auto adds = bench.send("a", add(1));
  bench.run_strand();
  SECTION("before the commit") {
    bench.kill();
    bench.start();
    CHECK(read(bench, "a") == kWhole);
  }
  SECTION("after it") {
    while (bench.run_writer()) bench.run_strand();
    bench.kill();
    bench.start();
    CHECK(has_head(bench, "a"));
    CHECK_FALSE(listed(bench, "a"));
    const auto reasons = bench.dead_reasons();
    CHECK(reasons == std::vector<std::string>{"there is no counter a"});
  }
}

TEST_CASE("An actor with too many rows is not removed at once") {
  auto limits = soon();
  limits.decision.removed_rows = 4;
  ShardBench bench(limits);
  finish(bench, "a");  // Five rows.
  CHECK(bench.call("a", fbs::DepartT{}) == "internal");
  CHECK(read(bench, "a") == kWhole);
}
