// musterd's end of the hosts: owns the link's server, gives sessions and leases, carries out the
// effects of port "host" (StartSandbox, StopSandbox), and brings events, packs and logs in.
//
//   auto hosts = std::make_shared<Hosts>(config, HostsNeeds{blobs, packs, logs,
//   sandbox_spec_of}); engine = make_engine(…, {{"host", hosts}}, …);    // effects may come
//   before start(): they wait hosts->start(**engine);                           // listens
//   hosts->stop();                                     // before the engine goes away
//
// Thread-safe. Everything here is memory, rebuilt from the engine's committed state: a restart
// loses nothing. Who speaks is known from the certificate; which runs it may speak of, from the
// runs' own heads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "actors/ports/effects_generated.h"
#include "actors/ports/exec_calls.hpp"
#include "actors/ports/host_lease.hpp"
#include "engine/core/engine.hpp"
#include "storage/base/blobs.hpp"
#include "storage/link/link.hpp"
#include "storage/runlog/runlog.hpp"
#include "storage/schema/wire_generated.h"

namespace muster::actors {

/// A clock that goes on while the machine sleeps (CLOCK_BOOTTIME), in milliseconds since the
/// machine's start.
Duration boot_clock_now();

/// Whether the engine itself stood still between two looks at its leases: the machine slept, or everything on it waited.
/// Heartbeats of that time may lie unread, so that no lease can be said to have ended: each host gets a whole one, as
/// after a start.
bool was_away(Duration last_look, Duration now, Duration margin);

struct HostsConfig {
  std::string address = "127.0.0.1:7411";
  storage::TlsFiles tls;
  std::string org = "default";
  std::string version;  ///< Of musterd, as hosts are told.
  /// The host counts its lease from when it sent the last heartbeat that was acknowledged, the
  /// engine from when it received one, plus the margin: the engine never gives up a host that still
  /// believes in its lease.
  Duration lease{30'000};
  Duration lease_margin{5'000};
  Duration heartbeat{5'000};
  Duration tick{250};
  std::function<Duration()> clock = boot_clock_now;
};

struct HostsNeeds {
  const Blobs& blobs;  ///< Specs and agent bundles.
  Blobs& packs;
  storage::RunLog& logs;
  std::function<Result<wire::SandboxSpecT>(std::string_view spec_json, const fbs::StartSandboxT&)>
      make_spec;
};

struct HostsStats {
  std::uint64_t connected = 0;  ///< Now, after their Welcome.
  std::uint64_t lease_ends = 0;
  std::uint64_t events = 0;          ///< Durable.
  std::uint64_t events_refused = 0;  ///< Of runs that were not, or no longer, placed there.
  std::uint64_t looks = 0;           ///< At the leases.
  storage::LinkStats link;
};

class Hosts final : public engine::EffectPort {
 public:
  Hosts(HostsConfig config, HostsNeeds needs);
  ~Hosts() override;

  Result<void> start(engine::Engine& engine);
  void stop();
  /// Where hosts connect; the kernel's choice when the address ends in ":0".
  [[nodiscard]] int port() const;
  [[nodiscard]] HostsStats stats() const;
  /// Nothing for a host that was never heard of since the start. Any thread.
  [[nodiscard]] std::optional<HostLease> lease(const std::string& host) const;
  /// Commands in running sandboxes. Any thread.
  [[nodiscard]] ExecPort& execs();

  void perform(const engine::PendingEffect& effect, engine::EffectDone done) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::actors
