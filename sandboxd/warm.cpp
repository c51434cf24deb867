#include "sandboxd/warm.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/attempt.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

// What git may take for the checkout: the attempt's own limits come with it.
constexpr std::uint64_t kWarmMemory = 1ull << 30;
constexpr std::uint64_t kWarmFile = 1ull << 40;  // its disk is measured until then; not every host may raise a limit again
constexpr std::uint32_t kWarmPids = 64;
constexpr int kReadyTimeoutMs = 120'000;
constexpr int kLookMs = 100;                 // for ends that no file event told, and for give_up
constexpr int kMeasureEveryMs = 5'000;       // what the checkout takes
constexpr unsigned kMaxAgentFiles = 4096;    // a bundle of more is not worth linking: its attempt is made cold
constexpr unsigned kMaxAgentDepth = 32;

/// A spec with nothing of the attempt but where its workspace comes from.
wire::SandboxSpecT bare_spec(const wire::SandboxSpecT& like, const std::string& id) {
  wire::SandboxSpecT spec;
  spec.run = id.substr(0, id.find('-'));
  spec.attempt = 1;
  spec.url = like.url;
  spec.base_branch = like.base_branch;
  spec.network = like.network;
  spec.memory_bytes = kWarmMemory;
  spec.disk_bytes = kWarmFile;
  spec.pids = kWarmPids;
  spec.commit = std::make_unique<wire::CommitT>();
  return spec;
}

/// Waits until muster-init says that the workspace is made.
Result<void> wait_ready(Host& host, const Places& places, std::uint64_t disk_bytes, const std::function<bool()>& give_up) {
  const Fd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  ::inotify_add_watch(watch.get(), places.out().c_str(), IN_CREATE);
  for (int waited = 0; waited < kReadyTimeoutMs; waited += kLookMs) {
    struct stat info {};
    const bool ready = ::lstat(places.ready().c_str(), &info) == 0;
    if ((ready || waited % kMeasureEveryMs == 0) && tree_bytes(places.writable(), disk_bytes) > disk_bytes)
      return fail(Errc::io, "its workspace takes more than an attempt may");
    if (ready) return {};
    if (host.ops.exit_code(places.id) || !host.ops.supervised(places.id))
      return fail(Errc::io, "its workspace could not be made: " + read_file(places.log(), 4096).value_or(""));
    if (give_up()) return fail(Errc::conflict, "given up");
    pollfd waits{watch.get(), POLLIN, 0};
    ::poll(&waits, 1, kLookMs);
    char events[4096];
    while (::read(watch.get(), events, sizeof events) > 0) {
    }
  }
  return fail(Errc::io, "its workspace took too long");
}

/// muster-init waits, and nothing ever went wrong.
Result<void> still_waits(Host& host, const Places& places) {
  struct stat info {};
  if (::lstat(places.ready().c_str(), &info) != 0 || ::stat(places.log().c_str(), &info) != 0 || info.st_size != 0)
    return fail(Errc::conflict, places.id + " is not as it should be");
  if (host.ops.exit_code(places.id) || !host.ops.supervised(places.id))
    return fail(Errc::conflict, places.id + " has ended");
  return {};
}

/// The same files under new names: links to what the bundle's directory has, which is read-only in every sandbox.
Result<void> link_tree(const fs::path& from, const fs::path& to, unsigned depth, unsigned& left) {
  if (depth > kMaxAgentDepth) return fail(Errc::refused, "the agent's files lie too deep");
  std::error_code error;
  for (fs::directory_iterator it(from, error), end; !error && it != end; it.increment(error)) {
    const fs::path target = to / it->path().filename();
    const fs::file_status status = it->symlink_status();
    if (left-- == 0) return fail(Errc::refused, "the agent has too many files");
    if (status.type() != fs::file_type::directory) {
      if (::link(it->path().c_str(), target.c_str()) != 0) return fail_errno("link " + target.string(), errno);
      continue;
    }
    if (::mkdir(target.c_str(), 0700) != 0 || ::chmod(target.c_str(), static_cast<mode_t>(status.permissions())) != 0)
      return fail_errno("mkdir " + target.string(), errno);
    if (auto linked = link_tree(it->path(), target, depth + 1, left); !linked) return linked;
  }
  if (error) return fail(Errc::io, "list " + from.string() + ": " + error.message());
  return {};
}

/// Never over something that is there.
Result<void> move_to(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0)
    return fail_errno("rename " + from.string() + " to " + to.string(), errno);
  return {};
}

