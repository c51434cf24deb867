// Log chunks a second into the run-log store, each synced as musterd's sinks do, over a number of attempts that write
// in turn: below and above the number of descriptors that the store keeps.
#include <benchmark/benchmark.h>

#include <filesystem>
#include <stdexcept>
#include <string>

#include "storage/base/ids.hpp"
#include "storage/runlog/runlog.hpp"

namespace fs = std::filesystem;
using namespace muster;

namespace {

struct Scratch {
  Scratch() : path(fs::path("/var/tmp") / ("muster-bench-" + to_hex(random_bytes(8)))) {}
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path;
};

/// Arg: attempts that write in turn.
void chunks(benchmark::State& state) {
  const Scratch scratch;
  const auto log = storage::RunLog::open(scratch.path).value();
  const std::string chunk(4u << 10, 'x');
  const auto attempts = static_cast<std::uint32_t>(state.range(0));
  std::uint32_t attempt = 0;
  std::uint64_t offset = 0;
  for (auto _ : state) {
    const storage::RunLogKey key{"RUN1", attempt};
    if (!log->append(key, offset, chunk) || !log->sync(key))
      throw std::runtime_error("the store refuses");
    if (++attempt == attempts) {
      attempt = 0;
      offset += chunk.size();
    }
  }
  state.SetItemsProcessed(state.iterations());
}

}  // namespace

BENCHMARK(chunks)->Arg(200)->Arg(300)->Arg(1'000)->Iterations(20'000)->UseRealTime();

BENCHMARK_MAIN();
