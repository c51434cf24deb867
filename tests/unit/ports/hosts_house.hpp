// An installation for tests of the hosts' port: the real engine with the real kinds, the real link,
// a clock that the test moves, and simulated hosts.
#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "actors/fleet/fleet.hpp"
#include "actors/host/host.hpp"
#include "actors/ports/dispatcher.hpp"
#include "actors/ports/hosts.hpp"
#include "actors/ports/testing/sim_host.hpp"
#include "actors/pull/pull.hpp"
#include "actors/repo/repo.hpp"
#include "actors/run/run.hpp"
#include "engine/runtime/runtime.hpp"
#include "storage/base/ids.hpp"
#include "tests/unit/storage/temp_directory.hpp"

namespace muster::testing {

using actors::testing::SimHost;
using actors::testing::SimHostOptions;

/// Takes effects and answers none: what a forge or a snapshot would do is no matter here.
class SilentPort final : public engine::EffectPort {
 public:
  void perform(const engine::PendingEffect&, engine::EffectDone) override {}
};

class House {
 public:
  explicit House(std::uint64_t max_log_bytes = 1u << 20)
      : blobs((dir_.path() / "blobs").string()), packs((dir_.path() / "packs").string()) {
    storage::RunLogLimits limits;
    limits.max_bytes_per_attempt = max_log_bytes;
    logs = storage::RunLog::open(dir_.path() / "logs", limits).value();
    tls = storage::ensure_server_certificate(ca()).value();
    spec_digest = put("{}");
    open();
  }
  ~House() { close(); }

  void open() {
    actors::HostsConfig config;
    config.address = "127.0.0.1:" + std::to_string(port_);
    config.tls = tls;
    config.heartbeat = Duration{50};
    config.tick = Duration{10};
    config.clock = [this] { return Duration{clock.load()}; };
    hosts =
        std::make_shared<actors::Hosts>(config, actors::HostsNeeds{blobs, packs, *logs, [this](std::string_view json, const auto& start) {
                                            auto spec = make_spec(json, start);
                                            if (other_repositories) {
                                              spec->other_repositories.push_back(std::make_unique<wire::OtherRepositoryT>());
                                              spec->other_repositories.back()->name = "lib";
                                              spec->other_repositories.back()->url = "/srv/lib";
                                            }
                                            return spec;
                                          }});
    auto made = engine::make_engine(
        {},
        engine::make_kinds<actors::Run, actors::Host, actors::Repo, actors::Fleet, actors::Pull>(),
        {{"host", hosts},
         {"forge", std::make_shared<SilentPort>()},
         {"snapshot", std::make_shared<SilentPort>()}},
        dir_.path() / "engine");
    if (!made) FAIL(made.error().message);
    engine = std::move(*made);
    const auto started = hosts->start(*engine);
    if (!started) FAIL(started.error().message);
    port_ = hosts->port();
    dispatcher = std::make_unique<actors::Dispatcher>(*engine);
    dispatcher->start();
  }
  void close() {
    if (!engine) return;
    dispatcher->stop();
    hosts->stop();
    engine.reset();
    dispatcher.reset();
    hosts.reset();
  }
  void restart() {
    close();
    open();
  }

  /// Time passes while the engine looks at its leases: in steps that it does not take for a sleep of its own.
  void pass(std::int64_t ms) {
    for (constexpr std::int64_t kStep = 4'000; ms > 0; ms -= kStep) {
      clock += std::min(ms, kStep);
      const std::uint64_t looks = hosts->stats().looks;
      REQUIRE(wait([&] { return hosts->stats().looks >= looks + 2; }));
    }
  }

  std::unique_ptr<SimHost> host(SimHostOptions options = {}, SimHost::OnStart on_start = {}) {
    const auto host_tls = storage::ensure_host_certificate(ca(), options.name).value();
    return std::make_unique<SimHost>("127.0.0.1:" + std::to_string(port_), host_tls, options,
                                     std::move(on_start));
  }

  std::string put(const std::string& bytes) {
    const std::string digest = sha256_hex(bytes);
    REQUIRE(blobs.put(digest, bytes));
    return digest;
  }

