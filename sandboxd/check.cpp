#include "sandboxd/check.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "sandboxd/attempt.hpp"
#include "sandboxd/project_quota.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr const char* kProjectQuotas =
    "mount the file system that sandboxes lie on with -o prjquota (ext4: once, unmounted, tune2fs -O project,quota DEVICE)";

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? name : "";
  std::string path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    const std::string candidate = path.substr(begin, end - begin) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    begin = end + 1;
  }
  return "";
}

fs::path find_init() {
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& candidate :
       {here / "muster-init", here / "../libexec/muster/muster-init", here / "../bin/muster-init",
        fs::path("/usr/libexec/muster/muster-init"), fs::path("/usr/local/libexec/muster/muster-init")})
    if (fs::is_regular_file(candidate, error)) return fs::canonical(candidate, error);
  return {};
}

Finding program(std::string& path, const std::string& package) {
  const std::string found = find_program(path);
  Finding finding{!found.empty(), found.empty() ? path + " is not installed" : path + " is " + found,
                  found.empty() ? "apt-get install " + package : ""};
  if (finding.ok) path = found;
  return finding;
}

Finding namespace_exists(const std::string& name) {
  const bool ok = ::access(("/proc/self/ns/" + name).c_str(), F_OK) == 0;
  return {ok, name + " namespaces", ok ? "" : "boot a kernel built with them"};
}

Finding user_namespaces_allowed() {
  const auto limit = read_file("/proc/sys/user/max_user_namespaces", 64);
  const bool ok = !limit || std::atoi(limit->c_str()) > 0;
  return {ok, "user namespaces are allowed",
          ok ? "" : "sysctl -w user.max_user_namespaces=15000, and keep it in /etc/sysctl.d"};
}

Finding seccomp_exists() {
  const auto status = read_file("/proc/self/status", 1u << 16);
  const bool ok = status && status->find("Seccomp:") != std::string::npos;
  return {ok, "seccomp filters", ok ? "" : "boot a kernel with CONFIG_SECCOMP_FILTER"};
}

Finding controller(const Cgroups& cgroups, const std::string& name) {
  const bool ok = cgroups.has(name);
  return {ok, "cgroup controller " + name,
          ok ? ""
             : cgroups.v2() ? "enable it: echo +" + name + " > /sys/fs/cgroup/cgroup.subtree_control"
                            : "mount it: mkdir -p /sys/fs/cgroup/" + name + " && mount -t cgroup -o " +
                                  name + " cgroup /sys/fs/cgroup/" + name};
}

/// A sandbox's user must be able to pass through every directory above what is mounted for it.
Finding open_parents(const fs::path& path) {
  fs::path closed;
  std::error_code error;
  for (fs::path at = fs::absolute(path, error); at != at.parent_path(); at = at.parent_path()) {
    struct stat info{};
    if (::stat(at.c_str(), &info) == 0 && (info.st_mode & S_IXOTH) == 0) closed = at;
  }
  return {closed.empty(), "sandboxes can reach " + path.string(),
          closed.empty() ? "" : "chmod o+x " + closed.string() + ", or choose another --root"};
}

/// Tried for real, once: whether images can be made and mounted.
Finding own_disks(const HostConfig& config) {
  const auto made = make_directory(config.paths.host(), 0711);
  const auto done = made ? try_disk(config.paths.host()) : made;
  return {done.has_value(), "disks of sandboxes in image files" + (done ? "" : ": " + done.error().message),
          done ? "" : "apt-get install e2fsprogs and modprobe loop, or set disk_limit: measure"};
}

Finding own_projects(const HostConfig& config) {
  const auto made = make_directory(config.paths.host(), 0711);
  const auto done = made ? check_projects(config.paths.host()) : made;
  return {done.has_value(), "project quotas for disks of sandboxes" + (done ? "" : ": " + done.error().message),
          done ? "" : kProjectQuotas + std::string(", or set disk_limit: loop")};
}

std::vector<Finding> examine(HostConfig& config) {
  std::vector<Finding> findings;
  findings.push_back({::geteuid() == 0, "sandboxd runs as root", ::geteuid() == 0 ? "" : "run it as root"});
  findings.push_back(program(config.runtime, "runc"));
  findings.push_back(program(config.conmon, "conmon"));
  std::string git = "git", tar = "tar";
  findings.push_back(program(git, "git"));
  findings.push_back(program(tar, "tar"));
  if (config.muster_init.empty()) config.muster_init = find_init();
  std::error_code error;
  const bool init = fs::is_regular_file(config.muster_init, error);
  findings.push_back({init, init ? "muster-init is " + config.muster_init.string() : "no muster-init",
                      init ? "" : "install it beside sandboxd or in libexec/muster"});
  for (const char* name : {"pid", "mnt", "ipc", "uts", "net", "user", "cgroup"})
    findings.push_back(namespace_exists(name));
  findings.push_back(user_namespaces_allowed());
  findings.push_back(seccomp_exists());
  const auto cgroups = Cgroups::find();
  findings.push_back({cgroups.has_value(), "cgroups are mounted",
                      cgroups ? "" : "mount -t cgroup2 cgroup2 /sys/fs/cgroup"});
  if (cgroups)
    for (const char* name : {"memory", "pids", "cpu"}) findings.push_back(controller(*cgroups, name));
  if (cgroups && !cgroups->v2()) findings.push_back(controller(*cgroups, "freezer"));
  const bool merged = fs::is_symlink("/bin", error);
  findings.push_back({merged, "/bin, /lib are links into /usr", merged ? "" : "apt-get install usrmerge"});
  if (config.disk_limit == DiskLimit::loop) findings.push_back(own_disks(config));
  if (config.disk_limit == DiskLimit::project) findings.push_back(own_projects(config));
  findings.push_back(open_parents(config.paths.host()));
  findings.push_back(open_parents(config.paths.runtime()));
  return findings;
}

}  // namespace

Result<void> complete(HostConfig& config) {
  std::string missing;
  for (const auto& finding : examine(config))
    if (!finding.ok) missing += "\n  " + finding.what + ": " + finding.mend;
  if (missing.empty()) return {};
  return fail(Errc::refused, "this machine can't isolate sandboxes (see sandboxd --check):" + missing);
}

std::string disk_limits(const HostConfig& config) {
  if (config.disk_limit == DiskLimit::loop)
    return "enforced by the kernel, a file system in an image file for each sandbox";
  if (config.disk_limit == DiskLimit::project) return "enforced by the kernel, a project quota for each sandbox";
  std::error_code error;
  fs::path there = config.paths.host();
  while (!fs::exists(there, error) && there != there.parent_path()) there = there.parent_path();
  const std::string better = check_projects(there) ? "project lets the kernel enforce them, at no cost"
                                                   : "loop lets the kernel enforce them; project would, too, at no cost: " +
                                                         std::string(kProjectQuotas);
  return "by measuring each workspace every 5 s and a limit on single files (in sandboxd.yaml, disk_limit: " + better + ")";
}

std::vector<Finding> check_host(HostConfig config) { return examine(config); }

}  // namespace muster::sandbox
