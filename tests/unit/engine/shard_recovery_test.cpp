// What a shard does when its journal fails, and what it finds when it starts again.
#include "tests/unit/engine/shard_bench.hpp"

using namespace muster;
using namespace muster::test;
using engine::Lane;
using engine::ShardLimits;

TEST_CASE("A failed commit is unknown: the same key finds out, whether it happened or not") {
  const auto outcome = GENERATE(MemoryJournal::Outcome::lost, MemoryJournal::Outcome::kept);
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  const std::string key = bench.new_key();
  bench.journal->fail_next_commit(outcome);
  bench.journal->fail_reopen(2);
  const auto first = bench.send("a", add(5), Lane::normal, key);
  bench.run_strand();
  const auto later = bench.send("a", add(1));
  bench.run();
  CHECK(first->text() == "unknown");
  CHECK(later->text() == "unknown");
  CHECK_FALSE(bench.trouble_text.empty());
  CHECK(bench.call("a", add(1)) == "unreachable");
  bench.advance(3'000);  // It comes back by itself.
  CHECK(bench.trouble_text.empty());
  CHECK(bench.call("a", add(5), Lane::normal, key) == "5");
  CHECK(bench.call("a", add(1)) == "6");
}

TEST_CASE("A channel and an effect live through a failed commit") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.call("a", lookup("k"));
  bench.effects.clear();
  std::optional<Result<void>> taken;
  bench.journal->fail_next_commit(MemoryJournal::Outcome::lost);
  bench.shard->deliver({"host/h", 1, counter_id("a"), Counter::Messages::encode(add(1))},
                       [&](Result<void> r) { taken = std::move(r); });
  bench.run();
  REQUIRE(taken);
  CHECK(taken->error().code == Errc::unknown);
  REQUIRE(bench.effects.size() == 1);
  CHECK(bench.effects[0].repeated);
  bench.shard->deliver({"host/h", 1, counter_id("a"), Counter::Messages::encode(add(1))},
                       [&](Result<void> r) { taken = std::move(r); });
  bench.shard->effect_done(bench.effects[0], answer(10));
  bench.run();
  CHECK(taken->has_value());
  CHECK(bench.state("a").total == 11);
}

TEST_CASE("A crash keeps the order of what lay in window and backlog, also behind an operator's message") {
  ShardLimits limits;
  limits.window = 2;
  limits.uncommitted_bytes = 1;  // One step per commit, so that messages wait.
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  bench.send("a", add(0));
  bench.run_strand();
  bench.send("a", add(0), engine::Lane::operator_);
  for (const char* word : {"1", "2", "3"}) {
    fbs::AnswerT said;
    said.error = word;  // The step puts it into its state.
    bench.shard->tell(counter_id("a"), Counter::Messages::encode(said), engine::Lane::normal,
                      [](const Result<void>& taken) { (void)taken; });
  }
  bench.run_writer();
  bench.run_strand();
  bench.run_writer();  // All are on the disk, and no word is stepped.
  REQUIRE(bench.rows(Family::backlog) > 0);
  REQUIRE(bench.state("a").log == "");
  bench.restart();
  CHECK(bench.state("a").log == "0 0 1 2 3 ");
}

TEST_CASE("A message that was acknowledged and not stepped is stepped after a crash") {
  ShardLimits limits;
  limits.uncommitted_bytes = 1;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  bench.send("a", add(1));
  bench.run_strand();
  std::optional<Result<void>> told;
  bench.shard->tell(counter_id("a"), Counter::Messages::encode(add(2)), Lane::normal,
                    [&](Result<void> r) { told = std::move(r); });
  bench.run_writer();
  bench.run_strand();
  bench.run_writer();
  bench.run_strand();
  REQUIRE(told);
  CHECK(told->has_value());
  bench.restart();
  CHECK(bench.state("a").total == 3);
}

TEST_CASE("A start activates what has work, and nothing else") {
  ShardLimits limits;
  limits.window = 2;
  limits.uncommitted_bytes = 1;
  ShardBench bench(limits);
  for (int i = 0; i < 50; ++i) bench.call("idle" + std::to_string(i), fbs::OpenT{});
  bench.call("a", fbs::OpenT{});
  for (int i = 1; i <= 9; ++i) bench.send("a", add(i));
  bench.run_strand();
  bench.run_writer();  // Journaled, and one of them stepped.
  bench.restart();
  CHECK(bench.shard->active_actors() == 1);
  CHECK(bench.state("a").log == "1 2 3 4 5 6 7 8 9 ");
  CHECK(bench.rows(Family::backlog) == 0);
}

TEST_CASE("Idle actors leave memory, and come back as they were") {
  ShardLimits limits;
  limits.idle_actors = 3;
  ShardBench bench(limits);
  for (int i = 0; i < 20; ++i) {
    bench.call("c" + std::to_string(i), fbs::OpenT{});
    bench.call("c" + std::to_string(i), add(i));
  }
  CHECK(bench.shard->active_actors() <= 3);
  for (int i = 0; i < 20; ++i)
    CHECK(bench.call("c" + std::to_string(i), add(1)) == std::to_string(i + 1));
}

TEST_CASE("Consumed messages and old changes are trimmed") {
  ShardLimits limits;
  limits.inbox_retention = 10;
  limits.changes_retention = 10;
  limits.trim_chunk = 5;
  ShardBench bench(limits);
  bench.call("a", fbs::OpenT{});
  for (int i = 0; i < 100; ++i) bench.call("a", add(1));
  CHECK(bench.rows(Family::inbox) < 20);
  CHECK(bench.rows(Family::changes) < 20);
  bench.restart();
  CHECK(bench.call("a", add(1)) == "101");
}