  /// A run of fleet "f" in repository acme/NAME that may proceed. Its id.
  std::string run(const std::string& name, const std::string& bundle = "",
                  std::uint32_t concurrency = 50, bool resume = false) {
    const std::string id = run_id("f", "/srv/" + name, 1);
    actors::fbs::CreateRunT create;
    create.fleet = "f";
    create.repository = "acme/" + name;
    create.url = create.canonical_url = "/srv/" + name;
    create.spec_digest = spec_digest;
    create.agent_bundle = bundle;
    create.policy = std::make_unique<actors::fbs::RunPolicyT>();
    create.policy->retry_on = {actors::fbs::FailureClass::infrastructure};
    create.policy->backoff_ms = create.policy->max_backoff_ms = 1;
    create.policy->delivery = actors::fbs::DeliveryMode::none;
    create.policy->branch = "muster/f";
    create.policy->concurrency = concurrency;
    create.policy->resume = resume;
    tell_run(id, create);
    tell_run(id, actors::fbs::ProceedT{});
    return id;
  }

  template <class M>
  void tell_run(const std::string& id, const M& message) {
    REQUIRE(engine->tell({"default", "run", id}, actors::Run::Messages::encode(message)));
  }

  template <class T>
  T head(const std::string& kind, const std::string& key) const {
    const auto bytes = engine->head({"default", kind, key});
    if (!bytes || !*bytes) return T{};
    return std::move(*engine::decode_table<T>(**bytes));
  }
  actors::fbs::RunHeadT run_head(const std::string& id) const {
    return head<actors::fbs::RunHeadT>("run", id);
  }
  actors::fbs::HostHeadT host_head(const std::string& name) const {
    return head<actors::fbs::HostHeadT>("host", name);
  }
  actors::fbs::AttemptRowT attempt(const std::string& id, std::uint32_t n) const {
    const auto bytes = engine->row({"default", "run", id}, actors::attempt_key(n));
    REQUIRE(bytes);
    REQUIRE(*bytes);
    return std::move(*engine::decode_table<actors::fbs::AttemptRowT>(**bytes));
  }

  /// Waits for a committed state; the limit only ends a test that would hang.
  template <class Predicate>
  bool wait(Predicate predicate) const {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!predicate()) {
      if (std::chrono::steady_clock::now() > limit) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }
  bool wait_run(const std::string& id, actors::fbs::RunState state) const {
    return wait([&] { return run_head(id).state == state; });
  }

  [[nodiscard]] std::string ca() const { return (dir_.path() / "ca").string(); }

  static Result<wire::SandboxSpecT> make_spec(std::string_view,
                                              const actors::fbs::StartSandboxT& start) {
    wire::SandboxSpecT spec;
    spec.run = start.run;
    spec.attempt = start.epoch->attempt();
    spec.fleet = start.fleet;
    spec.repository = start.repository;
    spec.url = start.url;
    spec.branch = start.branch;
    spec.image = "host";
    spec.agent_bundle = start.agent_bundle;
    if (start.checkpoint) spec.resume = std::make_unique<wire::CheckpointT>(*start.checkpoint);
    return spec;
  }

 private:
  TempDirectory dir_;
  int port_ = 0;

 public:
  std::atomic<bool> other_repositories = false;  ///< In every spec.
  std::atomic<std::int64_t> clock{1'000'000};
  Blobs blobs;
  Blobs packs;
  std::unique_ptr<storage::RunLog> logs;
  storage::TlsFiles tls;
  std::string spec_digest;
  std::shared_ptr<actors::Hosts> hosts;
  std::unique_ptr<engine::Engine> engine;
  std::unique_ptr<actors::Dispatcher> dispatcher;
};

inline wire::AttemptReportT unchanged() {
  wire::AttemptReportT report;
  report.outcome = wire::Outcome::unchanged;
  report.base_sha = std::string(40, 'a');
  return report;
}

inline wire::AttemptReportT changed(const std::string& pack_digest) {
  wire::AttemptReportT report;
  report.outcome = wire::Outcome::changed;
  report.base_sha = std::string(40, 'a');
  report.head_sha = std::string(40, 'b');
  report.tree_sha = std::string(40, 'c');
  report.pack_digest = pack_digest;
  return report;
}

}  // namespace muster::testing
