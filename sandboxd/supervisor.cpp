#include "sandboxd/supervisor.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <future>
#include <thread>

#include "sandboxd/caches.hpp"
#include "sandboxd/pack.hpp"
#include "storage/link/frame.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxRecord = 2u << 20;
constexpr std::size_t kLogStep = 256u << 10;
constexpr int kPiecesPerTurn = 8;             // of one sandbox's log, so that none starves the others
constexpr std::uint64_t kLogSlack = 1u << 20;  // step reports, git's words, notes of the host
constexpr std::uint64_t kAckedStep = 1u << 20;
constexpr std::int64_t kLimitGraceMs = 10'000;
constexpr std::int64_t kLastCheckpointMs = 25'000;  // for muster-init to keep what an attempt that is ended has done
constexpr std::size_t kCheckpointsHere = 2;
constexpr std::int64_t kCheckMs = 1'000;      // for ends that no file event told
constexpr std::int64_t kMeasureMs = 5'000;    // disk use
constexpr Duration kTick{100};
constexpr int kStandStillTries = 2000;        // of 5 ms: a process in a disk wait takes its time to stop

/// Two for each processor: one may wait for the disk or a child while the other computes.
unsigned worker_threads() { return std::clamp(2 * std::thread::hardware_concurrency(), 2u, 16u); }

