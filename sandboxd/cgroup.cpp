#include "sandboxd/cgroup.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <set>
#include <sstream>
#include <thread>

#include "storage/base/files.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxSmallFile = 1u << 20;
constexpr int kRemoveAttempts = 2000;  // of 5 ms: a process in a disk wait takes its time to die

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

std::uint64_t number(const fs::path& path) {
  const auto text = read_file(path, kMaxSmallFile);
  std::uint64_t value = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

/// The value after "key " at the beginning of a line.
std::uint64_t number_of(const fs::path& path, std::string_view key) {
  const auto text = read_file(path, kMaxSmallFile);
  if (!text) return 0;
  for (const auto& line : split(*text, '\n'))
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ' ')
      return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10);
  return 0;
}

void list_processes(const fs::path& directory, std::set<int>& pids) {
  const auto text = read_file(directory / "cgroup.procs", kMaxSmallFile);
  if (!text) return;
  for (const auto& line : split(*text, '\n'))
    if (const int pid = std::atoi(line.c_str()); pid > 0) pids.insert(pid);
}

std::vector<fs::path> directories_below(const fs::path& top) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(top, error), end; !error && it != end; it.increment(error))
    if (it->is_directory(error)) {
      for (auto& below : directories_below(it->path())) found.push_back(std::move(below));
      found.push_back(it->path());
    }
  return found;
}

}  // namespace

Result<Cgroups> Cgroups::find() {
  const auto text = read_file("/proc/self/mountinfo", 16u << 20);
  if (!text) return fail(text.error(), "find cgroups");
  Cgroups found;
  for (const auto& line : split(*text, '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto left = split(line.substr(0, dash), ' ');
    const auto right = split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    if (right[0] == "cgroup2") found.hierarchies_.push_back({left[4], {}, true});
    if (right[0] == "cgroup") found.hierarchies_.push_back({left[4], split(right[2], ','), false});
  }
  if (found.hierarchies_.empty()) return fail(Errc::not_found, "no cgroup file system is mounted");
  found.v2_ = std::all_of(found.hierarchies_.begin(), found.hierarchies_.end(),
                          [](const Hierarchy& h) { return h.unified; });
  return found;
}

bool Cgroups::has(std::string_view controller) const {
  for (const auto& hierarchy : hierarchies_) {
    if (hierarchy.unified && v2_) {
      const auto text = read_file(hierarchy.mount / "cgroup.controllers", kMaxSmallFile);
      if (text && (" " + *text + " ").find(controller) != std::string::npos) return true;
    }
    if (std::find(hierarchy.controllers.begin(), hierarchy.controllers.end(), controller) !=
        hierarchy.controllers.end())
      return true;
  }
  return false;
}

fs::path Cgroups::file(std::string_view controller, const std::string& group, std::string_view v1_name,
                       std::string_view v2_name) const {
  for (const auto& hierarchy : hierarchies_) {
    if (hierarchy.unified && v2_) return hierarchy.mount / group / v2_name;
    if (std::find(hierarchy.controllers.begin(), hierarchy.controllers.end(), controller) !=
        hierarchy.controllers.end())
      return hierarchy.mount / group / v1_name;
  }
  return "/nonexistent";
}

bool Cgroups::swap_limit() const {
  if (v2_) return true;
  std::error_code error;
  return fs::exists(file("memory", "", "memory.memsw.limit_in_bytes", ""), error);
}

CgroupUsage Cgroups::usage(const std::string& group) const {
  CgroupUsage usage;
  usage.peak_memory_bytes = number(file("memory", group, "memory.max_usage_in_bytes", "memory.peak"));
  usage.oom_kills = number_of(file("memory", group, "memory.oom_control", "memory.events"), "oom_kill");
  usage.refused_processes = number_of(file("pids", group, "pids.events", "pids.events"), "max");
  usage.cpu_ms = v2_ ? static_cast<std::int64_t>(
                           number_of(file("cpu", group, "", "cpu.stat"), "usage_usec") / 1000)
                     : static_cast<std::int64_t>(
                           number(file("cpuacct", group, "cpuacct.usage", "")) / 1'000'000);
  return usage;
}

std::vector<int> Cgroups::processes(const std::string& group) const {
  std::set<int> pids;
  for (const auto& hierarchy : hierarchies_) {
    list_processes(hierarchy.mount / group, pids);
    for (const auto& below : directories_below(hierarchy.mount / group)) list_processes(below, pids);
  }
  return {pids.begin(), pids.end()};
}

bool Cgroups::holds(const std::string& group, int pid) {
  const auto lines = read_file("/proc/" + std::to_string(pid) + "/cgroup", kMaxSmallFile).value_or("");
  const std::string name = '/' + group;  // below whatever the mount shows
  for (std::size_t at = lines.find(name); at != std::string::npos; at = lines.find(name, at + 1))
    if (const char next = lines[at + name.size()]; next == '\n' || next == '/') return true;
  return false;
}

namespace {

Result<void> set(const fs::path& path, const std::string& value) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), value.data(), value.size()) < 0)
    return fail_errno("write " + value + " to " + path.string(), errno);
  return {};
}

}  // namespace

