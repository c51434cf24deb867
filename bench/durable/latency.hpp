// How long one acknowledged write takes: alone, beside one fdatasync, and at half of the load that
// saturates.
#pragma once

#include "bench/durable/rig.hpp"

namespace muster::bench {

struct Latency {
  double ack_p50_us = 0;  ///< One caller, one write after the other.
  double fdatasync_p50_us =
      0;  ///< Of a record of that size appended to a file on the same disk, in turn with it.
  double saturated_per_s = 0;  ///< 2,000 callers, each repeating at once.
  double half_p50_us = 0;      ///< At half of that rate, counted from when each was due.
  double half_p99_us = 0;
};
Latency measure_latency(Scratch& scratch, bool quick);

}  // namespace muster::bench
