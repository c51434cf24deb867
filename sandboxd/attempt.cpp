#include "sandboxd/attempt.hpp"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "sandboxd/artifacts.hpp"
#include "sandboxd/check.hpp"
#include "sandboxd/log_reader.hpp"
#include "sandboxd/output.hpp"
#include "sandboxd/pack.hpp"
#include "sandboxd/repo_file.hpp"
#include "sandboxd/steering.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMaxOpenFiles = 65536;
constexpr std::size_t kMaxSecret = 64u << 10;
constexpr std::size_t kLogPiece = 256u << 10;
constexpr std::size_t kMaxTails = 200u << 10;

std::int64_t now_ms() { return wall_clock_now().unix_ms; }

/// Milliseconds since `from` on a clock that never goes back.
std::int64_t since(std::chrono::steady_clock::time_point from) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - from)
      .count();
}

AttemptFailure fetch_failure(const Error& error) {
  return {error.code == Errc::not_found ? "base_missing" : "fetch_failed", error.message};
}

/// A secret's file belongs to root and is for nobody else to read.
Result<std::string> read_secret(const fs::path& path, const std::string& name) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode))
    return fail(Errc::not_found, "this host has no secret " + name);
  if ((info.st_mode & 0077) != 0 || info.st_uid != ::geteuid())
    return fail(Errc::refused, "secret " + name + " is refused: chmod 0600 and chown root its file");
  auto text = read_file(path, kMaxSecret);
  if (text && !text->empty() && text->back() == '\n') text->pop_back();
  if (text && text->find('\0') != std::string::npos)
    return fail(Errc::refused, "secret " + name + " is refused: it has a NUL");
  return text;
}

AttemptFailure environment_failure(const Error& error) {
  return {error.code == Errc::invalid   ? "bad_environment"
          : error.code == Errc::refused ? "not_allowed"
                                        : "image_failed",
          error.message};
}

/// The environment, its image on this host and its variables known.
Result<Environment> make_environment(Host& host, const wire::SandboxSpecT& spec, const MirrorState& mirror) {
  auto environment = resolve_environment(host.config.environments, spec, mirror.objects, mirror.base_sha);
  if (!environment) return environment;
  auto pinned = host.images.pin(environment->image);
  if (!pinned) return tl::unexpected(pinned.error());
  environment->image = std::move(*pinned);
  const auto image = host.images.get(environment->image);
  if (!image) return tl::unexpected(image.error());
  if (auto done = substitute_variables(*environment, image->env); !done) return tl::unexpected(done.error());
  return environment;
}

/// What this attempt's prebuild is called, if its environment wants one and there is a setup to save.
Result<PrebuildKey> key_of(const wire::SandboxSpecT& spec, const Started& started, const Image& image,
                           const std::map<std::string, std::string>& secrets) {
  const bool setup = !started.environment.setup.empty() ||
                     step_kind(spec.steps.front()->name) == StepKind::setup;
  if (!started.environment.prebuild || !setup) return PrebuildKey{};
  const auto files = find_files(started.mirror.objects, started.mirror.base_sha, *started.environment.prebuild);
  if (!files) return tl::unexpected(files.error());
  std::vector<std::string> locks;
  for (std::size_t i = 0; i < files->size(); ++i)
    locks.push_back((*started.environment.prebuild)[i] + "=" + (*files)[i].id);
  for (const auto& other : started.others) locks.push_back("/repositories/" + other.name + "=" + other.base_sha);
  const std::string identity = image.digest.empty() ? image.rootfs.string() : image.digest;
  return prebuild_key(spec, started.environment, started.mirror.base_branch, identity, secrets, locks);
}

}  // namespace

