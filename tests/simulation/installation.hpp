// The engine of a simulation: shards over virtual disks, with faults. It crashes between any two events, commits fail
// with both outcomes, power takes what was not synced, clocks jump, the link between shards delays, repeats and
// loses. Whoever uses it says what its effects and changes reach.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/shard.hpp"
#include "storage/journal/memory_journal.hpp"
#include "tests/simulation/saboteur.hpp"
#include "tests/simulation/scheduler.hpp"

namespace muster::sim {

/// A promise that was broken, in words.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What surrounds the shards. Called on their strands.
class Surroundings {
 public:
  virtual ~Surroundings() = default;
  virtual void perform(std::uint32_t shard, const engine::PendingEffect& effect) = 0;
  virtual void changed(std::uint32_t shard, const std::vector<engine::Change>& changes) = 0;
};

class Installation {
 public:
  Installation(Scheduler& scheduler, engine::Kinds kinds, engine::ShardLimits limits,
               std::size_t shards, Sabotage sabotage, Surroundings& surroundings);
  ~Installation();

  void start();
  /// The process is gone between two events, and the power with it. Whatever waits in lanes that begin with
  /// "engine/" is gone too. Until start() nobody is there.
  void stop();
  /// One fault, drawn: a crash with an immediate start, a failing commit, a jump of the clock.
  void fault();
  /// The next commit of some shard fails; whether it happened shows when it comes back.
  void fail_commit();
  /// What was done to it, a line each with the number of the event.
  [[nodiscard]] const std::string& story() const { return story_; }
  void tell_story(const std::string& what);
  [[nodiscard]] bool up() const;
  [[nodiscard]] int crashes() const { return crashes_; }

  /// On the strand of that shard; lost when nobody is there.
  void post(std::uint32_t shard, std::function<void(engine::Shard&)> task);
  void post_after(Duration delay, std::uint32_t shard, std::function<void(engine::Shard&)> task);
  [[nodiscard]] std::uint32_t shard_of(const engine::ActorId& id) const;
  [[nodiscard]] std::uint32_t shards() const { return static_cast<std::uint32_t>(nodes_.size()); }
  [[nodiscard]] SimClock& clock() { return clock_; }

  // What is on the disks.
  [[nodiscard]] const storage::MemoryDisk::Rows& rows(std::uint32_t shard, storage::Family family) const;
  [[nodiscard]] std::size_t count(storage::Family family) const;
  /// A Violation when anything is left there.
  void must_be_empty(storage::Family family, std::string_view name) const;
  /// The bytes of an actor's state; nothing when it does not exist.
  [[nodiscard]] std::optional<std::string> head(const engine::ActorId& id) const;
  /// Of everything: equal for equal seeds.
  [[nodiscard]] std::size_t digest() const;

 private:
  struct Node;
  class NodeLink;
  class NodeOutside;

  Scheduler& scheduler_;
  SimClock clock_;
  engine::Kinds kinds_;
  engine::ShardLimits limits_;
  Sabotage sabotage_;
  Surroundings& surroundings_;
  std::vector<std::unique_ptr<Node>> nodes_;
  int crashes_ = 0;
  std::string story_;
};

/// Bounds as small as they may be, so that every overflow happens.
engine::ShardLimits draw_limits(Scheduler& scheduler);

/// A UUIDv7 that the seed decides.
std::string draw_key(Scheduler& scheduler);

/// Whether an answer says what happened; otherwise the caller asks again with the same key.
bool is_final(const Result<std::string>& answer);

}  // namespace muster::sim
