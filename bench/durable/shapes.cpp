#include "bench/durable/shapes.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "bench/durable/beads.hpp"
#include "bench/durable/fleet_shape.hpp"
#include "engine/core/records.hpp"

namespace muster::bench {

namespace {

std::uint32_t at_least_one(std::uint64_t n) {
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(1, n));
}

Shape ring(std::uint64_t messages) {
  constexpr std::uint32_t kActors = 1'000, kTokens = 1'000;
  const std::uint32_t hops = at_least_one(messages / kTokens);
  Shape shape;
  shape.name = "ring";
  shape.prepare = [](Rig& rig) { rig.make(0, kActors); };
  shape.start = [hops](Rig& rig) {
    fbs::TokenT token;
    token.hops = hops;
    token.spread = kActors;
    token.body = body();
    const auto payload = Bead::Messages::encode(token);
    for (std::uint32_t i = 0; i < kTokens; ++i) rig.tell(bead(i), payload);
  };
  shape.parts = kTokens;
  shape.messages = std::uint64_t{kTokens} * (hops + 1);
  shape.plain_caf = [hops] { return caf_ring(kActors, kTokens, hops); };
  return shape;
}

Shape fan(std::uint64_t messages) {
  constexpr std::uint32_t kHubs = 8;
  constexpr std::uint32_t kRound = 2 * kFan + 2;  // Go twice, there and back.
  const std::uint32_t rounds = at_least_one(messages / kRound / kHubs);
  Shape shape;
  shape.name = "fan";
  shape.prepare = [](Rig& rig) {
    rig.make(0, kHubs);
    for (std::uint32_t i = 0; i < kHubs * kFan; ++i)
      rig.tell(bead("of-" + std::to_string(i)), init_payload());
    rig.settle();
  };
  shape.start = [rounds](Rig& rig) {
    fbs::GoT go;
    go.rounds = rounds;
    go.body = body();
    for (std::uint32_t hub = 0; hub < kHubs; ++hub) rig.tell(bead(hub), Bead::Messages::encode(go));
  };
  shape.parts = kHubs;
  shape.messages = std::uint64_t{kHubs} * rounds * kRound;
  shape.plain_caf = [rounds] { return caf_fan(kHubs, kFan, rounds); };
  return shape;
}

Shape pairs(std::string name, std::uint32_t spread, std::uint32_t cold, std::uint64_t messages) {
  constexpr std::uint32_t kTokens = 1'000;
  const std::uint32_t turns = at_least_one(messages / 2 / kTokens);
  Shape shape;
  shape.name = std::move(name);
  shape.prepare = [=](Rig& rig) { rig.make(0, spread + cold); };
  shape.start = [=](Rig& rig) {
    fbs::ReplyT begin;
    begin.turns = turns;
    begin.spread = spread;
    begin.cold = cold;
    begin.body = body();
    for (std::uint32_t i = 0; i < kTokens; ++i) {
      begin.seed = i;
      rig.tell(bead(i), Bead::Messages::encode(begin));
    }
  };
  shape.parts = kTokens;
  shape.messages = std::uint64_t{kTokens} * (2 * turns + 1);
  if (cold == 0) shape.plain_caf = [=] { return caf_pairs(spread, kTokens, turns); };
  return shape;
}

/// Active actors stay in memory, as they do in any installation of that size.
Shape hot_pairs(std::uint64_t messages) {
  Shape shape = pairs("pairs", 10'000, 0, messages);
  shape.config.limits.idle_actors = 10'000;
  return shape;
}

/// 50,000 cold ones, of which the cache of idle actors holds a thousand at most.
Shape passivated(std::uint64_t messages) {
  Shape shape = pairs("passivated", 1'000, 50'000, messages);
  shape.config.limits.idle_actors = 2'000;
  return shape;
}

Shape fleet(std::uint64_t messages) {
  constexpr std::uint32_t kFleets = 4, kPerRun = 17, kPage = 100;
  const std::uint32_t runs = at_least_one(messages / kPerRun / kFleets);
  Shape shape;
  shape.name = "fleet";
  shape.prepare = [](Rig&) {};
  shape.start = [runs](Rig& rig) {
    fbs::BeginT begin;
    begin.runs = runs;
    begin.body = body();
    for (std::uint32_t i = 0; i < kFleets; ++i)
      rig.tell({kOrg, "fleet", "f" + std::to_string(i)}, FleetShape::Messages::encode(begin));
  };
  shape.parts = kFleets;
  shape.messages =
      std::uint64_t{kFleets} * (std::uint64_t{runs} * kPerRun + (runs + kPage - 1) / kPage);
  return shape;
}

}  // namespace

std::vector<Shape> shapes(std::uint64_t messages) {
  return {ring(messages), fan(messages), hot_pairs(messages), passivated(messages),
          fleet(messages)};
}

double unwatched_ns() {
  constexpr std::size_t kBatch = 2'000, kBatches = 1'000;
  const engine::ActorId id = bead(123);
  std::uint64_t position = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t batch = 0; batch < kBatches; ++batch) {
    std::vector<engine::Change> visible;
    for (std::size_t n = 0; n < kBatch; ++n) visible.push_back({++position, id, 1, {}});
    benchmark::DoNotOptimize(visible.data());
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  return took.count() / (kBatch * kBatches);
}

Measured run_durable(const Shape& shape, Scratch& scratch, RecordStream* record) {
  const auto directory = scratch.fresh();
  Measured measured;
  {
    Rig rig(directory, shape.config);
    shape.prepare(rig);
    Observed& seen = rig.observed();
    seen.commits = seen.bytes = seen.records = seen.reads = 0;
    seen.recording = record != nullptr;
    const CpuTimes before = cpu_times();
    const auto begin = std::chrono::steady_clock::now();
    shape.start(rig);
    rig.wait_done(shape.parts);
    measured.durable_s =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const CpuTimes after = cpu_times();
    measured.cpu = {after.stepping - before.stepping, after.writing - before.writing,
                    after.background - before.background, after.rest - before.rest};
    measured.commits = seen.commits;
    measured.bytes = seen.bytes;
    measured.records = seen.records;
    measured.reads = seen.reads;
    if (record != nullptr) {
      rig.drain();
      seen.recording = false;
      *record = std::move(seen.stream);
    }
  }
  std::filesystem::remove_all(directory);
  return measured;
}

}  // namespace muster::bench
