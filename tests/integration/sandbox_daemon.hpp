// sandboxd as a process, against an engine that the test plays over the real link.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "storage/base/ids.hpp"
#include "storage/base/packing.hpp"
#include "storage/link/link.hpp"
#include "storage/link/protocol.hpp"
#include "tests/integration/sandbox_fixture.hpp"

namespace muster::sandbox::test {

using storage::Session;
using storage::Stream;

/// The engine's end: acknowledges what it is told to, and remembers everything.
class FakeEngine {
 public:
  explicit FakeEngine(const fs::path& ca) : ca_(ca) { listen(); }
  ~FakeEngine() { disconnect(); }

  /// Goes away, as a killed engine would; what was heard stays known.
  void disconnect() {
    if (server_) server_->stop();
    server_.reset();
    change([&] { session_.reset(); });
  }
  /// Comes back, under the same address.
  void listen() {
    storage::SessionEvents callbacks;
    callbacks.connected = [this](std::shared_ptr<Session> session) {
      change([&] { session_ = std::move(session); });
    };
    callbacks.frame = [this](Session& session, Stream stream, std::string_view bytes) {
      take(session, stream, *wire::GetFrame(bytes.data()));
    };
    callbacks.closed = [this](Session& session, const std::string&) {
      change([&] {
        if (session_.get() == &session) session_.reset();
      });
    };
    const auto tls = storage::ensure_server_certificate(ca_.string());
    REQUIRE(tls);
    auto server = storage::LinkServer::start("127.0.0.1:" + std::to_string(port_), *tls, std::move(callbacks));
    if (!server) FAIL(server.error().message);
    server_ = std::move(*server);
    port_ = server_->port();
  }

  [[nodiscard]] int port() const { return port_; }
  /// How many bytes of a log the host may send beyond what came; 0: it waits.
  void set_credit(std::uint64_t bytes) {
    std::vector<wire::FrameT> frames;
    change([&] {
      credit_ = bytes;
      for (const auto& [id, log] : logs) frames.push_back(credit_frame(id));
    });
    for (auto& frame : frames) send(Stream::logs, std::move(frame));
  }

  void start(const wire::SandboxSpecT& spec) {
    {
      const std::lock_guard lock(mutex_);
      placed_.insert(sandbox_id(spec.run, spec.attempt));
    }
    send(Stream::control, start_frame(spec));
  }
  /// As the real engine: at every Hello that does not name it, the Start comes again.
  void start_or_repeat(const wire::SandboxSpecT& spec) {
    const std::lock_guard lock(mutex_);
    const std::string id = sandbox_id(spec.run, spec.attempt);
    placed_.insert(id);
    repeated_[id] = std::make_shared<wire::SandboxSpecT>(spec);
    if (session_) answer(*session_, Stream::control, start_frame(spec));
  }
  static wire::FrameT start_frame(const wire::SandboxSpecT& spec) {
    wire::FrameT frame;
    frame.run = spec.run;
    frame.attempt = spec.attempt;
    wire::StartT start;
    start.spec = std::make_unique<wire::SandboxSpecT>(spec);
    start.epoch = std::make_unique<wire::Epoch>(1, spec.attempt, 1);
    frame.body.Set(std::move(start));
    return frame;
  }
  void stop(const std::string& run, std::uint32_t attempt, std::int64_t grace_ms) {
    wire::FrameT frame;
    frame.run = run;
    frame.attempt = attempt;
    wire::StopT stop;
    stop.grace_ms = grace_ms;
    frame.body.Set(std::move(stop));
    send(Stream::control, std::move(frame));
  }
  void steer(const std::string& run, std::uint32_t attempt, const std::vector<std::pair<std::uint32_t, std::string>>& said) {
    wire::FrameT frame;
    frame.run = run;
    frame.attempt = attempt;
    wire::SteerT steer;
    for (const auto& [number, text] : said) {
      steer.messages.push_back(std::make_unique<wire::SteerMessageT>());
      steer.messages.back()->number = number;
      steer.messages.back()->text = text;
    }
    frame.body.Set(std::move(steer));
    send(Stream::control, std::move(frame));
  }
  void send_blob(const std::string& digest, const std::string& bytes) {
    wire::FrameT frame;
    wire::BlobT blob;
    blob.digest = digest;
    blob.total = bytes.size();
    blob.bytes.assign(bytes.begin(), bytes.end());
    frame.body.Set(std::move(blob));
    send(Stream::control, std::move(frame));
  }
  /// ExecOpen, ExecInput or ExecCredit of that sandbox.
  template <class Body>
  void tell_exec(const std::string& id, Body body) {
    wire::FrameT frame;
    frame.run = id.substr(0, id.find('-'));
    frame.attempt = static_cast<std::uint32_t>(std::stoul(id.substr(id.find('-') + 1)));
    frame.body.Set(std::move(body));
    send(Stream::logs, std::move(frame));
  }
  /// Whether events are acknowledged and heartbeats answered.
  void acknowledge(bool of_events, bool of_heartbeats) {
    change([&] {
      acknowledging_ = of_events;
      renewing_ = of_heartbeats;
    });
  }
  void place(std::set<std::string> placed) {
    change([&] { placed_ = std::move(placed); });
  }
  /// What it says that it speaks, from the next Hello on; `refusal` instead of a session.
  void speak(std::uint16_t protocol, std::string refusal = {}) {
    change([&] {
      protocol_ = protocol;
      refusal_ = std::move(refusal);
    });
  }
  void set_lease(std::int64_t ms) {
    change([&] { lease_ms_ = ms; });
  }