tl::expected<PlanFacts, AttemptFailure> host_facts(Host& host, const Started& started, unsigned slot) {
  PlanFacts facts;
  facts.paths = host.config.paths;
  facts.runtime = host.config.runtime;
  facts.conmon = host.config.conmon;
  facts.cgroup_parent = host.ops.cgroup_parent();
  facts.cgroup_v2 = host.ops.cgroups().v2();
  facts.swap_limit = host.ops.cgroups().swap_limit();
  facts.max_open_files = host.max_open_files;
  facts.uid_base = host.config.uid_base + slot * kUidRange;
  facts.project_quota = host.config.disk_limit == DiskLimit::project;
  facts.objects = started.mirror.objects;
  facts.base_sha = started.mirror.base_sha;
  facts.others = started.others;
  facts.resumed = started.resumed;
  std::error_code error;
  facts.has_opt = fs::is_directory("/opt", error);
  auto image = host.images.get(started.environment.image);
  if (!image) return tl::unexpected(environment_failure(image.error()));
  facts.rootfs = image->rootfs;
  facts.made_rootfs = image->made;
  facts.mount_points = image->mount_points;
  facts.mounts = started.environment.mounts;
  return facts;
}

namespace {

/// What `started` lacks until now, the prebuild's name, is set.
tl::expected<PlanFacts, AttemptFailure> gather(Host& host, const wire::SandboxSpecT& spec,
                                               Started& started, unsigned slot) {
  auto known = host_facts(host, started, slot);
  if (!known) return known;
  PlanFacts facts = std::move(*known);
  const auto image = host.images.get(started.environment.image);
  if (!image) return tl::unexpected(environment_failure(image.error()));
  facts.image_env = image->env;
  facts.image_env.insert(facts.image_env.end(), started.environment.env.begin(), started.environment.env.end());
  facts.setup = started.environment.setup;
  if (host.config.disk_limit == DiskLimit::loop) {
    auto empty = host.disks.empty_image(spec.disk_bytes);
    if (!empty) return tl::unexpected(AttemptFailure{"no_disk", empty.error().message});
    facts.empty_disk = *empty;
  }
  for (const auto& name : spec.secrets) {
    auto secret = read_secret(host.config.paths.secrets() / name, name);
    if (!secret) return tl::unexpected(AttemptFailure{"no_secret", secret.error().message});
    facts.secrets[name] = std::move(*secret);
  }
  auto prebuild = started.snapshot.empty() ? key_of(spec, started, *image, facts.secrets) : PrebuildKey{};
  if (!prebuild) return tl::unexpected(AttemptFailure{"fetch_failed", prebuild.error().message});
  started.layer_key = started.prebuild = std::move(*prebuild);
  if (!spec.agent_bundle.empty()) {
    auto dir = host.images.agent_bundle(spec.agent_bundle, host.blobs.path(spec.agent_bundle));
    if (!dir) return tl::unexpected(AttemptFailure{"no_bundle", dir.error().message});
    facts.agent_dir = *dir;
  }
  return facts;
}

}  // namespace

