// The attempts of this host: accepted, run, watched, bounded, finished, forgotten; and found again after a restart.
// Knows nothing of the link: what it has to say goes out through Outlet. Loop thread only; what blocks runs on workers.
//
//   accepted ► fetching ► creating ► running ► finishing ► finished ► (event and log taken) forgotten
//
// On disk, in data()/host/attempts/ID: `start` (the Start frame, durable before `accepted` is said), `stop` (why it
// is being ended), `said` (the last phase that was said), `report` (before teardown), `finished` (number of its event, end of
// its log), `steering` (what people said to its agent), `acked` (what the engine has of the log, roughly), and the log and pack until the engine has them.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sandboxd/attempt.hpp"
#include "sandboxd/log_reader.hpp"
#include "sandboxd/loop.hpp"
#include "sandboxd/pool.hpp"
#include "sandboxd/steering.hpp"

namespace muster::sandbox {

/// Whom an event is about, as the engine named it in Start.
struct Origin {
  std::string run;
  std::uint32_t attempt = 0;
  wire::Epoch epoch;
};

/// Where the supervisor's words go. Called on the loop.
struct Outlet {
  /// Durable when it returns; the event's number.
  std::function<Result<std::uint64_t>(const Origin&, wire::RunEventT)> event;
  std::function<void(const std::string& id)> log_grew;
  std::function<void(const std::string& id, std::uint64_t end)> log_ended;
  std::function<void(const std::string& id)> forgotten;
  /// The engine has not taken what was said for so long that no new work may begin.
  std::function<bool()> full;
};

/// What waits in the spool of an attempt's events.
struct Spooled {
  std::optional<wire::Phase> said;        ///< The last of accepted, running, verifying.
  std::optional<std::uint64_t> finished;  ///< Its number.
  std::uint64_t checkpointed = 0;         ///< The number of the last checkpoint; 0: none waits.
};

class Supervisor {
 public:
  Supervisor(Host& host, Loop& loop, unsigned slots, Outlet outlet);
  ~Supervisor();

  /// Takes up what an earlier process left: adopts, finishes or begins again each attempt that has a record, and
  /// removes what has none.
  Result<void> recover(const std::function<Spooled(const std::string& id)>& spooled);

  /// A Start frame, verified. Says `accepted` or `refused`; a repeated one says nothing.
  void start(std::string_view frame);
  void stop(const std::string& id, wire::StopReason reason, std::int64_t grace_ms);
  /// What people say to an agent: durable, and in its sandbox if there is one, when this returns. Everything below the number
  /// that it returns is there; nothing: no such attempt is under way.
  std::optional<std::uint32_t> steer(const std::string& id, const SteerMessages& messages);
  /// Keeps what the agent of that sandbox can write, as snapshot `id`; the sandbox stands still while it is copied. One that is
  /// there already is not taken again. `done` comes on the loop.
  using Snapshotted = std::function<void(Result<Snapshot>)>;
  void take_snapshot(const std::string& id, const std::string& snapshot, const std::string& name, const Snapshotted& done);
  void remove_snapshot(const std::string& snapshot, const std::string& run, std::function<void(Result<void>)> done);
  /// Ends what is not named.
  void keep_only(const std::set<std::string>& placed);
  void stop_all(wire::StopReason reason);
  /// Freezes what runs, and what would begin to, or lets it go on. What can't be frozen is ended.
  void suspend(bool suspended);
  /// The engine has every event up to `mark`.
  void events_taken(std::uint64_t mark);
  /// The engine has the log up to `offset`: a sandbox that was frozen until then goes on.
  void log_acknowledged(const std::string& id, std::uint64_t offset);
  /// The engine has the whole log.
  void log_taken(const std::string& id);
  /// The log can't be read or is not wanted: the attempt is forgotten without it.
  void log_lost(const std::string& id) { log_taken(id); }

