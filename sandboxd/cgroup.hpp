// Where the runtime puts a sandbox's cgroup, what the kernel counted in it, and its removal; cgroup v1, v2 and the
// mixture that some hosts have.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::sandbox {

struct CgroupUsage {
  std::uint64_t peak_memory_bytes = 0;
  std::int64_t cpu_ms = 0;
  std::uint64_t oom_kills = 0;
  std::uint64_t refused_processes = 0;  ///< Forks that the limit refused.
};

struct CgroupLimits {
  std::uint64_t memory_bytes = 0;
  std::uint64_t cpus_milli = 1000;
  std::uint64_t pids = 0;
};
constexpr std::uint64_t kCpuPeriodUs = 100'000;

class Cgroups {
 public:
  /// Reads the mounted hierarchies from /proc/self/mountinfo.
  static Result<Cgroups> find();

  [[nodiscard]] bool v2() const { return v2_; }  ///< Controllers are in the unified hierarchy.
  [[nodiscard]] bool has(std::string_view controller) const;
  [[nodiscard]] bool swap_limit() const;

  /// `group` is "PARENT/ID". Zeros where it does not exist.
  [[nodiscard]] CgroupUsage usage(const std::string& group) const;
  /// New limits for a group that has some, without swap where the kernel can limit that.
  Result<void> limit(const std::string& group, const CgroupLimits& limits) const;
  /// Every process in it, in any hierarchy.
  [[nodiscard]] std::vector<int> processes(const std::string& group) const;
  /// Whether that process is in it, or in a group below.
  [[nodiscard]] static bool holds(const std::string& group, int pid);
  /// Stops or continues every process in it (cgroup.freeze; v1: the freezer). Errc::not_found where no hierarchy can.
  Result<void> freeze(const std::string& group, bool frozen) const;
  [[nodiscard]] bool frozen(const std::string& group) const;
  /// It is frozen, and no process of it runs any more.
  [[nodiscard]] bool stands_still(const std::string& group) const;
  [[nodiscard]] bool can_freeze() const;
  /// Kills all processes in it and removes it with everything below, in every hierarchy. Errc::io when a process
  /// survives for 10 s.
  Result<void> remove(const std::string& group) const;
  /// Removes the group where nothing is in it, neither processes nor groups.
  void remove_empty(const std::string& group) const;
  /// Names of the groups under `parent`.
  [[nodiscard]] std::vector<std::string> children(const std::string& parent) const;

 private:
  struct Hierarchy {
    std::filesystem::path mount;
    std::vector<std::string> controllers;  // v1; empty for v2
    bool unified = false;
  };
  [[nodiscard]] std::filesystem::path freezer(const std::string& group) const;
  [[nodiscard]] std::filesystem::path file(std::string_view controller, const std::string& group,
                                           std::string_view v1_name, std::string_view v2_name) const;

  std::vector<Hierarchy> hierarchies_;
  bool v2_ = false;
};

}  // namespace muster::sandbox
