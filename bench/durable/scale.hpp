// A journal of very many actors: what memory the active and the passivated ones take, and how long
// it takes from the start to serving when messages were pending at a kill.
//
// Each measurement is a process of its own (--stage). Memory is what is allocated, not what is
// resident: the difference between two processes that did the same, of which one kept the actors
// active.
#pragma once

#include <string>
#include <vector>

#include "bench/durable/rig.hpp"

namespace muster::bench {

struct Scale {
  double bytes_per_active = 0;
  double bytes_per_passivated = 0;
  std::uint64_t timers = 0;    ///< Pending.
  double bytes_per_timer = 0;  ///< In memory, on the average.
  double restart_s = 0;      ///< make_engine after the kill: recovered, and serving.
  double first_reply_s = 0;  ///< From there to the answer of a first call.
  double fill_s = 0;
  std::uint64_t actors = 0;
  std::uint64_t pending = 0;
};
Scale measure_scale(Scratch& scratch, bool quick);

/// The child's part: --stage NAME DIRECTORY ACTORS COUNT. Prints one line of JSON.
int run_stage(const std::vector<std::string>& args);

}  // namespace muster::bench