  /// Everything the engine has not heard the end of.
  [[nodiscard]] std::vector<std::string> unfinished() const;
  /// Attempts whose logs are here: id and, for finished ones, their end.
  [[nodiscard]] std::vector<std::pair<std::string, std::optional<std::uint64_t>>> logs() const;
  [[nodiscard]] unsigned free_slots() const;
  /// How many steps that sandbox has begun, while one runs: then a command may be run beside it.
  [[nodiscard]] std::optional<std::size_t> running_step(const std::string& id) const;
  [[nodiscard]] Host& host() { return host_; }
  [[nodiscard]] wire::WarmPoolStateT warm_pool() const { return pool_->state(); }
  /// When the daemon ends: what is made ahead goes; attempts go on.
  void put_away_pool() { pool_.reset(); }

 private:
  enum class Phase { fetching, creating, running, finishing, finished };
  struct Sandbox;

  void record(Sandbox& sandbox);
  void recorded(const std::string& id, const Result<void>& done);
  void begin(Sandbox& sandbox);
  void show(const std::string& id);
  void fetched(const std::string& id, tl::expected<Started, AttemptFailure> started);
  void created(const std::string& id, tl::expected<Started, AttemptFailure> started);
  void adopt(Sandbox& sandbox, const KeptStart& kept);
  void run(Sandbox& sandbox);
  void unstarted(Sandbox& sandbox, AttemptFailure failure);
  void follow(const std::string& id);
  void let_go(Sandbox& sandbox);
  /// What muster-init kept of a sandbox that runs goes to the engine: one at a time, the newest.
  void keep_checkpoint(Sandbox& sandbox);
  void checkpointed(const std::string& id, const std::string& commit, Result<wire::CheckpointT> taken);
  void say_begun(Sandbox& sandbox, const std::vector<wire::StepReportT>& steps);
  void ended(const std::string& container);
  void conclude(Sandbox& sandbox);
  void finished(const std::string& id, std::shared_ptr<wire::AttemptReportT> report);
  void keep_finished(Sandbox& sandbox, std::uint64_t number, std::uint64_t log_end);
  void end(Sandbox& sandbox, StopCause cause, std::int64_t grace_ms);
  /// A sandbox is over its quota while more of its log waits for the engine, until it is half of that.
  void check_spool(Sandbox& sandbox);
  /// Frozen while it is over its quota, is being copied, or all are suspended.
  void set_frozen(Sandbox& sandbox);
  void go_on(Sandbox& sandbox);
  /// Its copy, named by that token, is made or given up.
  void copied(const std::string& id, const std::shared_ptr<std::atomic<bool>>& copy);
  void refuse(const Origin& origin, const std::string& reason);
  void forget_if_taken(const std::string& id);
  void forget(const Sandbox& sandbox);
  void recover_one(const std::string& id, const std::function<Spooled(const std::string&)>& spooled);
  bool take_slot(Sandbox& sandbox);
  /// The lowest slot number that nothing alive has.
  [[nodiscard]] unsigned free_number() const;
  void tick();
  void measure_disks();
  /// Below the low-water mark the host takes no work, and removes what it could get again.
  void watch_free_disk();
  Sandbox* find(const std::string& id);
  void say(Sandbox& sandbox, wire::Phase phase, std::int64_t at);

  Host& host_;
  Loop& loop_;
  const unsigned slots_;
  Outlet outlet_;
  std::map<std::string, std::unique_ptr<Sandbox>> sandboxes_;
  std::uint64_t mark_ = 0;
  std::int64_t next_check_ = 0, next_measure_ = 0;
  bool suspended_ = false;
  std::int64_t suspended_since_ = 0;
  bool measuring_ = false;
  bool disk_low_ = false, cleaning_ = false;
  std::unique_ptr<WarmPool> pool_;
  Workers fetches_;
  Workers records_{1};
  Workers workers_;  // last: their tasks use everything above
};

}  // namespace muster::sandbox
