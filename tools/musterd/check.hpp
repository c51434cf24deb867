// `musterd check`: do the fleets' counters and rows agree with the runs, and the swarms' with their
// facets? Reads committed state only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/musterd/view.hpp"

namespace muster::musterd {

struct CheckResult {
  std::size_t fleets = 0;
  std::size_t runs = 0;
  std::size_t swarms = 0;
  std::vector<std::string> differences;  ///< For a person; at most kMaxDifferences.
};

inline constexpr std::size_t kMaxDifferences = 1000;

/// Recounts every fleet from its rows, and compares each row with its run, in an engine at rest:
/// while messages are under way, a row may be behind its run. Recounts every swarm from its facets;
/// of one that has ended no commit may be without a fate.
Result<CheckResult> check_fleets(const View& view);

}  // namespace muster::musterd
