// Opening a fleet of long ago, whose runs are archived, beside opening the newest one: what `muster
// fleet status` and `report` read.
#pragma once

#include "bench/durable/rig.hpp"

namespace muster::bench {

struct Age {
  std::uint64_t runs = 0;     ///< Of each fleet.
  std::uint64_t between = 0;  ///< Fleets that were played between the two.
  double open_old_us = 0;     ///< The fleet's head, its rows, and the heads of 50 of its runs.
  double open_new_us = 0;
};
Age measure_age(Scratch& scratch, bool quick);

}  // namespace muster::bench