Result<void> write_started(const Places& places, const Started& started, unsigned slot) {
  nlohmann::json others = nlohmann::json::object();
  for (const auto& other : started.others) others[other.name] = other.base_sha;
  const nlohmann::json text = {{"objects", started.mirror.objects.string()},
                               {"base_branch", started.mirror.base_branch},
                               {"base_sha", started.mirror.base_sha},
                               {"hit", started.mirror.hit},
                               {"fetch_ms", started.fetch_ms},
                               {"setup", step_names(started.environment)},
                               {"warnings", started.environment.warnings},
                               {"prebuild_note", started.prebuild_note},
                               {"prebuild_reuse", static_cast<int>(started.prebuild_reuse)},
                               {"warm_reuse", static_cast<int>(started.warm_reuse)},
                               {"resumed", started.resumed},
                               {"others", others},
                               {"slot", slot}};
  const fs::path path = places.run / "started.json";
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  const std::string bytes = text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (!fd.valid() || ::write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    return fail_errno("write " + path.string(), errno);
  return {};
}

namespace {

void note(const Places& places, std::string_view text) {
  std::string frame;
  append_log_frame(frame, {LogType::note, 0, wall_clock_now(), valid_utf8(text).substr(0, 8192)});
  (void)append_log(places.log(), frame);  // the report says it too
}

std::uint64_t stream_bytes(const Places& places, Progress& progress) {
  LogReader reader(places.log());
  std::string piece;
  if (!reader.seek(progress.bytes())) return progress.bytes();
  while (reader.read(piece, kLogPiece).value_or(0) > 0) piece.clear();
  return reader.offset();
}

}  // namespace

// ---- Host ----

Host::Host(HostConfig settings, Cgroups cgroups)
    : config(std::move(settings)), ops(config.paths, std::move(cgroups), config.runtime),
      images(config.paths, config.muster_init,
             {config.image_directories, config.registries, config.paths.config() / "registry-login.json",
              config.max_image_bytes}),
      mirrors(config.paths, config.concurrent_fetches),
      disks(config.paths.host() / "disks"),
      prebuilds(config.paths, Duration{config.prebuild_max_age_hours * 3'600'000ll}),
      snapshots(config.paths,
                {config.snapshots.max, config.snapshots.max_bytes, config.disk_low_water_bytes}),
      blobs(config.paths.host() / "blobs") {}

Result<std::unique_ptr<Host>> Host::open(HostConfig config) {
  if (auto ready = complete(config); !ready) return tl::unexpected(ready.error());
  auto cgroups = Cgroups::find();
  if (!cgroups) return tl::unexpected(cgroups.error());
  if (config.image_directories.empty())
    config.image_directories = {config.paths.root / "srv/muster/images"};
  for (const auto& [path, mode] :
       {std::pair{config.paths.data(), 0711u}, {config.paths.host(), 0711u},
        {config.paths.host() / "attempts", 0711u}, {config.paths.host() / "blobs", 0700u},
        {config.paths.host() / "bundles", 0711u}, {config.paths.host() / "prebuilds", 0700u},
        {config.paths.host() / "snapshots", 0700u},
        {config.paths.mirrors(), 0711u},
        {config.paths.images(), 0711u}, {config.paths.runtime(), 0711u},
        {config.paths.runtime() / "s", 0711u}, {config.paths.runtime() / "runc", 0711u},
        {config.paths.runtime() / "exits", 0700u}})
    if (auto made = make_directory(path, mode); !made) return tl::unexpected(made.error());
  if (auto written = write_file_durably(config.paths.host() / "gitconfig",
                                        "[safe]\n\tdirectory = *\n");
      !written)
    return tl::unexpected(written.error());
  start_libgit2();
  std::unique_ptr<Host> host(new Host(std::move(config), std::move(*cgroups)));
  auto scratch = ensure_scratch_repository(host->config.paths.host() / "scratch.git");
  if (!scratch) return tl::unexpected(scratch.error());
  host->scratch_git = *scratch;
  host->images.remove_old();
  host->prebuilds.remove_halves();
  if (auto opened = host->snapshots.open(); !opened) return tl::unexpected(opened.error());
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  host->max_open_files = std::min<std::uint64_t>(files.rlim_max, kMaxOpenFiles);
  struct sysinfo machine{};
  ::sysinfo(&machine);
  host->memory_bytes = static_cast<std::uint64_t>(machine.totalram) * machine.mem_unit;
  return host;
}

// ---- an attempt ----

fs::path pack_path(const Places& places) { return places.kept / "objects/pack/pack-muster.pack"; }
fs::path artifacts_path(const Places& places) { return places.kept / "artifacts.tar"; }

namespace {

tl::expected<std::vector<OtherCheckout>, AttemptFailure> fetch_others(Host& host, const wire::SandboxSpecT& spec) {
  std::vector<OtherCheckout> others;
  for (const auto& other : spec.other_repositories) {
    auto mirror = host.mirrors.update(other->url, other->base_branch);
    if (!mirror) return tl::unexpected(fetch_failure({mirror.error().code, other->name + ": " + mirror.error().message}));
    others.push_back({other->name, other->url, mirror->base_branch, mirror->base_sha, mirror->objects});
  }
  return others;
}

struct Resumption {
  std::string commit, warning;
};

/// The mirror's base becomes the checkpoint's. One that is of no use costs the work in it, not the attempt.
Resumption begin_with_checkpoint(Host& host, const wire::SandboxSpecT& spec, MirrorState& mirror) {
  if (!spec.resume) return {};
  const Places places(host.config.paths, sandbox_id(spec.run, spec.attempt));
  ::mkdir(places.kept.c_str(), 0711);
  const auto objects = unpack_resume({spec, places, host.scratch_git, mirror}, host.blobs);
  if (!objects)
    return {"", "the attempt begins anew, because its checkpoint is of no use: " + objects.error().message};
  mirror.base_sha = spec.resume->base;
  return {spec.resume->commit, ""};
}

}  // namespace

tl::expected<Started, AttemptFailure> fetch_attempt(Host& host, const wire::SandboxSpecT& spec) {
  const auto begin = std::chrono::steady_clock::now();
  auto mirror = host.mirrors.update(spec.url, spec.base_branch);
  if (!mirror) return tl::unexpected(fetch_failure(mirror.error()));
  auto others = fetch_others(host, spec);
  if (!others) return tl::unexpected(others.error());
  const Resumption resumption =
      spec.snapshot.empty() ? begin_with_checkpoint(host, spec, *mirror) : Resumption{};
  std::string resumed = resumption.commit;
  if (!spec.snapshot.empty()) {
    const auto snapshot = host.snapshots.find(spec.snapshot);
    if (!snapshot) return tl::unexpected(AttemptFailure{"no_snapshot", "this host has no snapshot " + spec.snapshot});
    if (snapshot->url != spec.url)
      return tl::unexpected(AttemptFailure{"no_snapshot", "snapshot " + spec.snapshot + " is of another repository"});
    mirror->base_sha = snapshot->base_sha;
    resumed = snapshot->resumed;
  }
  auto environment = make_environment(host, spec, *mirror);
  if (!environment) return tl::unexpected(environment_failure(environment.error()));
  Started started;
  started.mirror = std::move(*mirror);
  started.environment = std::move(*environment);
  started.others = std::move(*others);
  started.resumed = resumed;
  started.snapshot = spec.snapshot;
  if (!resumption.warning.empty()) started.environment.warnings.push_back(resumption.warning);
  // What was made ahead has neither a checkpoint's nor another repository's mounts, and a workspace of its own.
  if (host.config.warm_pool.max > 0 && !spec.resume && spec.snapshot.empty() && spec.other_repositories.empty())
    if (auto key = warm_key(host, spec, started)) started.warm_key = std::move(*key);
  started.fetch_ms = since(begin);
  return started;
}

namespace {

/// The attempt goes on in a sandbox that was made ahead, if that still lives and has what this attempt needs. False: it is
/// gone, and one must be made.
bool take_warm(Host& host, const wire::SandboxSpecT& spec, const WarmSandbox& warm, PlanFacts facts, Started started) {
  facts.prebuild = warm.layer;
  Result<void> done = fail(Errc::conflict, "its prebuild is another");
  if (warm.prebuild == started.layer_key.key) done = hand_over(host, warm, spec, started, std::move(facts));
  const std::string id = sandbox_id(spec.run, spec.attempt);
  if (done) {
    host.ops.let_go(id);
    return true;
  }
  spdlog::info("{}: {}", warm.id, done.error().message);
  remove_warm(host, warm.id);
  if (auto torn = host.ops.teardown(id, false); !torn) spdlog::error("{}: {}", id, torn.error().message);
  return false;
}

std::string prebuild_name(const PrebuildKey& key) { return "prebuild " + key.key.substr(0, 12); }
std::string prebuild_hit(const PrebuildKey& key) { return prebuild_name(key) + ": hit, its setup is not repeated"; }

void take_prebuild(Host& host, const Places& places, Started& started, PlanFacts& facts) {
  if (started.prebuild.empty()) return;
  const auto layer = host.prebuilds.take(started.prebuild, places, wall_clock_now());
  if (layer) {
    facts.prebuild = *layer;
    started.prebuild_note = prebuild_hit(started.prebuild);
    started.prebuild_reuse = wire::Reuse::hit;
    started.prebuild = {};
  } else if (!started.resumed.empty()) {
    started.prebuild_note = prebuild_name(started.prebuild) + ": miss, and none is made of a workspace that begins with a checkpoint";
  } else {
    facts.hold_after_setup = true;
    started.prebuild_note = prebuild_name(started.prebuild) + ": miss";
    started.prebuild_reuse = wire::Reuse::miss;
  }
}

}  // namespace

std::string keep_prebuild(Host& host, const wire::SandboxSpecT& spec, const Started& started, bool tracked_unchanged) {
  const Places places(host.config.paths, sandbox_id(spec.run, spec.attempt));
  std::string said = started.prebuild_note;
  if (!tracked_unchanged) {
    said += ", and not kept: the setup changes files that the repository tracks";
  } else if (!started.prebuild.empty()) {
    const auto begin = std::chrono::steady_clock::now();
    const auto kept = host.prebuilds.keep(started.prebuild, places, started.mirror.objects, started.mirror.base_sha,
                                          wall_clock_now(), [&] { return host.ops.alive(places.id); });
    said += kept ? *kept ? ", kept in " + std::to_string(since(begin)) + " ms" : ", being kept by another sandbox"
                 : ", and not kept: " + kept.error().message;
  }
  return said;
}

Result<wire::CheckpointT> keep_checkpoint(Host& host, const wire::SandboxSpecT& spec, const Started& started,
                                          const SaidCheckpoint& said) {
  const Places places(host.config.paths, sandbox_id(spec.run, spec.attempt));
  return take_checkpoint({spec, places, host.scratch_git, started.mirror}, said,
                         checkpoint_directory(places, said.head));
}

tl::expected<Started, AttemptFailure> create_attempt(Host& host, const wire::SandboxSpecT& spec,
                                                     Started started, unsigned slot,
                                                     const std::optional<WarmSandbox>& warm) {
  const auto begin = std::chrono::steady_clock::now();
  const Places places(host.config.paths, sandbox_id(spec.run, spec.attempt));
  wire::SandboxSpecT resolved = spec;
  resolved.base_branch = started.mirror.base_branch;
  auto facts = gather(host, resolved, started, slot);
  if (!facts) {
    if (warm) remove_warm(host, warm->id);
    return tl::unexpected(facts.error());
  }
  facts->messages = kept_messages(places);
  if (warm) {
    Started taken = started;
    taken.warm_reuse = wire::Reuse::hit;
    if (!warm->layer.empty()) {
      taken.prebuild_note = prebuild_hit(started.prebuild);
      taken.prebuild_reuse = wire::Reuse::hit;
    }
    taken.prebuild = {};
    if (take_warm(host, resolved, *warm, *facts, taken)) {
      taken.container = warm->id;
      taken.create_ms = since(begin);
      return taken;
    }
  }
  if (!started.warm_key.empty()) started.warm_reuse = wire::Reuse::miss;
  const auto failed = [](const Error& error) {
    return tl::unexpected(AttemptFailure{"runtime_failed", error.message});
  };
  for (const fs::path& directory : {places.run, places.kept})
    if (::mkdir(directory.c_str(), 0711) != 0 && errno != EEXIST)
      return failed(fail_errno("mkdir " + directory.string(), errno).value());
  take_prebuild(host, places, started, *facts);
  if (!started.snapshot.empty()) {
    auto layer = host.snapshots.begin_with(started.snapshot, places);
    if (!layer) return tl::unexpected(AttemptFailure{"no_snapshot", layer.error().message});
    facts->prebuild = std::move(*layer);
    facts->fork = true;
  }
  if (auto written = write_started(places, started, slot); !written) return failed(written.error());
  if (auto done = host.ops.carry_out(make_plan(resolved, *facts)); !done) return failed(done.error());
  started.create_ms = since(begin);
  return started;
}

namespace {

wire::Reuse reuse_of(const nlohmann::json& json, const char* key) {
  return static_cast<wire::Reuse>(std::clamp(json.value(key, 0), 0, static_cast<int>(wire::Reuse::MAX)));
}

}  // namespace

Result<KeptStart> read_started(const Host& host, const std::string& id) {
  const auto text = read_file(Places(host.config.paths, id).run / "started.json", 1u << 20);
  if (!text) return tl::unexpected(text.error());
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object()) return fail(Errc::corrupt, "started.json of " + id);
  KeptStart kept;
  kept.started.mirror.objects = json.value("objects", "");
  kept.started.mirror.base_branch = json.value("base_branch", "");
  kept.started.mirror.base_sha = json.value("base_sha", "");
  kept.started.mirror.hit = json.value("hit", false);
  kept.started.fetch_ms = json.value("fetch_ms", std::int64_t{0});
  kept.slot = json.value("slot", 0u);
  for (const auto& name : json.value("setup", std::vector<std::string>{})) {
    kept.started.environment.setup.emplace_back();
    kept.started.environment.setup.back().name = name;
  }
  kept.started.prebuild_note = json.value("prebuild_note", "");
  kept.started.prebuild_reuse = reuse_of(json, "prebuild_reuse");
  kept.started.warm_reuse = reuse_of(json, "warm_reuse");
  if (auto container = host.ops.container(id); container != id) kept.started.container = std::move(container);
  kept.started.resumed = json.value("resumed", "");
  for (const auto& [name, commit] : json.value("others", std::map<std::string, std::string>{}))
    kept.started.others.push_back({name, "", "", commit, {}});
  kept.started.environment.warnings = json.value("warnings", std::vector<std::string>{});
  return kept;
}

