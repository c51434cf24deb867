// What an attempt runs in. The fleet file names an image, `devcontainer` (the repository says it, in the file of the base
// commit) or `env:NAME` (this host says it, in sandboxd.yaml); here each becomes an image, setup commands, variables
// and mounts. Pure but for resolve_environment, which reads the mirror.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sandboxd/devcontainer.hpp"
#include "sandboxd/spec.hpp"

namespace muster::sandbox {

struct NamedEnvironment {
  std::string image = "host";
  std::map<std::string, std::string> env;
  std::vector<std::vector<std::string>> setup;  ///< argv of each command
  std::optional<std::vector<std::string>> prebuild;  ///< Lock files; none: the setup runs every time.
};

/// What sandboxd.yaml says of environments.
struct EnvironmentSettings {
  std::map<std::string, NamedEnvironment> named;
  std::map<std::string, std::string> devcontainer_images;  ///< What a devcontainer.json names → an image of ours.
  std::string devcontainer_image = "host";                 ///< For those that name none.
  std::optional<std::vector<std::string>> devcontainer_prebuild;
  std::vector<std::filesystem::path> devcontainer_mounts;  ///< At or below these, bind mounts are allowed, to read.
};

/// Bound read-only into the sandbox.
struct BindMount {
  std::filesystem::path source;
  std::string target;
};

struct Environment {
  std::string image;                   ///< host | dir:P | tar:P | oci:P[:TAG] | docker://…
  std::vector<wire::StepT> setup;      ///< Run before the spec's own steps.
  std::vector<std::string> env;        ///< NAME=VALUE; over the image's, under the fleet file's.
  std::vector<BindMount> mounts;
  std::optional<std::vector<std::string>> prebuild;  ///< Lock files, when the setup's result may be kept.
  std::vector<std::string> warnings;   ///< For the report: what was asked for and is not obeyed.
};

/// Errc::invalid: it can't be made sense of (another attempt would find the same); Errc::refused: this host does not allow
/// it; Errc::not_found: this host has no environment of that name.
Result<Environment> resolve_environment(const EnvironmentSettings& settings, const wire::SandboxSpecT& spec,
                                        const std::filesystem::path& objects, const std::string& base_sha);

Result<Environment> environment_of(const NamedEnvironment& named, const wire::SandboxSpecT& spec);
Result<Environment> environment_of(const Devcontainer& wanted, const EnvironmentSettings& settings,
                                   const wire::SandboxSpecT& spec);

/// Now that the image's own variables are known: ${containerEnv:…} and the like get their values. Errc::invalid: they grow
/// beyond every measure.
Result<void> substitute_variables(Environment& environment, const std::vector<std::string>& image_env);

/// Names of the setup steps, which follow the spec's own in the log's numbering.
std::vector<std::string> step_names(const Environment& environment);

}  // namespace muster::sandbox
