#include "sandboxd/spec.hpp"

#include <algorithm>
#include <set>

#include "sandboxd/init/plan_format.hpp"
#include "sandboxd/registry.hpp"
#include "storage/base/ids.hpp"

namespace muster::sandbox {

namespace {

constexpr std::size_t kMaxName = 255;
constexpr std::size_t kMaxText = 1u << 20;
constexpr std::size_t kMaxPathText = 4096;
constexpr std::size_t kMaxArguments = 4096;
constexpr std::uint64_t kMinMemory = 16ull << 20;

bool all_of(std::string_view text, bool (*allowed)(char)) {
  return std::all_of(text.begin(), text.end(), allowed);
}
bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}
bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

/// Below the workspace: relative, and no part of it "..".
bool is_inner_path(std::string_view path) {
  if (path.empty() || path[0] == '/' || has_nul(path) || path.size() > 4096) return false;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (path.substr(0, end) == "..") return false;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return true;
}

/// git takes an option for a URL that begins with '-', and runs what follows "ext::".
bool is_fetch_url(std::string_view url) {
  if (url.empty() || url.size() > 4096 || url[0] == '-' || has_nul(url)) return false;
  if (url.find("::") != std::string_view::npos && url.find("://") == std::string_view::npos)
    return false;
  return std::none_of(url.begin(), url.end(), [](char c) { return c > 0 && c < 0x20; });
}

Result<void> check_step(const wire::StepT& step) {
  if (step.name.empty() || step.name.size() > kMaxName || has_nul(step.name))
    return fail(Errc::invalid, "a step needs a name of at most 255 bytes");
  if (step.name != "agent" && !step.name.starts_with("setup") && !step.name.starts_with("verify"))
    return fail(Errc::invalid, "step " + step.name + ": a name is setup:N, agent or verify:NAME");
  if (step.argv.empty() || step.argv.size() > kMaxArguments || step.argv[0].empty())
    return fail(Errc::invalid, "step " + step.name + ": nothing to execute");
  for (const auto& arg : step.argv)
    if (has_nul(arg) || arg.size() > kMaxText)
      return fail(Errc::invalid, "step " + step.name + ": an argument is too long or has a NUL");
  if (!step.if_exists.empty() && !is_inner_path(step.if_exists))
    return fail(Errc::invalid, "step " + step.name + ": if_exists is a path inside the repository");
  if (step.timeout_ms < 0 || step.idle_timeout_ms < 0)
    return fail(Errc::invalid, "step " + step.name + ": a limit is not negative");
  return {};
}

Result<void> check_names(const wire::SandboxSpecT& spec) {
  if (!is_sandbox_id(sandbox_id(spec.run, spec.attempt)))
    return fail(Errc::invalid, "run and attempt don't make a sandbox id");
  if (!is_fetch_url(spec.url)) return fail(Errc::invalid, "url is not something git may fetch");
  if (!is_branch_name(spec.branch)) return fail(Errc::invalid, "branch is not a branch name");
  if (!spec.base_branch.empty() && !is_branch_name(spec.base_branch))
    return fail(Errc::invalid, "base_branch is not a branch name");
  if (!spec.agent_bundle.empty() && !is_sha256_hex(spec.agent_bundle))
    return fail(Errc::invalid, "agent_bundle is not a SHA-256");
  if (spec.checkpoint_interval_ms < 0) return fail(Errc::invalid, "checkpoint_interval_ms is not negative");
  if (spec.resume && (!is_commit_id(spec.resume->commit) || !is_commit_id(spec.resume->base) ||
                      !is_sha256_hex(spec.resume->digest)))
    return fail(Errc::invalid, "resume names no commits and no SHA-256");
  for (const auto& entry : spec.env)
    if (!is_variable(entry->key) || has_nul(entry->value))
      return fail(Errc::invalid, "env: " + entry->key + " is not a variable");
  for (const auto& name : spec.secrets)
    if (!is_variable(name)) return fail(Errc::invalid, "secrets: a name has letters, digits and _");
  return {};
}

/// Below the agent's HOME or /tmp, in plain words.
bool is_place(std::string_view path) {
  for (const std::string_view top : {"/home/agent/", "/tmp/"})
    if (path.starts_with(top)) return path.size() < 1024 && is_inner_path(path.substr(top.size()));
  return false;
}

Result<void> check_others(const wire::SandboxSpecT& spec) {
  if (spec.other_repositories.size() > kMaxOtherRepositories) return fail(Errc::invalid, "other_repositories: too many");
  std::set<std::string> names;
  for (const auto& other : spec.other_repositories) {
    if (!is_environment_name(other->name) || !names.insert(other->name).second)
      return fail(Errc::invalid, "other_repositories: " + other->name + " is no name for a directory, or named twice");
    if (!is_fetch_url(other->url)) return fail(Errc::invalid, "other_repositories: url is not something git may fetch");
    if (!other->base_branch.empty() && !is_branch_name(other->base_branch))
      return fail(Errc::invalid, "other_repositories: base_branch is not a branch name");
  }
  return {};
}

Result<void> check_files(const wire::SandboxSpecT& spec) {
  constexpr std::size_t kMaxFiles = 200;
  std::set<std::string> paths;
  if (spec.context_files.size() > kMaxFiles) return fail(Errc::invalid, "context_files: too many");
  if (!spec.context_files.empty() && spec.agent_bundle.empty())
    return fail(Errc::invalid, "context_files need the agent_bundle that they lie in");
  for (const auto& file : spec.context_files) {
    if (!is_place(file->path) || !paths.insert(file->path).second)
      return fail(Errc::invalid, "context_files: " + file->path + " is no path below /home/agent or /tmp, or named twice");
    if (!is_inner_path(file->source)) return fail(Errc::invalid, "context_files: " + file->source + " is no path in the bundle");
    if (file->mode > 0777 || (file->owner != 0 && file->owner != 1000))
      return fail(Errc::invalid, "context_files: " + file->path + " has a mode up to 0777, and belongs to 0 or 1000");
  }
  return {};
}

Result<void> check_steps(const wire::SandboxSpecT& spec) {
  if (spec.steps.empty() || spec.steps.size() > kMaxSteps)
    return fail(Errc::invalid, "between 1 and " + std::to_string(kMaxSteps) + " steps");
  std::set<std::string> names;
  int last = 0;
  for (const auto& step : spec.steps) {
    if (auto ok = check_step(*step); !ok) return ok;
    if (!names.insert(step->name).second)
      return fail(Errc::invalid, "two steps are named " + step->name);
    const int kind = static_cast<int>(step_kind(step->name));
    if (kind < last) return fail(Errc::invalid, "steps come in the order setup, agent, verify");
    last = kind;
  }
  if (!names.contains("agent")) return fail(Errc::invalid, "no step is named agent");
  return {};
}

}  // namespace