  /// Waits for a condition over what was heard; the limit only ends a test that would hang.
  template <class Predicate>
  void wait(Predicate predicate) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::seconds(60), predicate);
    INFO(story_locked());
    INFO((!came && host_said ? host_said() : ""));
    REQUIRE(came);
  }
  void wait_connected() {
    wait([&] { return session_ != nullptr && hellos > 0; });
  }
  /// Of the last heartbeat; empty: that host has no warm pool, or has not spoken since it connected.
  std::shared_ptr<const wire::WarmPoolStateT> pool_said() {
    const std::lock_guard lock(mutex_);
    return pool;
  }
  int heartbeats_heard() {
    const std::lock_guard lock(mutex_);
    return heartbeats;
  }
  std::shared_ptr<const wire::AttemptReportT> wait_report(const std::string& id) {
    wait([&] { return reports.contains(id); });
    const std::lock_guard lock(mutex_);
    return reports[id];
  }
  /// The text that the steps printed, as far as its log came.
  std::string log_text(const std::string& id) {
    const std::lock_guard lock(mutex_);
    std::string text;
    std::string_view rest = logs[id];
    for (LogFrame frame; take_log_frame(rest, frame).value_or(false);)
      if (frame.type == LogType::out || frame.type == LogType::err) text += frame.bytes;
    return text;
  }
  /// "1 accepted 2 running …" of one attempt, in order, each number once.
  std::string story(const std::string& id) {
    const std::lock_guard lock(mutex_);
    return story_of(id);
  }
  void wait_story(const std::string& id, std::string_view expected) {
    wait([&] { return story_of(id) == expected; });
  }

  std::function<std::string()> host_said;  ///< The daemon's own log, shown when a condition does not come.

  // Under the lock.
  int hellos = 0;
  int heartbeats = 0;
  std::optional<unsigned> free_slots;                              // of the last Heartbeat
  std::shared_ptr<const wire::WarmPoolStateT> pool;                // of the last Heartbeat of this connection
  std::vector<std::string> running;                                // of the last Hello
  std::map<std::uint64_t, std::pair<std::string, std::string>> events;  // number -> id, phase
  std::map<std::string, std::shared_ptr<const wire::AttemptReportT>> reports;
  std::map<std::string, std::string> logs;    // by id, from offset 0
  int packed_parts = 0;                       // of logs, since the last Hello
  std::set<std::string> complete_logs;
  std::map<std::string, std::string> packs;   // by digest
  std::map<std::string, wire::SteeredT> steered;  // by id, the last one
  std::map<std::string, std::vector<wire::CheckpointT>> checkpoints;  // by id, each time one was said
  unsigned max_execs = 0;                     // of the last Hello
  std::map<std::uint64_t, std::uint64_t> exec_credit;
  std::map<std::uint64_t, std::string> exec_output;
  std::map<std::uint64_t, wire::ExecEndT> exec_ends;

 private:
  template <class Change>
  void change(Change apply) {
    {
      const std::lock_guard lock(mutex_);
      apply();
    }
    changed_.notify_all();
  }
  std::string story_of(const std::string& id) const {
    std::string text;
    for (const auto& [number, event] : events)
      if (event.first == id) text += (text.empty() ? "" : " ") + event.second;
    return text;
  }
  std::string story_locked() const {
    std::string text;
    for (const auto& [number, event] : events)
      text += std::to_string(number) + " " + event.first + " " + event.second + "\n";
    return text;
  }
  void send(Stream stream, wire::FrameT frame) {
    std::shared_ptr<Session> session;
    {
      const std::lock_guard lock(mutex_);
      session = session_;
    }
    REQUIRE(session);
    REQUIRE(session->send(stream, storage::encode_frame(frame)));
  }

  void take(Session& session, Stream stream, const wire::Frame& frame) {
    const std::lock_guard lock(mutex_);
    const std::string id = frame.run() ? sandbox_id(frame.run()->str(), frame.attempt()) : "";
    switch (frame.body_type()) {
      case wire::Body::Hello: hello(session, *frame.body_as_Hello()); break;
      case wire::Body::Heartbeat: heartbeat(session, *frame.body_as_Heartbeat()); break;
      case wire::Body::RunEvent: event(session, id, frame); break;
      case wire::Body::CommitPack: pack(*frame.body_as_CommitPack()); break;
      case wire::Body::LogChunk: chunk(session, stream, frame, id); break;
      case wire::Body::Steered: frame.body_as_Steered()->UnPackTo(&steered[id]); break;
      case wire::Body::ExecCredit:
        exec_credit[frame.body_as_ExecCredit()->exec()] += frame.body_as_ExecCredit()->bytes();
        break;
      case wire::Body::ExecOutput: exec_bytes(*frame.body_as_ExecOutput()); break;
      case wire::Body::ExecEnd: frame.body_as_ExecEnd()->UnPackTo(&exec_ends[frame.body_as_ExecEnd()->exec()]); break;
      default: FAIL("a frame that no host sends");
    }
    changed_.notify_all();
  }
  void exec_bytes(const wire::ExecOutput& output) {
    if (output.bytes() == nullptr) return;
    exec_output[output.exec()].append(reinterpret_cast<const char*>(output.bytes()->data()), output.bytes()->size());
  }
  static void answer(Session& session, Stream stream, wire::FrameT frame) {
    (void)session.send(stream, storage::encode_frame(frame));
  }
  void hello(Session& session, const wire::Hello& hello) {
    ++hellos;
    max_execs = hello.max_execs();
    pool.reset();
    packed_parts = 0;
    running.clear();
    if (hello.running() != nullptr)
      for (const auto* id : *hello.running()) running.push_back(id->str());
    wire::FrameT frame;
    frame.version = protocol_;
    wire::WelcomeT welcome;
    welcome.version = "played";
    welcome.refused = refusal_;
    welcome.session = static_cast<std::uint64_t>(hellos);
    welcome.generation = 1;
    welcome.lease_ms = lease_ms_;
    welcome.heartbeat_ms = 50;
    welcome.placed.assign(placed_.begin(), placed_.end());
    welcome.event_mark = mark_;
    frame.body.Set(std::move(welcome));
    answer(session, Stream::control, std::move(frame));
    for (const auto& [id, spec] : repeated_)
      if (!reports.contains(id) && std::find(running.begin(), running.end(), id) == running.end())
        answer(session, Stream::control, start_frame(*spec));
  }
  void heartbeat(Session& session, const wire::Heartbeat& beat) {
    free_slots = beat.free_slots();
    if (beat.warm_pool() != nullptr) pool.reset(beat.warm_pool()->UnPack());
    ++heartbeats;
    if (!renewing_) return;
    wire::FrameT frame;
    wire::RenewT renew;
    renew.heartbeat = beat.number();
    frame.body.Set(std::move(renew));
    answer(session, Stream::control, std::move(frame));
  }
  void event(Session& session, const std::string& id, const wire::Frame& frame) {
    const auto& event = *frame.body_as_RunEvent();
    events[frame.sequence()] = {id, wire::EnumNamePhase(event.phase())};
    if (event.phase() == wire::Phase::refused) events[frame.sequence()].second += ":" + event.reason()->str();
    if (event.checkpoint() != nullptr)
      checkpoints[id].emplace_back(*std::unique_ptr<wire::CheckpointT>(event.checkpoint()->UnPack()));
    if (event.report() != nullptr)
      reports[id] = std::shared_ptr<const wire::AttemptReportT>(event.report()->UnPack());
    if (!acknowledging_) return;
    mark_ = frame.sequence();
    wire::FrameT ack_frame;
    wire::AckT ack;
    ack.sequence = mark_;
    ack_frame.body.Set(std::move(ack));
    answer(session, Stream::control, std::move(ack_frame));
  }
  void pack(const wire::CommitPack& part) {
    std::string& bytes = packs[part.digest()->str()];
    bytes.resize(part.offset());
    bytes.append(reinterpret_cast<const char*>(part.bytes()->data()), part.bytes()->size());
  }
  void chunk(Session& session, Stream stream, const wire::Frame& frame, const std::string& id) {
    CHECK(stream == Stream::logs);
    const auto& chunk = *frame.body_as_LogChunk();
    std::string& log = logs[id];
    if (chunk.bytes() != nullptr && chunk.bytes()->size() > 0) {
      std::string_view bytes(reinterpret_cast<const char*>(chunk.bytes()->data()), chunk.bytes()->size());
      if (frame.sequence() > 0) {
        ++packed_parts;
        bytes = unpack(bytes).value_or("");
        CHECK(bytes.size() == frame.sequence());
      }
      CHECK(chunk.offset() <= log.size());
      log.resize(chunk.offset());
      log.append(bytes);
    }
    if (chunk.last()) complete_logs.insert(id);
    answer(session, Stream::logs, credit_frame(id));
  }

  wire::FrameT credit_frame(const std::string& id) {
    wire::FrameT frame;
    frame.run = id.substr(0, id.find('-'));
    frame.attempt = static_cast<std::uint32_t>(std::stoul(id.substr(id.find('-') + 1)));
    wire::LogCreditT credit;
    credit.acknowledged = logs[id].size();
    credit.up_to = logs[id].size() + credit_;
    frame.body.Set(std::move(credit));
    return frame;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Session> session_;
  std::unique_ptr<storage::LinkServer> server_;
  std::set<std::string> placed_;
  std::map<std::string, std::shared_ptr<const wire::SandboxSpecT>> repeated_;
  bool acknowledging_ = true, renewing_ = true;
  std::int64_t lease_ms_ = 60'000;
  std::uint16_t protocol_ = storage::kLinkProtocol;
  std::string refusal_;
  std::uint64_t mark_ = 0;
  std::uint64_t credit_ = 64u << 10;
  fs::path ca_;
  int port_ = 0;
};

