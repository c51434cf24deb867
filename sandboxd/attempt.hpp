// One attempt, from a checked spec to a report: mirror, sandbox, watching, pack, teardown. The parts block and may be
// called from any thread, one attempt on one thread at a time; the daemon strings them together over its workers,
// run_attempt() does so at once, for tests and for people who try a spec by hand.
//
//   auto host = Host::open(config);
//   auto report = run_attempt(**host, spec, [](std::string_view log) { … });
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sandboxd/checkpoint.hpp"
#include "sandboxd/disk.hpp"
#include "sandboxd/environment.hpp"
#include "sandboxd/host_ops.hpp"
#include "sandboxd/image.hpp"
#include "sandboxd/mirror.hpp"
#include "sandboxd/prebuild.hpp"
#include "sandboxd/progress.hpp"
#include "sandboxd/snapshot.hpp"
#include "sandboxd/warm.hpp"
#include "storage/base/blobs.hpp"

namespace muster::sandbox {

struct HostConfig {
  Paths paths;
  std::string runtime = "runc";         ///< Looked up in PATH.
  std::string conmon = "conmon";
  std::filesystem::path muster_init;    ///< Empty: beside this program, or ../libexec/muster.
  std::uint32_t uid_base = 1u << 30;    ///< User ids of sandboxes begin here, 65536 for each slot.
  unsigned concurrent_fetches = 4;
  bool allow_host_network = false;
  /// Of one sandbox's log, not yet acknowledged by the engine: beyond, it is frozen until that is drained.
  std::uint64_t log_spool_bytes = 64ull << 20;
  DiskLimit disk_limit = DiskLimit::measure;
  /// With less free than this where sandboxes lie, the host takes no work and cleans its caches.
  std::uint64_t disk_low_water_bytes = 2ull << 30;
  /// Where images of fleet files may lie; empty: /srv/muster/images.
  std::vector<std::filesystem::path> image_directories;
  /// Where images may be fetched from; empty: from nowhere.
  std::vector<AllowedRegistry> registries;
  std::uint64_t max_image_bytes = 16ull << 30;
  EnvironmentSettings environments;
  unsigned prebuild_max_age_hours = 7 * 24;
  WarmSettings warm_pool;
  SnapshotLimits snapshots;             ///< free_bytes is disk_low_water_bytes.
};

/// The machine, as every attempt uses it. Thread-safe.
class Host {
 public:
  /// Errc::refused says what the machine lacks and how to mend it.
  static Result<std::unique_ptr<Host>> open(HostConfig config);

  HostConfig config;
  HostOps ops;
  Images images;
  Mirrors mirrors;
  Disks disks;
  Prebuilds prebuilds;
  Snapshots snapshots;
  Blobs blobs;                          ///< Agent bundles.
  std::filesystem::path scratch_git;
  std::uint64_t max_open_files = 1024;
  std::uint64_t memory_bytes = 0;

