// sandboxd as a process, against an engine that this test plays over the real link.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "storage/base/ids.hpp"
#include "storage/link/link.hpp"
#include "tests/integration/sandbox_fixture.hpp"

namespace muster::sandbox::test {

using storage::Session;
using storage::Stream;

namespace {

/// The engine's end: acknowledges what it is told to, and remembers everything.
class FakeEngine {
 public:
  explicit FakeEngine(const fs::path& ca) {
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
    const auto tls = storage::ensure_server_certificate(ca.string());
    REQUIRE(tls);
    auto server = storage::LinkServer::start("127.0.0.1:0", *tls, std::move(callbacks));
    REQUIRE(server);
    server_ = std::move(*server);
  }
  ~FakeEngine() { server_->stop(); }

  [[nodiscard]] int port() const { return server_->port(); }

  void start(const wire::SandboxSpecT& spec) {
    wire::FrameT frame;
    frame.run = spec.run;
    frame.attempt = spec.attempt;
    wire::StartT start;
    start.spec = std::make_unique<wire::SandboxSpecT>(spec);
    start.epoch = std::make_unique<wire::Epoch>(1, spec.attempt, 1);
    frame.body.Set(std::move(start));
    {
      const std::lock_guard lock(mutex_);
      placed_.insert(sandbox_id(spec.run, spec.attempt));
    }
    send(Stream::control, std::move(frame));
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
  void send_blob(const std::string& digest, const std::string& bytes) {
    wire::FrameT frame;
    wire::BlobT blob;
    blob.digest = digest;
    blob.total = bytes.size();
    blob.bytes.assign(bytes.begin(), bytes.end());
    frame.body.Set(std::move(blob));
    send(Stream::control, std::move(frame));
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
  void set_lease(std::int64_t ms) {
    change([&] { lease_ms_ = ms; });
  }

  /// Waits for a condition over what was heard; the limit only ends a test that would hang.
  template <class Predicate>
  void wait(Predicate predicate) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::seconds(60), predicate);
    INFO(story_locked());
    REQUIRE(came);
  }
  void wait_connected() {
    wait([&] { return session_ != nullptr && hellos > 0; });
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
    std::string text;
    for (const auto& [number, event] : events)
      if (event.first == id) text += (text.empty() ? "" : " ") + event.second;
    return text;
  }

  // Under the lock.
  int hellos = 0;
  std::vector<std::string> running;                                // of the last Hello
  std::map<std::uint64_t, std::pair<std::string, std::string>> events;  // number -> id, phase
  std::map<std::string, std::shared_ptr<const wire::AttemptReportT>> reports;
  std::map<std::string, std::string> logs;    // by id, from offset 0
  std::set<std::string> complete_logs;
  std::map<std::string, std::string> packs;   // by digest

 private:
  template <class Change>
  void change(Change apply) {
    {
      const std::lock_guard lock(mutex_);
      apply();
    }
    changed_.notify_all();
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
      default: FAIL("a frame that no host sends");
    }
    changed_.notify_all();
  }
  static void answer(Session& session, Stream stream, wire::FrameT frame) {
    (void)session.send(stream, storage::encode_frame(frame));
  }
  void hello(Session& session, const wire::Hello& hello) {
    ++hellos;
    running.clear();
    if (hello.running() != nullptr)
      for (const auto* id : *hello.running()) running.push_back(id->str());
    wire::FrameT frame;
    wire::WelcomeT welcome;
    welcome.session = static_cast<std::uint64_t>(hellos);
    welcome.generation = 1;
    welcome.lease_ms = lease_ms_;
    welcome.heartbeat_ms = 50;
    welcome.placed.assign(placed_.begin(), placed_.end());
    welcome.event_mark = mark_;
    frame.body.Set(std::move(welcome));
    answer(session, Stream::control, std::move(frame));
  }
  void heartbeat(Session& session, const wire::Heartbeat& beat) {
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
      CHECK(chunk.offset() <= log.size());
      log.resize(chunk.offset());
      log.append(reinterpret_cast<const char*>(chunk.bytes()->data()), chunk.bytes()->size());
    }
    if (chunk.last()) complete_logs.insert(id);
    wire::FrameT credit_frame;
    credit_frame.run = frame.run()->str();
    credit_frame.attempt = frame.attempt();
    wire::LogCreditT credit;
    credit.acknowledged = log.size();
    credit.up_to = log.size() + (64u << 10);
    credit_frame.body.Set(std::move(credit));
    answer(session, Stream::logs, std::move(credit_frame));
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Session> session_;
  std::unique_ptr<storage::LinkServer> server_;
  std::set<std::string> placed_;
  bool acknowledging_ = true, renewing_ = true;
  std::int64_t lease_ms_ = 60'000;
  std::uint64_t mark_ = 0;
};

class Daemon {
 public:
  Daemon(const fs::path& root, const FakeEngine& engine, const fs::path& ca) {
    const auto tls = storage::ensure_host_certificate(ca.string(), "host-a");
    REQUIRE(tls);
    argv_ = {SANDBOXD, "--root", root.string(), "--name", "host-a",
             "--engine", "127.0.0.1:" + std::to_string(engine.port()), "--slots", "2",
             "--tls-ca", tls->ca, "--tls-cert", tls->certificate, "--tls-key", tls->key,
             "--init", MUSTER_INIT};
    log_ = root / "sandboxd.log";
    start();
  }
  ~Daemon() { end(SIGTERM); }