class Daemon {
 public:
  Daemon(const fs::path& root, const FakeEngine& engine, const fs::path& ca, unsigned slots) {
    const auto tls = storage::ensure_host_certificate(ca.string(), "host-a");
    REQUIRE(tls);
    argv_ = {SANDBOXD, "--root", root.string(), "--name", "host-a",
             "--engine", "127.0.0.1:" + std::to_string(engine.port()), "--slots", std::to_string(slots),
             "--tls-ca", tls->ca, "--tls-cert", tls->certificate, "--tls-key", tls->key,
             "--init", MUSTER_INIT};
    log_ = root / "sandboxd.log";
    start();
  }
  ~Daemon() { end(SIGTERM); }

  /// By posix_spawn: this process has gRPC's threads, and after a fork() whatever allocates may wait for one of them for ever.
  void start() {
    std::vector<char*> args;
    for (auto& arg : argv_) args.push_back(arg.data());
    args.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 1, log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
    sigset_t term;  // one that is told to end before it listens hears it when it does
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setsigmask(&attributes, &term);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    REQUIRE(::posix_spawn(&pid_, args[0], &actions, &attributes, args.data(), environ) == 0);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  void end(int signal) {
    if (pid_ <= 0) return;
    ::kill(pid_, signal);
    int status = 0;
    const bool in_time = ended_in_time(status);
    pid_ = 0;
    if (signal != SIGTERM) return;
    INFO(said());
    CHECK(in_time);
    CHECK(status == 0);  // it ends as it should, with everything put away
  }
  void kill_and_restart() {
    end(SIGKILL);
    start();
  }
  [[nodiscard]] std::string said() const { return read_file(log_).value_or(""); }

 private:
  /// One that hangs is killed, so that the test says so and ends.
  bool ended_in_time(int& status) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (pid_t ended = 0; (ended = ::waitpid(pid_, &status, WNOHANG)) == 0;) {
      if (std::chrono::steady_clock::now() > until) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, &status, 0);
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }

