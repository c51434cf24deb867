// Tries out of a sandbox, many of them in one. A try prints "NAME: refused (WHY)" or "NAME: ESCAPED"; require_refused
// demands that every try of the batch was made and refused.
#pragma once

#include <sstream>

#include "tests/integration/sandbox_fixture.hpp"

namespace muster::sandbox::test {

inline std::string tries_in(const char* name) {
  auto text = read_file(fs::path(ESCAPE_DIR) / name, 1u << 20);
  REQUIRE(text);
  return *text;
}

inline void set_env(wire::SandboxSpecT& spec, const std::string& key, const std::string& value) {
  spec.env.push_back(std::make_unique<wire::KeyValueT>());
  spec.env.back()->key = key;
  spec.env.back()->value = value;
}

/// `log` ends with "N tries" and has N lines before it, all of them refused; returns N.
inline std::size_t require_refused(const std::string& log) {
  std::istringstream lines(log);
  std::size_t refused = 0, announced = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with(" tries")) {
      announced = std::stoul(line);
    } else if (line.find(": refused (") != std::string::npos) {
      ++refused;
    } else {
      FAIL_CHECK(line);
    }
  }
  INFO(log);
  CHECK(announced == refused);
  REQUIRE(announced > 0);
  return refused;
}

}  // namespace muster::sandbox::test