/// Everything but the last rename.
Result<void> prepare(Host& host, const WarmSandbox& warm, const wire::SandboxSpecT& spec, const Started& started,
                     PlanFacts& facts, const Places& from, const Places& to) {
  if (auto waits = still_waits(host, from); !waits) return waits;
  if (!facts.agent_dir.empty()) {
    unsigned left = kMaxAgentFiles;
    if (auto linked = link_tree(facts.agent_dir, from.agent(), 0, left); !linked) return linked;
    facts.agent_dir = to.agent();
  }
  Plan plan{warm.id, attempt_files(spec, facts, from)};
  plan.operations.push_back(WriteFile{from.config(), oci_config(spec, facts), 0600, 0});  // a command beside a step has its limits
  plan.operations.push_back(WriteFile{from.container(), warm.id, 0600, 0});
  plan.operations.push_back(Symlink{from.run / "ws", to.work()});
  if (facts.project_quota) plan.operations.push_back(limit_disk(spec, facts, from.writable()));
  if (auto done = host.ops.carry_out(plan); !done) return done;
  if (auto done = write_started(from, started, warm.slot); !done) return done;
  if (auto done = host.ops.limit(warm.id, {spec.memory_bytes, spec.cpus_milli, spec.pids}, spec.disk_bytes); !done)
    return done;
  if (::mkdir(to.kept.c_str(), 0711) != 0 && errno != EEXIST) return fail_errno("mkdir " + to.kept.string(), errno);
  if (auto done = move_to(from.log(), to.log()); !done) return done;
  if (auto done = move_to(from.agent(), to.agent()); !done) return done;
  return move_to(from.writable(), to.writable());
}

}  // namespace

std::string new_warm_id() { return "warm" + to_hex(random_bytes(6)) + "-1"; }

Result<std::string> warm_key(Host& host, const wire::SandboxSpecT& spec, const Started& started) {
  // Context files and other repositories are put in place before the container is made.
  if (host.config.disk_limit == DiskLimit::loop || !spec.context_files.empty() || !spec.other_repositories.empty())
    return std::string();
  auto facts = host_facts(host, started, 0);
  if (!facts) return fail(Errc::io, facts.error().message);
  facts->uid_base = 0;
  facts->agent_dir = "/agent";
  const std::string config = oci_config(bare_spec(spec, "warm-1"), *facts);
  return sha256_hex(config + '\0' + spec.url + '\0' + started.mirror.base_branch);
}

Result<WarmSandbox> make_warm(Host& host, const wire::SandboxSpecT& like, const Started& started, const std::string& id,
                              unsigned slot, const std::function<bool()>& give_up) {
  const Places places(host.config.paths, id);
  auto facts = host_facts(host, started, slot);
  if (!facts) return fail(Errc::io, facts.error().message);
  facts->warm = true;
  facts->agent_dir = places.agent();
  WarmSandbox warm{id, slot, started.warm_key, started.layer_key.key, {}};
  for (const fs::path& directory : {places.run, places.kept})
    if (::mkdir(directory.c_str(), 0711) != 0) return fail_errno("mkdir " + directory.string(), errno);
  if (!started.layer_key.empty()) {
    const auto layer = host.prebuilds.take(started.layer_key, places, wall_clock_now());
    if (!layer) return fail(Errc::not_found, "its prebuild is not there yet");
    warm.layer = facts->prebuild = *layer;
  }
  if (auto done = host.ops.carry_out(make_plan(bare_spec(like, id), *facts)); !done) return tl::unexpected(done.error());
  if (auto ready = wait_ready(host, places, like.disk_bytes, give_up); !ready) return tl::unexpected(ready.error());
  return warm;
}

Result<void> hand_over(Host& host, const WarmSandbox& warm, const wire::SandboxSpecT& spec, const Started& started,
                       PlanFacts facts) {
  const Places from(host.config.paths, warm.id), to(host.config.paths, sandbox_id(spec.run, spec.attempt));
  if (auto done = prepare(host, warm, spec, started, facts, from, to); !done) return done;
  if (auto done = move_to(from.run, to.run); !done) return done;
  ::rmdir(from.kept.c_str());
  return {};
}

void remove_warm(Host& host, const std::string& id) {
  if (auto done = host.ops.teardown(id, true); !done) spdlog::error("{}: {}", id, done.error().message);
}

}  // namespace muster::sandbox
