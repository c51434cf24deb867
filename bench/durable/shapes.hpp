// The shapes of traffic that are measured, each three ways: durable, raw RocksDB, plain CAF.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/durable/cpu.hpp"
#include "bench/durable/rig.hpp"

namespace muster::bench {

struct Shape {
  std::string name;
  engine::EngineConfig config;
  std::function<void(Rig&)> prepare;  ///< Makes the actors; not measured.
  std::function<void(Rig&)> start;    ///< Sets the messages off.
  std::uint64_t parts = 0;            ///< That say they are done.
  std::uint64_t messages = 0;         ///< That will have been stepped by then.
  std::function<double()>
      plain_caf;  ///< Seconds for `messages` in memory; empty: this shape has no such form.
};

/// About `messages` in each.
std::vector<Shape> shapes(std::uint64_t messages);

struct Measured {
  double durable_s = 0;
  CpuTimes cpu;
  std::uint64_t commits = 0;
  std::uint64_t bytes = 0;
  std::uint64_t records = 0;
  std::uint64_t reads = 0;
};
/// Nanoseconds a message that the engine spends only so that somebody could look: it keeps what a
/// subscriber would be told until the commit, and nobody subscribes.
double unwatched_ns();

/// One run of the engine in a new directory. `record`: takes the stream down; it costs a little
/// time.
Measured run_durable(const Shape& shape, Scratch& scratch, RecordStream* record = nullptr);

// plain_caf.cpp: seconds.
double caf_ring(std::uint32_t actors, std::uint32_t tokens, std::uint32_t hops);
double caf_fan(std::uint32_t hubs, std::uint32_t fan, std::uint32_t rounds);
double caf_pairs(std::uint32_t actors, std::uint32_t tokens, std::uint32_t turns);

}  // namespace muster::bench
