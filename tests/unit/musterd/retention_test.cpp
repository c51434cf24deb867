// What ended long ago goes: from a real engine and real stores, over errors and restarts.
#include "tools/musterd/retention.hpp"

#include <catch2/catch.hpp>

#include <chrono>
#include <future>
#include <thread>

#include "actors/fleet/fleet.hpp"
#include "actors/host/host.hpp"
#include "actors/indexes.hpp"
#include "actors/swarm/swarm.hpp"
#include "engine/core/inspect.hpp"
#include "engine/runtime/runtime.hpp"
#include "storage/base/ids.hpp"
#include "storage/link/host_order.hpp"
#include "tests/unit/musterd/api_fixture.hpp"
#include "tools/musterd/app.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

constexpr Duration kAtOnce{1};

/// Refuses to remove the logs of all but so many runs.
class FailingLogs final : public storage::RunLog {
 public:
  FailingLogs(storage::RunLog& logs, int removed) : logs_(logs), left_(removed) {}
  Result<void> append(const storage::RunLogKey& key, std::uint64_t offset,
                      std::string_view bytes) override {
    return logs_.append(key, offset, bytes);
  }
  Result<std::uint64_t> sync(const storage::RunLogKey& key) override { return logs_.sync(key); }
  Result<void> finish(const storage::RunLogKey& key) override { return logs_.finish(key); }
  Result<std::string> read(const storage::RunLogKey& key, std::uint64_t offset,
                           std::size_t limit) override {
    return logs_.read(key, offset, limit);
  }
  Result<std::uint64_t> end(const storage::RunLogKey& key) override { return logs_.end(key); }
  Result<void> remove(const std::string& run) override {
    if (left_-- > 0) return logs_.remove(run);
    return fail(Errc::io, "the disk is bad");
  }

 private:
  storage::RunLog& logs_;
  int left_;
};

/// An engine with one fleet, cancelled before any run was placed; each run has a log.
struct EndedFleet {
  static constexpr std::uint32_t kRuns = 3;

  EndedFleet() {
    open();
    create();
    REQUIRE(wait([&] { return runs().size() == kRuns; }));
    for (const std::string& run : runs()) REQUIRE(logs->append({run, 1}, 0, "what it said"));
    tell(fbs::CancelFleetT{});
    REQUIRE(wait([&] { return head().state == fbs::FleetState::cancelled; }));
    REQUIRE(head().ended_unix_ms > 0);
  }

  void open() {
    engine.reset();
    engine::Ports ports;
    ports["snapshot"] = std::make_shared<Snapshot>();
    auto made = engine::make_engine({}, all_kinds(), std::move(ports), directory.path / "engine");
    REQUIRE(made);
    engine = std::move(*made);
  }
  std::string create() {
    fbs::CreateFleetT m;
    m.digest = m.spec_digest = m.snapshot_digest = std::string(64, 'd');
    m.repositories = kRuns;
    m.policy = std::make_unique<fbs::RunPolicyT>();
    return tell(m);
  }
  template <class M>
  std::string tell(const M& message) {
    return tell("fleet", "old", actors::Fleet::Messages::encode(message));
  }
  std::string tell(const char* kind, const std::string& name, engine::Payload payload) {
    engine::Call call;
    call.to = {"default", kind, name};
    call.payload = std::move(payload);
    call.key = new_uuid_v7(engine->now());
    call.digest = "d";
    std::promise<Result<std::string>> answer;
    auto answered = answer.get_future();
    engine->call(std::move(call), [&](Result<std::string> r) { answer.set_value(std::move(r)); });
    const auto reply = answered.get();
    return reply ? *reply : reply.error().message;
  }
  /// One look with those limits.
  Result<void> look(Duration contents, Duration fleets, storage::RunLog* with = nullptr,
                    bool dry_run = false) {
    // So that the end is longer ago than that, by the clock that is asked for both.
    REQUIRE(wait([&, from = engine->now()] { return engine->now() - from >= Duration{2}; }));
    Retention retention(*engine, with != nullptr ? *with : *logs, packs, files,
                        {contents, fleets, dry_run, grace, hosts});
    auto looked = retention.look();
    counts = retention.counts();
    return looked;
  }

