// The domain as a whole installation: the real kinds (fleet, run, repo, pull, host) on shards with faults, real
// admission, simulated hosts behind a link that delays, breaks and stays half open, a forge, and people who pause,
// cancel and retry. One seed decides everything. What must hold:
//
//   - every run of every fleet ends exactly once, and never leaves its end;
//   - a repository gets one pull request per fleet, whatever is repeated;
//   - a host never has more sandboxes than slots, nor more slots taken than it has;
//   - no run is placed under a stale epoch: an attempt runs on one host, a later one only when the earlier host
//     runs it no more, and what is delivered comes from the last attempt.
//
// The parts: fleet_world.cpp (faults, the end), fleet_people.cpp, fleet_forge.cpp (and the dispatcher), fleet_link.cpp
// (the engine's end of the link: what actors/ports/hosts does), fleet_hosts.cpp (machines), fleet_removal.cpp (long
// after). What a swarm does otherwise is virtual: swarm_world.hpp.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "actors/common.hpp"
#include "actors/host/host.hpp"
#include "actors/ports/queue_view.hpp"
#include "actors/run/run.hpp"
#include "tests/simulation/installation.hpp"

namespace muster::sim {

namespace kinds = muster::actors;
namespace kfbs = muster::actors::fbs;
namespace wire = muster::wire;

struct FleetOptions {
  bool faults = true;             ///< Crashes, disk errors, clock jumps, hosts that break.
  Duration downtime{0};           ///< The engine is away so long, once, in the middle of the work.
  Duration jump{0};               ///< The engine's wall clock jumps so far, once, at a restart.
  Duration lease{30'000};
  int most_faults = 25;
  bool removal = true;            ///< In the end everything is removed.

  [[nodiscard]] bool interrupted() const { return downtime != Duration{0} || jump != Duration{0}; }
};

class FleetWorld : Surroundings {
 public:
  FleetWorld(std::uint64_t seed, Sabotage sabotage, FleetOptions options = {});
  ~FleetWorld() override;

  /// Until every fleet has ended and nothing moves; then looks at the disks. Throws a Violation.
  void run();

  [[nodiscard]] std::uint64_t steps() const { return scheduler_.steps(); }
  [[nodiscard]] int crashes() const { return installation_.crashes(); }
  [[nodiscard]] std::size_t digest() const { return installation_.digest(); }
  [[nodiscard]] const std::string& story() const { return installation_.story(); }
  [[nodiscard]] std::size_t delivered() const;
  /// The highest number of an attempt that a host began.
  [[nodiscard]] std::uint32_t most_attempts() const;
  [[nodiscard]] int lease_ends() const { return lease_ends_; }
  /// With their host, or with its lease.
  [[nodiscard]] int sandboxes_lost() const { return sandboxes_lost_; }

 protected:
  using SandboxId = std::pair<std::string, std::uint32_t>;  ///< Run and attempt.
  struct Person;

  // What the work is.
  virtual void invent();
  virtual void next_wish(Person& person);
  [[nodiscard]] virtual bool everybody_done() const;
  virtual std::shared_ptr<wire::AttemptReportT> draw_report(const SandboxId& sandbox);
  /// Where that push goes; what it brings is there then.
  virtual std::string& branch_for(const kfbs::PushBranchT& m);
  virtual void perform_other(std::uint32_t shard, const engine::PendingEffect& effect,
                             const kfbs::EffectT& asked);
  /// The commit that an attempt made.
  [[nodiscard]] virtual std::string made_by(const SandboxId& sandbox) const;
  virtual void sandbox_ordered(const kfbs::StartSandboxT&) {}
  virtual void sandbox_begun(const SandboxId&) {}
  virtual void run_ended(const std::string&) {}
  virtual void watch(const engine::Change&) {}
  virtual void process_began() {}  ///< What its memory held is gone.
  virtual void verify_work() {}

 private:
  struct Machine;
  struct Line;
  struct Event;
  struct Waiting {
    std::uint32_t shard = 0;
    engine::PendingEffect effect;
    std::string host;
    std::string run;
    wire::Epoch epoch;
  };

 protected:
  template <class K>
  static engine::ActorId id(const std::string& key) {
    return {"default", std::string(K::kName), key};
  }
  template <class K>
  [[nodiscard]] std::optional<typename K::State> state(const std::string& key) const {
    const auto bytes = installation_.head(id<K>(key));
    if (!bytes) return std::nullopt;
    return engine::decode_table<typename K::State>(*bytes).value();
  }
  /// Rows of an actor whose names begin so, as committed; by the rest of their names.
  template <class Row>
  [[nodiscard]] std::map<std::string, Row> rows_of(const engine::ActorId& actor,
                                                   std::string_view prefix) const {
    std::map<std::string, Row> rows;
    for (const auto& [name, bytes] : raw_rows_of(actor, prefix))
      rows.emplace(name, kinds::must_decode<Row>(bytes));
    return rows;
  }
  [[nodiscard]] std::map<std::string, std::string> raw_rows_of(const engine::ActorId& actor,
                                                               std::string_view prefix) const;
  /// Entries of an index, as committed.
  [[nodiscard]] std::map<std::string, std::string> index(std::string_view name) const;
  /// A message to an actor, offered again until it is taken, as long as this process of the engine lives.
  void tell(const engine::ActorId& to, engine::Payload payload);
  /// Something of the engine's process: gone when it crashes.
  void engine_task(std::int64_t low_ms, std::int64_t high_ms, std::function<void()> task);
  void call(Person& person, const engine::ActorId& to, engine::Payload payload);
  /// Ends one of its runs, or its fleet, otherwise than it should have: a Violation.
  void verify_fleet(const std::string& name);

