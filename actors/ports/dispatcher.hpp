// The shell around engine/scheduler/admission.hpp: keeps demand, load and supply in memory, runs
// rounds, and tells host actors what is proposed. They decide; a proposal that has no effect in
// time is simply made again.
//
//   Dispatcher dispatcher(*engine);
//   dispatcher.start();            // reads the indexes, then follows the engine's changes
//   dispatcher.why(run);           // any thread
//   dispatcher.stop();             // before the engine goes away
//
// Holds no truth: everything is rebuilt from the indexes "queued", "placed" and "fleet-held" and
// the heads of the hosts, at the start, whenever changes were missed, and now and then.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "actors/ports/run_limits.hpp"
#include "engine/core/engine.hpp"
#include "engine/scheduler/admission.hpp"

namespace muster::actors {

struct DispatcherConfig {
  std::string org = "default";
  /// Without a limit per repository: a run is queued only when the repo actor has given it its
  /// turn.
  engine::AdmissionLimits limits{.running_per_repository = UINT32_MAX};
  Duration pause{5};  ///< Between rounds while hosts have room; changes meanwhile share a round.
  Duration full_pause{250};   ///< While none has: only the reasons of those that wait can change.
  /// A proposal without effect is made again after so long, or after four times as long as they
  /// take now: an engine that is slow to answer must not be asked ever more often.
  Duration repropose{1'000};
  Duration longest_repropose{10'000};
  Duration resync{60'000};    ///< Everything is read anew.
  Duration resync_pause{1'000};  ///< At most so often when changes were missed.
};

struct DispatcherStats {
  std::uint64_t rounds = 0;
  std::uint64_t proposals = 0;
  std::uint64_t repeated = 0;  ///< Proposals that had no effect in time.
  std::uint64_t resyncs = 0;
};

class Dispatcher {
 public:
  explicit Dispatcher(engine::Engine& engine, DispatcherConfig config = {});
  ~Dispatcher();

  void start();
  void stop();
  /// From the next round on. Any thread.
  void set_limits(RunLimits limits);

  /// Why a queued run waits, for a person; empty when it is not queued. At most a moment old.
  [[nodiscard]] std::string why(std::string_view run) const;
  /// The same in a word for machines: "hosts_full".
  [[nodiscard]] std::string cause(std::string_view run) const;
  /// Queued runs of a fleet by why they wait: "hosts_full" -> 12.
  [[nodiscard]] std::map<std::string, std::uint64_t> waiting(std::string_view fleet) const;
  [[nodiscard]] DispatcherStats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// For a person: what a run waits for.
std::string explain(engine::WaitReason reason);

}  // namespace muster::actors
