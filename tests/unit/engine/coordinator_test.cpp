// The strands on CAF's test_coordinator: shards over them in random interleavings on virtual time,
// one thread, one seed. The simulation (tests/simulation) proves the core; this proves the shell
// that gives it CAF.
#include <algorithm>
#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <catch2/catch.hpp>
#include <cstdio>
#include <random>

#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"
#include "engine/core/shard.hpp"
#include "engine/runtime/strands.hpp"
#include "storage/journal/memory_journal.hpp"
#include "tests/unit/engine/counter.hpp"

using namespace muster;
using namespace muster::test;
using engine::Strands;
using storage::MemoryJournal;

namespace {

/// CAF without threads: nothing moves but what the test moves. (Its own macros expect, allow and
/// inject crash under Catch2 in 0.17.6.)
struct Coordinator {
  explicit Coordinator(unsigned seed) : random(seed) {}
  ~Coordinator() { scheduler.run(); }

  static caf::actor_system_config& testing(caf::actor_system_config& config) {
    return config.set("scheduler.policy", caf::atom("testing"));
  }
  /// One message of one actor that has some, drawn; else some time passes.
  void step() {
    auto& jobs = scheduler.jobs;
    if (jobs.empty()) return pass(Duration{static_cast<std::int64_t>(random() % 50 + 1)});
    const auto first = static_cast<std::ptrdiff_t>(random() % jobs.size());
    std::rotate(jobs.begin(), jobs.begin() + first, jobs.end());
    scheduler.run_once();
  }
  void pass(Duration time) {
    now = now + time;
    scheduler.advance_time(time);
  }
  /// Strand::close() waits for its last task, and nobody but us would run it.
  void close(std::unique_ptr<Strands::Strand>& strand) {
    scheduler.inline_next_enqueue();
    strand.reset();
  }

  std::mt19937 random;
  Instant now{1'700'000'000'000};
  caf::actor_system_config config;
  caf::actor_system system{testing(config)};
  caf::scheduler::test_coordinator& scheduler =
      dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  Strands strands{system};
};

/// Three shards whose strands and writers are CAF actors, and clients that repeat until they are
/// answered.
class World : engine::Clock {
 public:
  static constexpr std::uint32_t kShards = 3;
  static constexpr int kCounters = 6;

  explicit World(unsigned seed) : caf_(seed) {
    for (std::uint32_t n = 0; n < kShards; ++n) nodes_.push_back(std::make_unique<Node>(*this, n));
    int serving = 0;
    for (auto& node : nodes_)
      node->post(
          [&] { node->shard->start([&](const Result<void>& ok) { serving += ok ? 1 : 0; }); });
    until([&] { return serving == static_cast<int>(kShards); });
    for (int i = 0; i < kCounters; ++i) ask(i, fbs::OpenT{});
    until([&] { return open_ == 0; });
  }
  ~World() override {
    int stopped = 0;
    for (auto& node : nodes_) node->post([&] { node->shard->stop([&] { ++stopped; }); });
    until([&] { return stopped == static_cast<int>(kShards); });
    caf_.scheduler.run();
    for (auto& node : nodes_) {
      caf_.close(node->writer);
      caf_.close(node->strand);
    }
  }

  /// Money goes round and comes in by timers, while commits fail. Returns what must be there in the
  /// end.
  std::int64_t work() {
    std::int64_t expected = 0;
    for (int i = 0; i < 60; ++i) {
      const int from = draw(kCounters);
      if (draw(3) == 0) {
        fbs::AddLaterT later;  // One timer per counter: it stands for those that it replaces.
        later.amount = 0;
        later.delay_ms = draw(300);
        ask(from, later);
      } else if (draw(2) == 0) {
        fbs::PassT pass;
        pass.to = name(draw(kCounters));
        pass.amount = draw(100);
        ask(from, pass);
      } else {
        fbs::AddT add;
        add.amount = draw(100);
        expected += add.amount;
        ask(from, add);
      }
      if (draw(8) == 0)
        nodes_[static_cast<std::size_t>(draw(kShards))]->journal.fail_next_commit(
            draw(2) == 0 ? MemoryJournal::Outcome::kept : MemoryJournal::Outcome::lost);
      for (int steps = draw(40); steps > 0; --steps) caf_.step();
    }
    until([&] { return open_ == 0 && at_rest(); });
    return expected;
  }

  [[nodiscard]] std::int64_t sum() const {
    std::int64_t total = 0;
    for (int i = 0; i < kCounters; ++i) {
      const engine::ActorId id{"test", "counter", name(i)};
      const auto bytes = node_of(id).journal.get(storage::Family::state, engine::keys::head(id));
      total += engine::decode_table<fbs::CounterHeadT>(*engine::state_in_head(*bytes.value()))
                   .value()
                   .total;
    }
    return total;
  }
  /// Everything on the disks.
  [[nodiscard]] std::string disks() const {
    std::string all;
    for (const auto& node : nodes_)
      for (const auto& rows : node->journal.disk()->rows)
        for (const auto& [key, value] : rows) all += key + value;
    return all;
  }
  [[nodiscard]] std::uint64_t failed_commits() const {
    std::uint64_t failed = 0;
    for (const auto& node : nodes_) failed += node->shard->stats().failed_commits;
    return failed;
  }

