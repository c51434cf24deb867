// What the command line of test_simulation says.
#pragma once

#include <cstdint>
#include <string>

namespace muster::sim {

struct Settings {
  std::uint64_t seeds = 2000;
  std::uint64_t first = 1;
  std::string broken;   ///< The name of a variant (saboteur.cpp).
  bool shrink = false;  ///< Look for the fewest faults with which the first seed fails.
};

inline Settings& settings() {
  static Settings the_settings;
  return the_settings;
}

}  // namespace muster::sim