  View view() { return View(*engine); }
  fbs::FleetHeadT head() { return *view().fleet("old"); }
  std::vector<std::string> runs() {
    std::vector<std::string> ids;
    REQUIRE(view().each_run("", [&](const RunName& run) {
      ids.push_back(run.id);
      return true;
    }));
    return ids;
  }
  std::size_t logs_left() {
    std::size_t left = 0;
    for (const std::string& run : runs()) left += logs->read({run, 1}, 0, 100).has_value() ? 1 : 0;
    return left;
  }
  template <class F>
  static bool wait(F&& until) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!until()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }

  /// Three repositories, whatever is asked.
  class Snapshot final : public engine::EffectPort {
   public:
    void perform(const engine::PendingEffect&, engine::EffectDone done) override {
      fbs::SnapshotPageT page;
      for (std::uint32_t i = 0; i < kRuns; ++i) {
        page.entries.push_back(std::make_unique<fbs::SnapshotEntryT>());
        page.entries.back()->repository = "acme/r" + std::to_string(i);
        page.entries.back()->url = "/srv/acme/r" + std::to_string(i);
      }
      done(engine::MessageSet<fbs::FleetBodyUnionTraits, fbs::SnapshotPageT>::encode(page));
    }
  };

  TemporaryDirectory directory;
  std::unique_ptr<storage::RunLog> logs = *storage::RunLog::open(directory.path / "logs");
  Blobs packs{directory.path / "packs"};
  Blobs files{directory.path / "blobs"};
  Duration grace = RetentionLimits::kDay;
  Duration hosts{0};
  std::unique_ptr<engine::Engine> engine;
  RetentionCounts counts;
};

}  // namespace

TEST_CASE_METHOD(EndedFleet, "what is not due stays, and what is only counted stays") {
  REQUIRE(look(RetentionLimits::kDay, RetentionLimits::kDay));
  CHECK(counts.contents_due == 0);
  REQUIRE(look(Duration{0}, Duration{0}));
  CHECK(counts.contents_due == 0);
  REQUIRE(look(kAtOnce, kAtOnce, nullptr, true));
  CHECK(counts.contents_due == 1);
  CHECK(counts.contents_removed == 0);
  CHECK(logs_left() == kRuns);
  CHECK(head().removed_unix_ms == 0);
}

TEST_CASE_METHOD(
    EndedFleet,
    "the contents of a fleet go, and later the fleet with its runs; its name is free again") {
  const auto before = runs();
  REQUIRE(look(kAtOnce, Duration{0}));
  CHECK(counts.contents_removed == 1);
  CHECK(logs_left() == 0);
  CHECK(head().contents_gone);
  CHECK(runs().size() == kRuns);
  REQUIRE(look(kAtOnce, Duration{0}));  // Once is enough.
  CHECK(counts.contents_due == 0);

  REQUIRE(look(kAtOnce, kAtOnce));
  CHECK(counts.fleets_due == 1);
  CHECK(counts.fleets_removed == 1);
  CHECK(wait([&] { return !view().fleet("old") && runs().empty(); }));
  open();
  CHECK_FALSE(view().fleet("old"));
  for (const std::string& run : before) CHECK(view().run_head(run).error().code == Errc::not_found);
  std::size_t named = 0;
  REQUIRE(view().each_fleet("", [&](const std::string&) { return ++named > 0; }));
  CHECK(named == 0);
  CHECK(engine->dead_letters({}, 10)->empty());

  CHECK(create() == "created");
  CHECK(wait([&] { return runs().size() == kRuns; }));
  CHECK(runs() == before);  // The same names, and new runs.
  CHECK(head().removed_unix_ms == 0);
}

TEST_CASE_METHOD(EndedFleet,
                 "a removal that was interrupted is durable as begun, and the next look ends it") {
  FailingLogs failing(*logs, 1);
  const auto failed = look(kAtOnce, kAtOnce, &failing);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message == "the disk is bad");
  CHECK(counts.contents_removed == 0);
  CHECK(logs_left() == kRuns - 1);
  open();
  const std::int64_t since = head().removed_unix_ms;
  CHECK(since > 0);
  CHECK_FALSE(head().contents_gone);
  REQUIRE(look(kAtOnce, kAtOnce));
  CHECK(logs_left() == 0);
  CHECK(head().contents_gone);
  CHECK(head().removed_unix_ms == since);
}

