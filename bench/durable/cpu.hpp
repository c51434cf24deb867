// Processor time of this process by what its threads do: it says where the time goes, also on a
// busy machine.
#pragma once

namespace muster::bench {

/// Seconds; differences count.
struct CpuTimes {
  double stepping = 0;  ///< CAF's workers: the strand.
  double writing =
      0;  ///< Detached CAF actors: the writer; subscribers, of which there are none here.
  double background = 0;  ///< RocksDB's flushes and compactions.
  double rest = 0;        ///< The benchmark's own threads.
};
CpuTimes cpu_times();

}  // namespace muster::bench
