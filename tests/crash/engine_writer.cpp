// The process that engine_crash_test.cpp kills: an engine over RocksDB that performs random programs.
//
//   engine_writer DIRECTORY SEED KEYS BEGAN COUNT DONE
//
// Performs the programs 1 … COUNT but those whose numbers stand in the file DONE, and says "N\n" on standard
// output once program N is acknowledged. Ends when all are.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <set>

#include "engine/runtime/runtime.hpp"
#include "tests/crash/program.hpp"

using namespace muster;

int main(int argc, char** argv) {
  if (argc != 7) {
    std::cerr << "usage: engine_writer DIRECTORY SEED KEYS BEGAN COUNT DONE\n";
    return 2;
  }
  const test::Programs programs(std::stoull(argv[2]), std::stoull(argv[3]));
  std::set<std::uint64_t> done;
  std::ifstream file(argv[6]);
  for (std::uint64_t number = 0; file >> number;) done.insert(number);
  std::vector<std::uint64_t> left;
  for (std::uint64_t number = 1; number <= std::stoull(argv[5]); ++number)
    if (!done.contains(number)) left.push_back(number);

  engine::EngineConfig config;
  config.shards = 2;
  config.memtable_bytes = 1u << 20;  // Small, so that flushes are interrupted too.
  config.limits.active_actors = 200;
  config.limits.idle_actors = 20;
  config.limits.window = 4;
  config.limits.inbox_retention = 100;
  config.limits.changes_retention = 100;
  config.limits.trim_chunk = 50;
  auto engine = engine::make_engine(config, engine::make_kinds<test::Interpreter>(), {}, argv[1]);
  if (!engine) {
    std::cerr << engine.error().message << "\n";
    return 1;
  }
  test::Client client(**engine, programs, Instant{std::stoll(argv[4])});
  client.perform(std::move(left), [](std::uint64_t number) {
    const std::string line = std::to_string(number) + "\n";  // In one write: the reader sees whole lines.
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::_Exit(1);
  });
  return 0;
}
