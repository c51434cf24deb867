// What the command line of test_simulation says.
#pragma once

#include <cstdint>

namespace muster::sim {

struct Settings {
  std::uint64_t seeds = 1'000;
  std::uint64_t first = 1;
};

inline Settings& settings() {
  static Settings the_settings;
  return the_settings;
}

}  // namespace muster::sim