  void start() {
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ != 0) return;
    const int log = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(log, 1);
    ::dup2(log, 2);
    std::vector<char*> args;
    for (auto& arg : argv_) args.push_back(arg.data());
    args.push_back(nullptr);
    ::execv(args[0], args.data());
    ::_exit(127);
  }
  void end(int signal) {
    if (pid_ <= 0) return;
    ::kill(pid_, signal);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
  }
  void kill_and_restart() {
    end(SIGKILL);
    start();
  }

 private:
  std::vector<std::string> argv_;
  fs::path log_;
  pid_t pid_ = 0;
};

struct World {
  World() : engine(sandboxes.root() / "ca") {
    fs::create_directories(sandboxes.host().config.paths.root);
    daemon = std::make_unique<Daemon>(sandboxes.host().config.paths.root, engine, sandboxes.root() / "ca");
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

constexpr const char* kId = "0123456789ABC-1";
constexpr const char* kPause =
    "echo before; touch $MUSTER_OUTPUT/here; until [ -e $MUSTER_OUTPUT/go ]; do sleep 0.02; done; echo after; ";

std::string brief(const std::shared_ptr<const wire::AttemptReportT>& report) {
  return test::brief(*report);
}

}  // namespace

TEST_CASE("an attempt over the link: events in order, pack before its end, the whole log, then nothing left") {
  World world;
  auto spec = world.sandboxes.spec("echo hello; cat $MUSTER_AGENT_DIR/greeting; seq 1 100000; echo x > new.txt");
  Sandboxes::add_step(spec, "verify:a", "test -s new.txt");
  const std::string tar = shell("cd $(mktemp -d) && echo from-bundle > greeting && tar -cf - greeting | base64 -w0");
  const std::string bundle = shell("echo " + tar + " | base64 -d | od -An -v -tx1 | tr -d ' \\n'");
  std::string bytes;
  for (std::size_t i = 0; i + 1 < bundle.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(bundle.substr(i, 2), nullptr, 16)));
  spec.agent_bundle = sha256_hex(bytes);
  world.engine.send_blob(spec.agent_bundle, bytes);
  world.engine.start(spec);
  const auto report = world.engine.wait_report(kId);
  CHECK(brief(report) == "changed agent=0 verify:a=0");
  CHECK(world.engine.story(kId) == "accepted running verifying finished");
  CHECK(sha256_hex(world.engine.packs[report->pack_digest]) == report->pack_digest);
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  CHECK(world.engine.logs[kId].size() == report->log_bytes);
  const std::string log = world.engine.log_text(kId);
  CHECK(log.starts_with("hello\nfrom-bundle\n1\n2\n"));
  CHECK(log.ends_with("99999\n100000\n"));
  CHECK(log.size() == 6 + 12 + 588895);
  world.wait_forgotten(kId);
}

TEST_CASE("kill -9 of sandboxd: the sandbox lives on, is adopted, and no event or log byte is lost") {
  World world;
  auto spec = world.sandboxes.spec(std::string(kPause) + "seq 1 2000; echo x > new.txt");
  world.engine.start(spec);
  world.wait_file(world.output(kId) / "here");
  world.daemon->kill_and_restart();
  world.engine.wait([&] { return world.engine.hellos == 2; });
  CHECK(world.engine.running == std::vector<std::string>{kId});
  world.touch(world.output(kId) / "go");
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  CHECK(world.engine.story(kId) == "accepted running finished");
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  CHECK(world.engine.log_text(kId) == "before\nafter\n" + shell("seq 1 2000") + "\n");
  world.wait_forgotten(kId);
}