// ---- what nothing names ----

namespace {

/// Beside it files that nobody names, which may go at once.
struct FleetAndFiles : EndedFleet {
  FleetAndFiles() {
    grace = Duration{-1'000};
    for (const char* bytes : {"of nobody", "of nobody either"})
      REQUIRE(files.put(sha256_hex(bytes), bytes));
  }
  std::size_t repositories() {
    std::size_t found = 0;
    auto& inside = dynamic_cast<engine::Inside&>(*engine);
    REQUIRE(engine::each_actor(inside.journals(), {"default", "repo", "", ""},
                               [&](const engine::ActorId&, std::string_view, const std::string&) {
                                 return ++found > 0;
                               }));
    return found;
  }
};

}  // namespace

TEST_CASE_METHOD(FleetAndFiles, "repositories and files go when the last that named them went") {
  REQUIRE(wait([&] { return repositories() == kRuns; }));
  REQUIRE(look(kAtOnce, Duration{0}, nullptr, true));
  CHECK(counts.files_due == 2);
  CHECK(counts.repositories_due == 0);
  CHECK(files.has(sha256_hex("of nobody")));
  REQUIRE(look(kAtOnce, Duration{0}));
  CHECK(counts.files_removed == 2);
  CHECK(counts.repositories_removed == 0);
  CHECK(repositories() == kRuns);

  REQUIRE(look(kAtOnce, kAtOnce));
  CHECK(counts.fleets_removed == 1);
  REQUIRE(wait([&] { return runs().empty(); }));
  const std::size_t left = repositories();  // That look may have seen some of the runs go.
  REQUIRE(look(kAtOnce, kAtOnce, nullptr, true));
  CHECK(counts.repositories_due == left);
  CHECK(repositories() == left);
  REQUIRE(look(kAtOnce, kAtOnce));
  CHECK(counts.repositories_removed == left);
  CHECK(repositories() == 0);
  open();
  CHECK(repositories() == 0);
  CHECK(engine->dead_letters({}, 10)->empty());
}

// ---- hosts and swarms ----

TEST_CASE_METHOD(EndedFleet, "a host goes when it is gone for long, and comes back as a new one") {
  const auto say = [&](const auto& m) {
    tell("host", "h1", actors::Host::Messages::encode(m));
  };
  fbs::HostConnectedT connected;
  connected.session = connected.generation = 1;
  connected.slots = 2;
  say(connected);
  hosts = kAtOnce;
  REQUIRE(look(Duration{0}, Duration{0}));
  CHECK(counts.hosts_due == 0);  // It is there.
  fbs::LeaseEndedT ended;
  ended.session = 1;
  say(ended);
  hosts = RetentionLimits::kDay;
  REQUIRE(look(Duration{0}, Duration{0}));
  CHECK(counts.hosts_due == 0);
  hosts = kAtOnce;
  REQUIRE(look(Duration{0}, Duration{0}, nullptr, true));
  CHECK(counts.hosts_due == 1);
  CHECK(view().host("h1"));
  REQUIRE(look(Duration{0}, Duration{0}));
  CHECK(counts.hosts_removed == 1);
  CHECK(view().host("h1").error().code == Errc::not_found);
  open();
  say(connected);
  CHECK(view().host("h1")->state == fbs::HostState::ready);
}

namespace {

/// Keeps snapshots, and answers orders at once.
class SnapshotHost final : public actors::ExecPort {
 public:
  Result<std::uint64_t> open(const actors::ExecPlace& place, wire::ExecOpenT open,
                             std::shared_ptr<actors::ExecSink> sink) override {
    if (away) return fail(Errc::unreachable, "host " + place.host + " is not connected");
    std::map<std::string, std::string> order;
    for (const auto& pair : open.env) order[pair->key] = pair->value;
    wire::ExecEndT end;
    end.exit_code = 0;
    if (order["ORDER"] == storage::kListAllSnapshots) {
      Json all = Json::array({"none", Json::object()});  // A host may say anything.
      for (const auto& [id, run] : snapshots) all.push_back({{"id", id}, {"run", run}});
      end.message = all.dump();
    } else {
      CHECK(order["ORDER"] == storage::kRemoveSnapshot);
      CHECK(snapshots.at(order["ID"]) == place.run);
      snapshots.erase(order["ID"]);
      end.message = "{}";
    }
    sink->ended(std::move(end));
    return 1;
  }
  Result<void> input(std::uint64_t, wire::ExecInputT) override { return {}; }
  void credit(std::uint64_t, std::uint64_t) override {}
  void abandon(std::uint64_t) override {}

