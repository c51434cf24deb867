#include "bench/durable/age.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "bench/durable/fleet_shape.hpp"
#include "engine/core/archive.hpp"
#include "engine/core/inspect.hpp"

namespace muster::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kLookedAt = 50;

engine::ActorId fleet_id(const std::string& name) {
  return {kOrg, "fleet", name};
}

engine::ActorId run_id(const std::string& fleet, std::uint64_t number) {
  return {kOrg, "run", fleet + "-" + std::to_string(number)};
}

void play(Rig& rig, const std::string& name, std::uint64_t runs) {
  fbs::BeginT begin;
  begin.runs = static_cast<std::uint32_t>(runs);
  begin.body = body();
  rig.tell(fleet_id(name), FleetShape::Messages::encode(begin));
  rig.wait_done(1);
  rig.settle();
}

/// Until the last run of that fleet lies in the archive.
void wait_archived(Rig& rig, const std::string& fleet, std::uint64_t runs) {
  const auto& inside = dynamic_cast<engine::Inside&>(rig.engine());
  const auto deadline = Clock::now() + std::chrono::seconds(120);
  for (std::uint64_t n = 0; n < runs;) {
    const engine::ActorId id = run_id(fleet, n);
    const auto head = engine::find_archived_head(engine::journal_of(inside.journals(), id), id);
    if (head && *head) {
      ++n;
      continue;
    }
    if (Clock::now() > deadline) throw std::runtime_error("run " + id.key + " is not archived");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

double open_once(engine::Engine& engine, const std::string& fleet) {
  const auto begin = Clock::now();
  std::size_t rows = 0;
  const bool there = engine.head(fleet_id(fleet)).value().has_value();
  (void)engine.rows(fleet_id(fleet), "run/", "run0", [&](auto, auto) { return ++rows > 0; });
  std::size_t runs = 0;
  for (std::uint64_t n = 0; n < kLookedAt; ++n)
    runs += engine.head(run_id(fleet, n)).value().has_value() ? 1 : 0;
  const std::chrono::duration<double, std::micro> took = Clock::now() - begin;
  if (!there || rows < kLookedAt || runs < kLookedAt)
    throw std::runtime_error("fleet " + fleet + " is not whole");
  return took.count();
}

double middle_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

Age measure_age(Scratch& scratch, bool quick) {
  Age age;
  age.runs = quick ? 100 : 500;
  age.between = quick ? 3 : 40;
  const auto directory = scratch.fresh();
  {
    engine::EngineConfig config;
    config.limits.archive_after = Duration{1};
    Rig rig(directory, config);
    play(rig, "old", age.runs);
    wait_archived(rig, "old", age.runs);
  }
  Rig rig(directory);
  rig.wait_done(1);  // The old one says so again: nobody has answered its effect.
  for (std::uint64_t i = 0; i < age.between; ++i)
    play(rig, "between-" + std::to_string(i), age.runs);
  play(rig, "new", age.runs);
  std::vector<double> old_ones, new_ones;
  for (int round = 0; round < 201; ++round) {
    old_ones.push_back(open_once(rig.engine(), "old"));
    new_ones.push_back(open_once(rig.engine(), "new"));
  }
  age.open_old_us = middle_of(std::move(old_ones));
  age.open_new_us = middle_of(std::move(new_ones));
  return age;
}

}  // namespace muster::bench