Result<void> Cgroups::limit(const std::string& group, const CgroupLimits& limits) const {
  const std::string memory = std::to_string(limits.memory_bytes);
  const std::string quota = std::to_string(limits.cpus_milli * kCpuPeriodUs / 1000);
  const std::string period = std::to_string(kCpuPeriodUs);
  const fs::path memory_file = file("memory", group, "memory.limit_in_bytes", "memory.max");
  // v1: memory and swap together are never below memory alone, so that the order depends on which way it goes.
  const bool lowered = set(memory_file, memory).has_value();
  if (swap_limit())
    if (auto done = set(file("memory", group, "memory.memsw.limit_in_bytes", "memory.swap.max"), v2_ ? "0" : memory); !done)
      return done;
  if (!lowered)
    if (auto done = set(memory_file, memory); !done) return done;
  if (auto done = set(file("pids", group, "pids.max", "pids.max"), std::to_string(limits.pids)); !done) return done;
  if (v2_) return set(file("cpu", group, "", "cpu.max"), quota + " " + period);
  if (auto done = set(file("cpu", group, "cpu.cfs_period_us", ""), period); !done) return done;
  return set(file("cpu", group, "cpu.cfs_quota_us", ""), quota);
}

fs::path Cgroups::freezer(const std::string& group) const {
  return file("freezer", group, "freezer.state", "cgroup.freeze");
}

bool Cgroups::can_freeze() const { return v2_ || has("freezer"); }

Result<void> Cgroups::freeze(const std::string& group, bool frozen) const {
  const fs::path path = freezer(group);
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("open " + path.string(), errno);
  const std::string_view word = v2_ ? (frozen ? "1" : "0") : (frozen ? "FROZEN" : "THAWED");
  if (::write(fd.get(), word.data(), word.size()) < 0) return fail_errno("write " + path.string(), errno);
  return {};
}

bool Cgroups::frozen(const std::string& group) const {
  const auto state = read_file(freezer(group), 64);
  return state && (state->starts_with("1") || state->starts_with("FR"));  // FROZEN or FREEZING
}

bool Cgroups::stands_still(const std::string& group) const {
  if (v2_) return number_of(freezer(group).parent_path() / "cgroup.events", "frozen") == 1;
  return read_file(freezer(group), 64).value_or("").starts_with("FROZEN");
}

Result<void> Cgroups::remove(const std::string& group) const {
  if (group.empty() || group.find("..") != std::string::npos)
    return fail(Errc::internal, "not a cgroup of ours: " + group);
  for (int attempt = 0; attempt < kRemoveAttempts; ++attempt) {
    bool gone = true;
    for (const auto& hierarchy : hierarchies_) {
      const fs::path top = hierarchy.mount / group;
      if (::rmdir(top.c_str()) == 0 || errno == ENOENT) continue;
      for (const auto& below : directories_below(top)) ::rmdir(below.c_str());
      gone = (::rmdir(top.c_str()) == 0 || errno == ENOENT) && gone;
    }
    if (gone) return {};
    for (const int pid : processes(group)) ::kill(pid, SIGKILL);
    if (!v2_ && frozen(group)) (void)freeze(group, false);  // v1: a frozen process does not die
    std::this_thread::sleep_for(std::chrono::milliseconds(attempt < 20 ? 1 : 5));
  }
  return fail(Errc::io, "cgroup " + group + " still holds processes");
}

void Cgroups::remove_empty(const std::string& group) const {
  for (const auto& hierarchy : hierarchies_) ::rmdir((hierarchy.mount / group).c_str());
}

std::vector<std::string> Cgroups::children(const std::string& parent) const {
  std::set<std::string> names;
  std::error_code error;
  for (const auto& hierarchy : hierarchies_)
    for (fs::directory_iterator it(hierarchy.mount / parent, error), end; !error && it != end;
         it.increment(error))
      if (it->is_directory(error)) names.insert(it->path().filename());
  return {names.begin(), names.end()};
}

}  // namespace muster::sandbox
