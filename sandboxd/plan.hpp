// From a spec to everything that is done for it: a pure function. The operations come in order, each with its
// undo; what creates the container comes last but one, what lets its first instruction run comes last.
//
// host_ops.hpp carries them out; teardown() there is the undo of all of them, whatever was reached.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "sandboxd/environment.hpp"
#include "sandboxd/spec.hpp"
#include "storage/base/paths.hpp"

namespace muster::sandbox {

/// Where one sandbox's things lie.
struct Places {
  Places(const Paths& paths, const std::string& sandbox)
      : id(sandbox), run(paths.sandbox(sandbox)), kept(paths.host() / "attempts" / sandbox) {}

  std::string id;
  std::filesystem::path run;   ///< /run/muster/s/ID: bundle, pid files, context; gone after a boot.
  std::filesystem::path kept;  ///< data()/host/attempts/ID: the record, the log, the workspace; on disk.

  [[nodiscard]] std::filesystem::path config() const { return run / "config.json"; }
  [[nodiscard]] std::filesystem::path in() const { return run / "in"; }
  [[nodiscard]] std::filesystem::path steering() const { return in() / "steering.jsonl"; }  ///< Appended to while it runs.
  [[nodiscard]] std::filesystem::path pid() const { return run / "pid"; }
  [[nodiscard]] std::filesystem::path conmon_pid() const { return run / "conmon.pid"; }
  [[nodiscard]] std::filesystem::path rootfs() const { return run / "rootfs"; }
  [[nodiscard]] std::filesystem::path writable() const { return kept / "rw"; }
  [[nodiscard]] std::filesystem::path work() const { return writable() / "work"; }
  [[nodiscard]] std::filesystem::path out() const { return writable() / "out"; }
  [[nodiscard]] std::filesystem::path disk() const { return kept / "disk"; }
  [[nodiscard]] std::filesystem::path log() const { return kept / "log"; }
  /// Of a sandbox that was made ahead: its agent's files, in a directory that it has from the beginning.
  [[nodiscard]] std::filesystem::path agent() const { return kept / "agent"; }
  /// Of a sandbox that was made ahead: it exists when its workspace is made (muster-init's word).
  [[nodiscard]] std::filesystem::path ready() const { return out() / "ready"; }
  /// Names the container, where that has another name than the sandbox: it was made ahead.
  [[nodiscard]] std::filesystem::path container() const { return run / "container"; }
  [[nodiscard]] std::filesystem::path errors() const { return run / "errors"; }  ///< of conmon and the runtime
};

/// A repository beside the run's own, as this host has it.
struct OtherCheckout {
  std::string name, url, base_branch, base_sha;
  std::filesystem::path objects;  ///< The mirror's.
};

/// What the plan needs to know of this host and moment.
struct PlanFacts {
  Paths paths;
  std::string runtime;                ///< Path of the OCI runtime.
  std::string conmon;                 ///< Path of conmon.
  std::string cgroup_parent;          ///< "muster": the cgroup all sandboxes of this daemon are under.
  bool cgroup_v2 = false;
  bool swap_limit = false;            ///< The kernel can limit swap.
  std::uint64_t max_open_files = 1024;
  std::uint32_t uid_base = 0;         ///< This sandbox's user ids on the host begin here.
  std::filesystem::path rootfs;       ///< The made root of image `host`, or a directory image.
  bool made_rootfs = true;            ///< Has our mount points; else they are put under it by overlayfs.
  std::filesystem::path mount_points; ///< For images that lack them.
  std::filesystem::path objects;      ///< The mirror's objects.
  std::filesystem::path empty_disk;   ///< An empty file system to copy for this sandbox; empty: none.
  bool project_quota = false;         ///< A project limits its disk; projects, like user ids, begin at uid_base.
  std::filesystem::path agent_dir;    ///< The unpacked bundle; empty: none.
  bool has_opt = false;
  std::vector<OtherCheckout> others;
  std::string base_sha;
  std::string resumed;                ///< The checkpoint's commit that the workspace begins with; empty: none.
  std::vector<std::string> image_env; ///< NAME=VALUE of the image and of the environment, later ones win.
  std::vector<wire::StepT> setup;     ///< Of the environment, before the spec's steps.
  std::vector<BindMount> mounts;      ///< Of the environment, read-only.
  std::filesystem::path prebuild;     ///< A layer with what the setup steps left; then they don't run. Empty: none.
  bool fork = false;                  ///< That layer is a snapshot (snapshot.hpp): the workspace, too, is as it is there.
  bool hold_after_setup = false;      ///< muster-init waits there, so that such a layer can be taken.
  std::map<std::string, std::string> secrets;
  bool warm = false;                  ///< Made ahead: muster-init makes the workspace and waits for its orders.
  std::string messages;               ///< What people said already (steering.hpp).
};

constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr std::uint32_t kUidRange = 65536;
constexpr std::uint32_t kAgentUid = 1000;

struct MakeDirectory {
  std::filesystem::path path;
  unsigned mode = 0711;
  std::uint32_t owner = 0;  ///< uid and gid
};
struct WriteFile {
  std::filesystem::path path;
  std::string text;
  unsigned mode = 0644;
  std::uint32_t owner = 0;
};
/// A copy of a file of the agent bundle. What lies below `top` may be an agent's: no link in it is followed.
struct PlaceFile {
  std::filesystem::path bundle;
  std::string source;             ///< In the bundle.
  std::filesystem::path top;      ///< The sandbox's HOME or /tmp.
  std::string path;               ///< Below it.
  unsigned mode = 0644;
  std::uint32_t owner = 0;        ///< Of the file.
  std::uint32_t directories = 0;  ///< Of the directories that are made for it.
};
struct Symlink {
  std::filesystem::path path, target;
};
/// A read-only overlay of two directories, the first on top.
struct MountOverlay {
  std::filesystem::path upper, lower, target;
};
/// A copy of an empty file system, mounted: the sandbox's disk.
struct MountDisk {
  std::filesystem::path empty, image, target;
};
/// A project quota (project_quota.hpp) of the directory; again, for other limits.
struct LimitDisk {
  std::filesystem::path directory;
  std::uint32_t first_id = 0;  ///< of projects
  std::uint64_t bytes = 0, files = 0;
};
/// A writable overlay over a layer of uid 0 to 65535, whose ids are shifted on the way.
struct MountLayer {
  std::filesystem::path layer, shifted, upper, work, target;
  std::uint32_t first_id = 0;
};
struct CreateContainer {
  std::string id;
  std::vector<std::string> conmon;  ///< argv; its standard output is the container's: the log
};
/// Lets the container's first instruction run.
struct StartContainer {
  std::string id;
};

using Operation =
    std::variant<MakeDirectory, WriteFile, PlaceFile, Symlink, MountOverlay, MountDisk, LimitDisk, MountLayer,
                 CreateContainer, StartContainer>;

struct Plan {
  std::string id;
  std::vector<Operation> operations;
};

/// The spec must have passed check_spec.
Plan make_plan(const wire::SandboxSpecT& spec, const PlanFacts& facts);

/// The spec's limit of what lies in `directory`.
LimitDisk limit_disk(const wire::SandboxSpecT& spec, const PlanFacts& facts, const std::filesystem::path& directory);

/// One line per operation, with its undo: "mkdir /run/… 0711 0 | rmdir". File contents by size only.
std::string transcript(const Plan& plan);

/// The OCI configuration and muster-init's orders, as the plan writes them.
std::string oci_config(const wire::SandboxSpecT& spec, const PlanFacts& facts);
std::string init_orders(const wire::SandboxSpecT& spec, const PlanFacts& facts);

/// What an attempt tells its sandbox, in /muster/in: prompt, context, feedback, muster-init's orders with the secrets.
std::vector<Operation> attempt_files(const wire::SandboxSpecT& spec, const PlanFacts& facts, const Places& places);

}  // namespace muster::sandbox
