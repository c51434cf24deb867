// What TAB offers: commands, then names that the engine knows. Pure: who asks the engine is given.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/muster/console/grammar.hpp"

namespace muster::cli::console {

/// Names of that sort that begin with `prefix`. `of`: for messages their kind ("run"), for fields
/// their message
/// ("run/CancelRun").
using Names = std::function<std::vector<std::string>(Takes takes, const std::string& of,
                                                     const std::string& prefix)>;

struct Completion {
  std::size_t begin = 0;  ///< Of the text that a candidate takes the place of.
  std::vector<std::string> candidates;
};

/// For the text before the cursor.
Completion complete(std::string_view before, const Names& names);

}  // namespace muster::cli::console