  std::vector<std::string> argv_;
  fs::path log_;
  pid_t pid_ = 0;
};

struct World {
  /// `settings` is what sandboxd.yaml says.
  explicit World(const std::string& settings = "", unsigned slots = 2) : engine(sandboxes.root() / "ca") {
    const Paths& paths = sandboxes.host().config.paths;
    fs::create_directories(paths.config());
    std::ofstream(paths.config() / "sandboxd.yaml") << settings;
    daemon = std::make_unique<Daemon>(paths.root, engine, sandboxes.root() / "ca", slots);
    engine.host_said = [this] { return daemon->said(); };
    engine.wait_connected();
  }
  ~World() { daemon.reset(); }

  /// The sandbox touches OUT/here when it is where the test wants it, and goes on when OUT/go is there.
  [[nodiscard]] fs::path output(const std::string& id) {
    return Places(sandboxes.host().config.paths, id).out() / "output";
  }
  void wait_file(const fs::path& path) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    std::error_code error;
    while (!fs::exists(path, error) && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    REQUIRE(fs::exists(path, error));
  }
  void touch(const fs::path& path) { std::ofstream(path).close(); }
  /// Until the daemon has forgotten it: nothing at all is left.
  void wait_forgotten(const std::string& id) {
    const Places places(sandboxes.host().config.paths, id);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (fs::exists(places.kept) && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    REQUIRE_FALSE(fs::exists(places.kept));
    sandboxes.require_gone(id);
  }

  Sandboxes sandboxes;
  FakeEngine engine;
  std::unique_ptr<Daemon> daemon;
};

/// Everything on this machine that belongs to a sandbox of this root: one line each.
inline std::string leftovers(Sandboxes& sandboxes) {
  const Paths& paths = sandboxes.host().config.paths;
  const auto& ops = sandboxes.host().ops;
  std::string found;
  for (const auto& mount : mounts_below(sandboxes.root())) found += "mount " + mount + "\n";
  for (const auto& name : ops.cgroups().children(ops.cgroup_parent())) found += "cgroup " + name + "\n";
  for (const fs::path& directory :
       {paths.runtime() / "s", paths.runtime() / "runc", ops.exits(), paths.host() / "attempts"}) {
    std::error_code error;
    for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
      found += "entry " + it->path().string() + "\n";
  }
  // conmon and runc name the root in their arguments; sandboxd does, too, and is not meant.
  const std::string root = paths.root.string();
  for (fs::directory_iterator it("/proc"), end; it != end; ++it) {
    const auto command = read_file(it->path() / "cmdline", 1u << 20);
    if (!command || command->find(root) == std::string::npos || command->find("sandboxd") != std::string::npos) continue;
    found += "process " + it->path().filename().string() + " " + command->substr(0, command->find('\0')) + "\n";
  }
  return found;
}

inline constexpr const char* kId = "0123456789ABC-1";
inline constexpr const char* kPause =
    "echo before; touch $MUSTER_OUTPUT/here; until [ -e $MUSTER_OUTPUT/go ]; do sleep 0.02; done; echo after; ";

inline std::string brief(const std::shared_ptr<const wire::AttemptReportT>& report) {
  return test::brief(*report);
}

}  // namespace muster::sandbox::test
