// The repository's own devcontainer.json (containers.dev), as far as it is obeyed: image, the three commands of a
// container's creation, variables, mounts. What it asks for beyond that is named in a warning. Pure; the text is hostile.
//
//   auto wanted = parse_devcontainer(text);   // JSON with comments and trailing commas
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::sandbox {

constexpr std::size_t kMaxDevcontainerBytes = 256u << 10;

struct DevcontainerCommand {
  std::string name;               ///< onCreateCommand, or postCreateCommand:KEY of an object
  std::vector<std::string> argv;  ///< A string came here as /bin/sh -c TEXT.
};

struct DevcontainerMount {
  std::string type, source, target;
};

struct Devcontainer {
  std::string image;                           ///< Empty: it names none.
  std::vector<DevcontainerCommand> commands;   ///< In the order they run in.
  std::vector<std::pair<std::string, std::string>> container_env, remote_env;
  std::vector<DevcontainerMount> mounts;
  std::vector<std::string> warnings;           ///< What is not obeyed, and what comes instead.
};

/// Errc::invalid says where and what: not JSON, a key of the wrong kind, more than the bounds allow.
Result<Devcontainer> parse_devcontainer(std::string_view text);

/// Replaces ${containerWorkspaceFolder}, ${containerEnv:NAME:default} and the like; `env` is what the container has.
/// Nothing of the host's environment is given: ${localEnv:NAME} is its default, and `local` gets its name.
/// Errc::invalid: it grows beyond what an argument may have.
Result<std::string> substitute(std::string_view text, const std::map<std::string, std::string>& env,
                               std::vector<std::string>& local);

}  // namespace muster::sandbox
