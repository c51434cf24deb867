// A YAML file as JSON, and where each value stands in it; problems rendered with line, column and
// the line's text. Pure: the text is given. yaml-cpp stays in the .cpp.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "actors/spec/fleet_spec.hpp"
#include "storage/base/error.hpp"

namespace muster::cli {

/// From 1; line 0: no place is known; column 0: the whole line, of a file that is not at hand.
struct Place {
  std::size_t line = 0;
  std::size_t column = 0;
};

struct YamlSource {
  std::string file;  ///< As the user wrote it.
  std::string text;
  std::string json;                     ///< Empty when the text is not YAML.
  std::map<std::string, Place> values;  ///< By JSON pointer.
  std::map<std::string, Place> keys;
  std::vector<actors::Problem>
      problems;  ///< Syntax, duplicate keys; pointer "" with a place in `syntax`.
  Place syntax;

  /// Where a problem stands: its key, its value, or the nearest thing around it.
  [[nodiscard]] Place place(const actors::Problem& problem) const;
};

/// Never fails: what is wrong is in `problems`.
YamlSource read_yaml(std::string file, std::string text);

/// A problem with its place, ready to be shown.
struct Located {
  std::string file;
  Place place;
  std::string subject;  ///< rollout.waves[1], or the option: --branch.
  std::string message;
};

/// "fleet.yaml:12:5: error: …", the line, a caret under the column. `text` is the file's.
std::string render_problem(const Located& problem, std::string_view text);

}  // namespace muster::cli
