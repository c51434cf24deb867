// bench/engine runs this: how fast the engine is beside the disk's limit. The last line is one JSON
// object.
//
//   bench_engine [--quick] [--dir DIR] [--only shapes|latency|scale|age]
//   [--benchmark_filter=ring|fan|…]
#include <benchmark/benchmark.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bench/durable/age.hpp"
#include "bench/durable/latency.hpp"
#include "bench/durable/scale.hpp"
#include "bench/durable/shapes.hpp"

namespace {

using namespace muster::bench;
using nlohmann::json;

struct Options {
  bool quick = false;
  std::string directory = "/var/tmp";
  std::string only;
  std::uint64_t messages = 0;  ///< Per shape and round; 0: as quick says.
  [[nodiscard]] bool wants(const std::string& part) const { return only.empty() || only == part; }
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--quick") {
      options.quick = true;
    } else if (arg == "--dir" && i + 1 < argc) {
      options.directory = argv[++i];
    } else if (arg == "--only" && i + 1 < argc) {
      options.only = argv[++i];
    } else if (arg == "--messages" && i + 1 < argc) {
      options.messages = std::stoull(argv[++i]);
    } else {
      throw std::runtime_error("unknown option " + arg);
    }
  }
  return options;
}

/// By shape and figure, one value per round.
using Figures = std::map<std::string, std::map<std::string, std::vector<double>>>;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/// One round: the engine, RocksDB alone with what the engine wrote, CAF alone. What the engine
/// writes is taken down once per shape, in a run of its own that also warms up.
void one_round(benchmark::State& state, const Shape& shape, Scratch& scratch, Figures& figures) {
  RecordStream stream;
  run_durable(shape, scratch, &stream);
  const auto messages = static_cast<double>(shape.messages);
  for (auto _ : state) {
    const Measured engine = run_durable(shape, scratch);
    const auto directory = scratch.fresh();
    const CpuTimes before = cpu_times();
    const double raw_s = replay(stream, directory);
    const CpuTimes after = cpu_times();
    std::filesystem::remove_all(directory);
    state.SetIterationTime(engine.durable_s);

    std::map<std::string, double> round{
        {"durable_per_s", messages / engine.durable_s},
        {"raw_per_s", messages / raw_s},
        {"ratio", raw_s / engine.durable_s},
        {"bytes_per_message", static_cast<double>(engine.bytes) / messages},
        {"records_per_message", static_cast<double>(engine.records) / messages},
        {"reads_per_message", static_cast<double>(engine.reads) / messages},
        {"cpu_us_stepping", 1e6 * engine.cpu.stepping / messages},
        {"cpu_us_writing", 1e6 * engine.cpu.writing / messages},
        {"cpu_us_background", 1e6 * engine.cpu.background / messages},
        {"raw_cpu_us_writing", 1e6 * (after.rest - before.rest) / messages},
        {"raw_cpu_us_background", 1e6 * (after.background - before.background) / messages},
        {"messages_per_commit", messages / static_cast<double>(engine.commits)}};
    if (shape.plain_caf) round["plain_caf_per_s"] = messages / shape.plain_caf();
    for (const auto& [name, value] : round) {
      figures[shape.name][name].push_back(value);
      state.counters[name] = value;
    }
  }
}

json measure_shapes(const Options& options, Scratch& scratch) {
  const std::uint64_t usual = options.quick ? 30'000 : 100'000;
  const std::uint64_t messages = options.messages != 0 ? options.messages : usual;
  Figures figures;
  for (const Shape& shape : shapes(messages))
    benchmark::RegisterBenchmark(
        shape.name.c_str(),
        [&, shape](benchmark::State& state) { one_round(state, shape, scratch, figures); })
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond)
        ->Iterations(options.quick ? 1 : 3);
  benchmark::RunSpecifiedBenchmarks();
  json result = json::object();
  for (const auto& [shape, values] : figures)
    for (const auto& [name, rounds] : values) result[shape][name] = median(rounds);
  return result;
}

json measure(const Options& options) {
  Scratch scratch(options.directory);
  json result = json::object();
  if (options.wants("shapes")) {
    const json shapes = measure_shapes(options, scratch);
    // In front: request and response between 10,000 actors.
    if (shapes.contains("pairs")) {
      const json& pairs = shapes["pairs"];
      for (const char* name : {"durable_per_s", "raw_per_s", "ratio"}) result[name] = pairs[name];
      double cpu_us = 0;
      for (const char* part : {"stepping", "writing", "background"})
        cpu_us += pairs[std::string("cpu_us_") + part].get<double>();
      result["instrumentation_pct"] = unwatched_ns() / 10 / cpu_us;
    }
    result["shapes"] = shapes;
  }
  if (options.wants("latency")) {
    const Latency l = measure_latency(scratch, options.quick);
    result["ack_p50_us"] = l.ack_p50_us;
    result["fdatasync_p50_us"] = l.fdatasync_p50_us;
    result["ack_p50_ratio"] = l.ack_p50_us / l.fdatasync_p50_us;
    result["calls_saturated_per_s"] = l.saturated_per_s;
    result["half_load_p50_us"] = l.half_p50_us;
    result["half_load_p99_us"] = l.half_p99_us;
  }
  if (options.wants("scale")) {
    const Scale s = measure_scale(scratch, options.quick);
    result["actors"] = s.actors;
    result["pending"] = s.pending;
    result["actors_made_per_s"] = static_cast<double>(s.actors) / s.fill_s;
    result["bytes_per_active"] = s.bytes_per_active;
    result["bytes_per_passivated"] = s.bytes_per_passivated;
    result["timers"] = s.timers;
    result["bytes_per_timer"] = s.bytes_per_timer;
    result["restart_s"] = s.restart_s;
    result["open_journal_s"] = s.open_journal_s;
    result["start_s"] = s.start_s;
    result["caught_up_s"] = s.caught_up_s;
  }
  if (options.wants("age")) {
    const Age a = measure_age(scratch, options.quick);
    result["open_old_us"] = a.open_old_us;
    result["open_new_us"] = a.open_new_us;
    result["open_old_ratio"] = a.open_old_us / a.open_new_us;
    result["fleets_between"] = a.between;
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc > 2 && std::string(argv[1]) == "--stage")
      return run_stage(std::vector<std::string>(argv + 2, argv + argc));
    benchmark::Initialize(&argc, argv);
    std::cout << measure(parse(argc, argv)).dump() << std::endl;
    return 0;
  } catch (const std::exception& problem) {
    std::cerr << "error: " << problem.what() << std::endl;
    return 1;
  }
}
