// All kinds wired together in memory, without the engine: messages in random order between different pairs of
// actors (in order within a pair), effects executed at least once, timers, a pretended forge and pretended hosts.
// Seeded: the same seed gives the same story. Holds invariants after each step and throws when one breaks.
#pragma once

#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "actors/common.hpp"
#include "actors/fleet/fleet.hpp"
#include "actors/host/host.hpp"
#include "actors/pull/pull.hpp"
#include "actors/repo/repo.hpp"
#include "actors/run/run.hpp"
#include "engine/core/testing.hpp"

namespace muster::actors::model {

using engine::ActorId;
using engine::Payload;

struct Options {
  std::uint64_t seed = 1;
  std::uint32_t repositories = 20;
  std::uint32_t hosts = 3;
  std::uint32_t slots = 3;
  bool trouble = true;     ///< Host losses, silent hosts, unknown effects, stale messages.
  bool operators = false;  ///< Pauses, cancelled runs, resumes.
};

class World {
 public:
  explicit World(Options options);

  void create_fleet(const fbs::CreateFleetT& create, std::vector<fbs::SnapshotEntryT> snapshot);
  /// Random steps until nothing is left to do; throws when that takes suspiciously long.
  void run();
  /// At most so many random steps.
  void run_some(int steps) {
    while (steps-- > 0 && act()) continue;
  }

  template <class K, class M>
  engine::Reply call(const std::string& key, const M& message) {
    return deliver(id<K>(key), {}, K::Messages::encode(message));
  }
  template <class K>
  const typename K::State& state(const std::string& key) {
    return *static_cast<const typename K::State*>(actors_.at(id<K>(key)).state.get());
  }
  /// Problems at the end, one line each: unended runs, wrong counters, taken slots, doubled pull requests, …
  std::string problems();

  std::vector<fbs::RunRowT> rows(const std::string& fleet);
  std::map<std::string, std::uint32_t> counts(const std::string& fleet);
  const std::map<std::string, int>& pulls_made() const { return pulls_made_; }
  std::map<std::pair<std::string, std::string>, std::string> indexes;

 private:
  struct Actor {
    std::shared_ptr<void> state;
    engine::testing::MemoryRows rows;
    std::map<std::string, engine::TimerChange> timers;
  };
  struct Effect {
    ActorId actor;
    engine::EffectRequest request;
  };
  struct Sandbox {
    std::string run;
    wire::Epoch epoch;
    int phase = 0;          ///< 0 made … 3 about to finish
    bool silent = false;    ///< Never says a word.
    bool stopping = false;
  };
  struct Machine {
    std::string name;
    std::uint64_t session = 0;
    bool connected = false;
    std::vector<Sandbox> sandboxes;
  };

  template <class K>
  static ActorId id(const std::string& key) { return {"default", std::string(K::kName), key}; }
  std::uint32_t dice(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }
  bool chance(std::uint32_t percent) { return dice(100) < percent; }

  engine::Reply deliver(const ActorId& to, const ActorId& from, const Payload& payload);
  void apply(const ActorId& self, Actor& actor, const engine::Decision& decision);
  void check_step(const ActorId& self, const void* before);
  void post(const ActorId& from, const ActorId& to, Payload payload) {
    queues_[{from, to}].push_back(std::move(payload));
  }
  template <class K, class M>
  void post(const std::string& from, const std::string& key, const M& message) {
    post({"", "", from}, id<K>(key), K::Messages::encode(message));
  }

  bool act();
  bool deliver_one();
  bool perform_one();
  bool work_one();
  bool has_room(const Machine& machine);
  bool propose_one();
  void make_trouble();
  bool fire_timer();

  // The outside world.
  std::optional<Payload> execute(const Effect& effect);
  Payload on(const fbs::ReadSnapshotT& m);
  std::optional<Payload> on(const fbs::StartSandboxT& m);
  std::optional<Payload> on(const fbs::StopSandboxT& m);
  Payload on(const fbs::PushBranchT& m);
  Payload on(const fbs::CreatePullRequestT& m, const std::string& key);
  void event(Machine& machine, const Sandbox& sandbox, wire::Phase phase,
             std::unique_ptr<wire::AttemptReportT> report = nullptr);
  std::unique_ptr<wire::AttemptReportT> random_report(const Sandbox& sandbox);
  void connect(Machine& machine);

  Options options_;
  std::mt19937_64 random_;
  Instant now_{1'700'000'000'000};
  engine::Kinds kinds_;
  std::map<ActorId, Actor> actors_;
  std::map<std::pair<ActorId, ActorId>, std::deque<Payload>> queues_;
  std::vector<Effect> effects_;
  std::vector<Machine> machines_;
  std::vector<fbs::SnapshotEntryT> snapshot_;
  std::vector<std::pair<std::string, Payload>> stale_;  ///< Host events and timers that may come again.
  std::map<std::string, int> ends_;                     ///< By run: how often it ended.
  std::map<std::pair<std::string, std::string>, std::string> branches_;
  std::map<std::string, std::uint32_t> pull_numbers_;   ///< By effect key.
  std::map<std::string, int> pulls_made_;               ///< By repository.
};

}  // namespace muster::actors::model
