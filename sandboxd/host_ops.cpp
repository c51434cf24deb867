#include "sandboxd/host_ops.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "sandboxd/context_file.hpp"
#include "sandboxd/disk.hpp"
#include "sandboxd/idmap.hpp"
#include "sandboxd/log_reader.hpp"
#include "sandboxd/project_quota.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr Duration kCreateTimeout{60'000};
constexpr int kStartTimeoutMs = 10'000;
constexpr int kEndTimeoutMs = 5'000;
constexpr std::size_t kMaxErrors = 16u << 20, kSaidErrors = 4000;  // bytes of the runtime's errors: read, said

Result<void> make_owned_directory(const MakeDirectory& op) {
  if (::mkdir(op.path.c_str(), op.mode) != 0 && errno != EEXIST)
    return fail_errno("mkdir " + op.path.string(), errno);
  if (::chmod(op.path.c_str(), op.mode) != 0)
    return fail_errno("chmod " + op.path.string(), errno);
  if (op.owner != 0 && ::chown(op.path.c_str(), op.owner, op.owner) != 0)
    return fail_errno("chown " + op.path.string(), errno);
  return {};
}

/// Not synced: after a power failure the sandbox is made anew. Cut at its end only: what was cut to nothing ext4
/// (auto_da_alloc) writes out when it is closed.
Result<void> write_plainly(const WriteFile& op) {
  const Fd fd(::open(op.path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return fail_errno("create " + op.path.string(), errno);
  std::string_view rest = op.text;
  while (!rest.empty()) {
    const ssize_t n = ::write(fd.get(), rest.data(), rest.size());
    if (n < 0) return fail_errno("write " + op.path.string(), errno);
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::ftruncate(fd.get(), static_cast<off_t>(op.text.size())) != 0) return fail_errno("cut " + op.path.string(), errno);
  if (op.owner != 0 && ::fchown(fd.get(), op.owner, op.owner) != 0)
    return fail_errno("chown " + op.path.string(), errno);
  if (::fchmod(fd.get(), op.mode) != 0) return fail_errno("chmod " + op.path.string(), errno);
  return {};
}

Result<void> mount_overlay(const MountOverlay& op) {
  const std::string options = "lowerdir=" + op.upper.string() + ":" + op.lower.string();
  if (::mount("overlay", op.target.c_str(), "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV,
              options.c_str()) != 0)
    return fail_errno("overlay on " + op.target.string(), errno);
  return {};
}

Result<void> link_to(const Symlink& op) {
  ::unlink(op.path.c_str());
  if (::symlink(op.target.c_str(), op.path.c_str()) != 0)
    return fail_errno("symlink " + op.path.string(), errno);
  return {};
}

/// What conmon says on its sync pipe: {"data": PID}, or {"data": -1, "message": "…"}, or nothing; the runtime's own
/// words are in the file `errors`.
Result<void> created(const std::string& said, const fs::path& errors) {
  const auto answer = nlohmann::json::parse(said.substr(0, said.find('\n')), nullptr, false);
  const auto field = [&](const char* name) {
    return answer.is_object() && answer.contains(name) ? answer[name] : nlohmann::json();
  };
  if (field("data").is_number_integer() && field("data").get<int>() > 0) return {};
  const std::string why = field("message").is_string() ? field("message").get<std::string>() : "";
  return fail(Errc::io, "the container could not be created: " + why +
                            read_file(errors, kMaxErrors).value_or("").substr(0, kSaidErrors));
}

std::string read_all_nonblocking(int fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  std::string text;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = ::read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<std::size_t>(n));
  return text;
}

int read_pid(const fs::path& path) {
  const auto text = read_file(path, 64);
  return text ? std::atoi(text->c_str()) : 0;
}

/// mountinfo writes blank, tab, newline and backslash as \ooo.
std::string unescape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out.push_back(static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8)));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

