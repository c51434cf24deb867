#include "sandboxd/plan.hpp"

#include <algorithm>

#include "sandboxd/init/plan_format.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr const char* kAgentHome = "/home/agent";
constexpr std::int64_t kMinCheckpointMs = 1'000;
// Files of a project: as many as ext4 has for so many bytes, and in any case what a small repository needs.
constexpr std::uint64_t kBytesPerFile = 16u << 10, kMinFiles = 16'384;

/// The contract's variables win over the fleet file's; those win over the image's and the defaults.
std::map<std::string, std::string> environment(const wire::SandboxSpecT& spec, const PlanFacts& facts) {
  std::map<std::string, std::string> env = {
      {"PATH", kDefaultPath}, {"LANG", "C.UTF-8"}};
  for (const auto& entry : facts.image_env)
    if (const std::size_t equal = entry.find('='); equal != std::string::npos && entry.find('\0') == std::string::npos)
      env[entry.substr(0, equal)] = entry.substr(equal + 1);
  for (const auto& entry : spec.env) env[entry->key] = entry->value;
  for (const auto& [name, value] : facts.secrets) env[name] = value;
  env["HOME"] = kAgentHome;
  env["TMPDIR"] = "/tmp";
  env["USER"] = env["LOGNAME"] = "agent";
  env["REPOSITORY"] = spec.repository;
  env.erase("DRY_RUN");
  if (spec.dry_run) env["DRY_RUN"] = "true";
  env["MUSTER_FLEET"] = spec.fleet;
  env["MUSTER_RUN_ID"] = spec.run;
  env["MUSTER_ATTEMPT"] = std::to_string(spec.attempt);
  env["MUSTER_BASE_BRANCH"] = spec.base_branch;
  env["MUSTER_BASE_SHA"] = facts.base_sha;
  if (!facts.resumed.empty()) env["MUSTER_CHECKPOINT"] = facts.resumed;
  if (!facts.others.empty()) env["MUSTER_REPOSITORIES"] = "/repositories";
  env["MUSTER_BRANCH"] = spec.branch;
  env["MUSTER_PROMPT_FILE"] = "/muster/in/prompt.txt";
  env["MUSTER_CONTEXT_FILE"] = "/muster/in/context.json";
  env["MUSTER_STEER_FILE"] = "/muster/in/steering.jsonl";
  env["MUSTER_OUTPUT"] = "/muster/out/output";
  if (!facts.agent_dir.empty()) env["MUSTER_AGENT_DIR"] = "/muster/agent";
  if (!spec.feedback_json.empty()) env["MUSTER_FEEDBACK_FILE"] = "/muster/in/feedback.json";
  return env;
}

void add_step(PlanWriter& orders, const wire::StepT& step, std::size_t index) {
  orders.add("step", step.name);
  orders.add("index", static_cast<long long>(index));
  for (const auto& arg : step.argv) orders.add("arg", arg);
  if (!step.if_exists.empty()) orders.add("if_exists", step.if_exists);
  orders.add("timeout_ms", static_cast<long long>(step.timeout_ms));
  orders.add("idle_ms", static_cast<long long>(step.idle_timeout_ms));
}

/// Workspace and HOME, of a snapshot all, begin as the layer has them; what is written lies on the sandbox's own disk.
void add_layer(std::vector<Operation>& ops, const PlanFacts& facts, const Places& places) {
  const fs::path own = places.writable() / "layers";
  ops.push_back(MakeDirectory{own, 0711, 0});
  std::vector<const char*> names = {"work", "home"};
  if (facts.fork) names.insert(names.end(), {"tmp", "out"});
  if (facts.fork && !facts.others.empty()) names.push_back("repositories");
  for (const char* name : names) {
    const fs::path shifted = places.run / ("layer-" + std::string(name));
    const fs::path upper = own / name, work = own / (std::string(name) + ".tmp");
    ops.push_back(MakeDirectory{shifted, 0711, 0});
    ops.push_back(MakeDirectory{upper, 0700, facts.uid_base + kAgentUid});
    ops.push_back(MakeDirectory{work, 0700, 0});
    ops.push_back(MountLayer{facts.prebuild / name, shifted, upper, work, places.writable() / name, facts.uid_base});
  }
}

/// The spec's context files; check_spec has seen to their paths.
void add_files(std::vector<Operation>& ops, const wire::SandboxSpecT& spec, const PlanFacts& facts, const Places& places) {
  constexpr std::string_view kTmp = "/tmp/", kHome = "/home/agent/";
  for (const auto& file : spec.context_files) {
    const bool tmp = file->path.starts_with(kTmp);
    ops.push_back(PlaceFile{facts.agent_dir, file->source, places.writable() / (tmp ? "tmp" : "home"),
                            file->path.substr(tmp ? kTmp.size() : kHome.size()), file->mode,
                            facts.uid_base + file->owner, facts.uid_base + kAgentUid});
  }
}

