#include <catch2/catch.hpp>

#include "engine/core/testing.hpp"
#include "tests/unit/engine/counter.hpp"

using namespace muster;
using namespace muster::test;
using engine::ActorId;
using engine::testing::Stage;

namespace {

template <class M, class F>
M with(F&& set) {
  M message;
  set(message);
  return message;
}

fbs::AddT add(std::int64_t amount) {
  return with<fbs::AddT>([&](auto& m) { m.amount = amount; });
}

}  // namespace

TEST_CASE("A transcript tells everything that a step decided") {
  Stage<Counter> counter("a");
  CHECK(counter.tell(add(1)) == "dead no such actor\n");
  CHECK(counter.tell(with<fbs::OpenT>([](auto& m) { m.limit = 10; })) ==
        "state { limit: 10, steps: 1 }\n"
        "index counter \"a\" = \"0\"\n"
        "audit test create a\n"
        "reply \"created\"\n");
  CHECK(counter.tell(add(7)) ==
        "state { total: 7, limit: 10, steps: 2, log: \"7 \" }\n"
        "row total = \"7\"\n"
        "index counter \"a\" = \"7\"\n"
        "reply \"7\"\n");
  CHECK(counter.tell(add(7)) ==
        "state { total: 7, limit: 10, steps: 3, log: \"7 \" }\n"
        "refuse refused over the limit\n");
  CHECK(counter.tell(with<fbs::PassT>([](auto& m) {
    m.to = "b";
    m.amount = 2;
  })) == "state { total: 5, limit: 10, steps: 4, log: \"7 \" }\n"
         "send default/counter/b Add { amount: 2 }\n"
         "reply \"passed\"\n");
  CHECK(counter.tell(with<fbs::LookupT>([](auto& m) { m.key = "k"; })) ==
        "state { total: 5, limit: 10, steps: 5, log: \"7 \" }\n"
        "effect oracle k +1m \"ask\" else Answer { key: \"k\", error: \"unknown\" }\n");
}

TEST_CASE("A throw leaves state, rows and timers as they were") {
  Stage<Counter> counter("a");
  counter.tell(fbs::OpenT{});
  CHECK(counter.tell(with<fbs::FailT>([](auto& m) { m.why = "broken"; })) == "throws broken\n");
  CHECK(counter.state().total == 0);
  CHECK(counter.tell(with<fbs::FillT>([](auto& m) {
    m.rows = 3;
    m.bytes = 400'000;
  })) == "throws a decision may take 1048576 bytes: proceed in pages\n");
  CHECK(counter.rows().all.empty());
}

TEST_CASE("A timer set again moves, and a cancelled one is gone") {
  Stage<Counter> counter("a");
  counter.tell(fbs::OpenT{});
  const auto later = [&](std::int64_t amount, std::int64_t ms) {
    return counter.tell(with<fbs::AddLaterT>([&](auto& m) {
      m.amount = amount;
      m.delay_ms = ms;
    }));
  };
  later(1, 1'000);
  CHECK(later(2, 5'000) == "state { steps: 3 }\ntimer later +5s Due { amount: 2 }\n");
  REQUIRE(counter.timers().size() == 1);
  const Instant before = counter.now();
  CHECK(counter.fire("later").find("total: 2") != std::string::npos);
  CHECK(counter.now() == before + Duration{5'000});
  later(3, 1'000);
  CHECK(counter.tell(fbs::ForgetT{}) == "state { total: 2, steps: 6, log: \"2 \" }\ncancel later\n");
  CHECK(counter.timers().empty());
}

TEST_CASE("Rows that a decision changed are read back within it") {
  engine::testing::MemoryRows rows;
  rows.all = {{"a", "1"}, {"b", "2"}, {"c", "3"}};
  const engine::Envelope message;
  engine::Context ctx({"o", "k", "x"}, message, Instant{}, rows);
  ctx.put_row("b", "two");
  ctx.erase_row("a");
  ctx.put_row("d", "4");
  using Rows = std::vector<std::pair<std::string, std::string>>;
  CHECK(ctx.row("b") == "two");
  CHECK_FALSE(ctx.row("a"));
  CHECK(ctx.rows("a", "z", 2) == Rows{{"b", "two"}, {"c", "3"}});
  CHECK(ctx.rows("a", "z", 10) == Rows{{"b", "two"}, {"c", "3"}, {"d", "4"}});
}

TEST_CASE("A decision is bounded in sends") {
  engine::testing::MemoryRows rows;
  const engine::Envelope message;
  engine::Context ctx({"o", "k", "x"}, message, Instant{}, rows);
  for (int i = 0; i < 256; ++i) ctx.send(ActorId{"o", "k", "y"}, engine::Payload{1, "m"});
  CHECK_THROWS_AS(ctx.send(ActorId{"o", "k", "y"}, engine::Payload{1, "m"}),
                  engine::DecisionTooLarge);
}

TEST_CASE("A message without a proper receiver is a broken invariant of the step") {
  engine::testing::MemoryRows rows;
  const engine::Envelope message;
  engine::Context ctx({"o", "k", "x"}, message, Instant{}, rows);
  CHECK_THROWS_AS(ctx.send(ActorId{"o", "k", ""}, engine::Payload{1, "m"}), std::invalid_argument);
  CHECK_THROWS_AS(ctx.send(ActorId{"o", "k", std::string("a\0b", 3)}, engine::Payload{1, "m"}),
                  std::invalid_argument);
}

TEST_CASE("An actor's name parses back, and its slot never changes") {
  const auto id = ActorId::parse("acme/repo/acme/api#1");
  REQUIRE(id);
  CHECK(*id == ActorId{"acme", "repo", "acme/api#1"});
  CHECK(id->to_string() == "acme/repo/acme/api#1");
  CHECK_FALSE(ActorId::parse("acme/repo"));
  CHECK_FALSE(ActorId::parse("acme//key"));
  CHECK_FALSE(ActorId::parse("/run/key"));
  // On disk: these numbers stand for ever.
  CHECK(static_cast<int>(ActorId{"acme", "run", "7K2M"}.slot()) == 102);
  CHECK(static_cast<int>(ActorId{"default", "fleet", "libgreet-2"}.slot()) == 100);
}