namespace {

/// Sets outcome, reason and message from the facts; the pack is not looked at yet.
void judge(wire::AttemptReportT& report, const wire::SandboxSpecT& spec, Progress& progress,
           const std::optional<StopCause>& stop, const CgroupUsage& usage, bool disk_full, int exit_code) {
  const auto failed = [&](std::string reason, std::string message) {
    report.outcome = wire::Outcome::failed;
    report.reason = std::move(reason);
    report.message = std::move(message);
  };
  if (stop) {
    progress.close_open_step(stop->by_engine ? "stopped" : stop->reason, now_ms());
    report.outcome = stop->by_engine ? wire::Outcome::cancelled : wire::Outcome::step_failed;
    report.reason = stop->reason;
    if (!stop->by_engine && progress.steps().empty())
      failed(stop->reason, "the sandbox was ended before its first step: " + stop->reason);
    return;
  }
  if (exit_code != 0) {
    const bool oom = usage.oom_kills > 0;
    progress.close_open_step(oom ? "out_of_memory" : "", now_ms());
    if (oom && !progress.steps().empty()) {
      report.outcome = wire::Outcome::step_failed;
      return;
    }
    return failed("runtime_failed", exit_code < 0 ? "the container was lost"
                                                  : "process 1 of the sandbox ended with " +
                                                        std::to_string(exit_code));
  }
  if (!progress.checked_out())
    return failed("checkout_failed", "the workspace could not be made: " + progress.trouble());
  const auto& steps = progress.steps();
  if (!steps.empty() && steps.back().reason != "skipped" &&
      (steps.back().exit_code != 0 || !steps.back().reason.empty())) {
    if (usage.oom_kills > 0 && steps.back().reason.empty())
      progress.close_open_step("out_of_memory", now_ms());
    if (disk_full && steps.back().reason.empty()) progress.close_open_step("disk_full", now_ms());
    report.outcome = wire::Outcome::step_failed;
    return;
  }
  if (!progress.commit_tried()) return failed("runtime_failed", "process 1 ended too early");
  if (progress.pack_too_large())
    return failed("pack_too_large", "the change is larger than " + std::to_string(spec.max_pack_bytes) +
                                        " bytes");
  if (!progress.committed())
    return failed("commit_failed", "the changes could not be committed: " + progress.trouble());
  if (progress.head().empty()) {
    report.outcome = wire::Outcome::unchanged;
    return;
  }
  const bool verified = std::any_of(steps.begin(), steps.end(), [](const auto& step) {
    return step_kind(step.name) == StepKind::verify && step.reason != "skipped";
  });
  report.outcome = wire::Outcome::changed;
  if (spec.verify_required && !verified) {
    report.outcome = wire::Outcome::step_failed;
    report.reason = "none_applied";
    report.message = "no verification applied to this repository";
  }
}

void add_pack(Host& host, const wire::SandboxSpecT& spec, const Started& started,
              const Progress& progress, wire::AttemptReportT& report) {
  const Places places(host.config.paths, sandbox_id(spec.run, spec.attempt));
  PackRequest request;
  request.out = places.out();
  request.relative = progress.pack();
  request.scratch = places.kept;
  request.git_dir = host.scratch_git;
  request.mirror_objects = started.mirror.objects;
  request.base_sha = started.mirror.base_sha;
  request.head_sha = progress.head();
  request.max_bytes = spec.max_pack_bytes;
  request.manual = spec.commit->manual;
  auto pack = check_pack(request);
  if (!pack) {
    report.outcome = wire::Outcome::failed;
    report.reason = "bad_pack";
    report.message = pack.error().message;
    return;
  }
  report.head_sha = progress.head();
  report.tree_sha = pack->tree_sha;
  report.pack_digest = pack->digest;
  report.pack_bytes = pack->bytes;
  report.diff = std::make_unique<wire::DiffStatT>();
  report.diff->files = pack->files;
  report.diff->insertions = pack->insertions;
  report.diff->deletions = pack->deletions;
}

void add_artifacts(const Places& places, std::uint64_t max_bytes, wire::AttemptReportT& report) {
  if (max_bytes == 0) return;
  auto taken = take_artifacts(places.out(), artifacts_path(places), max_bytes);
  if (!taken) {
    report.warnings.push_back("artifacts: none are kept: " + taken.error().message);
    return;
  }
  report.artifacts = std::move(taken->files);
  report.artifacts_digest = std::move(taken->digest);
  report.artifacts_bytes = taken->bytes;
  report.warnings.insert(report.warnings.end(), taken->warnings.begin(), taken->warnings.end());
}

/// Of an attempt that did not pass: its commit, if it came so far, else what muster-init kept last.
void add_checkpoint(Host& host, const wire::SandboxSpecT& spec, const Started& started, const Progress& progress,
                    wire::AttemptReportT& report) {
  const bool passed = report.outcome == wire::Outcome::changed || report.outcome == wire::Outcome::unchanged;
  const SaidCheckpoint said = !progress.head().empty()
                                  ? SaidCheckpoint{progress.head(), progress.pack()}
                                  : SaidCheckpoint{progress.checkpoint_head(), progress.checkpoint_pack()};
  if (spec.checkpoint_interval_ms <= 0 || passed || said.head.empty()) return;
  const Places places(host.config.paths, sandbox_id(spec.run, spec.attempt));
  auto taken = take_checkpoint({spec, places, host.scratch_git, started.mirror}, said, places.kept / "checkpoint-last");
  if (taken)
    report.checkpoint = std::make_unique<wire::CheckpointT>(std::move(*taken));
  else
    report.warnings.push_back("its work in progress is not kept: " + taken.error().message);
}

/// The whole report must fit a frame: of many steps the last ones keep their words.
void add_steps(wire::AttemptReportT& report, const Progress& progress) {
  std::size_t tails = 0;
  for (auto step = progress.steps().rbegin(); step != progress.steps().rend(); ++step) {
    report.steps.insert(report.steps.begin(), std::make_unique<wire::StepReportT>(*step));
    tails += step->tail.size();
    if (tails > kMaxTails) report.steps.front()->tail.clear();
  }
}

}  // namespace