std::vector<std::string> conmon_command(const PlanFacts& facts, const Places& places) {
  return {facts.conmon,
          "--api-version", "1",
          "-c", places.id,
          "-u", places.id,
          "-n", places.id,
          "-r", facts.runtime,
          "--runtime-arg", "--root=" + (facts.paths.runtime() / "runc").string(),
          "-b", places.run.string(),
          "-p", places.pid().string(),
          "--conmon-pidfile", places.conmon_pid().string(),
          "-l", "passthrough",
          "--exit-dir", (facts.paths.runtime() / "exits").string(),
          "--socket-dir-path", places.run.string(),
          "--log-level", "error"};
}

}  // namespace

std::string init_orders(const wire::SandboxSpecT& spec, const PlanFacts& facts) {
  PlanWriter orders;
  orders.add("work", "/work");
  orders.add("objects", "/muster/objects");
  orders.add("out", "/muster/out");
  orders.add("max_pack", static_cast<long long>(spec.max_pack_bytes));
  for (const auto& [name, value] : environment(spec, facts)) orders.add("env", name + "=" + value);
  for (const auto& [name, value] : facts.secrets) orders.add("mask", value);
  orders.add("max_log", static_cast<long long>(spec.max_log_bytes));
  orders.add("base", facts.base_sha);
  if (!facts.resumed.empty()) {
    orders.add("resume", facts.resumed);
    orders.add("resume_objects", "/muster/checkpoint");
  }
  if (spec.checkpoint_interval_ms > 0)
    orders.add("checkpoint_ms", static_cast<long long>(std::max(spec.checkpoint_interval_ms, kMinCheckpointMs)));
  if (facts.fork) orders.add("fork", "");
  orders.add("branch", spec.branch);
  orders.add("url", spec.url);
  orders.add("message", spec.commit->message);
  orders.add("author_name", spec.commit->author_name);
  orders.add("author_email", spec.commit->author_email);
  orders.add("date_s", spec.commit->date_unix_ms / 1000);
  orders.add("manual", spec.commit->manual ? 1 : 0);
  for (std::size_t i = 0; i < facts.others.size(); ++i) {
    const OtherCheckout& other = facts.others[i];
    orders.add("other", other.name);
    orders.add("other_objects", "/muster/others/" + std::to_string(i));
    orders.add("other_base", other.base_sha);
    orders.add("other_branch", other.base_branch);
    orders.add("other_url", other.url);
  }
  orders.add("checkout", "");
  const bool set_up = !facts.prebuild.empty();
  for (std::size_t i = 0; i < facts.setup.size() && !set_up; ++i)
    add_step(orders, facts.setup[i], spec.steps.size() + i);
  bool committed = false;
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    const StepKind kind = step_kind(spec.steps[i]->name);
    if (kind == StepKind::setup && set_up) continue;
    if (kind == StepKind::agent && facts.hold_after_setup) orders.add("hold", "");
    if (!committed && step_kind(spec.steps[i]->name) == StepKind::verify) {
      orders.add("commit", "");
      committed = true;
    }
    add_step(orders, *spec.steps[i], i);
  }
  if (!committed) orders.add("commit", "");
  return orders.take();
}

namespace {

/// Nothing of an attempt: there is none yet.
std::string warm_orders(const PlanFacts& facts) {
  PlanWriter orders;
  orders.add("work", "/work");
  orders.add("objects", "/muster/objects");
  orders.add("out", "/muster/out");
  orders.add("base", facts.base_sha);
  orders.add("warm", "");
  return orders.take();
}

}  // namespace

std::vector<Operation> attempt_files(const wire::SandboxSpecT& spec, const PlanFacts& facts, const Places& places) {
  std::vector<Operation> ops;
  ops.push_back(WriteFile{places.in() / "prompt.txt", spec.prompt, 0644, 0});
  ops.push_back(WriteFile{places.in() / "context.json", spec.context_json, 0644, 0});
  ops.push_back(WriteFile{places.steering(), facts.messages, 0644, 0});
  if (!spec.feedback_json.empty())
    ops.push_back(WriteFile{places.in() / "feedback.json", spec.feedback_json, 0644, 0});
  // Holds the secrets: nobody but this sandbox's agent, who has them anyway.
  ops.push_back(WriteFile{places.in() / "plan", init_orders(spec, facts), 0400, facts.uid_base + kAgentUid});
  return ops;
}