std::string sandbox_id(std::string_view run, std::uint32_t attempt) {
  return std::string(run) + "-" + std::to_string(attempt);
}

bool is_sandbox_id(std::string_view id) {
  const std::size_t dash = id.find('-');
  if (dash == std::string_view::npos || dash < 1 || dash > 32) return false;
  const std::string_view attempt = id.substr(dash + 1);
  return all_of(id.substr(0, dash), is_alnum) && !attempt.empty() && attempt.size() <= 10 &&
         attempt[0] != '0' && all_of(attempt, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_variable(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && !(name[0] >= '0' && name[0] <= '9') &&
         all_of(name, [](char c) { return is_alnum(c) || c == '_'; });
}

bool is_image(std::string_view image) {
  if (image.size() > kMaxPathText || has_nul(image)) return false;
  return image == "host" || image.starts_with("dir:/") || image.starts_with("tar:/") ||
         image.starts_with("oci:/") || parse_reference(image).has_value();
}

bool is_environment_name(std::string_view name) {
  return !name.empty() && name.size() <= 63 && is_alnum(name[0]) &&
         all_of(name, [](char c) { return is_alnum(c) || c == '.' || c == '_' || c == '-'; });
}

bool is_branch_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxName || name == "@" || name[0] == '-') return false;
  for (const char c : name)
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f ||
        std::string_view("~^:?*[\\").find(c) != std::string_view::npos)
      return false;
  for (const std::string_view bad : {"..", "@{", "//"})
    if (name.find(bad) != std::string_view::npos) return false;
  while (!name.empty()) {
    const std::size_t end = std::min(name.find('/'), name.size());
    const std::string_view part = name.substr(0, end);
    if (part.empty() || part[0] == '.' || part.back() == '.' || part.ends_with(".lock"))
      return false;
    if (end == name.size()) return true;
    name.remove_prefix(end + 1);
  }
  return false;  // ended with '/'
}

bool is_commit_id(std::string_view text) {
  return text.size() == 40 &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_snapshot_id(std::string_view id) {
  constexpr std::string_view kPrefix = "snap-";
  return id.starts_with(kPrefix) && id.size() == kPrefix.size() + 16 &&
         id.find_first_not_of("0123456789abcdef", kPrefix.size()) == std::string_view::npos;
}

StepKind step_kind(std::string_view name) {
  if (name == "agent") return StepKind::agent;
  return name.starts_with("verify") ? StepKind::verify : StepKind::setup;
}

Result<void> check_spec(const wire::SandboxSpecT& spec, const SpecLimits& limits) {
  if (auto ok = check_names(spec); !ok) return ok;
  if (auto ok = check_others(spec); !ok) return ok;
  if (auto ok = check_files(spec); !ok) return ok;
  if (auto ok = check_steps(spec); !ok) return ok;
  if (!spec.snapshot.empty() && !is_snapshot_id(spec.snapshot)) return fail(Errc::invalid, "snapshot is no id of one");
  if (!spec.commit) return fail(Errc::invalid, "no commit");
  for (const std::string* text :
       {&spec.commit->message, &spec.commit->author_name, &spec.commit->author_email})
    if (text->empty() || has_nul(*text) || text->size() > kMaxText)
      return fail(Errc::invalid, "commit: message and author are not empty");
  if (spec.memory_bytes < kMinMemory || spec.cpus_milli < 10 || spec.pids < 8)
    return fail(Errc::invalid, "resources: at least 16MiB of memory, 0.01 cpus and 8 processes");
  if (limits.max_memory_bytes > 0 && spec.memory_bytes > limits.max_memory_bytes)
    return fail(Errc::refused, "resources: this host does not have that much memory");
  if (spec.disk_bytes == 0 || spec.max_log_bytes == 0 || spec.max_pack_bytes == 0)
    return fail(Errc::invalid, "disk, log and pack need a limit");
  if (spec.network == wire::Network::host && !limits.allow_host_network)
    return fail(Errc::refused,
                "network: host needs allow_host_network: true in this host's sandboxd.yaml");
  const bool named = spec.image.starts_with("env:") && is_environment_name(std::string_view(spec.image).substr(4));
  if (!is_image(spec.image) && spec.image != "devcontainer" && !named)
    return fail(Errc::invalid, "image: host, dir:/PATH, tar:/PATH, oci:/PATH[:TAG], docker://HOST/NAME[:TAG], "
                               "devcontainer or env:NAME");
  return {};
}

}  // namespace muster::sandbox
