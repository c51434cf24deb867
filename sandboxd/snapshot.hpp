// Snapshots: everything that a sandbox's agent can write, kept while the sandbox stands still; and the begin of other
// attempts with it (forks), which get it under a writable overlay as others get a prebuild (prebuild.hpp).
//
//   on disk := data()/host/snapshots/ID/{snapshot.json,work,home,tmp,out/output,repositories,checkpoint}    all of uid 1000
//
// Of muster-init's own nothing is kept, and no secret but what the agent itself wrote down: its orders, which hold them,
// lie in no writable place. A fork that lives names its snapshot by the link `prebuild` in its run-time directory.
// Thread-safe.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sandboxd/plan.hpp"

namespace muster::sandbox {

class Prebuilds;

struct SnapshotLimits {
  unsigned max = 32;                          ///< Of this host; 0: it takes none.
  std::uint64_t max_bytes = 32ull << 30;      ///< All together.
  std::uint64_t free_bytes = 0;               ///< Of the disk, after it was taken.
};
constexpr unsigned kMostSnapshots = 256;      ///< What `max` may be: a list of them is one frame.
constexpr std::size_t kMaxSnapshotName = 63;

struct Snapshot {
  std::string id;          ///< is_snapshot_id
  std::string run;
  std::uint32_t attempt = 0;
  std::string name;        ///< A person's; may be empty.
  std::string repository, url, base_sha;
  std::string resumed;     ///< The checkpoint's commit that its attempt began with; empty: none.
  std::uint64_t bytes = 0; ///< On this disk, when it was taken.
  std::int64_t created_unix_ms = 0;
};
nlohmann::json to_json(const Snapshot& snapshot);

/// What a copy needs of the sandbox that it is made of.
struct SandboxHold {
  std::function<Result<void>()> stand_still;  ///< Waits until no process of it runs.
  std::function<bool()> held;                 ///< It has stood still since.
  std::function<void()> copied;               ///< It may go on.
};

class Snapshots {
 public:
  Snapshots(Paths paths, SnapshotLimits limits) : paths_(std::move(paths)), limits_(limits) {}

  /// Once, before all else: removes what an earlier process left half made, and reads what is there.
  Result<void> open();

  /// Room for one more: from now on it counts, until keep() has ended. Errc::refused at a limit, Errc::conflict while it is
  /// being made, Errc::invalid for what is none.
  Result<void> reserve(const Snapshot& wanted);
  /// Copies and keeps it. Blocks. After a failure nothing of it is there.
  Result<Snapshot> keep(Snapshot wanted, const Places& places, const SandboxHold& hold);
  void give_up(const std::string& id);

  [[nodiscard]] std::optional<Snapshot> find(const std::string& id) const;
  /// Of a run, or of all (empty); oldest first.
  [[nodiscard]] std::vector<Snapshot> list(const std::string& run) const;
  /// Errc::conflict while an attempt lives that began with it. Blocks.
  Result<void> remove(const std::string& id, const std::string& run, const Prebuilds& in_use);

  /// From now on in use by the sandbox of `places`, which gets the checkpoint that it refers to. Its directory.
  Result<std::filesystem::path> begin_with(const std::string& id, const Places& places) const;

  [[nodiscard]] std::filesystem::path directory() const { return paths_.host() / "snapshots"; }

 private:
  Result<void> copy(const Snapshot& wanted, const Places& places, const std::filesystem::path& half) const;
  Result<void> make_room(const std::string& id, std::uint64_t bytes);
  Result<Snapshot> make(Snapshot wanted, const Places& places, const SandboxHold& hold);
  [[nodiscard]] bool is_there(const std::string& id) const;

  const Paths paths_;
  const SnapshotLimits limits_;
  mutable std::mutex mutex_;  // between choosing one and naming it, none is removed
  std::map<std::string, Snapshot> all_;              // caches.hpp may have removed some since
  std::map<std::string, std::uint64_t> making_;      // bytes, once they are known
};

}  // namespace muster::sandbox
