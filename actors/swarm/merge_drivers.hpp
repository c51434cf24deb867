// Files that two facets may change at once without a person or an agent having to decide. Pure.
//
// A changelog is united: both sides' lines stay, ours before theirs. A lock file is written by a
// program from other files, so no merge of its lines means anything: ours stays, and the path is
// reported, for whoever can run that program (remake.hpp).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace muster::actors::swarm {

enum class Driver {
  none,        ///< Lines are merged as git does; what overlaps is a conflict.
  unite,       ///< What overlaps is kept from both sides.
  regenerate,  ///< Ours stays, and somebody must make it anew.
};

/// By the last part of a path, exactly as written; what is declared comes first.
struct Drivers {
  std::vector<std::string> unite;
  std::vector<std::string> regenerate;
  std::vector<std::string> declared{};  ///< Patterns (scope.hpp) of whole paths that are made anew.

  [[nodiscard]] Driver of(std::string_view path) const;
};

/// Changelogs and lock files as the common package managers name them.
Drivers usual_drivers();

}  // namespace muster::actors::swarm