TEST_CASE("an attempt that ends while no sandboxd lives is reported by the next one") {
  World world;
  world.engine.start(world.sandboxes.spec(std::string(kPause) + "echo x > new.txt"));
  world.wait_file(world.output(kId) / "here");
  world.daemon->end(SIGKILL);
  world.touch(world.output(kId) / "go");
  world.wait_file(world.sandboxes.host().ops.exits() / kId);
  world.daemon->start();
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  CHECK(world.engine.story(kId) == "accepted running finished");
  world.wait_forgotten(kId);
}

TEST_CASE("what the engine did not acknowledge comes again, with its pack, from the next sandboxd") {
  World world;
  world.engine.acknowledge(false, true);
  world.engine.start(world.sandboxes.spec("echo x > new.txt"));
  const auto report = world.engine.wait_report(kId);
  CHECK(brief(report) == "changed agent=0");
  {
    world.engine.wait([&] {
      world.engine.reports.clear();
      world.engine.packs.clear();
      return true;
    });
  }
  world.daemon->end(SIGKILL);
  world.engine.acknowledge(true, true);
  world.daemon->start();
  CHECK(world.engine.wait_report(kId)->head_sha == report->head_sha);
  CHECK(sha256_hex(world.engine.packs[report->pack_digest]) == report->pack_digest);
  CHECK(world.engine.story(kId) == "accepted running finished");
  world.wait_forgotten(kId);
}

TEST_CASE("a stop ends the sandbox and is reported as cancelled") {
  World world;
  world.engine.start(world.sandboxes.spec(kPause));
  world.wait_file(world.output(kId) / "here");
  world.engine.stop("0123456789ABC", 1, 5'000);
  CHECK(brief(world.engine.wait_report(kId)) == "cancelled(cancelled) agent=143/stopped");
  world.wait_forgotten(kId);
}

TEST_CASE("what the engine does not believe to be here is ended at the next session") {
  World world;
  world.engine.start(world.sandboxes.spec(kPause));
  world.wait_file(world.output(kId) / "here");
  world.engine.place({});
  world.daemon->kill_and_restart();
  CHECK(brief(world.engine.wait_report(kId)).starts_with("cancelled(superseded)"));
  world.wait_forgotten(kId);
}

TEST_CASE("when the lease ends without a word, every sandbox is stopped") {
  World world;
  world.engine.start(world.sandboxes.spec(kPause));
  world.wait_file(world.output(kId) / "here");
  world.engine.set_lease(300);
  world.engine.acknowledge(true, false);
  world.daemon->kill_and_restart();
  CHECK(brief(world.engine.wait_report(kId)).starts_with("cancelled(lease_lost)"));
}

TEST_CASE("no slot, a bad spec and a missing bundle are refused with a reason") {
  World world;
  auto spec = world.sandboxes.spec(kPause);
  for (std::uint32_t attempt = 1; attempt <= 2; ++attempt) {
    spec.attempt = attempt;
    world.engine.start(spec);
  }
  spec.attempt = 3;
  world.engine.start(spec);
  world.engine.wait([&] { return world.engine.events.size() >= 3; });
  CHECK(world.engine.story("0123456789ABC-3") == "refused:no_slot");
  spec.attempt = 4;
  spec.branch = "../evil";
  world.engine.start(spec);
  spec.attempt = 5;
  spec.branch = "fine";
  spec.network = wire::Network::host;
  world.engine.start(spec);
  spec.attempt = 6;
  spec.network = wire::Network::none;
  spec.agent_bundle = std::string(64, 'a');
  world.engine.start(spec);
  const auto has = [&](const char* id) {
    for (const auto& [number, event] : world.engine.events)
      if (event.first == id) return true;
    return false;
  };
  world.engine.wait([&] { return has("0123456789ABC-6"); });
  CHECK(world.engine.story("0123456789ABC-4") == "refused:bad_spec");
  CHECK(world.engine.story("0123456789ABC-5") == "refused:not_allowed");
  CHECK(world.engine.story("0123456789ABC-6") == "refused:no_bundle");
}

}  // namespace muster::sandbox::test