 private:
  struct Node : engine::Executor, engine::Link, engine::Outside {
    Node(World& its_world, std::uint32_t number)
        : world(its_world),
          strand(world.caf_.strands.pooled()),
          writer(world.caf_.strands.pooled()) {
      engine::ShardLimits limits;
      limits.window = 3;
      limits.idle_actors = 1;
      limits.active_actors = 3;
      limits.reopen_pause = Duration{20};
      limits.resend = Duration{100};
      shard =
          std::make_unique<engine::Shard>(engine::ShardConfig{{number, kShards}, limits}, kinds,
                                          engine::ShardWorld{*this, world, journal, *this, *this});
    }
    void post(engine::Task task) override { strand->post(std::move(task)); }
    void post_after(Duration delay, engine::Task task) override {
      strand->post_after(delay, std::move(task));
    }
    void write(engine::Task task) override { writer->post(std::move(task)); }
    void send(std::uint32_t to, engine::Parcel parcel) override {
      Node& there = *world.nodes_[to];
      there.post([&there, parcel = std::move(parcel)] { there.shard->receive(parcel); });
    }
    void acknowledge(std::uint32_t to, engine::ParcelAck ack) override {
      Node& there = *world.nodes_[to];
      there.post([&there, ack] { there.shard->acknowledged(ack); });
    }
    void perform(const engine::PendingEffect&) override {}
    void changed(const std::vector<engine::Change>&) override {}
    void trouble(const std::string&) override {}

    World& world;
    MemoryJournal journal;
    engine::Kinds kinds = engine::make_kinds<Counter>();
    std::unique_ptr<engine::Shard> shard;
    std::unique_ptr<Strands::Strand> strand;
    std::unique_ptr<Strands::Strand> writer;
  };

  [[nodiscard]] Instant now() const override { return caf_.now; }
  int draw(int below) { return static_cast<int>(caf_.random() % static_cast<unsigned>(below)); }
  static std::string name(int counter) { return "c" + std::to_string(counter); }
  [[nodiscard]] Node& node_of(const engine::ActorId& id) const {
    return *nodes_[engine::Shard::shard_of(id, kShards)];
  }

  template <class F>
  void until(F&& done) {
    constexpr int kMostSteps = 1'000'000;
    int steps = 0;
    for (; !done() && steps < kMostSteps; ++steps) caf_.step();
    REQUIRE(steps < kMostSteps);
  }

  template <class M>
  void ask(int counter, const M& message) {
    engine::Call call;
    call.to = {"test", "counter", name(counter)};
    call.payload = Counter::Messages::encode(message);
    char key[40];
    std::snprintf(key, sizeof key, "%08x-%04x-7000-8000-%012x",
                  static_cast<unsigned>(caf_.now.unix_ms >> 16),
                  static_cast<unsigned>(caf_.now.unix_ms & 0xffff), ++asked_);
    call.key = key;
    ++open_;
    repeat(call);
  }
  /// With the same key until the answer is final.
  void repeat(const engine::Call& call) {
    Node& node = node_of(call.to);
    node.post([this, &node, call] {
      node.shard->call(call, [this, &node, call](const Result<std::string>& answer) {
        const Errc code = answer ? Errc::internal : answer.error().code;
        if (code == Errc::unknown || code == Errc::unreachable || code == Errc::overloaded) {
          node.post_after(Duration{10}, [this, call] { repeat(call); });
        } else {
          --open_;
          CHECK(answer);
        }
      });
    });
  }

  /// Nothing lies between two shards, and no timer is pending.
  [[nodiscard]] bool at_rest() const {
    for (const auto& node : nodes_)
      for (const auto family :
           {storage::Family::outbox, storage::Family::timers, storage::Family::backlog})
        if (!node->journal.disk()->rows[static_cast<std::size_t>(family)].empty()) return false;
    for (const auto& node : nodes_)
      if (node->shard->stats().mailbox_messages != 0) return false;
    return caf_.scheduler.jobs.empty();
  }

  Coordinator caf_;
  std::vector<std::unique_ptr<Node>> nodes_;
  unsigned asked_ = 0;
  int open_ = 0;
};

}  // namespace

TEST_CASE(
    "A strand runs its tasks in order, later ones at their time, and drops what comes after its "
    "end") {
  Coordinator caf(1);
  auto one = caf.strands.pooled();
  auto two = caf.strands.pooled();
  std::string ones, twos;
  for (const char c : std::string("abcdefgh")) {
    one->post([&ones, c] { ones += c; });
    two->post([&twos, c] { twos += c; });
  }
  one->post_after(Duration{100}, [&ones] { ones += '2'; });
  one->post_after(Duration{50}, [&ones] { ones += '1'; });
  for (int i = 0; i < 40 && caf.scheduler.has_job(); ++i) {
    CHECK_FALSE(Strands::inside());
    caf.step();
  }
  CHECK(ones == "abcdefgh");
  CHECK(twos == "abcdefgh");
  caf.pass(Duration{99});
  caf.scheduler.run();
  CHECK(ones == "abcdefgh1");
  caf.pass(Duration{1});
  caf.scheduler.run();
  CHECK(ones == "abcdefgh12");
  one->post_after(Duration{10}, [&ones] { ones += "never"; });
  caf.close(one);
  caf.close(two);
  caf.scheduler.run();
  caf.pass(Duration{20});
  caf.scheduler.run();
  CHECK(ones == "abcdefgh12");
}

TEST_CASE("Shards on CAF keep every sum, in any interleaving, through commits that fail") {
  std::uint64_t failed_commits = 0;
  for (unsigned seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    World world(seed);
    const std::int64_t expected = world.work();
    CHECK(world.sum() == expected);
    failed_commits += world.failed_commits();
  }
  CHECK(failed_commits > 40);  // Else nothing was tried.
}

TEST_CASE("A seed comes to the same disks on CAF") {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    World first(seed), second(seed);
    first.work();
    second.work();
    INFO("seed " << seed);
    CHECK(first.disks() == second.disks());
  }
}
