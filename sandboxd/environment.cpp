#include "sandboxd/environment.hpp"

#include <algorithm>
#include <set>

#include "sandboxd/init/plan_format.hpp"
#include "sandboxd/plan.hpp"
#include "sandboxd/registry.hpp"
#include "sandboxd/repo_file.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxTotal = 1u << 20;  // of variables and commands
constexpr const char* kDevcontainerFiles[] = {".devcontainer/devcontainer.json", ".devcontainer.json"};

wire::StepT setup_step(const std::string& name, const std::vector<std::string>& argv,
                       const wire::SandboxSpecT& spec) {
  wire::StepT step;
  step.name = "setup:" + name;
  step.argv = argv;
  for (const auto& own : spec.steps) {
    if (own->name != "agent") continue;
    step.timeout_ms = own->timeout_ms;
    step.idle_timeout_ms = own->idle_timeout_ms;
  }
  return step;
}

Result<void> check_count(const Environment& environment, const wire::SandboxSpecT& spec) {
  if (environment.setup.size() + spec.steps.size() > kMaxSteps)
    return fail(Errc::invalid, "with the environment's setup there are more than " +
                                   std::to_string(kMaxSteps) + " steps");
  return {};
}

/// What Muster itself says in a sandbox.
bool is_ours(const std::string& name) {
  static const std::set<std::string> kOurs{"HOME", "TMPDIR", "USER", "LOGNAME", "REPOSITORY", "DRY_RUN"};
  return name.starts_with("MUSTER_") || kOurs.contains(name);
}

void add_variables(Environment& to, const char* key,
                   const std::vector<std::pair<std::string, std::string>>& variables) {
  for (const auto& [name, value] : variables) {
    if (is_ours(name)) {
      to.warnings.push_back(std::string(key) + "." + name + ": Muster sets it, and it is left out");
    } else {
      to.env.push_back(name + "=" + value);
    }
  }
}

/// `path` is one of `directories`, or below one. Both are real paths.
bool lies_within(const fs::path& path, const std::vector<fs::path>& directories) {
  return std::any_of(directories.begin(), directories.end(), [&](const fs::path& directory) {
    std::error_code error;
    const fs::path inner = path.lexically_relative(fs::weakly_canonical(directory, error));
    return !inner.empty() && *inner.begin() != "..";
  });
}

Result<void> add_mount(Environment& to, const EnvironmentSettings& settings, const DevcontainerMount& mount) {
  std::vector<std::string> local;
  const auto to_path = substitute(mount.target, {}, local), from_path = substitute(mount.source, {}, local);
  if (!to_path || !from_path) return fail(Errc::invalid, "mounts: a path is too long");
  const std::string target = fs::path(*to_path).lexically_normal().string();
  if (mount.type != "bind") {
    to.warnings.push_back("mount at " + target + ": only binds are supported; left out");
    return {};
  }
  const std::string& asked = *from_path;
  std::error_code error;
  const fs::path source = fs::weakly_canonical(asked, error);
  if (asked.empty() || asked[0] != '/' || !fs::exists(source, error) ||
      !lies_within(source, settings.devcontainer_mounts))
    return fail(Errc::refused, "mounts " + asked + ": not below one of this host's devcontainer mounts "
                                                   "(devcontainer: {mounts: [...]} in sandboxd.yaml)");
  if (!target.starts_with("/home/agent/") && !target.starts_with("/tmp/"))
    return fail(Errc::refused, "mounts " + asked + " at " + target + ": mounts go below /home/agent or /tmp");
  to.mounts.push_back({source, target});
  return {};
}

Result<Environment> from_repository(const EnvironmentSettings& settings, const wire::SandboxSpecT& spec,
                                    const fs::path& objects, const std::string& base_sha) {
  const std::vector<std::string> paths(std::begin(kDevcontainerFiles), std::end(kDevcontainerFiles));
  const auto files = find_files(objects, base_sha, paths);
  if (!files) return tl::unexpected(files.error());
  const auto found = std::find_if(files->begin(), files->end(), [](const auto& file) { return !file.id.empty(); });
  if (found == files->end())
    return fail(Errc::invalid, "image devcontainer: the repository has neither " + paths[0] + " nor " + paths[1]);
  const std::string& path = paths[static_cast<std::size_t>(found - files->begin())];
  const auto text = read_blob(objects, *found, kMaxDevcontainerBytes);
  if (!text) return fail(text.error(), path);
  const auto wanted = parse_devcontainer(*text);
  if (!wanted) return fail(Errc::invalid, path + " " + wanted.error().message);
  auto environment = environment_of(*wanted, settings, spec);
  if (!environment) return fail(environment.error(), path);
  for (auto& warning : environment->warnings) warning.insert(0, path + ": ");
  return environment;
}

}  // namespace

