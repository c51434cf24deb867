// What travels with a fleet: the agent's script and its files, as one tar whose bytes depend only
// on their contents and relative paths. The rule for agent.run stands in actors/spec/README.md.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "actors/spec/fleet_spec.hpp"

namespace muster::cli {

inline constexpr std::size_t kMaxBundleBytes = 64u << 20;

struct AgentBundle {
  std::string tar;                 ///< Empty: nothing travels.
  std::vector<std::string> files;  ///< Relative paths, sorted.
};

/// Reads the files and changes `spec.agent.run` to the resolved command. `directory` is the fleet
/// file's. `scripts`: found by earlier calls, as paths in the bundle; they can be executed there,
/// whatever their mode is here.
AgentBundle bundle_agent(actors::FleetSpec& spec, const std::filesystem::path& directory,
                         std::vector<actors::Problem>& problems,
                         const std::set<std::string>& scripts = {});

}  // namespace muster::cli
