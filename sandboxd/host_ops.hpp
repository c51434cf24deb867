// The effects: everything sandboxd does to the host for a sandbox is done here, and undone here.
// Any thread may call; calls for one sandbox must not overlap.
#pragma once

#include <signal.h>

#include <filesystem>
#include <string>
#include <vector>

#include "sandboxd/cgroup.hpp"
#include "sandboxd/plan.hpp"
#include "storage/base/error.hpp"

namespace muster::sandbox {

/// What the runtime knows a sandbox by: its own name, or the one that it was made ahead under (Places::container).
std::string container_of(const Places& places);

class HostOps {
 public:
  [[nodiscard]] std::string container(const std::string& id) const { return container_of(Places(paths_, id)); }
  /// Gives a sandbox that was made ahead, and whose only process is muster-init, the limits of its attempt.
  Result<void> limit(const std::string& id, const CgroupLimits& limits, std::uint64_t max_file_bytes) const;

  HostOps(Paths paths, Cgroups cgroups, std::string runtime);

  /// Carries out the operations in order and stops at the first that fails; the caller tears down.
  Result<void> carry_out(const Plan& plan) const;

  /// Removes whatever exists of the sandbox: processes, container state, cgroups, mounts, /run/muster/s/ID, its
  /// workspace, its exit file. Certain (it repeats until nothing is left or reports what resists), idempotent, and
  /// needs no memory of how it was made. What data()/host/attempts/ID keeps for the engine (record, log, pack)
  /// stays unless `forget`.
  Result<void> teardown(const std::string& id, bool forget) const;

  /// After a restart, of a container that is to be made again: ends the conmon and the runtime that an earlier daemon
  /// had set to work; they are in none of the sandbox's cgroups. Looks at every process of the machine.
  void end_creation(const std::string& id) const;

  /// SIGTERM or SIGKILL to muster-init, which wakes a frozen sandbox; nothing happens when it is gone.
  void signal(const std::string& id, int signal_number) const;
  /// muster-init, held after the setup, goes on. One that is frozen does so when it is let go.
  void let_go(const std::string& id) const { tell(id, SIGUSR1); }
  /// Stops every process of the sandbox, or lets them go on. Time that it is frozen does not count for its steps.
  Result<void> freeze(const std::string& id, bool frozen) const { return cgroups_.freeze(group(id), frozen); }
  [[nodiscard]] bool frozen(const std::string& id) const { return cgroups_.frozen(group(id)); }
  [[nodiscard]] bool stands_still(const std::string& id) const { return cgroups_.stands_still(group(id)); }
  /// A process of the sandbox lives.
  [[nodiscard]] bool alive(const std::string& id) const;
  /// conmon, which reports its end, lives.
  [[nodiscard]] bool supervised(const std::string& id) const;
  /// The exit code that conmon left, or Errc::not_found.
  [[nodiscard]] Result<int> exit_code(const std::string& id) const;

  /// When the daemon ends: its cgroup goes, unless sandboxes live on in it.
  void leave() const;

  /// Names of everything on this host that looks like a sandbox of this root.
  [[nodiscard]] std::vector<std::string> leftovers() const;

  [[nodiscard]] CgroupUsage usage(const std::string& id) const { return cgroups_.usage(group(id)); }
  [[nodiscard]] const std::string& cgroup_parent() const { return parent_; }
  [[nodiscard]] const Cgroups& cgroups() const { return cgroups_; }
  [[nodiscard]] std::filesystem::path exits() const { return paths_.runtime() / "exits"; }

 private:
  [[nodiscard]] std::string group(const std::string& id) const { return parent_ + "/" + container(id); }
  [[nodiscard]] std::filesystem::path runtime_state(const std::string& id) const {
    return paths_.runtime() / "runc" / container(id);
  }
  [[nodiscard]] int first_process(const std::string& id) const;
  void tell(const std::string& id, int signal_number) const;
  Result<void> apply(const Operation& operation) const;
  Result<void> create(const CreateContainer& operation) const;
  Result<void> start(const std::string& id) const;

  Paths paths_;
  Cgroups cgroups_;
  std::string runtime_;
  std::string parent_;
};

/// "muster" for the root of the machine, "muster-<hash>" for any other: daemons with different roots don't take each
/// other's sandboxes for leftovers.
std::string cgroup_parent(const Paths& paths);

/// Mounts below `directory`, innermost first.
std::vector<std::string> mounts_below(const std::filesystem::path& directory);

/// Removes a tree that may be hostile (deep, unreadable, full of links) without following anything.
Result<void> remove_tree(const std::filesystem::path& top);

/// Bytes that a tree takes on disk; does not follow links. Stops counting beyond `enough`.
std::uint64_t tree_bytes(const std::filesystem::path& top, std::uint64_t enough);

}  // namespace muster::sandbox