Result<Environment> environment_of(const NamedEnvironment& named, const wire::SandboxSpecT& spec) {
  Environment to;
  to.image = named.image;
  to.prebuild = named.prebuild;
  for (std::size_t i = 0; i < named.setup.size(); ++i)
    to.setup.push_back(setup_step("env:" + std::to_string(i + 1), named.setup[i], spec));
  for (const auto& [name, value] : named.env) to.env.push_back(name + "=" + value);
  if (auto ok = check_count(to, spec); !ok) return tl::unexpected(ok.error());
  return to;
}

Result<Environment> environment_of(const Devcontainer& wanted, const EnvironmentSettings& settings,
                                   const wire::SandboxSpecT& spec) {
  Environment to;
  to.warnings = wanted.warnings;
  to.prebuild = settings.devcontainer_prebuild;
  if (const auto ours = settings.devcontainer_images.find(wanted.image); ours != settings.devcontainer_images.end()) {
    to.image = ours->second;
  } else if (wanted.image.empty()) {
    to.image = settings.devcontainer_image;
    to.warnings.push_back("it names no image (building one is not supported): " + to.image + " is used");
  } else {
    const auto reference = parse_reference(docker_reference(wanted.image));
    if (!reference) return fail(Errc::invalid, "image: " + reference.error().message);
    to.image = reference->text();
  }
  for (const auto& command : wanted.commands) to.setup.push_back(setup_step(command.name, command.argv, spec));
  add_variables(to, "containerEnv", wanted.container_env);
  add_variables(to, "remoteEnv", wanted.remote_env);
  for (const auto& mount : wanted.mounts)
    if (auto ok = add_mount(to, settings, mount); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_count(to, spec); !ok) return tl::unexpected(ok.error());
  return to;
}

Result<void> substitute_variables(Environment& environment, const std::vector<std::string>& image_env) {
  std::map<std::string, std::string> known = {{"PATH", kDefaultPath}};
  std::vector<std::string> local;
  std::size_t total = 0;
  const auto learn = [&](const std::string& entry) {
    const std::size_t equal = std::min(entry.find('='), entry.size());
    known[entry.substr(0, equal)] = entry.substr(std::min(equal + 1, entry.size()));
  };
  const auto replace = [&](std::string& entry) -> Result<void> {
    auto text = substitute(entry, known, local);
    if (!text) return tl::unexpected(text.error());
    entry = std::move(*text);
    total += entry.size();
    if (total > kMaxTotal) return fail(Errc::invalid, "variables and commands are too long together");
    return {};
  };
  for (const auto& entry : image_env) learn(entry);
  for (auto& entry : environment.env) {
    if (auto done = replace(entry); !done) return done;
    learn(entry);
  }
  for (auto& step : environment.setup)
    for (auto& word : step.argv)
      if (auto done = replace(word); !done) return done;
  const std::set<std::string> names(local.begin(), local.end());
  for (const auto& name : names)
    environment.warnings.push_back("localEnv:" + name + ": nothing of this host's environment is given");
  return {};
}

std::vector<std::string> step_names(const Environment& environment) {
  std::vector<std::string> names;
  for (const auto& step : environment.setup) names.push_back(step.name);
  return names;
}

Result<Environment> resolve_environment(const EnvironmentSettings& settings, const wire::SandboxSpecT& spec,
                                        const fs::path& objects, const std::string& base_sha) {
  if (spec.image == "devcontainer") return from_repository(settings, spec, objects, base_sha);
  if (spec.image.starts_with("env:")) {
    const std::string name = spec.image.substr(4);
    if (const auto named = settings.named.find(name); named != settings.named.end())
      return environment_of(named->second, spec);
    return fail(Errc::not_found, "this host has no environment " + name + " (environments in sandboxd.yaml)");
  }
  Environment plain;
  plain.image = spec.image;
  return plain;
}

}  // namespace muster::sandbox
