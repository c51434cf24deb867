#include "tests/simulation/installation.hpp"

#include <array>
#include <cstdio>

#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"

namespace muster::sim {

using storage::Family;

/// One shard with its disk; shard and journal die in a crash, the disk stays.
struct Installation::Node {
  std::shared_ptr<storage::MemoryDisk> disk = std::make_shared<storage::MemoryDisk>();
  std::unique_ptr<storage::MemoryJournal> journal;
  std::unique_ptr<Saboteur> saboteur;
  std::unique_ptr<SimExecutor> executor;
  std::unique_ptr<NodeLink> link;
  std::unique_ptr<NodeOutside> outside;
  std::unique_ptr<engine::Shard> shard;
  std::uint64_t last_position = 0;
};

class Installation::NodeLink : public engine::Link {
 public:
  explicit NodeLink(Installation& all) : all_(all) {}
  void send(std::uint32_t destination, engine::Parcel parcel) override {
    deliver(destination, [parcel](engine::Shard& shard) { shard.receive(parcel); });
  }
  void acknowledge(std::uint32_t destination, engine::ParcelAck ack) override {
    deliver(destination, [ack](engine::Shard& shard) { shard.acknowledged(ack); });
  }

 private:
  /// Late, out of order, twice, or never.
  void deliver(std::uint32_t destination, const std::function<void(engine::Shard&)>& what) {
    Scheduler& s = all_.scheduler_;
    const std::int64_t copies = s.chance(5) ? 0 : s.chance(20) ? 2 : 1;
    for (std::int64_t i = 0; i < copies; ++i)
      all_.post_after(Duration{s.between(0, 300)}, destination, what);
  }
  Installation& all_;
};

class Installation::NodeOutside : public engine::Outside {
 public:
  NodeOutside(Installation& all, std::uint32_t shard) : all_(all), shard_(shard) {}

  void perform(const engine::PendingEffect& effect) override {
    all_.surroundings_.perform(shard_, effect);
  }
  void changed(const std::vector<engine::Change>& changes) override {
    std::uint64_t& last = all_.nodes_[shard_]->last_position;
    for (const engine::Change& change : changes) {
      if (change.position <= last) throw Violation("a change was shown twice");
      last = change.position;
    }
    all_.surroundings_.changed(shard_, changes);
  }
  void trouble(const std::string&) override {}