/// Beside and renamed, without a sync: what matters after a power failure is only `start`.
bool write_small(const fs::path& path, std::string_view text) {
  const std::string half = path.string() + ".half";
  {
    const Fd fd(::open(half.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      return false;
  }
  return ::rename(half.c_str(), path.c_str()) == 0;
}

/// The record of an acceptance, as start() left it.
Result<void> sync_record(const Places& places) {
  if (auto done = sync_file(places.kept / "start"); !done) return done;
  return sync_directory(places.kept);
}

std::string stop_name(wire::StopReason reason) {
  const std::string name = wire::EnumNameStopReason(reason);
  return name.empty() ? "cancelled" : name;
}

Result<wire::FrameT> read_frame(const fs::path& path) {
  const auto bytes = read_file(path, kMaxRecord);
  if (!bytes) return tl::unexpected(bytes.error());
  const auto frame = storage::open_frame(*bytes);
  if (!frame) return tl::unexpected(frame.error());
  wire::FrameT unpacked;
  (*frame)->UnPackTo(&unpacked);
  return unpacked;
}

std::string report_frame(wire::AttemptReportT report) {
  wire::RunEventT event;
  event.phase = wire::Phase::finished;
  event.at_unix_ms = wall_clock_now().unix_ms;
  event.report = std::make_unique<wire::AttemptReportT>(std::move(report));
  wire::FrameT frame;
  frame.body.Set(std::move(event));
  return storage::encode_frame(frame);
}

/// Decodes what the log has and the progress does not know yet.
void feed_all(LogReader& reader, Progress& progress) {
  std::string piece;
  while (reader.read(piece, kLogStep).value_or(0) > 0) {
    if (!progress.feed(piece)) return;
    piece.clear();
  }
}

std::int64_t deadline_of(const wire::SandboxSpecT& spec) {
  if (spec.deadline_unix_ms <= 0) return 0;
  return std::max<std::int64_t>(1, boot_ms() + spec.deadline_unix_ms - wall_clock_now().unix_ms);
}

}  // namespace

struct Supervisor::Sandbox {
  std::string id;
  Origin origin;
  std::shared_ptr<const wire::SandboxSpecT> spec;
  Phase phase = Phase::fetching;
  std::optional<unsigned> slot;
  Started started;
  std::optional<Started> held_back;  // fetched, while nothing may begin
  // running
  std::shared_ptr<Progress> progress;
  std::shared_ptr<LogReader> reader;
  int watch = -1;
  std::optional<StopCause> stop;
  std::int64_t ends_at = 0;  // boot_ms, so that no jump of the wall's clock ends it; 0: it has no deadline
  std::int64_t kill_at = 0;  // boot_ms; 0: not yet
  std::shared_future<void> recorded;  // of one that this process was given: its record is synced, or can't be
  bool unrecorded = false;            // it can't be: nothing but a refusal is ever said of it
  std::optional<wire::Phase> said;  // the last of accepted, running, verifying
  // its log and the engine
  std::uint64_t log_acknowledged = 0;
  std::uint64_t acknowledged_on_disk = 0;
  bool fresh = false;   // made by this process
  bool let_go = false;  // after its setup
  bool caught_up = false;  // the log has been read to its end since this process took it up
  bool over_quota = false;
  bool frozen = false;
  std::shared_ptr<std::atomic<bool>> copy;  // a snapshot of it is being copied: true as long as it stands still
  // checkpoints
  std::string checkpoint_seen;             // the last that was looked at
  bool checkpointing = false;
  std::uint64_t checkpoint_number = 0;     // of its event
  std::deque<std::string> checkpoints;     // commits whose packs lie here
  std::int64_t frozen_since = 0, frozen_ms = 0;
  // finished
  std::uint64_t finished_number = 0;
  std::uint64_t log_end = 0;
  bool log_taken = false;

  [[nodiscard]] bool over() const { return phase == Phase::finished; }
};

Supervisor::Supervisor(Host& host, Loop& loop, unsigned slots, Outlet outlet)
    : host_(host), loop_(loop), slots_(slots), outlet_(std::move(outlet)),
      pool_(std::make_unique<WarmPool>(host, loop, [this] { return free_number(); })),
      fetches_(host.config.concurrent_fetches), workers_(worker_threads()) {
  const auto watched = loop_.watch(host_.ops.exits().string(), IN_MOVED_TO | IN_CLOSE_WRITE,
                                   [this](std::string_view name) { ended(std::string(name)); });
  if (!watched) spdlog::warn("{}; ends are noticed within {} ms", watched.error().message, kCheckMs);
  loop_.every(kTick, [this] { tick(); });
}

Supervisor::~Supervisor() = default;

// ---- accepting ----

void Supervisor::start(std::string_view bytes) {
  wire::FrameT frame;
  wire::GetFrame(bytes.data())->UnPackTo(&frame);
  const auto* start = frame.body.AsStart();
  if (start == nullptr || !start->spec || !start->epoch) return;
  const std::string id = sandbox_id(start->spec->run, start->spec->attempt);
  if (frame.run != start->spec->run || frame.attempt != start->spec->attempt) frame.run = start->spec->run;
  frame.attempt = start->spec->attempt;
  if (sandboxes_.contains(id)) return;
  const Origin origin{frame.run, frame.attempt, *start->epoch};
  if (auto ok = check_spec(*start->spec, {host_.config.allow_host_network, host_.memory_bytes}); !ok) {
    spdlog::warn("{}: {}", id, ok.error().message);
    return refuse(origin, ok.error().code == Errc::refused ? "not_allowed" : "bad_spec");
  }
  if (disk_low_) return refuse(origin, "disk_low");
  if (!start->spec->snapshot.empty() && !host_.snapshots.find(start->spec->snapshot)) return refuse(origin, "no_snapshot");
  if (outlet_.full()) return refuse(origin, "events_full");
  if (!start->spec->agent_bundle.empty() && !host_.blobs.has(start->spec->agent_bundle))
    return refuse(origin, "no_bundle");
  if (start->spec->resume && !host_.blobs.has(start->spec->resume->digest)) return refuse(origin, "no_checkpoint");
  auto sandbox = std::make_unique<Sandbox>();
  sandbox->id = id;
  sandbox->origin = origin;
  sandbox->spec = std::make_shared<const wire::SandboxSpecT>(*start->spec);
  sandbox->ends_at = deadline_of(*sandbox->spec);
  if (!take_slot(*sandbox)) return refuse(origin, "no_slot");
  const Places places(host_.config.paths, id);
  ::mkdir(places.kept.c_str(), 0711);
  if (!write_small(places.kept / "start", bytes)) {
    spdlog::error("{}: its record can't be written", id);
    return refuse(origin, "no_space");
  }
  Sandbox& taken = *(sandboxes_[id] = std::move(sandbox));
  record(taken);
  begin(taken);
}

/// The record is synced beside the first steps, and `accepted` said then. Whatever else is said of the attempt waits for
/// that: so nothing that the engine hears of is lost with the power.
void Supervisor::record(Sandbox& sandbox) {
  auto synced = std::make_shared<std::promise<void>>();
  sandbox.recorded = synced->get_future().share();
  records_.post([this, id = sandbox.id, synced] {
    loop_.post([this, id, done = sync_record(Places(host_.config.paths, id))] { recorded(id, done); });
    synced->set_value();
  });
}

void Supervisor::recorded(const std::string& id, const Result<void>& done) {
  Sandbox* sandbox = find(id);
  if (sandbox == nullptr) return;
  if (done) return say(*sandbox, wire::Phase::accepted, wall_clock_now().unix_ms);
  spdlog::error("{}: {}", id, done.error().message);
  sandbox->unrecorded = true;
  end(*sandbox, {"no_space", false}, 0);
}

void Supervisor::refuse(const Origin& origin, const std::string& reason) {
  wire::RunEventT event;
  event.phase = wire::Phase::refused;
  event.at_unix_ms = wall_clock_now().unix_ms;
  event.reason = reason;
  const auto said = outlet_.event(origin, std::move(event));
  if (!said) spdlog::error("an event can't be kept: {}", said.error().message);
}

bool Supervisor::take_slot(Sandbox& sandbox) {
  const auto taken = std::count_if(sandboxes_.begin(), sandboxes_.end(), [](const auto& entry) {
    return entry.second->slot && !entry.second->over();
  });
  if (static_cast<std::size_t>(taken) >= slots_) return false;
  sandbox.slot = free_number();
  return true;
}

unsigned Supervisor::free_number() const {
  std::set<unsigned> taken = pool_->slots();
  for (const auto& [id, other] : sandboxes_)
    if (other->slot && !other->over()) taken.insert(*other->slot);
  unsigned number = 0;
  while (taken.contains(number)) ++number;
  return number;
}

/// Each phase once: between event and marker only a kill can come, and then the event still waits in the spool.
void Supervisor::say(Sandbox& sandbox, wire::Phase phase, std::int64_t at) {
  if (sandbox.said >= phase) return;
  wire::RunEventT event;
  event.phase = phase;
  event.at_unix_ms = at;
  const auto said = outlet_.event(sandbox.origin, std::move(event));
  if (!said) return spdlog::error("{}: an event can't be kept: {}", sandbox.id, said.error().message);
  sandbox.said = phase;
  write_small(Places(host_.config.paths, sandbox.id).kept / "said",
              std::to_string(static_cast<int>(phase)));
}

// ---- fetching and creating ----

void Supervisor::begin(Sandbox& sandbox) {
  sandbox.phase = Phase::fetching;
  if (const auto kept = keep_messages(Places(host_.config.paths, sandbox.id), sandbox.spec->messages); !kept)
    spdlog::error("{}: {}", sandbox.id, kept.error().message);
  fetches_.post([this, id = sandbox.id, spec = sandbox.spec] {
    auto started = fetch_attempt(host_, *spec);
    loop_.post([this, id, started = std::move(started)]() mutable { fetched(id, std::move(started)); });
  });
}

void Supervisor::fetched(const std::string& id, tl::expected<Started, AttemptFailure> started) {
  Sandbox* sandbox = find(id);
  if (sandbox == nullptr || sandbox->phase != Phase::fetching) return;
  if (!started) return unstarted(*sandbox, started.error());
  if (sandbox->stop) return unstarted(*sandbox, {});
  if (suspended_) {
    sandbox->held_back = std::move(*started);
    return;
  }
  sandbox->phase = Phase::creating;
  auto warm = pool_->take(started->warm_key);
  if (warm) sandbox->slot = warm->slot;
  workers_.post([this, id, spec = sandbox->spec, slot = *sandbox->slot, was = std::move(*started), warm = std::move(warm),
                 recorded = sandbox->recorded] {
    auto made = create_attempt(host_, *spec, was, slot, warm);
    if (recorded.valid()) recorded.wait();
    loop_.post([this, id, made = std::move(made)]() mutable { created(id, std::move(made)); });
  });
}

void Supervisor::created(const std::string& id, tl::expected<Started, AttemptFailure> started) {
  Sandbox* sandbox = find(id);
  if (sandbox == nullptr || sandbox->phase != Phase::creating) return;
  if (!started) return unstarted(*sandbox, started.error());
  if (sandbox->unrecorded) return unstarted(*sandbox, {});
  sandbox->started = std::move(*started);
  sandbox->fresh = true;
  pool_->placed(*sandbox->spec, sandbox->started);
  run(*sandbox);
  if (sandbox->stop) host_.ops.signal(id, SIGTERM);
}

void Supervisor::unstarted(Sandbox& sandbox, AttemptFailure failure) {
  sandbox.phase = Phase::finishing;
  workers_.post(
      [this, id = sandbox.id, spec = sandbox.spec, stop = sandbox.stop, failure = std::move(failure),
       recorded = sandbox.recorded] {
        if (recorded.valid()) recorded.wait();
        auto report = std::make_shared<wire::AttemptReportT>(
            conclude_unstarted(host_, *spec, failure, stop));
        write_small(Places(host_.config.paths, id).kept / "report", report_frame(*report));
        tear_down(host_, id, *report);
        loop_.post([this, id, report] { finished(id, report); });
      },
      true);
}

// ---- running ----

void Supervisor::run(Sandbox& sandbox) {
  const Places places(host_.config.paths, sandbox.id);
  sandbox.phase = Phase::running;
  sandbox.progress = std::make_shared<Progress>(*sandbox.spec, step_names(sandbox.started.environment));
  sandbox.reader = std::make_shared<LogReader>(places.log());
  if (suspended_) set_frozen(sandbox);
  show(sandbox.id);
  const auto watch = loop_.watch(places.log().string(), IN_MODIFY,
                                 [this, id = sandbox.id](std::string_view) { follow(id); });
  if (watch) sandbox.watch = *watch;
  loop_.post([this, id = sandbox.id] {
    follow(id);
    if (host_.ops.exit_code(id)) ended(id);
  });
}

void Supervisor::follow(const std::string& id) {
  Sandbox* sandbox = find(id);
  if (sandbox == nullptr || sandbox->phase != Phase::running) return;
  std::string piece;
  for (int n = 0; n < kPiecesPerTurn; ++n) {
    piece.clear();
    const auto read = sandbox->reader->read(piece, kLogStep);
    if (!read || *read == 0) {
      sandbox->caught_up = true;
      if (n == 0) return check_spool(*sandbox);
      break;
    }
    if (!sandbox->progress->feed(piece)) {
      spdlog::error("{}: its log is not muster-init's", id);
      return end(*sandbox, {"runtime_failed", false}, 0);
    }
    if (n + 1 == kPiecesPerTurn) loop_.post([this, id] { follow(id); });
  }
  say_begun(*sandbox, sandbox->progress->steps());
  outlet_.log_grew(id);
  if (sandbox->progress->held() && !sandbox->let_go) let_go(*sandbox);
  keep_checkpoint(*sandbox);
  check_spool(*sandbox);
  // muster-init keeps the limit; this is for one that does not.
  if (sandbox->progress->bytes() > sandbox->spec->max_log_bytes + kLogSlack && !sandbox->stop)
    end(*sandbox, {"log_limit", false}, 0);
}

/// A sandbox that waits after its setup goes on, once that is kept. An adopted one may have been let go already, so that
/// nothing is taken of it.
void Supervisor::let_go(Sandbox& sandbox) {
  sandbox.let_go = true;
  if (!sandbox.fresh) return host_.ops.let_go(sandbox.id);
  workers_.post([this, id = sandbox.id, spec = sandbox.spec, started = sandbox.started,
                 unchanged = sandbox.progress->tracked_unchanged()] {
    loop_.post([this, id, said = keep_prebuild(host_, *spec, started, unchanged)] {
      if (Sandbox* found = find(id); found != nullptr) found->started.prebuild_note = said;
      host_.ops.let_go(id);
    });
  });
}

// ---- what people say to it ----

std::optional<std::uint32_t> Supervisor::steer(const std::string& id, const SteerMessages& messages) {
  const Sandbox* sandbox = find(id);
  if (sandbox == nullptr || sandbox->phase == Phase::finishing || sandbox->over()) return std::nullopt;
  const auto below = keep_messages(Places(host_.config.paths, id), messages);
  if (!below) {
    spdlog::error("{}: {}", id, below.error().message);
    return std::nullopt;
  }
  if (sandbox->phase == Phase::running) show(id);
  return *below;
}

void Supervisor::show(const std::string& id) {
  if (auto shown = show_messages(Places(host_.config.paths, id)); !shown)
    spdlog::error("{}: {}", id, shown.error().message);
}

// ---- snapshots ----

namespace {

/// Freezing is asked for: it is over when no process of the sandbox runs any more.
Result<void> wait_still(const HostOps& ops, const std::string& id, const std::atomic<bool>& held) {
  for (int n = 0; n < kStandStillTries && held; ++n) {
    if (ops.stands_still(id)) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return held ? fail(Errc::timed_out, "the sandbox does not stand still") : fail(Errc::conflict, "the sandbox ended meanwhile");
}

}  // namespace

void Supervisor::take_snapshot(const std::string& id, const std::string& snapshot, const std::string& name,
                               const Snapshotted& done) {
  if (const auto there = host_.snapshots.find(snapshot)) {
    if (sandbox_id(there->run, there->attempt) != id) return done(fail(Errc::conflict, "there is another snapshot " + snapshot));
    return done(*there);
  }
  Sandbox* sandbox = find(id);
  if (!running_step(id)) return done(fail(Errc::conflict, "no step of that sandbox runs now"));
  if (disk_low_) return done(fail(Errc::refused, "the host's disk is low"));
  if (sandbox->copy) return done(fail(Errc::conflict, "a snapshot of it is being taken"));
  Snapshot wanted;
  wanted.id = snapshot;
  wanted.name = name;
  wanted.run = sandbox->spec->run;
  wanted.attempt = sandbox->spec->attempt;
  wanted.repository = sandbox->spec->repository;
  wanted.url = sandbox->spec->url;
  wanted.base_sha = sandbox->started.mirror.base_sha;
  wanted.resumed = sandbox->started.resumed;
  if (auto room = host_.snapshots.reserve(wanted); !room) return done(tl::unexpected(room.error()));
  auto copy = sandbox->copy = std::make_shared<std::atomic<bool>>(true);
  set_frozen(*sandbox);
  if (!sandbox->frozen) {
    sandbox->copy.reset();
    host_.snapshots.give_up(snapshot);
    return done(fail(Errc::io, "the sandbox can't be frozen"));
  }
  workers_.post([this, id, wanted = std::move(wanted), copy, done] {
    const SandboxHold hold{[&] { return wait_still(host_.ops, id, *copy); }, [&] { return copy->load(); },
                           [&] { loop_.post([this, id, copy] { copied(id, copy); }); }};
    auto kept = host_.snapshots.keep(wanted, Places(host_.config.paths, id), hold);
    if (!kept) spdlog::warn("{}: no snapshot: {}", id, kept.error().message);
    loop_.post([this, id, copy, done, kept = std::move(kept)] {
      copied(id, copy);
      done(kept);
    });
  });
}

void Supervisor::copied(const std::string& id, const std::shared_ptr<std::atomic<bool>>& copy) {
  Sandbox* sandbox = find(id);
  if (sandbox == nullptr || sandbox->copy != copy) return;
  sandbox->copy.reset();
  if (sandbox->phase == Phase::running) set_frozen(*sandbox);
}

void Supervisor::remove_snapshot(const std::string& snapshot, const std::string& run,
                                 std::function<void(Result<void>)> done) {
  workers_.post([this, snapshot, run, done = std::move(done)] {
    loop_.post([done, removed = host_.snapshots.remove(snapshot, run, host_.prebuilds)] { done(removed); });
  });
}

// ---- checkpoints ----

/// One that comes while the one before is not with the engine yet waits for its successor.
void Supervisor::keep_checkpoint(Sandbox& sandbox) {
  const std::string& head = sandbox.progress->checkpoint_head();
  if (head.empty() || head == sandbox.checkpoint_seen || sandbox.checkpointing || sandbox.stop ||
      sandbox.checkpoint_number > mark_ || sandbox.spec->checkpoint_interval_ms <= 0)
    return;
  sandbox.checkpoint_seen = head;
  sandbox.checkpointing = true;
  workers_.post([this, id = sandbox.id, spec = sandbox.spec, started = sandbox.started,
                 said = SaidCheckpoint{head, sandbox.progress->checkpoint_pack()}] {
    auto taken = ::muster::sandbox::keep_checkpoint(host_, *spec, started, said);
    loop_.post([this, id, commit = said.head, taken = std::move(taken)]() mutable {
      checkpointed(id, commit, std::move(taken));
    });
  });
}

void Supervisor::checkpointed(const std::string& id, const std::string& commit, Result<wire::CheckpointT> taken) {
  Sandbox* sandbox = find(id);
  if (sandbox == nullptr || sandbox->over()) return;
  sandbox->checkpointing = false;
  if (!taken) return spdlog::warn("{}: a checkpoint is not kept: {}", id, taken.error().message);
  wire::RunEventT event;
  event.phase = wire::Phase::checkpointed;
  event.at_unix_ms = taken->at_unix_ms;
  event.checkpoint = std::make_unique<wire::CheckpointT>(std::move(*taken));
  const auto number = outlet_.event(sandbox->origin, std::move(event));
  if (!number) return spdlog::error("{}: an event can't be kept: {}", id, number.error().message);
  sandbox->checkpoint_number = *number;
  sandbox->checkpoints.push_back(commit);
  if (sandbox->checkpoints.size() <= kCheckpointsHere) return;
  workers_.post([old = checkpoint_directory(Places(host_.config.paths, id), sandbox->checkpoints.front())] {
    std::error_code ignored;
    fs::remove_all(old, ignored);
  });
  sandbox->checkpoints.pop_front();
}

// ---- the log's spool ----

void Supervisor::log_acknowledged(const std::string& id, std::uint64_t offset) {
  Sandbox* sandbox = find(id);
  if (sandbox == nullptr || offset <= sandbox->log_acknowledged) return;
  sandbox->log_acknowledged = offset;
  if (offset >= sandbox->acknowledged_on_disk + kAckedStep) {
    write_small(Places(host_.config.paths, id).kept / "acked", std::to_string(offset));
    sandbox->acknowledged_on_disk = offset;
  }
  if (sandbox->phase == Phase::running) check_spool(*sandbox);
}

void Supervisor::check_spool(Sandbox& sandbox) {
  const std::uint64_t quota = host_.config.log_spool_bytes;
  const std::uint64_t bytes = sandbox.progress->bytes();
  const std::uint64_t waiting = bytes - std::min(bytes, sandbox.log_acknowledged);
  if (sandbox.stop) return;  // it is ending, and has to run for that
  if (waiting > quota) sandbox.over_quota = true;
  if (waiting <= quota / 2 && sandbox.caught_up) sandbox.over_quota = false;
  set_frozen(sandbox);
}

void Supervisor::suspend(bool suspended) {
  const std::int64_t now = boot_ms();
  const std::int64_t was = suspended_ ? now - suspended_since_ : 0;  // of which nothing counts for a deadline
  suspended_ = suspended;
  suspended_since_ = now;
  for (const auto& [id, sandbox] : sandboxes_) {
    if (sandbox->ends_at > 0) sandbox->ends_at += was;
    if (sandbox->phase == Phase::running) set_frozen(*sandbox);
    go_on(*sandbox);
  }
}

/// With what was held back, when it may.
void Supervisor::go_on(Sandbox& sandbox) {
  if (!sandbox.held_back || (suspended_ && !sandbox.stop)) return;
  fetched(sandbox.id, std::move(*std::exchange(sandbox.held_back, std::nullopt)));
}

void Supervisor::set_frozen(Sandbox& sandbox) {
  const bool frozen = !sandbox.stop && (suspended_ || sandbox.over_quota || sandbox.copy);
  if (frozen == sandbox.frozen) return;
  if (auto done = host_.ops.freeze(sandbox.id, frozen); !done) {
    spdlog::error("{}: {}", sandbox.id, done.error().message);
    if (suspended_ && !sandbox.stop)
      end(sandbox, {stop_name(wire::StopReason::lease_lost), true}, kLimitGraceMs);
    return;
  }
  const std::int64_t now = boot_ms();
  if (frozen) {
    spdlog::warn("{}: frozen: {}", sandbox.id,
                 suspended_           ? "this host has no lease"
                 : sandbox.over_quota ? "too much of its log waits for the engine"
                                      : "a snapshot of it is taken");
    sandbox.frozen_since = now;
  } else {
    spdlog::info("{}: goes on", sandbox.id);
    sandbox.frozen_ms += now - sandbox.frozen_since;
  }
  sandbox.frozen = frozen;
}

/// `running` with the first step, `verifying` with the first verification.
void Supervisor::say_begun(Sandbox& sandbox, const std::vector<wire::StepReportT>& steps) {
  if (steps.empty()) return;
  say(sandbox, wire::Phase::running, steps.front().started_unix_ms);
  const auto verification = std::find_if(steps.begin(), steps.end(), [](const auto& step) {
    return step_kind(step.name) == StepKind::verify;
  });
  if (verification != steps.end()) say(sandbox, wire::Phase::verifying, verification->started_unix_ms);
}

// ---- ending ----

void Supervisor::stop(const std::string& id, wire::StopReason reason, std::int64_t grace_ms) {
  Sandbox* sandbox = find(id);
  if (sandbox == nullptr || sandbox->over()) return;
  if (sandbox->stop && sandbox->stop->by_engine) return;
  end(*sandbox, {stop_name(reason), true}, std::clamp<std::int64_t>(grace_ms, 0, 600'000));
}

void Supervisor::keep_only(const std::set<std::string>& placed) {
  for (const auto& [id, sandbox] : sandboxes_)
    if (!sandbox->over() && !placed.contains(id)) stop(id, wire::StopReason::superseded, 0);
}

void Supervisor::stop_all(wire::StopReason reason) {
  for (const auto& [id, sandbox] : sandboxes_) stop(id, reason, kLimitGraceMs);
}

void Supervisor::end(Sandbox& sandbox, StopCause cause, std::int64_t grace_ms) {
  spdlog::info("{}: ends, {}", sandbox.id, cause.reason);
  write_small(Places(host_.config.paths, sandbox.id).kept / "stop",
              (cause.by_engine ? "engine " : "limit ") + cause.reason);
  sandbox.stop = std::move(cause);
  if (sandbox.copy) *sandbox.copy = false;
  if (suspended_) grace_ms = 0;  // without a lease nothing runs on
  if (grace_ms > 0 && sandbox.spec->checkpoint_interval_ms > 0) grace_ms += kLastCheckpointMs;
  sandbox.kill_at = boot_ms() + grace_ms;
  if (sandbox.phase != Phase::running) return go_on(sandbox);
  set_frozen(sandbox);
  host_.ops.signal(sandbox.id, grace_ms > 0 ? SIGTERM : SIGKILL);
}

void Supervisor::ended(const std::string& container) {
  if (pool_->ended(container)) return;
  Sandbox* sandbox = find(container);
  for (const auto& [id, other] : sandboxes_)
    if (other->started.container == container) sandbox = other.get();
  if (sandbox != nullptr && sandbox->phase == Phase::running && host_.ops.exit_code(sandbox->id))
    conclude(*sandbox);
}

void Supervisor::conclude(Sandbox& sandbox) {
  sandbox.phase = Phase::finishing;
  if (sandbox.copy) *sandbox.copy = false;
  if (sandbox.watch >= 0) loop_.unwatch(sandbox.watch);
  sandbox.watch = -1;
  workers_.post(
      [this, id = sandbox.id, spec = sandbox.spec, started = sandbox.started, stop = sandbox.stop,
       progress = std::move(sandbox.progress), reader = std::move(sandbox.reader),
       frozen_ms = sandbox.frozen_ms] {
        feed_all(*reader, *progress);
        auto report = std::make_shared<wire::AttemptReportT>(
            conclude_attempt(host_, *spec, started, *progress, stop));
        if (frozen_ms > 0)
          report->warnings.push_back("it was frozen for " + std::to_string(frozen_ms) +
                                     " ms: for a snapshot, or until the engine was back or had taken enough of its log");
        write_small(Places(host_.config.paths, id).kept / "report", report_frame(*report));
        tear_down(host_, id, *report);
        loop_.post([this, id, report] { finished(id, report); });
      },
      true);
}

void Supervisor::finished(const std::string& id, std::shared_ptr<wire::AttemptReportT> report) {
  Sandbox* sandbox = find(id);
  if (sandbox == nullptr || sandbox->over()) return;
  if (sandbox->unrecorded) {
    refuse(sandbox->origin, "no_space");
    return forget(*sandbox);
  }
  std::vector<wire::StepReportT> steps;
  for (const auto& step : report->steps) steps.push_back(*step);
  say_begun(*sandbox, steps);
  const std::uint64_t log_end = report->log_bytes;
  spdlog::info("{}: {} {}", id, wire::EnumNameOutcome(report->outcome), report->reason);
  wire::RunEventT event;
  event.phase = wire::Phase::finished;
  event.at_unix_ms = wall_clock_now().unix_ms;
  event.report = std::make_unique<wire::AttemptReportT>(std::move(*report));
  const auto number = outlet_.event(sandbox->origin, std::move(event));
  if (!number) {
    // The report is on disk; the next start says it.
    spdlog::error("{}: its end can't be kept: {}", id, number.error().message);
    return;
  }
  keep_finished(*sandbox, *number, log_end);
}

void Supervisor::keep_finished(Sandbox& sandbox, std::uint64_t number, std::uint64_t log_end) {
  const Places places(host_.config.paths, sandbox.id);
  write_small(places.kept / "finished", std::to_string(number) + " " + std::to_string(log_end));
  sandbox.phase = Phase::finished;
  sandbox.finished_number = number;
  sandbox.log_end = log_end;
  sandbox.log_taken = sandbox.log_taken || log_end == 0;
  outlet_.log_ended(sandbox.id, log_end);
  forget_if_taken(sandbox.id);
}

void Supervisor::events_taken(std::uint64_t mark) {
  mark_ = std::max(mark_, mark);
  std::vector<std::string> ids;
  for (const auto& [id, sandbox] : sandboxes_) {
    ids.push_back(id);
    if (sandbox->phase == Phase::running) keep_checkpoint(*sandbox);
  }
  for (const auto& id : ids) forget_if_taken(id);
}

void Supervisor::log_taken(const std::string& id) {
  if (Sandbox* sandbox = find(id); sandbox != nullptr) sandbox->log_taken = true;
  forget_if_taken(id);
}

void Supervisor::forget_if_taken(const std::string& id) {
  Sandbox* sandbox = find(id);
  if (sandbox == nullptr || !sandbox->over() || !sandbox->log_taken || sandbox->finished_number > mark_)
    return;
  forget(*sandbox);
}

void Supervisor::forget(const Sandbox& sandbox) {
  const std::string id = sandbox.id;
  const std::string resumed = sandbox.spec->resume ? sandbox.spec->resume->digest : "";
  outlet_.forgotten(id);
  sandboxes_.erase(id);
  const bool wanted = std::any_of(sandboxes_.begin(), sandboxes_.end(), [&](const auto& other) {
    return other.second->spec->resume && other.second->spec->resume->digest == resumed;
  });
  workers_.post([this, id, digest = wanted ? std::string() : resumed] {
    if (!digest.empty()) (void)host_.blobs.remove(digest);  // a leftover only costs room
    if (auto done = host_.ops.teardown(id, true); !done) spdlog::error("{}: {}", id, done.error().message);
  });
}

// ---- watching ----

void Supervisor::tick() {
  const std::int64_t now = boot_ms();
  const bool check = now >= next_check_;
  if (check) next_check_ = now + kCheckMs;
  std::vector<std::string> lost;
  for (const auto& [id, sandbox] : sandboxes_) {
    if (sandbox->phase != Phase::running) continue;
    if (sandbox->kill_at > 0 && now >= sandbox->kill_at) {
      host_.ops.signal(id, SIGKILL);
      sandbox->kill_at = now + kCheckMs;
    }
    if (!sandbox->stop && !suspended_ && sandbox->ends_at > 0 && now > sandbox->ends_at)
      end(*sandbox, {"timed_out", false}, kLimitGraceMs);
    if (check && (host_.ops.exit_code(id) || !host_.ops.supervised(id))) lost.push_back(id);
  }
  for (const auto& id : lost)
    if (Sandbox* sandbox = find(id); sandbox != nullptr) conclude(*sandbox);
  if (check) pool_->tick(!disk_low_);
  if (now >= next_measure_ && !measuring_) {
    watch_free_disk();
    measure_disks();
  }
}

void Supervisor::watch_free_disk() {
  const std::uint64_t mark = host_.config.disk_low_water_bytes;
  const std::uint64_t free = free_bytes(host_.config.paths.host());
  const bool was = disk_low_;
  disk_low_ = free < (disk_low_ ? mark + mark / 4 : mark);  // with a distance, so that it does not flutter
  if (disk_low_ != was)
    spdlog::warn("the disk is {}: {} bytes are free, the mark is {}; this host takes {} work",
                 disk_low_ ? "low" : "no longer low", free, mark, disk_low_ ? "no" : "more");
  if (!disk_low_ || cleaning_) return;
  cleaning_ = true;
  pool_->clear();  // before what it borrows from may be removed
  std::set<std::string> in_use = pool_->in_use();
  for (const auto& [id, sandbox] : sandboxes_) {
    in_use.insert({Mirrors::key(sandbox->spec->url), sandbox->spec->agent_bundle});
    for (const auto& other : sandbox->spec->other_repositories) in_use.insert(Mirrors::key(other->url));
  }
  in_use.merge(host_.prebuilds.in_use());
  workers_.post([this, in_use, wanted = mark + mark / 4 - std::min(free, mark + mark / 4)] {
    clean_caches(host_.config.paths, in_use, wanted);
    loop_.post([this] { cleaning_ = false; });
  });
}

void Supervisor::measure_disks() {
  next_measure_ = boot_ms() + kMeasureMs;
  if (host_.config.disk_limit != DiskLimit::measure) return;  // the kernel watches
  std::vector<std::pair<std::string, std::uint64_t>> running;
  for (const auto& [id, sandbox] : sandboxes_)
    if (sandbox->phase == Phase::running && !sandbox->stop)
      running.emplace_back(id, sandbox->spec->disk_bytes);
  if (running.empty()) return;
  measuring_ = true;
  workers_.post([this, running] {
    std::vector<std::string> full;
    for (const auto& [id, limit] : running)
      if (tree_bytes(Places(host_.config.paths, id).writable(), limit) > limit) full.push_back(id);
    loop_.post([this, full] {
      measuring_ = false;
      for (const auto& id : full)
        if (Sandbox* sandbox = find(id);
            sandbox != nullptr && sandbox->phase == Phase::running && !sandbox->stop)
          end(*sandbox, {"disk_full", false}, kLimitGraceMs);
    });
  });
}

// ---- after a restart ----

Result<void> Supervisor::recover(const std::function<Spooled(const std::string&)>& spooled) {
  auto ids = host_.ops.leftovers();
  // Who has a slot number keeps it; others choose after them.
  std::stable_partition(ids.begin(), ids.end(),
                        [this](const std::string& id) { return read_started(host_, id).has_value(); });
  for (const auto& id : ids) recover_one(id, spooled);
  watch_free_disk();  // now that it is known which caches are in use
  return {};
}

void Supervisor::recover_one(const std::string& id,
                             const std::function<Spooled(const std::string&)>& spooled) {
  const Places places(host_.config.paths, id);
  auto frame = read_frame(places.kept / "start");
  const auto* start = frame ? frame->body.AsStart() : nullptr;
  const Spooled waits = spooled(id);
  std::optional<wire::Phase> was_said = waits.said;
  if (const auto said = read_file(places.kept / "said", 16))
    was_said = std::max(was_said, std::optional(static_cast<wire::Phase>(std::clamp(std::atoi(said->c_str()), 0, 2))));
  // A record that was not said yet may not be on disk: it is, before it is said.
  if (start == nullptr || !start->spec || !start->epoch || (!was_said && !sync_record(places))) {
    spdlog::info("{}: nobody's; removed", id);
    host_.ops.end_creation(id);  // of one that was being made ahead
    if (auto done = host_.ops.teardown(id, true); !done) spdlog::error("{}: {}", id, done.error().message);
    return;
  }
  auto owned = std::make_unique<Sandbox>();
  Sandbox& sandbox = *owned;
  sandbox.id = id;
  sandbox.origin = {start->spec->run, start->spec->attempt, *start->epoch};
  sandbox.spec = std::make_shared<const wire::SandboxSpecT>(*start->spec);
  sandbox.ends_at = deadline_of(*sandbox.spec);
  if (const auto stop = read_file(places.kept / "stop", 4096))
    sandbox.stop = StopCause{stop->substr(std::min(stop->find(' '), stop->size() - 1) + 1),
                             stop->starts_with("engine ")};
  if (const auto acked = read_file(places.kept / "acked", 64))
    sandbox.log_acknowledged = sandbox.acknowledged_on_disk = std::strtoull(acked->c_str(), nullptr, 10);
  sandbox.said = was_said;
  sandbox.checkpoint_number = waits.checkpointed;
  const auto kept = read_started(host_, id);
  if (kept) sandbox.slot = kept->slot;
  sandboxes_[id] = std::move(owned);
  say(sandbox, wire::Phase::accepted, wall_clock_now().unix_ms);

  auto report = read_frame(places.kept / "report");
  auto* event = report ? report->body.AsRunEvent() : nullptr;
  const auto marker = read_file(places.kept / "finished", 64);
  if (event != nullptr && event->report) {
    auto said = std::make_shared<wire::AttemptReportT>(*event->report);
    tear_down(host_, id, *said);
    const std::uint64_t log_end = said->log_bytes;
    if (marker) return keep_finished(sandbox, std::strtoull(marker->c_str(), nullptr, 10), log_end);
    if (waits.finished) return keep_finished(sandbox, *waits.finished, log_end);
    return finished(id, said);
  }
  if (kept) return adopt(sandbox, *kept);
  if (auto done = host_.ops.teardown(id, false); !done) spdlog::error("{}: {}", id, done.error().message);
  if (take_slot(sandbox) && !sandbox.stop) return begin(sandbox);
  unstarted(sandbox, {"runtime_failed", "this host has fewer slots than before"});
}

/// A container was at least about to be created.
void Supervisor::adopt(Sandbox& sandbox, const KeptStart& kept) {
  const Places places(host_.config.paths, sandbox.id);
  sandbox.started = kept.started;
  std::error_code error;
  const bool waits = fs::exists(host_.config.paths.runtime() / "runc" / sandbox.id / "exec.fifo", error);
  const bool ran = fs::exists(places.log(), error) && fs::file_size(places.log(), error) > 0;
  const bool lives = host_.ops.alive(sandbox.id) && !waits;
  // Handed over by a daemon that may have died before it said so; muster-init hears it once.
  if (lives && !ran && !kept.started.container.empty()) host_.ops.let_go(sandbox.id);
  // With exec.fifo still there an exit code is the runtime's: it was let go by a daemon that died before it had listened.
  if (lives || ran || (!waits && host_.ops.exit_code(sandbox.id))) {
    spdlog::info("{}: {}", sandbox.id, lives ? "adopted" : "had ended");
    sandbox.frozen = sandbox.over_quota = lives && host_.ops.frozen(sandbox.id);
    sandbox.frozen_since = boot_ms();
    run(sandbox);
    if (!lives && !host_.ops.exit_code(sandbox.id) && !host_.ops.supervised(sandbox.id))
      loop_.post([this, id = sandbox.id] {
        if (Sandbox* found = find(id); found != nullptr && found->phase == Phase::running)
          conclude(*found);
      });
    if (sandbox.stop) sandbox.kill_at = boot_ms() + kLimitGraceMs;
    return;
  }
  spdlog::info("{}: begins again", sandbox.id);
  host_.ops.end_creation(sandbox.id);
  if (auto done = host_.ops.teardown(sandbox.id, false); !done)
    spdlog::error("{}: {}", sandbox.id, done.error().message);
  begin(sandbox);
}

// ---- looking ----

Supervisor::Sandbox* Supervisor::find(const std::string& id) {
  const auto found = sandboxes_.find(id);
  return found == sandboxes_.end() ? nullptr : found->second.get();
}

std::optional<std::size_t> Supervisor::running_step(const std::string& id) const {
  const auto found = sandboxes_.find(id);
  if (found == sandboxes_.end() || found->second->phase != Phase::running || found->second->stop) return std::nullopt;
  const auto& steps = found->second->progress->steps();
  if (steps.empty() || steps.back().ended_unix_ms != 0) return std::nullopt;
  return steps.size();
}

std::vector<std::string> Supervisor::unfinished() const {
  std::vector<std::string> ids;
  for (const auto& [id, sandbox] : sandboxes_)
    if (!sandbox->over() || sandbox->finished_number > mark_) ids.push_back(id);
  return ids;
}

std::vector<std::pair<std::string, std::optional<std::uint64_t>>> Supervisor::logs() const {
  std::vector<std::pair<std::string, std::optional<std::uint64_t>>> found;
  for (const auto& [id, sandbox] : sandboxes_)
    if (!sandbox->log_taken)
      found.emplace_back(id, sandbox->over() ? std::optional(sandbox->log_end) : std::nullopt);
  return found;
}

unsigned Supervisor::free_slots() const {
  if (disk_low_) return 0;
  const auto used = std::count_if(sandboxes_.begin(), sandboxes_.end(),
                                  [](const auto& entry) { return !entry.second->over(); });
  return slots_ > static_cast<unsigned>(used) ? slots_ - static_cast<unsigned>(used) : 0;
}

}  // namespace muster::sandbox
