// A whole installation in one process: shards over virtual disks, clients that repeat what was not answered, a
// bank as the outside world, and faults. One seed decides everything.
#pragma once

#include <array>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/core/shard.hpp"
#include "storage/journal/memory_journal.hpp"
#include "tests/simulation/ledger.hpp"
#include "tests/simulation/saboteur.hpp"
#include "tests/simulation/scheduler.hpp"

namespace muster::sim {

/// A promise that was broken, in words.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class World {
 public:
  World(std::uint64_t seed, Sabotage sabotage);
  ~World();

  /// Until everybody is done and nothing moves; then looks at the disks. Throws a Violation.
  void run();

  [[nodiscard]] std::uint64_t steps() const { return scheduler_.steps(); }
  [[nodiscard]] int crashes() const { return crashes_; }
  /// Of everything on the disks: equal for equal seeds.
  [[nodiscard]] std::size_t digest() const;

 private:
  struct Node;
  struct Client;
  struct Channel;
  class NodeLink;
  class NodeOutside;

  // The installation.
  engine::ShardLimits draw_limits();
  void start();
  void crash();
  void draw_next_fault();
  void fault();
  std::uint32_t shard_of(const engine::ActorId& id) const;

  // The people.
  void start_people();
  void next_operation(Client& client);
  void attempt(Client& client);
  void retry_later(Client& client, std::uint64_t attempt, std::int64_t ms);
  void answered(Client& client, const Result<std::string>& answer);
  void check_answer(Client& client, const Result<std::string>& answer);
  void ask_again(const Client& client, bool same_body);
  void next_note(Channel& channel);
  bool everybody_done() const;

  // The end.
  void verify();
  void verify_account(const std::string& key, std::int64_t& sum);
  void verify_empty(storage::Family family, std::string_view name);
  std::size_t count(storage::Family family) const;
  const storage::MemoryDisk::Rows& rows(std::uint32_t shard, storage::Family family) const;

  Sabotage sabotage_;
  Scheduler scheduler_;
  SimClock clock_;
  engine::Kinds kinds_;
  engine::ShardLimits limits_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<std::string> accounts_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::set<std::string> bank_;
  std::size_t opened_ = 0;
  std::uint64_t last_id_ = 0;
  std::int64_t total_ = 0;
  std::size_t dead_expected_ = 0;
  std::int64_t until_fault_ = 1;
  int crashes_ = 0;
};

}  // namespace muster::sim
