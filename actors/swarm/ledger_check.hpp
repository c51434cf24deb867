// One line's ledger compared with its repository: what `muster swarm ledger` proves. Reads only; never called by a
// step.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "actors/swarm/ledger.hpp"

namespace muster::actors::swarm {

struct LineClaim {
  std::string url;    ///< A path on this machine.
  std::string begin;  ///< Where the line began.
  std::string green;  ///< Where the swarm says it ends.
  std::string green_branch;
  Ledger ledger;
  bool moving = false;  ///< Green may be ahead of what the swarm says.
  std::vector<std::string> declared{};  ///< Drivers::declared of its merges.
};

struct LineProof {
  std::string deliverable;  ///< What git has under the green branch; else `green`.
  std::size_t merges = 0;   ///< Commits of the line beyond its beginning.
  std::vector<Finding> findings;
};

/// An error: git could not be read.
Result<LineProof> prove_line(const LineClaim& claim, const std::filesystem::path& scratch);

}  // namespace muster::actors::swarm