 private:
  Host(HostConfig settings, Cgroups cgroups);
};

/// What must be known to finish an attempt after a restart; kept in data()/host/attempts/ID/started.json.
struct Started {
  MirrorState mirror;
  Environment environment;   ///< After a restart: names of the setup steps, and warnings.
  PrebuildKey prebuild;      ///< Not after a restart.
  PrebuildKey layer_key;     ///< As `prebuild`, and kept when that was a hit. Not after a restart.
  wire::Reuse prebuild_reuse = wire::Reuse::none;
  std::string prebuild_note; ///< For the log: hit or miss, and what came of it.
  std::string warm_key;      ///< Of warm.hpp; empty: its sandbox can't have been made ahead. Not after a restart.
  wire::Reuse warm_reuse = wire::Reuse::none;  ///< None: one like it can't be made ahead, or this host makes none.
  std::string container;     ///< The container's name; empty: the sandbox's. In a file of its own (Places::container).
  std::vector<OtherCheckout> others;  ///< After a restart: names and commits only.
  std::string resumed;       ///< The checkpoint's commit that the workspace begins with; empty: none.
  std::string snapshot;      ///< That it begins with; empty: none. Not after a restart.
  std::int64_t fetch_ms = 0;
  std::int64_t create_ms = 0;
};

/// Why the host ended an attempt.
struct StopCause {
  std::string reason;       ///< cancelled, superseded, lease_lost, … or disk_full, log_limit, timed_out
  bool by_engine = false;   ///< Outcome `cancelled`; else a limit: the running step failed with that reason.
};

/// A report of an attempt that the host could not carry out.
struct AttemptFailure {
  std::string reason;       ///< fetch_failed, base_missing, no_snapshot, bad_environment, image_failed, no_secret, runtime_failed, …
  std::string message;
};

/// First part: the mirror has the base commit, and the environment is known and its image here.
tl::expected<Started, AttemptFailure> fetch_attempt(Host& host, const wire::SandboxSpecT& spec);

/// Second part: makes and starts the sandbox, or takes `warm`, which is gone then in any case; a sandbox that has died or
/// does not fit is removed, and another made. `slot` is its own among the living. On failure what was made is still
/// there: conclude_unstarted() and teardown remove it.
tl::expected<Started, AttemptFailure> create_attempt(Host& host, const wire::SandboxSpecT& spec,
                                                     Started started, unsigned slot,
                                                     const std::optional<WarmSandbox>& warm = std::nullopt);

/// Of what a plan needs, all that is not the attempt's own: host, image, mirror, mounts, and the user ids of `slot`.
tl::expected<PlanFacts, AttemptFailure> host_facts(Host& host, const Started& started, unsigned slot);

/// What read_started() reads after a restart, in /run: after a boot there is no container to adopt.
Result<void> write_started(const Places& places, const Started& started, unsigned slot);

/// The sandbox is held after its setup (Progress::held): keeps what that left, if it may, and lets the sandbox go on. The
/// words for the log. Only for a sandbox that this process has made: one that was adopted may be past it.
std::string keep_prebuild(Host& host, const wire::SandboxSpecT& spec, const Started& started, bool tracked_unchanged);

/// A checkpoint of a sandbox that runs, taken and judged; its pack lies at checkpoint_pack().
Result<wire::CheckpointT> keep_checkpoint(Host& host, const wire::SandboxSpecT& spec, const Started& started,
                                          const SaidCheckpoint& said);

/// Reads what create_attempt kept. Errc::not_found: the container was never created.
struct KeptStart {
  Started started;
  unsigned slot = 0;
};
Result<KeptStart> read_started(const Host& host, const std::string& id);

/// Third part, after the container ended and `progress` has been fed the whole log: judges and takes the pack, which
/// then lies at pack_path() until the attempt is forgotten. Without teardown: what is reported must be kept first.
wire::AttemptReportT conclude_attempt(Host& host, const wire::SandboxSpecT& spec, const Started& started,
                                      Progress& progress, const std::optional<StopCause>& stop);

/// The report of an attempt that never ran: it failed, or was stopped before.
wire::AttemptReportT conclude_unstarted(Host& host, const wire::SandboxSpecT& spec,
                                        const AttemptFailure& failure,
                                        const std::optional<StopCause>& stop);

/// Last part: nothing is left but the record, the log and the pack.
void tear_down(Host& host, const std::string& id, wire::AttemptReportT& report);

std::filesystem::path pack_path(const Places& places);
/// The tar of what the agent left in $MUSTER_OUTPUT/artifacts, when the report names one.
std::filesystem::path artifacts_path(const Places& places);

/// Everything at once. The log comes in pieces as it is written. The attempt's directory stays (report's pack in it)
/// until teardown(id, true). In `warm`, if one is given.
wire::AttemptReportT run_attempt(Host& host, const wire::SandboxSpecT& spec,
                                 const std::function<void(std::string_view)>& log, unsigned slot = 0,
                                 const std::optional<WarmSandbox>& warm = std::nullopt);

}  // namespace muster::sandbox
