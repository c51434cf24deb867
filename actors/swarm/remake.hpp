// Files that a program writes from others, such as lock files, made anew on the integrated tree
// when two facets changed them: by which command, and the run that does it before it verifies.
// Pure.
//
// A swarm file's drivers come first (`merge: {drivers: [{path: PATTERN, run: COMMAND}]}`), then
// what is known by name: package-lock.json and npm-shrinkwrap.json (npm), yarn.lock (yarn),
// pnpm-lock.yaml (pnpm), Cargo.lock (cargo), go.sum (go), poetry.lock (poetry), uv.lock (uv).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/swarm/merge_drivers.hpp"
#include "actors/swarm/swarm_spec.hpp"

namespace muster::actors::swarm {

/// Files that one batch may have made anew, and the bytes of their names.
inline constexpr std::size_t kMaxRemade = 50;
inline constexpr std::size_t kRemadeBytes = 16u << 10;

/// How the swarm's merges treat files that are no plain text: the usual drivers, and those that its
/// file declares.
Drivers drivers_of(const SwarmSpec& swarm);

struct Remaker {
  Command run;  ///< In the file's directory.
  std::string
      tool;  ///< Not empty: without this program in the sandbox the file stays as it was merged.
  Duration timeout{0};
};
/// Nothing: nobody knows how, and the file stays as it was merged.
std::optional<Remaker> remaker_of(const SwarmSpec& swarm, std::string_view path);

/// A run on the merged tree whose agent makes those files anew, and nothing else, with the swarm's
/// verification behind it.
FleetSpec remake_fleet(const SwarmSpec& swarm, const std::vector<std::string>& paths);

/// The files that a run's input names under "remake"; empty for any other input.
std::vector<std::string> remade_by(std::string_view input_json);

}  // namespace muster::actors::swarm