LimitDisk limit_disk(const wire::SandboxSpecT& spec, const PlanFacts& facts, const fs::path& directory) {
  return {directory, facts.uid_base, spec.disk_bytes, std::max(spec.disk_bytes / kBytesPerFile, kMinFiles)};
}

Plan make_plan(const wire::SandboxSpecT& spec, const PlanFacts& facts) {
  const Places places(facts.paths, sandbox_id(spec.run, spec.attempt));
  const std::uint32_t agent = facts.uid_base + kAgentUid;
  Plan plan{places.id, {}};
  auto& ops = plan.operations;
  ops.push_back(MakeDirectory{places.run, 0711, 0});
  ops.push_back(MakeDirectory{places.kept, 0711, 0});
  ops.push_back(MakeDirectory{places.writable(), 0711, 0});
  if (!facts.empty_disk.empty()) ops.push_back(MountDisk{facts.empty_disk, places.disk(), places.writable()});
  if (facts.project_quota) ops.push_back(limit_disk(spec, facts, places.writable()));
  for (const char* name : {"work", "home", "tmp", "out"})
    ops.push_back(MakeDirectory{places.writable() / name, 0700, agent});
  if (!facts.others.empty()) ops.push_back(MakeDirectory{places.writable() / "repositories", 0700, agent});
  if (!facts.prebuild.empty()) add_layer(ops, facts, places);
  add_files(ops, spec, facts, places);
  ops.push_back(MakeDirectory{places.out() / "output", 0700, agent});
  if (!facts.warm) ops.push_back(Symlink{places.run / "ws", places.work()});
  ops.push_back(MakeDirectory{places.in(), 0755, 0});
  if (facts.warm) {
    ops.push_back(MakeDirectory{places.agent(), 0755, 0});
    ops.push_back(WriteFile{places.in() / "plan", warm_orders(facts), 0400, agent});
  } else {
    for (auto& file : attempt_files(spec, facts, places)) ops.push_back(std::move(file));
  }
  if (!facts.made_rootfs) {
    ops.push_back(MakeDirectory{places.rootfs(), 0755, 0});
    ops.push_back(MountOverlay{facts.mount_points, facts.rootfs, places.rootfs()});
  }
  ops.push_back(WriteFile{places.config(), oci_config(spec, facts), 0600, 0});
  ops.push_back(CreateContainer{places.id, conmon_command(facts, places)});
  ops.push_back(StartContainer{places.id});
  return plan;
}

namespace {

std::string octal(unsigned mode) {
  std::string text;
  for (int shift = 9; shift >= 0; shift -= 3) text.push_back(static_cast<char>('0' + ((mode >> shift) & 7)));
  return text;
}

struct Describe {
  std::string operator()(const MakeDirectory& op) const {
    return "mkdir " + op.path.string() + " " + octal(op.mode) + " " + std::to_string(op.owner) +
           " | rmdir";
  }
  std::string operator()(const WriteFile& op) const {
    return "write " + op.path.string() + " " + octal(op.mode) + " " + std::to_string(op.owner) +
           " | unlink";
  }
  std::string operator()(const PlaceFile& op) const {
    return "place " + op.source + " as " + (op.top / op.path).string() + " " + octal(op.mode) + " " +
           std::to_string(op.owner) + " | unlink";
  }
  std::string operator()(const Symlink& op) const {
    return "symlink " + op.path.string() + " -> " + op.target.string() + " | unlink";
  }
  std::string operator()(const MountOverlay& op) const {
    return "overlay " + op.upper.string() + ":" + op.lower.string() + " on " + op.target.string() +
           " | unmount";
  }
  std::string operator()(const MountDisk& op) const {
    return "disk " + op.image.string() + " of " + op.empty.filename().string() + " on " + op.target.string() +
           " | unmount, unlink";
  }
  std::string operator()(const LimitDisk& op) const {
    return "project " + std::to_string(op.first_id) + " of " + std::to_string(op.bytes) + " bytes, " +
           std::to_string(op.files) + " files in " + op.directory.string() + " | lift its limits";
  }
  std::string operator()(const MountLayer& op) const {
    return "layer " + op.layer.string() + " from " + std::to_string(op.first_id) + " on " + op.target.string() +
           " | unmount";
  }
  std::string operator()(const CreateContainer& op) const {
    return "create " + op.id + " | kill, remove its cgroups and the runtime's state";
  }
  std::string operator()(const StartContainer& op) const { return "start " + op.id + " | kill"; }
};

}  // namespace

std::string transcript(const Plan& plan) {
  std::string text;
  for (const auto& operation : plan.operations) text += std::visit(Describe{}, operation) + "\n";
  return text;
}

}  // namespace muster::sandbox
