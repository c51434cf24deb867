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
  // After the kill, all from the start of the process's work:
  double open_journal_s = 0;  ///< RocksDB is open.
  double start_s = 0;         ///< make_engine is back: it takes calls.
  double restart_s = 0;       ///< A hundred calls to actors drawn at random are answered: it serves.
  double caught_up_s = 0;     ///< All that was pending is stepped.
  double fill_s = 0;
  std::uint64_t actors = 0;
  std::uint64_t pending = 0;
};
Scale measure_scale(Scratch& scratch, bool quick);

/// The child's part: --stage NAME DIRECTORY ACTORS COUNT. Prints one line of JSON.
int run_stage(const std::vector<std::string>& args);

}  // namespace muster::bench