  std::map<std::string, std::string> snapshots;  ///< id, run
  bool away = false;
};

}  // namespace

TEST_CASE_METHOD(EndedFleet, "snapshots go with the contents of their runs, and when their runs are gone") {
  fbs::HostConnectedT connected;
  connected.session = connected.generation = 1;
  connected.slots = 2;
  tell("host", "h1", actors::Host::Messages::encode(connected));
  SnapshotHost host;
  host.snapshots = {{"snap-a", runs().front()}, {"snap-b", "ZZZZZZZZZZZZZ"}};
  const auto look_with = [&](Duration contents, bool dry_run) {
    REQUIRE(wait([&, from = engine->now()] { return engine->now() - from >= Duration{2}; }));
    Retention retention(*engine, *logs, packs, files, {contents, Duration{0}, dry_run, grace, hosts}, &host);
    REQUIRE(retention.look());
  };
  look_with(kAtOnce, true);
  CHECK(host.snapshots.size() == 2);
  look_with(Duration{0}, false);
  CHECK(host.snapshots == std::map<std::string, std::string>{{"snap-a", runs().front()}});
  host.away = true;
  look_with(kAtOnce, false);
  CHECK(host.snapshots.size() == 1);
  host.away = false;  // It is back.
  look_with(kAtOnce, false);
  CHECK(host.snapshots.empty());
}

TEST_CASE_METHOD(EndedFleet, "a swarm goes with its fleet, by the time of fleets") {
  fbs::CreateSwarmT create;
  create.digest = create.plan_digest = std::string(64, 'e');
  create.facets = 1;
  create.stall_ms = 600'000;
  create.lines.push_back(std::make_unique<fbs::SwarmLineT>());
  create.lines.back()->id = "r";
  create.lines.back()->repository = "acme/r0";
  create.lines.back()->url = "/srv/acme/r0";
  const auto say = [&](const auto& m) {
    return tell("swarm", "docs", actors::Swarm::Messages::encode(m));
  };
  CHECK(say(create) == "created");
  fbs::LineStartedT not_begun;
  not_begun.error = "no such branch";
  say(not_begun);
  REQUIRE(wait([&] {
    const auto fleet = view().fleet("docs");
    return view().swarm("docs")->state == fbs::SwarmState::stopped && fleet &&
           fleet->state == fbs::FleetState::cancelled;
  }));
  REQUIRE(look(Duration{0}, kAtOnce, nullptr, true));
  CHECK(counts.swarms_due == 0);  // Its fleet's contents go before.
  REQUIRE(look(Duration{0}, kAtOnce));
  CHECK(counts.contents_removed == 2);
  REQUIRE(look(Duration{0}, kAtOnce, nullptr, true));
  CHECK(counts.swarms_due == 1);
  REQUIRE(look(Duration{0}, kAtOnce));
  CHECK(counts.swarms_removed == 1);
  CHECK(wait([&] { return !view().swarm("docs") && !view().fleet("docs"); }));
  open();
  CHECK_FALSE(view().swarm("docs"));
  CHECK(engine->dead_letters({}, 10)->empty());
  CHECK(say(create) == "created");
}

// ---- packs ----

namespace {

/// Two runs that left the same pack, and one of its own each.
struct TwoPacks {
  TwoPacks() {
    const auto put = [&](const std::string& id, const std::string& fleet, const std::string& own) {
      fbs::FleetHeadT head;
      head.name = fleet;
      head.state = fbs::FleetState::completed;
      head.ended_unix_ms = engine.clock.unix_ms - 1'000;
      head.swarm = "s";  // Whose records stay.
      fleets[fleet] = head;
      engine.put_index(actors::index::kFleet, fleet, "");
      engine.put_head("fleet", fleet, head);
      engine.put_index(actors::index::kRun, id, fleet + "\nacme/api");
      fbs::RunRowT row;
      row.run = id;
      row.state = fbs::RunState::skipped;
      row.ended_unix_ms = head.ended_unix_ms;
      engine.put_row("fleet", fleet, "run/" + id, row);
      fbs::AttemptRowT attempt;
      attempt.attempt = 1;
      attempt.report = std::make_unique<wire::AttemptReportT>();
      attempt.report->pack_digest = pack(own);
      attempt.report->artifacts_digest = pack("shared");
      engine.put_row("run", id, "attempt/0001", attempt);
    };
    put("AAAA", "one", "pack of one");
    put("BBBB", "two", "pack of two");
    pack("nobody's");
  }
  std::string pack(const std::string& bytes) {
    const std::string digest = sha256_hex(bytes);
    REQUIRE(packs.put(digest, bytes));
    return digest;
  }
  void given_up(const std::string& fleet) {
    fleets[fleet].removed_unix_ms = engine.clock.unix_ms;
    fleets[fleet].contents_gone = true;
    engine.put_head("fleet", fleet, fleets[fleet]);
  }
  std::string left(Duration grace) {
    Blobs files{directory.path / "blobs"};
    Retention retention(engine, *logs, packs, files,
                        {RetentionLimits::kDay, RetentionLimits::kDay, false, grace});
    REQUIRE(retention.look());
    std::string text;
    for (const char* bytes : {"pack of one", "pack of two", "shared", "nobody's"})
      if (packs.has(sha256_hex(bytes))) text += std::string(bytes) + "; ";
    return text;
  }

