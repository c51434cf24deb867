// The OCI runtime configuration (runtime-spec 1.0.2) of one sandbox.
#include <nlohmann/json.hpp>

#include "sandboxd/cgroup.hpp"
#include "sandboxd/plan.hpp"
#include "sandboxd/seccomp.hpp"

namespace muster::sandbox {

namespace {

using Json = nlohmann::ordered_json;

Json mount(std::string_view to, std::string_view type, std::string_view source,
           std::vector<std::string_view> options) {
  return {{"destination", to}, {"type", type}, {"source", source}, {"options", options}};
}

Json bind(std::string_view to, const std::filesystem::path& source, bool writable) {
  return mount(to, "bind", source.string(), {"bind", writable ? "rw" : "ro", "nosuid", "nodev"});
}

Json mounts(const wire::SandboxSpecT& spec, const PlanFacts& facts) {
  const Places places(facts.paths, sandbox_id(spec.run, spec.attempt));
  Json list = Json::array();
  list.push_back(mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}));
  list.push_back(mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  list.push_back(mount("/dev/pts", "devpts", "devpts",
                       {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}));
  list.push_back(mount("/dev/shm", "tmpfs", "shm",
                       {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}));
  // sysfs shows the network namespace: a user namespace may mount it only for one of its own.
  if (spec.network == wire::Network::none)
    list.push_back(mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}));
  if (facts.made_rootfs) {
    list.push_back(bind("/usr", "/usr", false));
    if (facts.has_opt) list.push_back(bind("/opt", "/opt", false));
  }
  if (spec.network == wire::Network::host)
    list.push_back(bind("/etc/resolv.conf", "/etc/resolv.conf", false));
  list.push_back(bind("/work", places.work(), true));
  list.push_back(bind("/home/agent", places.writable() / "home", true));
  list.push_back(bind("/tmp", places.writable() / "tmp", true));
  list.push_back(bind("/muster/out", places.out(), true));
  list.push_back(bind("/muster/in", places.in(), false));
  list.push_back(bind("/muster/objects", facts.objects, false));
  if (!facts.others.empty()) list.push_back(bind("/repositories", places.writable() / "repositories", true));
  for (std::size_t i = 0; i < facts.others.size(); ++i) {
    const std::string place = "/muster/others/" + std::to_string(i);
    list.push_back(bind(std::string_view(place), facts.others[i].objects, false));
  }
  if (!facts.resumed.empty()) list.push_back(bind("/muster/checkpoint", places.kept / "resume/objects", false));
  if (!facts.agent_dir.empty()) list.push_back(bind("/muster/agent", facts.agent_dir, false));
  for (const auto& mounted : facts.mounts) list.push_back(bind(std::string_view(mounted.target), mounted.source, false));
  return list;
}

Json namespaces(const wire::SandboxSpecT& spec) {
  Json list = Json::array();
  for (const std::string_view type : {"pid", "mount", "ipc", "uts", "user", "cgroup"})
    list.push_back({{"type", type}});
  if (spec.network == wire::Network::none) list.push_back({{"type", "network"}});
  return list;
}

Json resources(const wire::SandboxSpecT& spec, const PlanFacts& facts) {
  Json memory = {{"limit", spec.memory_bytes}};
  if (facts.swap_limit) memory["swap"] = spec.memory_bytes;  // memory and swap together: no swap
  return {{"devices", Json::array({{{"allow", false}, {"access", "rwm"}}})},
          {"memory", std::move(memory)},
          {"cpu", {{"quota", spec.cpus_milli * kCpuPeriodUs / 1000}, {"period", kCpuPeriodUs}}},
          {"pids", {{"limit", spec.pids}}}};
}

Json limit(std::string_view type, std::uint64_t value) {
  return {{"type", type}, {"hard", value}, {"soft", value}};
}

Json process(const wire::SandboxSpecT& spec, const PlanFacts& facts) {
  const Json none = Json::array();
  return {{"terminal", false},
          {"user", {{"uid", kAgentUid}, {"gid", kAgentUid}}},
          {"args", {"/muster/init"}},
          {"env", {"PATH=/usr/bin:/bin"}},
          {"cwd", "/"},
          {"capabilities",
           {{"bounding", none}, {"effective", none}, {"inheritable", none}, {"permitted", none},
            {"ambient", none}}},
          {"rlimits", {limit("RLIMIT_NOFILE", facts.max_open_files), limit("RLIMIT_CORE", 0),
                       limit("RLIMIT_FSIZE", spec.disk_bytes)}},
          {"noNewPrivileges", true}};
}

Json id_map(const PlanFacts& facts) {
  return Json::array({{{"containerID", 0}, {"hostID", facts.uid_base}, {"size", kUidRange}}});
}

}  // namespace

std::string oci_config(const wire::SandboxSpecT& spec, const PlanFacts& facts) {
  const Places places(facts.paths, sandbox_id(spec.run, spec.attempt));
  const Json masked = {"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                       "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                       "/proc/sched_debug", "/proc/scsi", "/proc/config.gz", "/proc/kallsyms",
                       "/proc/modules", "/proc/swaps", "/sys/firmware", "/sys/fs", "/sys/kernel",
                       "/sys/module", "/sys/devices/virtual/powercap"};
  const Json read_only = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  const Json config = {
      {"ociVersion", "1.0.2"},
      {"process", process(spec, facts)},
      {"root",
       {{"path", (facts.made_rootfs ? facts.rootfs : places.rootfs()).string()}, {"readonly", true}}},
      {"hostname", "muster"},
      {"mounts", mounts(spec, facts)},
      {"linux",
       {{"uidMappings", id_map(facts)},
        {"gidMappings", id_map(facts)},
        {"cgroupsPath", "/" + facts.cgroup_parent + "/" + places.id},
        {"resources", resources(spec, facts)},
        {"namespaces", namespaces(spec)},
        {"seccomp", seccomp_profile()},
        {"maskedPaths", masked},
        {"readonlyPaths", read_only}}}};
  return config.dump();
}

}  // namespace muster::sandbox
