// What sandboxd accepts to run, checked before anything is made. Everything in a SandboxSpec came over the link
// and is hostile until here: names that become paths, refs and arguments most of all.
#pragma once

#include <string>

#include "storage/base/error.hpp"
#include "storage/schema/wire_generated.h"

namespace muster::sandbox {

namespace wire = muster::wire;

/// Beside the run's own; the mount points of images are made for so many.
constexpr std::size_t kMaxOtherRepositories = 16;

/// RUNID-ATTEMPT: names the sandbox, its directories and its cgroup.
std::string sandbox_id(std::string_view run, std::uint32_t attempt);
/// True for what sandbox_id can make.
bool is_sandbox_id(std::string_view id);

struct SpecLimits {
  bool allow_host_network = false;
  std::uint64_t max_memory_bytes = 0;  ///< Of the host; 0: not checked.
};

/// Errc::invalid names the field and what was meant; Errc::refused what this host does not allow.
Result<void> check_spec(const wire::SandboxSpecT& spec, const SpecLimits& limits);

/// A root file system: host, dir:/PATH, tar:/PATH, oci:/PATH[:TAG] or docker://HOST/NAME[:TAG][@sha256:DIGEST].
bool is_image(std::string_view image);
/// A name that a shell takes for a variable.
bool is_variable(std::string_view name);
/// Of an environment in sandboxd.yaml.
bool is_environment_name(std::string_view name);

/// A branch name that git and a file system take literally: no "..", "@{", "//", leading '-' or '.', …
bool is_branch_name(std::string_view name);
bool is_commit_id(std::string_view text);
/// "snap-" and 16 hexadecimal digits, chosen by the engine.
bool is_snapshot_id(std::string_view id);

/// What a step is, by its name.
enum class StepKind { setup, agent, verify };
StepKind step_kind(std::string_view name);

}  // namespace muster::sandbox
