// The installation: its start, its faults, and the look at the disks when all is done.
#include "tests/simulation/world.hpp"

#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"
#include "tests/simulation/world_people.hpp"

namespace muster::sim {

using storage::Family;

namespace {

constexpr int kMaxFaults = 40;
constexpr std::uint64_t kMaxSteps = 400'000;

engine::ActorId account_id(const std::string& key) { return {"sim", "account", key}; }

}  // namespace

World::World(std::uint64_t seed, Sabotage sabotage)
    : sabotage_(sabotage),
      scheduler_(seed),
      clock_(scheduler_),
      kinds_(engine::make_kinds<Account>()),
      limits_(draw_limits()) {
  constexpr std::array<std::size_t, 3> kShards{1, 3, 4};
  const auto shards = kShards[static_cast<std::size_t>(scheduler_.between(0, 2))];
  for (std::size_t i = 0; i < shards; ++i) nodes_.push_back(std::make_unique<Node>());
}

World::~World() = default;

/// Bounds as small as they may be, so that every overflow happens.
engine::ShardLimits World::draw_limits() {
  Scheduler& s = scheduler_;
  const auto some = [&](std::int64_t low, std::int64_t high) {
    return static_cast<std::size_t>(s.between(low, high));
  };
  engine::ShardLimits limits;
  limits.window = some(1, 6);
  limits.idle_actors = some(0, 4);
  limits.active_actors = some(1, 8);
  limits.pending_per_actor = some(1, 12);
  limits.bytes_in_flight = some(2'000, 60'000);
  limits.timers_in_memory = some(1, 5);
  limits.rows_cached = some(1, 6);
  limits.steps_per_turn = some(1, 5);
  limits.fired_per_turn = some(1, 4);
  limits.unacked_messages = some(1, 6);
  if (s.chance(50)) limits.uncommitted_bytes = 1;
  limits.inbox_retention = some(0, 40);
  limits.changes_retention = some(0, 40);
  limits.trim_chunk = some(1, 20);
  return limits;
}

std::uint32_t World::shard_of(const engine::ActorId& id) const {
  return engine::Shard::shard_of(id, static_cast<std::uint32_t>(nodes_.size()));
}

// ---- faults ----

void World::start() {
  const auto shards = static_cast<std::uint32_t>(nodes_.size());
  for (std::uint32_t i = 0; i < shards; ++i) {
    Node& node = *nodes_[i];
    node.journal = std::make_unique<storage::MemoryJournal>(node.disk);
    node.saboteur = std::make_unique<Saboteur>(*node.journal, sabotage_);
    node.executor = std::make_unique<SimExecutor>(scheduler_, "engine/" + std::to_string(i));
    node.link = std::make_unique<NodeLink>(*this);
    node.outside = std::make_unique<NodeOutside>(*this, i);
    node.shard = std::make_unique<engine::Shard>(
        engine::ShardConfig{{i, shards}, limits_}, kinds_,
        engine::ShardWorld{*node.executor, clock_, *node.saboteur, *node.link, *node.outside});
    node.executor->post([&node] {
      node.shard->start([](Result<void> ok) {
        if (!ok) throw Violation("the engine does not start: " + ok.error().message);
      });
    });
  }
}

/// The process is gone between two events, and the power with it. Everybody starts again on the same disks.
void World::crash() {
  ++crashes_;
  scheduler_.drop("engine/");
  for (auto& node : nodes_) {
    node->shard.reset();
    node->saboteur->power_cut();
    node->journal->crash(scheduler_.chance(50) ? storage::MemoryJournal::Outcome::lost
                                               : storage::MemoryJournal::Outcome::kept);
  }
  if (scheduler_.chance(20)) clock_.offset += Duration{scheduler_.between(-600'000, 600'000)};
  start();
}

/// Counted in events, so that a fault falls between any two of them, not only where time stands still.
void World::draw_next_fault() {
  until_fault_ = scheduler_.between(1, scheduler_.chance(30) ? 8 : 150);
}

void World::fault() {
  Node& node = *nodes_[static_cast<std::size_t>(
      scheduler_.between(0, static_cast<std::int64_t>(nodes_.size()) - 1))];
  const std::int64_t draw = scheduler_.between(1, 100);
  if (draw <= 50) {
    crash();
  } else if (draw <= 85) {
    node.journal->fail_next_commit(scheduler_.chance(50) ? storage::MemoryJournal::Outcome::lost
                                                         : storage::MemoryJournal::Outcome::kept);
    if (scheduler_.chance(30)) node.journal->fail_reopen(static_cast<int>(scheduler_.between(1, 3)));
  } else {
    clock_.offset += Duration{scheduler_.between(0, 60'000)};
  }
}

void World::run() {
  const std::int64_t accounts = scheduler_.between(2, 7);
  for (std::int64_t i = 0; i < accounts; ++i) accounts_.push_back("a" + std::to_string(i));
  start();
  start_people();
  for (int faults = 0; scheduler_.step();) {
    if (scheduler_.steps() > kMaxSteps) throw Violation("it does not come to an end");
    if (faults == kMaxFaults || --until_fault_ > 0) continue;
    if (everybody_done() && scheduler_.chance(90)) continue;  // Mostly let it come to rest.
    ++faults;
    draw_next_fault();
    fault();
  }
  if (!everybody_done()) throw Violation("a client waits for ever");
  verify();
}

// ---- the end ----

const storage::MemoryDisk::Rows& World::rows(std::uint32_t shard, Family family) const {
  return nodes_[shard]->disk->rows[static_cast<std::size_t>(family)];
}

std::size_t World::count(Family family) const {
  std::size_t n = 0;
  for (std::uint32_t shard = 0; shard < nodes_.size(); ++shard) n += rows(shard, family).size();
  return n;
}

void World::verify_empty(Family family, std::string_view name) {
  if (count(family) != 0) throw Violation(std::to_string(count(family)) + " rows left in " +
                                          std::string(name));
}

void World::verify_account(const std::string& key, std::int64_t& sum) {
  const engine::ActorId id = account_id(key);
  const auto& disk = rows(shard_of(id), Family::state);
  const auto head = disk.find(engine::keys::head(id));
  if (head == disk.end()) throw Violation("account " + key + " is lost");
  const auto state = engine::decode_table<fbs::AccountHeadT>(*engine::state_in_head(head->second));
  if (!state->wrong.empty()) throw Violation(state->wrong);
  sum += state->balance;

  const auto evidence = [&](const std::string& prefix) {
    const std::string lower = engine::keys::row(id, prefix);
    return static_cast<std::uint64_t>(
        std::distance(disk.lower_bound(lower), disk.lower_bound(storage::prefix_end(lower))));
  };
  const auto equal = [&](const char* what, std::uint64_t a, std::uint64_t b) {
    if (a != b)
      throw Violation(key + ": " + what + ": " + std::to_string(a) + " and " + std::to_string(b));
  };
  equal("paid", state->paid, evidence("out/"));
  equal("received", state->received, evidence("in/"));
  equal("timers fired", state->timers_fired, evidence("due/"));
  equal("timers set and fired", state->timers_set, state->timers_fired);
  equal("answers", state->answered, evidence("ask/"));
  equal("asked and answered", state->asked, state->answered);
  const auto& index = rows(shard_of(id), Family::index);
  const auto entry = index.find(engine::keys::index("account", key, id));
  if (entry == index.end() || entry->second != std::to_string(state->balance))
    throw Violation(key + ": its index entry does not tell its balance");
}

void World::verify() {
  std::int64_t sum = 0;
  for (const std::string& key : accounts_) verify_account(key, sum);
  if (sum != total_)
    throw Violation("the sum is " + std::to_string(sum) + " instead of " + std::to_string(total_));

  std::size_t applied = 0;
  for (const auto& client : clients_)
    for (const Client::Paid& paid : client->paid) {
      const auto there = [&](const std::string& key, const std::string& row) {
        return rows(shard_of(account_id(key)), Family::state)
            .contains(engine::keys::row(account_id(key), row + std::to_string(paid.id)));
      };
      applied += paid.applied ? 1 : 0;
      if (there(paid.from, "out/") != paid.applied || there(paid.to, "in/") != paid.applied)
        throw Violation("transfer " + std::to_string(paid.id) + " was answered as " +
                        (paid.applied ? "paid" : "not paid") + " and the disk says otherwise");
    }
  if (count(Family::audit) != applied) throw Violation("audit entries and transfers differ");
  if (count(Family::dead) != dead_expected_)
    throw Violation(std::to_string(count(Family::dead)) + " dead letters instead of " +
                    std::to_string(dead_expected_));
  verify_empty(Family::effects, "effects");
  verify_empty(Family::timers, "timers");
  verify_empty(Family::backlog, "backlog");
  verify_empty(Family::outbox, "outbox");
}

std::size_t World::digest() const {
  std::size_t hash = static_cast<std::size_t>(scheduler_.steps());
  for (const auto& node : nodes_)
    for (const auto& family : node->disk->rows)
      for (const auto& [key, value] : family)
        hash = (hash * 31 + std::hash<std::string>()(key)) * 31 + std::hash<std::string>()(value);
  return hash;
}

}  // namespace muster::sim