/// With what is mounted on it, or only what is mounted inside.
Result<void> unmount_below(const fs::path& directory, bool itself = true) {
  for (const auto& mount : mounts_below(directory))
    if ((itself || mount != directory.string()) && ::umount2(mount.c_str(), UMOUNT_NOFOLLOW) != 0 &&
        ::umount2(mount.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL)
      return fail_errno("unmount " + mount, errno);
  return {};
}

/// Empties the directory behind `fd`. Iterative over depth by recursion on descriptors: a tree deeper than the
/// descriptor limit is flattened by renaming as it goes.
bool empty_directory(int fd, int top, unsigned depth) {
  constexpr unsigned kMaxDepth = 200;
  DIR* listing = ::fdopendir(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (listing == nullptr) return false;
  bool clean = true;
  while (const dirent* entry = ::readdir(listing)) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (::unlinkat(fd, entry->d_name, 0) == 0) continue;
    if (errno != EISDIR && errno != EPERM) {
      clean = errno == ENOENT && clean;
      continue;
    }
    if (depth >= kMaxDepth) {  // lift it to the top and take it from there in the next round
      static thread_local unsigned lifted = 0;
      const std::string to = ".lifted." + std::to_string(++lifted);
      ::renameat(fd, entry->d_name, top, to.c_str());
      clean = false;
      continue;
    }
    const Fd sub(::openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    clean = sub.valid() && empty_directory(sub.get(), top, depth + 1) && clean;
    clean = ::unlinkat(fd, entry->d_name, AT_REMOVEDIR) == 0 && clean;
  }
  ::closedir(listing);
  return clean;
}

/// Of one file system: what is mounted below is not counted (an overlay's own part lies beside it).
void add_directory_bytes(int fd, dev_t device, unsigned depth, std::uint64_t enough, std::uint64_t& total) {
  constexpr unsigned kMaxDepth = 200;
  DIR* listing = ::fdopendir(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (listing == nullptr) return;
  while (const dirent* entry = ::readdir(listing)) {
    const std::string_view name = entry->d_name;
    struct stat info{};
    if (name == "." || name == ".." || total > enough) continue;
    if (::fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (info.st_dev != device) continue;
    total += static_cast<std::uint64_t>(info.st_blocks) * 512;
    if (!S_ISDIR(info.st_mode) || depth >= kMaxDepth) continue;
    const Fd sub(::openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (sub.valid()) add_directory_bytes(sub.get(), device, depth + 1, enough, total);
  }
  ::closedir(listing);
}

Fd open_process(int pid) { return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

/// Returns when it is gone, or does not die.
void kill_process(const Fd& process) {
  ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
  pollfd ended{process.get(), POLLIN, 0};
  ::poll(&ended, 1, kEndTimeoutMs);
}

/// conmon's exit file, also a half written one: glib (2.74) writes NAME.XXXXXX beside it, and renames.
void remove_exit_files(const fs::path& exits, const std::string& name) {
  ::unlink((exits / name).c_str());
  std::error_code error;
  for (fs::directory_iterator it(exits, error), end; !error && it != end; it.increment(error))
    if (it->path().filename().string().starts_with(name + ".")) ::unlink(it->path().c_str());
}

}  // namespace

std::string cgroup_parent(const Paths& paths) {
  const std::string root = paths.root.lexically_normal().string();
  return root == "/" ? "muster" : "muster-" + sha256_hex(root).substr(0, 8);
}

std::vector<std::string> mounts_below(const fs::path& directory) {
  std::vector<std::string> found;
  const auto text = read_file("/proc/self/mountinfo", 64u << 20);
  if (!text) return found;
  const std::string prefix = directory.string() + "/";
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, target;
    words >> id >> parent >> device >> root >> target;
    target = unescape(target);
    if (target == directory.string() || target.starts_with(prefix)) found.push_back(target);
  }
  std::reverse(found.begin(), found.end());  // mounted later lies on top
  return found;
}

Result<void> remove_tree(const fs::path& top) {
  constexpr int kRounds = 10'000;  // of 200 levels each: no path a file system takes is deeper
  const Fd fd(::open(top.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOENT || ::unlink(top.c_str()) == 0) return {};
    return fail_errno("remove " + top.string(), errno);
  }
  for (int round = 0; round < kRounds; ++round)
    if (empty_directory(fd.get(), fd.get(), 0) || ::rmdir(top.c_str()) == 0) break;
  if (::rmdir(top.c_str()) != 0 && errno != ENOENT)
    return fail_errno("remove " + top.string(), errno);
  return {};
}

std::uint64_t tree_bytes(const fs::path& top, std::uint64_t enough) {
  const Fd fd(::open(top.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  std::uint64_t total = 0;
  struct stat info {};
  if (fd.valid() && ::fstat(fd.get(), &info) == 0) add_directory_bytes(fd.get(), info.st_dev, 0, enough, total);
  return total;
}

HostOps::HostOps(Paths paths, Cgroups cgroups, std::string runtime)
    : paths_(std::move(paths)), cgroups_(std::move(cgroups)), runtime_(std::move(runtime)),
      parent_(sandbox::cgroup_parent(paths_)) {}

Result<void> HostOps::carry_out(const Plan& plan) const {
  for (const auto& operation : plan.operations)
    if (auto done = apply(operation); !done) return done;
  return {};
}

Result<void> HostOps::apply(const Operation& operation) const {
  struct Visitor {
    const HostOps& ops;
    Result<void> operator()(const MakeDirectory& op) const { return make_owned_directory(op); }
    Result<void> operator()(const WriteFile& op) const { return write_plainly(op); }
    Result<void> operator()(const PlaceFile& op) const { return place_file(op); }
    Result<void> operator()(const Symlink& op) const { return link_to(op); }
    Result<void> operator()(const MountOverlay& op) const { return mount_overlay(op); }
    Result<void> operator()(const MountDisk& op) const { return mount_disk(op.empty, op.image, op.target); }
    Result<void> operator()(const LimitDisk& op) const {
      return limit_project(op.directory, {op.first_id, op.bytes, op.files});
    }
    Result<void> operator()(const MountLayer& op) const {
      if (auto shifted = mount_shifted(op.layer, op.shifted, op.first_id); !shifted) return shifted;
      return mount_writable_overlay(op.shifted, op.upper, op.work, op.target);
    }
    Result<void> operator()(const CreateContainer& op) const { return ops.create(op); }
    Result<void> operator()(const StartContainer& op) const { return ops.start(op.id); }
  };
  return std::visit(Visitor{*this}, operation);
}

Result<void> HostOps::create(const CreateContainer& operation) const {
  const Places places(paths_, operation.id);
  const auto log = open_log(places.log());
  if (!log) return tl::unexpected(log.error());
  const Fd errors(::open(places.errors().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!errors.valid()) return fail_errno("create " + places.errors().string(), errno);
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe", errno);
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  ProcessSpec conmon;
  conmon.argv = operation.conmon;
  conmon.env = {{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                {"_OCI_SYNCPIPE", std::to_string(write_end.get())}};
  conmon.inherited_fds = {write_end.get()};
  conmon.out_fd = log->get();
  conmon.err_fd = errors.get();
  conmon.timeout = kCreateTimeout;
  conmon.outlives_parent = true;
  const auto result = run_process(conmon);
  write_end.reset();
  if (!result) return fail(result.error(), "start conmon");
  // conmon's first process has exited, its second goes on; it speaks once the runtime has created.
  std::string said;
  char buffer[4096];
  while (said.find('\n') == std::string::npos) {
    const ssize_t n = ::read(read_end.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    said.append(buffer, static_cast<std::size_t>(n));
  }
  if (!said.empty()) said += read_all_nonblocking(read_end.get());
  return created(said, places.errors());
}

/// What `runc start` does: open the fifo that the container's first process waits at (runc 1.1, crun). Doing it here
/// saves a process of 10 MB for each sandbox; a runtime without that fifo is asked properly.
Result<void> HostOps::start(const std::string& id) const {
  const fs::path fifo = runtime_state(id) / "exec.fifo";
  const Fd fd(::open(fifo.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  pollfd waits{fd.get(), POLLIN, 0};  // the other side may not have come to it yet
  char byte = 0;
  if (fd.valid() && ::poll(&waits, 1, kStartTimeoutMs) == 1 && ::read(fd.get(), &byte, 1) == 1) {
    ::unlink(fifo.c_str());
    return {};
  }
  ProcessSpec start;
  start.argv = {runtime_, "--root", (paths_.runtime() / "runc").string(), "start", id};
  start.env = {{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}};
  const auto result = run_checked(start);
  if (!result) return fail(result.error(), "start the container");
  return {};
}

std::string container_of(const Places& places) {
  const auto name = read_file(places.container(), 64);
  return name && is_sandbox_id(*name) ? *name : places.id;
}

/// muster-init's number here, when it lives; a recycled one is not in the sandbox's cgroup.
int HostOps::first_process(const std::string& id) const {
  const int pid = read_pid(Places(paths_, id).pid());
  return pid > 1 && cgroups_.holds(group(id), pid) ? pid : 0;
}

Result<void> HostOps::limit(const std::string& id, const CgroupLimits& limits, std::uint64_t max_file_bytes) const {
  if (auto done = cgroups_.limit(group(id), limits); !done) return done;
  const int pid = first_process(id);
  const rlimit files{max_file_bytes, max_file_bytes};
  if (pid == 0) return fail(Errc::not_found, id + " has ended");
  if (::prlimit(pid, RLIMIT_FSIZE, &files, nullptr) != 0) return fail_errno("limit the files of " + id, errno);
  return {};
}

void HostOps::end_creation(const std::string& id) const {
  const std::string bundle = '\0' + Places(paths_, container(id)).run.string() + '\0';
  std::error_code error;
  for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const int pid = std::atoi(it->path().filename().c_str());
    if (pid <= 1) continue;
    const Fd process = open_process(pid);  // before it is looked at
    const auto command = read_file(it->path() / "cmdline", 1u << 20);
    if (process.valid() && command && command->find(bundle) != std::string::npos) kill_process(process);
  }
}

void HostOps::tell(const std::string& id, int signal_number) const {
  if (const int pid = first_process(id); pid > 0) ::kill(pid, signal_number);
}

void HostOps::signal(const std::string& id, int signal_number) const {
  tell(id, signal_number);
  if (frozen(id)) (void)freeze(id, false);
}

bool HostOps::alive(const std::string& id) const { return !cgroups_.processes(group(id)).empty(); }

bool HostOps::supervised(const std::string& id) const {
  const int pid = read_pid(Places(paths_, id).conmon_pid());
  if (pid <= 1) return false;
  const auto command = read_file("/proc/" + std::to_string(pid) + "/cmdline", 1u << 20);
  return command && command->find("conmon") != std::string::npos &&
         command->find(container(id)) != std::string::npos;
}

Result<int> HostOps::exit_code(const std::string& id) const {
  const auto text = read_file(exits() / container(id), 64);
  if (!text) return fail(text.error(), "exit code of " + id);
  return std::atoi(text->c_str());
}

Result<void> HostOps::teardown(const std::string& id, bool forget) const {
  if (!is_sandbox_id(id)) return fail(Errc::internal, "not a sandbox: " + id);
  const Places places(paths_, id);
  const std::string named = container(id);
  if (auto removed = cgroups_.remove(group(id)); !removed) return removed;
  if (const int conmon = read_pid(places.conmon_pid()); conmon > 1)
    if (const Fd process = open_process(conmon); process.valid() && supervised(id))
      kill_process(process);  // it would write an exit file after us, and may be at it
  if (auto done = remove_tree(runtime_state(id)); !done) return done;
  if (auto done = unmount_below(places.run); !done) return done;
  if (auto done = unmount_below(places.writable(), false); !done) return done;
  // What is deleted first need not be written when its file system is unmounted.
  if (!mounts_below(places.writable()).empty()) (void)remove_tree(places.writable());
  if (auto done = unmount_below(places.kept); !done) return done;
  ::unlink(places.disk().c_str());
  if (auto done = release_project(places.writable()); !done) return done;
  if (auto done = remove_tree(places.run); !done) return done;
  if (auto done = remove_tree(places.writable()); !done) return done;
  if (auto done = remove_tree(places.agent()); !done) return done;
  remove_exit_files(exits(), named);
  if (named != id)
    if (auto done = remove_tree(Places(paths_, named).kept); !done) return done;
  if (!forget) return {};
  ::unlink((places.kept / "start").c_str());  // First: half removed, it is nobody's and not one that has yet to end.
  return remove_tree(places.kept);
}

void HostOps::leave() const { cgroups_.remove_empty(parent_); }

std::vector<std::string> HostOps::leftovers() const {
  std::set<std::string> names;
  const auto add_entries = [&](const fs::path& directory) {
    std::error_code error;
    for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
      const std::string file = it->path().filename();
      const std::string name = file.substr(0, file.find('.'));  // half an exit file is its sandbox's
      if (is_sandbox_id(name)) names.insert(name);
    }
  };
  add_entries(paths_.runtime() / "s");
  add_entries(paths_.runtime() / "runc");
  add_entries(exits());
  add_entries(paths_.host() / "attempts");
  for (const auto& name : cgroups_.children(parent_))
    if (is_sandbox_id(name)) names.insert(name);
  // What was made ahead under another name, and handed over, is its attempt's.
  const std::set<std::string> all = names;
  for (const auto& name : all)
    if (const std::string named = container(name); named != name) names.erase(named);
  return {names.begin(), names.end()};
}

}  // namespace muster::sandbox