  TemporaryDirectory directory;
  FakeEngine engine;
  std::unique_ptr<storage::RunLog> logs = *storage::RunLog::open(directory.path / "logs");
  Blobs packs{directory.path / "packs"};
  std::map<std::string, fbs::FleetHeadT> fleets;
};

}  // namespace

TEST_CASE_METHOD(
    TwoPacks, "a pack goes when no run refers to it whose contents are kept, and after its grace") {
  CHECK(left(RetentionLimits::kDay) == "pack of one; pack of two; shared; nobody's; ");
  CHECK(left(Duration{-1'000}) == "pack of one; pack of two; shared; ");
  given_up("one");
  CHECK(left(Duration{-1'000}) == "pack of two; shared; ");
  given_up("two");
  CHECK(left(Duration{-1'000}).empty());
}

TEST_CASE_METHOD(TwoPacks, "what a fleet, a swarm or a run that goes on was given is kept") {
  Blobs files(directory.path / "blobs");
  const auto file = [&](const std::string& bytes) {
    REQUIRE(files.put(sha256_hex(bytes), bytes));
    return sha256_hex(bytes);
  };
  fbs::CreateFleetT fleet;
  fleet.digest = "d";
  fleet.spec_digest = file("spec");
  fleet.snapshot_digest = file("snapshot");
  fleet.agent_bundle = file("bundle");
  engine.put_row("fleet", "one", "create", fleet);
  fbs::CreateSwarmT create;
  create.digest = "d";
  create.plan_digest = file("plan");
  fbs::SwarmHeadT swarm;
  swarm.name = "s";
  swarm.plan_digest = file("plan with what planners added");
  engine.put_index(actors::index::kSwarm, "s", "");
  engine.put_head("swarm", "s", swarm);
  engine.put_row("swarm", "s", "create", create);
  fbs::RunRowT row;
  row.run = "AAAA";
  row.state = fbs::RunState::running;
  engine.put_row("fleet", "one", "run/AAAA", row);
  fbs::CreateRunT run;
  run.fleet = "one";
  run.repository = "acme/api";
  run.spec_digest = file("plan of then");
  engine.put_row("run", "AAAA", "create", run);
  file("nobody's file");

  const auto look = [&] {
    Retention retention(engine, *logs, packs, files,
                        {Duration{0}, Duration{0}, false, Duration{-1'000}});
    REQUIRE(retention.look());
    return retention.counts().files_removed;
  };
  CHECK(look() == 1);
  CHECK_FALSE(files.has(sha256_hex("nobody's file")));
  row.state = fbs::RunState::failed;
  engine.put_row("fleet", "one", "run/AAAA", row);
  CHECK(look() == 1);
  CHECK_FALSE(files.has(run.spec_digest));
  CHECK(files.has(fleet.agent_bundle));
  CHECK(files.has(swarm.plan_digest));
}
