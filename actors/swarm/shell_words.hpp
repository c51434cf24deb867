// Commands as words of a shell script. Pure; internal to this folder.
#pragma once

#include <string>

#include "actors/spec/fleet_spec.hpp"

namespace muster::actors::swarm {

inline std::string quoted_word(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

inline std::string shell_line(const Command& command) {
  std::string line;
  for (const std::string& word : command.to_argv())
    line += (line.empty() ? "" : " ") + quoted_word(word);
  return line;
}

}  // namespace muster::actors::swarm