namespace {

/// Where the time before the first step went, and which caches helped.
std::string phases(const Started& started) {
  return "fetch and image " + std::to_string(started.fetch_ms) + " ms (mirror " +
         (started.mirror.hit ? "hit" : "miss") + "), create " + std::to_string(started.create_ms) + " ms" +
         (started.prebuild_note.empty() ? "" : ", " + started.prebuild_note) +
         (started.warm_reuse == wire::Reuse::none ? "" : std::string(", warm sandbox: ") + wire::EnumNameReuse(started.warm_reuse));
}

}  // namespace

void tear_down(Host& host, const std::string& id, wire::AttemptReportT& report) {
  const auto begin = std::chrono::steady_clock::now();
  if (auto done = host.ops.teardown(id, false); !done)
    report.warnings.push_back("teardown: " + done.error().message);
  report.teardown_ms = since(begin);
}

wire::AttemptReportT conclude_attempt(Host& host, const wire::SandboxSpecT& spec, const Started& started,
                                    Progress& progress, const std::optional<StopCause>& stop) {
  const Places places(host.config.paths, sandbox_id(spec.run, spec.attempt));
  wire::AttemptReportT report;
  report.base_sha = started.mirror.base_sha;
  report.mirror_hit = started.mirror.hit;
  report.prebuild = started.prebuild_reuse;
  report.warm_sandbox = started.warm_reuse;
  report.resumed = started.resumed;
  for (const auto& other : started.others) {
    report.other_bases.push_back(std::make_unique<wire::KeyValueT>());
    report.other_bases.back()->key = other.name;
    report.other_bases.back()->value = other.base_sha;
  }
  report.fetch_ms = started.fetch_ms;
  report.create_ms = started.create_ms;
  const CgroupUsage usage = host.ops.usage(places.id);
  report.peak_memory_bytes = usage.peak_memory_bytes;
  report.cpu_ms = usage.cpu_ms;
  const bool disk_full = host.config.disk_limit != DiskLimit::measure && disk_is_full(places.writable());
  judge(report, spec, progress, stop, usage, disk_full, host.ops.exit_code(places.id).value_or(-1));
  if (report.outcome == wire::Outcome::changed) add_pack(host, spec, started, progress, report);
  add_checkpoint(host, spec, started, progress, report);
  add_steps(report, progress);
  const Mask mask = mask_from(places.in() / "plan");
  Output output = read_output(places.out(), mask);
  report.summary = std::move(output.summary);
  report.result_json = std::move(output.result_json);
  report.warnings = started.environment.warnings;
  for (auto& warning : report.warnings) warning = valid_utf8(warning);
  report.warnings.insert(report.warnings.end(), output.warnings.begin(), output.warnings.end());
  add_artifacts(places, spec.max_artifact_bytes, report);
  if (usage.refused_processes > 0)
    report.warnings.push_back("it reached its limit of " + std::to_string(spec.pids) + " processes " +
                              std::to_string(usage.refused_processes) + " times");
  report.message = mask.masked(report.message);
  if (!started.prebuild_note.empty() || started.warm_reuse != wire::Reuse::none) note(places, phases(started));
  for (const auto& warning : report.warnings) note(places, warning);
  if (!report.message.empty()) note(places, report.message);
  report.log_bytes = stream_bytes(places, progress);
  return report;
}