TEST_CASE("Dead letters are kept for 90 days and audit entries for 400, open or closed") {
  constexpr std::int64_t kDay = 24 * 3'600'000LL;
  ShardBench bench;
  for (int generation = 0; generation < 20; ++generation) {
    bench.call("c" + std::to_string(generation), fbs::OpenT{});  // Is audited.
    bench.call("c" + std::to_string(generation), failing("broken"));
    bench.advance(30 * kDay);
  }
  CHECK(bench.rows(Family::dead) <= 4);
  CHECK(bench.rows(Family::dead) >= 2);
  CHECK(bench.rows(Family::audit) <= 15);
  CHECK(bench.rows(Family::audit) >= 12);
  bench.restart();
  CHECK(bench.call("c0", add(1)) == "1");  // What was parked long ago does not come back.
}

namespace {

/// Counts what is read of a journal.
class Counting : public storage::Journal {
 public:
  explicit Counting(const storage::Journal& journal) : journal_(journal) {}
  Result<std::optional<std::string>> get(Family family, std::string_view key) const override {
    ++reads;
    if (family == Family::state) ++heads;
    return journal_.get(family, key);
  }
  Result<void> scan(Family family, std::string_view lower, std::string_view upper,
                    const storage::RowVisitor& row) const override {
    return journal_.scan(family, lower, upper, [&](std::string_view key, std::string_view value) {
      ++reads;
      return row(key, value);
    });
  }
  Result<void> scan_back(Family, std::string_view, std::string_view,
                         const storage::RowVisitor&) const override {
    return fail(Errc::internal, "recovery reads forwards");
  }
  Result<void> commit(const storage::Batch&) override { return fail(Errc::internal, "read only"); }
  Result<void> drop(Family, std::string_view, std::string_view) override { return {}; }
  Result<void> reopen() override { return {}; }

  mutable std::size_t reads = 0;
  mutable std::size_t heads = 0;

 private:
  const storage::Journal& journal_;
};

}  // namespace

TEST_CASE("What a start reads depends on the work in flight, not on the history: a fleet of any age opens as fast") {
  const auto reads_after = [](int finished) {
    ShardLimits limits;
    limits.idle_actors = 10;
    limits.uncommitted_bytes = 1;
    ShardBench bench(limits);
    for (int i = 0; i < finished; ++i) {
      const std::string key = "old" + std::to_string(i);
      bench.call(key, fbs::OpenT{});
      bench.call(key, add_later(1, 1'000));
      bench.call(key, lookup("k"));
      bench.call(key, failing("a dead letter"));
      bench.call(key, add(i));
      bench.advance(2'000);
      bench.shard->effect_done(bench.effects.back(), answer(1));
      bench.run();
      bench.call(key, fbs::CloseT{});
    }
    bench.call("new", fbs::OpenT{});
    for (int i = 0; i < 5; ++i) bench.send("new", add(i));
    bench.run_strand();  // Five messages wait.
    bench.run_writer();
    const Counting counting(*bench.journal);
    const auto found = engine::recover(counting, {0, 1}, 1u << 20);
    REQUIRE(found);
    CHECK(found->effects.empty());
    CHECK(found->sleepers.size() == 1);
    CHECK(counting.heads == 0);  // They are read by whoever steps the actor anyway.
    return counting.reads;
  };
  CHECK(reads_after(300) == reads_after(3));
}

TEST_CASE("A journal of a newer version is refused with a clear word") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  bench.kill();
  auto& meta = bench.disk->rows[static_cast<std::size_t>(Family::meta)];
  auto record = *engine::decode_record<engine::fbs::ShardRecordT>(meta.begin()->second);
  record.format = engine::kFormat + 1;
  meta.begin()->second = engine::encode_record(record);
  bench.start();
  REQUIRE_FALSE(bench.started);
  CHECK(bench.started.error().code == Errc::refused);
  CHECK(bench.started.error().message.find("newer version of Muster") != std::string::npos);
}

TEST_CASE("Stopping commits what is decided and answers who waits") {
  ShardBench bench;
  bench.call("a", fbs::OpenT{});
  const auto decided = bench.send("a", add(1));
  bench.run_strand();
  bool stopped = false;
  bench.shard->stop([&] { stopped = true; });
  CHECK(bench.send("a", add(1))->text() == "unreachable");
  CHECK_FALSE(stopped);
  bench.run();
  CHECK(stopped);
  CHECK(decided->text() == "1");
  bench.restart();
  CHECK(bench.state("a").total == 1);
}

TEST_CASE("Index entries list in order of their key, whatever bytes it holds") {
  using engine::keys::index_range;
  using engine::keys::parse_index;
  const engine::ActorId id = counter_id("a");
  const std::vector<std::string> sorted{"", std::string("\0", 1), "a", std::string("a\0b", 3),
                                        std::string("a\x01", 2), "ab", "b"};
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const std::string key = engine::keys::index("x", sorted[i], id);
    CHECK(parse_index(key)->key == sorted[i]);
    CHECK(parse_index(key)->actor == id);
    if (i + 1 == sorted.size()) continue;
    CHECK(key < engine::keys::index("x", sorted[i + 1], id));
    const auto [lower, upper] = index_range("x", sorted[i], sorted[i + 1]);
    CHECK(lower <= key);
    CHECK(key < upper);
    CHECK(engine::keys::index("x", sorted[i + 1], id) >= upper);
  }
}
