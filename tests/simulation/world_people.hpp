// The parts of a World that live outside of the engine.
#pragma once

#include "tests/simulation/world.hpp"

namespace muster::sim {

/// One shard with its disk; shard and journal die in a crash, the disk stays.
struct World::Node {
  std::shared_ptr<storage::MemoryDisk> disk = std::make_shared<storage::MemoryDisk>();
  std::unique_ptr<storage::MemoryJournal> journal;
  std::unique_ptr<Saboteur> saboteur;
  std::unique_ptr<SimExecutor> executor;
  std::unique_ptr<NodeLink> link;
  std::unique_ptr<NodeOutside> outside;
  std::unique_ptr<engine::Shard> shard;
  std::uint64_t last_position = 0;
};

enum class Operation { open, pay, pay_poisoned, pay_ghost };

/// Does one thing after the other, each until it is answered, always with the same key.
struct World::Client {
  std::string name;
  int left = 0;
  Operation operation = Operation::open;
  engine::Call call;
  std::uint64_t id = 0;
  std::uint64_t attempts = 0;  ///< Of everything it ever did: tells stale wake-ups.
  bool waiting = false;
  std::vector<std::pair<engine::Call, Result<std::string>>> history;
  struct Paid {
    std::string from;
    std::string to;
    std::uint64_t id;
    bool applied;
  };
  std::vector<Paid> paid;
};

/// A host: numbered messages, each until it is taken.
struct World::Channel {
  std::string name;
  std::string account;
  std::uint64_t number = 0;
  std::uint64_t last = 0;
  std::uint64_t attempts = 0;
};

class World::NodeLink : public engine::Link {
 public:
  explicit NodeLink(World& world) : world_(world) {}
  void send(std::uint32_t destination, engine::Parcel parcel) override {
    deliver(destination, [parcel](engine::Shard& shard) { shard.receive(parcel); });
  }
  void acknowledge(std::uint32_t destination, engine::ParcelAck ack) override {
    deliver(destination, [ack](engine::Shard& shard) { shard.acknowledged(ack); });
  }

 private:
  /// Late, out of order, twice, or never.
  void deliver(std::uint32_t destination, const std::function<void(engine::Shard&)>& what) {
    Scheduler& s = world_.scheduler_;
    const std::int64_t copies = s.chance(5) ? 0 : s.chance(20) ? 2 : 1;
    for (std::int64_t i = 0; i < copies; ++i)
      s.post_after(Duration{s.between(0, 300)},
                   "engine/" + std::to_string(destination) + "/strand",
                   [this, destination, what] { what(*world_.nodes_[destination]->shard); });
  }
  World& world_;
};

class World::NodeOutside : public engine::Outside {
 public:
  NodeOutside(World& world, std::uint32_t shard) : world_(world), shard_(shard) {}

  /// The bank does a thing once per key: a repeat looks it up first.
  void perform(const engine::PendingEffect& effect) override {
    Scheduler& s = world_.scheduler_;
    if (!world_.bank_.insert(effect.key).second && !effect.repeated)
      throw Violation("effect " + effect.key + " was handed out twice without saying so");
    if (s.chance(10)) return;  // No answer: the deadline speaks.
    fbs::AnsweredT answer;
    answer.id = std::stoull(effect.key.substr(effect.key.find('/') + 1));
    const engine::Payload result = Account::Messages::encode(answer);
    const std::int64_t copies = s.chance(20) ? 2 : 1;
    for (std::int64_t i = 0; i < copies; ++i)
      s.post_after(Duration{s.between(0, s.chance(10) ? 40'000 : 2'000)},
                   "engine/" + std::to_string(shard_) + "/strand", [this, effect, result] {
                     world_.nodes_[shard_]->shard->effect_done(effect, result);
                   });
  }

  void changed(const std::vector<engine::Change>& changes) override {
    std::uint64_t& last = world_.nodes_[shard_]->last_position;
    for (const engine::Change& change : changes) {
      if (change.position <= last) throw Violation("a change was shown twice");
      last = change.position;
    }
  }

  void trouble(const std::string&) override {}

 private:
  World& world_;
  std::uint32_t shard_;
};

}  // namespace muster::sim
