// Prebuilds: what the setup commands of an environment left in the workspace and in HOME, kept as a layer. Whoever comes
// with the same key gets it under a writable overlay instead of running the commands again.
//
//   key     := image, setup commands, variables, secrets, network, repository, base branch, blobs of the named lock files
//   on disk := data()/host/prebuilds/FAMILY-KEY-SECONDS/{work,home}     all of uid 1000, shown under a sandbox's own ids
//
// Taken while the sandbox is held: its setup steps are over, all their processes are dead, and the agent has not begun.
// A living sandbox names its layer by the link `prebuild` in its run-time directory, so that nobody removes it.
// Thread-safe.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "sandboxd/environment.hpp"
#include "sandboxd/plan.hpp"
#include "storage/base/time.hpp"

namespace muster::sandbox {

/// What an attempt's prebuild is called; empty: its environment wants none.
struct PrebuildKey {
  std::string family;  ///< Of repository, branch and environment: newer keys of it replace older ones.
  std::string key;
  [[nodiscard]] bool empty() const { return key.empty(); }
};

/// Pure. `image` identifies the image, `locks` are the blobs of the environment's lock files.
PrebuildKey prebuild_key(const wire::SandboxSpecT& spec, const Environment& environment, const std::string& base_branch,
                         const std::string& image, const std::map<std::string, std::string>& secrets,
                         const std::vector<std::string>& locks);

class Prebuilds {
 public:
  /// A layer older than `max_age` counts no more.
  Prebuilds(Paths paths, Duration max_age) : paths_(std::move(paths)), max_age_(max_age) {}

  /// The newest layer of that key, from now on in use by the sandbox of `places`.
  std::optional<std::filesystem::path> take(const PrebuildKey& key, const Places& places, Instant now);

  /// Copies workspace and HOME of the sandbox, without what the commit `base_sha` tracks, and removes what the layer
  /// replaces. Nothing is kept when somebody else does the same just now (false), or when the sandbox is no longer
  /// `held` after the copy: then its teardown may have begun to remove what was copied.
  Result<bool> keep(const PrebuildKey& key, const Places& places, const std::filesystem::path& objects,
                    const std::string& base_sha, Instant now, const std::function<bool()>& held);

  /// Names of the layers that living sandboxes use.
  [[nodiscard]] std::set<std::string> in_use() const;
  /// What an earlier process left half made.
  void remove_halves() const;
  [[nodiscard]] std::filesystem::path directory() const { return paths_.host() / "prebuilds"; }

 private:
  void remove_replaced(const std::string& family, const std::string& newest);

  Paths paths_;
  Duration max_age_;
  std::mutex mutex_;             // between choosing a layer and naming it, none is removed
  std::set<std::string> making_;  // keys
};

}  // namespace muster::sandbox