 private:
  Installation& all_;
  std::uint32_t shard_;
};

Installation::Installation(Scheduler& scheduler, engine::Kinds kinds, engine::ShardLimits limits,
                           std::size_t shards, Sabotage sabotage, Surroundings& surroundings)
    : scheduler_(scheduler),
      clock_(scheduler),
      kinds_(std::move(kinds)),
      limits_(limits),
      sabotage_(sabotage),
      surroundings_(surroundings) {
  for (std::size_t i = 0; i < shards; ++i) nodes_.push_back(std::make_unique<Node>());
}

Installation::~Installation() = default;

// ---- life ----

void Installation::start() {
  for (std::uint32_t i = 0; i < shards(); ++i) {
    Node& node = *nodes_[i];
    node.journal = std::make_unique<storage::MemoryJournal>(node.disk);
    node.saboteur = std::make_unique<Saboteur>(*node.journal, sabotage_);
    node.executor = std::make_unique<SimExecutor>(scheduler_, "engine/" + std::to_string(i));
    node.link = std::make_unique<NodeLink>(*this);
    node.outside = std::make_unique<NodeOutside>(*this, i);
    node.shard = std::make_unique<engine::Shard>(
        engine::ShardConfig{{i, shards()}, limits_}, kinds_,
        engine::ShardWorld{*node.executor, clock_, *node.saboteur, *node.link, *node.outside});
    node.executor->post([&node] {
      node.shard->start([](Result<void> ok) {
        if (!ok) throw Violation("the engine does not start: " + ok.error().message);
      });
    });
  }
}

void Installation::stop() {
  ++crashes_;
  scheduler_.drop("engine/");
  for (auto& node : nodes_) {
    node->shard.reset();
    node->saboteur->power_cut();
    node->journal->crash(scheduler_.chance(50) ? storage::MemoryJournal::Outcome::lost
                                               : storage::MemoryJournal::Outcome::kept);
  }
}

bool Installation::up() const { return nodes_.front()->shard != nullptr; }

void Installation::tell_story(const std::string& what) {
  story_ += "  event " + std::to_string(scheduler_.steps()) + ": " + what + "\n";
}

void Installation::fail_commit() {
  using Journal = storage::MemoryJournal;
  const auto shard = static_cast<std::size_t>(scheduler_.between(0, shards() - 1));
  const bool lost = scheduler_.chance(50);
  nodes_[shard]->journal->fail_next_commit(lost ? Journal::Outcome::lost : Journal::Outcome::kept);
  const int again = scheduler_.chance(30) ? static_cast<int>(scheduler_.between(1, 3)) : 0;
  nodes_[shard]->journal->fail_reopen(again);
  tell_story("the next commit of shard " + std::to_string(shard) + " fails, " +
             (lost ? "lost" : "kept") + ", and " + std::to_string(again) + " attempts to come back");
}

void Installation::fault() {
  const std::int64_t draw = scheduler_.between(1, 100);
  const Duration jump{draw > 85                ? scheduler_.between(0, 60'000)
                      : scheduler_.chance(20) ? scheduler_.between(-600'000, 600'000)
                                              : 0};
  if (draw <= 50) {
    tell_story("crash, clock " + muster::to_string(jump));
    stop();
    clock_.offset += jump;
    start();
  } else if (draw <= 85) {
    fail_commit();
  } else {
    tell_story("clock " + muster::to_string(jump));
    clock_.offset += jump;
  }
}

// ---- speaking to it ----

void Installation::post(std::uint32_t shard, std::function<void(engine::Shard&)> task) {
  post_after(Duration{0}, shard, std::move(task));
}

void Installation::post_after(Duration delay, std::uint32_t shard,
                              std::function<void(engine::Shard&)> task) {
  if (!up()) return;
  Node* node = nodes_[shard].get();
  const auto run = [node, task = std::move(task)] { task(*node->shard); };
  if (delay > Duration{0}) {
    node->executor->post_after(delay, run);
  } else {
    node->executor->post(run);
  }
}

std::uint32_t Installation::shard_of(const engine::ActorId& id) const {
  return engine::Shard::shard_of(id, shards());
}

// ---- its disks ----

const storage::MemoryDisk::Rows& Installation::rows(std::uint32_t shard, Family family) const {
  return nodes_[shard]->disk->rows[static_cast<std::size_t>(family)];
}

std::size_t Installation::count(Family family) const {
  std::size_t n = 0;
  for (std::uint32_t shard = 0; shard < shards(); ++shard) n += rows(shard, family).size();
  return n;
}

void Installation::must_be_empty(Family family, std::string_view name) const {
  if (count(family) != 0)
    throw Violation(std::to_string(count(family)) + " rows left in " + std::string(name));
}

std::optional<std::string> Installation::head(const engine::ActorId& id) const {
  const auto& disk = rows(shard_of(id), Family::state);
  if (const auto live = disk.find(engine::keys::head(id)); live != disk.end()) {
    if (engine::is_removed(live->second)) return std::nullopt;
    return engine::state_in_head(live->second).value();
  }
  const auto archived = disk.find(engine::keys::archive(id));
  if (archived == disk.end()) return std::nullopt;
  const auto record = engine::decode_record<engine::fbs::ArchiveRecordT>(archived->second).value();
  return engine::state_in_head(engine::bytes_of(record.head)).value();
}

std::size_t Installation::digest() const {
  std::size_t hash = static_cast<std::size_t>(scheduler_.steps());
  for (const auto& node : nodes_)
    for (const auto& family : node->disk->rows)
      for (const auto& [key, value] : family)
        hash = (hash * 31 + std::hash<std::string>()(key)) * 31 + std::hash<std::string>()(value);
  return hash;
}

// ---- what is drawn ----

engine::ShardLimits draw_limits(Scheduler& s) {
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

std::string draw_key(Scheduler& s) {
  const auto drawn = [&s](std::int64_t high) {
    return static_cast<unsigned long long>(s.between(0, high));
  };
  const auto ms = static_cast<unsigned long long>(s.now().unix_ms);
  const unsigned long long a = drawn(0xfff);
  const unsigned long long b = drawn(0xfff);
  const unsigned long long c = drawn(0xffffffffffff);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%08llx-%04llx-7%03llx-8%03llx-%012llx", ms >> 16,
                ms & 0xffff, a, b, c);
  return text.data();
}

bool is_final(const Result<std::string>& answer) {
  if (answer) return true;
  switch (answer.error().code) {
    case Errc::unknown:
    case Errc::unreachable:
    case Errc::overloaded: return false;
    default: return true;
  }
}

}  // namespace muster::sim