 private:
  // The installation.
  static engine::Kinds sabotaged(Sabotage sabotage);
  void perform(std::uint32_t shard, const engine::PendingEffect& effect) override;
  void changed(std::uint32_t shard, const std::vector<engine::Change>& changes) override;
  void run_changed(const std::string& run);
  void start();
  void stop();
  void fault();
  [[nodiscard]] bool anything_runs() const;
  void once_in_the_middle();

  // People.
  void attempt(Person& person);

  // The forge and the dispatcher.
  void forge(std::uint32_t shard, const engine::PendingEffect& effect,
             const std::function<engine::Payload()>& act);
  engine::Payload push(const kfbs::PushBranchT& m);
  engine::Payload read_snapshot(const kfbs::ReadSnapshotT& m);
  engine::Payload open_pull(const kfbs::CreatePullRequestT& m, const std::string& key);
  void dispatch();

  // The engine's end of the link (its memory dies with the process).
  void load_lines();
  void hello(const std::string& host, std::uint64_t connection);
  void try_welcome(Line& line);
  void heartbeat(const std::string& host, std::uint64_t connection, std::uint64_t number);
  void event(const std::string& host, std::uint64_t connection, Event event);
  [[nodiscard]] bool is_placed(const std::string& host, const SandboxId& sandbox) const;
  void take_events(Line& line);
  void event_taken(Line& line, const Event& event);
  void line_broke(const std::string& host, std::uint64_t connection);
  void drop(Line& line);
  void tick();
  void start_effect(Waiting waiting);
  void stop_effect(Waiting waiting);
  void send_order(Line& line, const Waiting& waiting, bool start);
  void finish_start(const SandboxId& sandbox, const std::string& error);
  void finish_stop(const SandboxId& sandbox);
  void steer_effect(std::uint32_t shard, const engine::PendingEffect& effect,
                    const kfbs::SteerSandboxT& order);
  void to_machine(const std::string& host, std::uint64_t connection,
                  std::function<void(Machine&)> what);

  // Machines.
  void to_engine(Machine& machine, std::function<void()> what);
  void connect(Machine& machine);
  void disconnect(Machine& machine, std::int64_t low_ms, std::int64_t high_ms);
  void welcomed(Machine& machine, std::uint64_t session, std::uint64_t mark,
                const std::set<SandboxId>& placed);
  void beat(Machine& machine, std::uint64_t connection);
  void renewed(Machine& machine, std::uint64_t number);
  [[nodiscard]] bool frozen(const Machine& machine) const;
  void check_machine(Machine& machine);
  void kill_all(Machine& machine, const std::string& reason);
  void begin(Machine& machine, const std::string& run, wire::Epoch epoch);
  void end(Machine& machine, const SandboxId& sandbox);
  void work(Machine& machine, const SandboxId& sandbox);
  void say(Machine& machine, const std::string& run, wire::Epoch epoch, wire::Phase phase,
           std::shared_ptr<wire::AttemptReportT> report = nullptr);
  void send_events(Machine& machine);
  void lose(Machine& machine);

  void play();

  // Long after (fleet_removal.cpp).
  void remove_everything();
  void next_removal(Person& person);
  [[nodiscard]] bool remove_fleet(Person& person);
  [[nodiscard]] bool remove_rest(Person& person);
  [[nodiscard]] std::vector<std::string> kept(std::string_view kind) const;
  [[nodiscard]] bool is_named(const std::string& repository) const;
  [[nodiscard]] bool everything_removed() const;
  void verify_removed();

  // The end.
  void verify();

 protected:
  Sabotage sabotage_;
  FleetOptions options_;
  Scheduler scheduler_;
  Installation installation_;
  std::vector<std::unique_ptr<Person>> people_;
  std::vector<std::string> fleets_;
  std::map<std::string, std::vector<std::string>> snapshots_;  ///< By digest: repositories.

 private:
  std::vector<std::unique_ptr<Machine>> machines_;
  Duration lease_{0};

  // The engine's process.
  std::map<std::string, Line> lines_;
  std::map<SandboxId, Waiting> starts_;
  std::map<SandboxId, Waiting> stops_;
  kinds::QueueView view_;

  // The outside world, and what was seen.
  std::map<std::string, std::string> branches_;
  std::map<std::string, std::uint32_t> pulls_;  ///< By effect key.

 protected:
  std::map<std::pair<std::string, std::string>, int> pulls_made_;  ///< By fleet and repository.

 private:
  std::map<std::string, kfbs::RunState> last_state_;
  std::map<std::string, int> ends_;
  std::map<std::string, std::pair<std::uint32_t, std::string>> accepted_;  ///< Last attempt and its host.
  std::uint64_t connections_ = 0;
  int lease_ends_ = 0;
  int sandboxes_lost_ = 0;
  int faults_ = 0;
  bool closing_ = false;
  bool removing_ = false;  ///< Nobody wants anything new any more, and hosts are off.
  bool interrupted_ = false;
};

}  // namespace muster::sim