wire::AttemptReportT conclude_unstarted(Host& host, const wire::SandboxSpecT& spec,
                                        const AttemptFailure& failure,
                                        const std::optional<StopCause>& stop) {
  const Places places(host.config.paths, sandbox_id(spec.run, spec.attempt));
  wire::AttemptReportT report;
  const bool stopped = stop && stop->by_engine;
  report.outcome = stopped ? wire::Outcome::cancelled : wire::Outcome::failed;
  report.reason = stop ? stop->reason : failure.reason;
  report.message = valid_utf8(failure.message);
  ::mkdir(places.kept.c_str(), 0711);
  if (!report.message.empty()) note(places, report.message);
  Progress nothing(spec);
  report.log_bytes = stream_bytes(places, nothing);
  return report;
}

wire::AttemptReportT run_attempt(Host& host, const wire::SandboxSpecT& spec,
                                 const std::function<void(std::string_view)>& log, unsigned slot,
                                 const std::optional<WarmSandbox>& warm) {
  const Places places(host.config.paths, sandbox_id(spec.run, spec.attempt));
  const Fd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  ::inotify_add_watch(watch.get(), host.ops.exits().c_str(), IN_CREATE | IN_MOVED_TO);
  auto started = fetch_attempt(host, spec);
  if (started) started = create_attempt(host, spec, std::move(*started), warm ? warm->slot : slot, warm);
  if (!started) {
    auto report = conclude_unstarted(host, spec, started.error(), std::nullopt);
    tear_down(host, places.id, report);
    return report;
  }
  ::inotify_add_watch(watch.get(), places.log().c_str(), IN_MODIFY);
  LogReader reader(places.log());
  Progress progress(spec, step_names(started->environment));
  bool let_go = false;
  const auto follow = [&] {
    std::string piece;
    while (reader.read(piece, kLogPiece).value_or(0) > 0) {
      if (log) log(piece);
      if (!progress.feed(piece)) return;
      piece.clear();
    }
    if (!progress.held() || let_go) return;
    let_go = true;
    started->prebuild_note = keep_prebuild(host, spec, *started, progress.tracked_unchanged());
    host.ops.let_go(places.id);
  };
  while (!host.ops.exit_code(places.id) && host.ops.supervised(places.id)) {
    pollfd waits{watch.get(), POLLIN, 0};
    ::poll(&waits, 1, 1000);
    char events[4096];
    while (::read(watch.get(), events, sizeof events) > 0) {
    }
    follow();
  }
  follow();
  auto report = conclude_attempt(host, spec, *started, progress, std::nullopt);
  tear_down(host, places.id, report);
  return report;
}

}  // namespace muster::sandbox
