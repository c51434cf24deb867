// The process that storage_crash_test.cpp kills: writes to one store for ever and says on standard output, one
// line each, what was acknowledged to it.
//
//   storage_writer journal DIRECTORY FIRST   commits batches FIRST, FIRST+1, …: "N\n" once N is durable
//   storage_writer runlog DIRECTORY          goes on with one log: "OFFSET\n" once synced so far
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "storage/base/packing.hpp"
#include "storage/journal/rocksdb_journal.hpp"
#include "storage/runlog/runlog.hpp"
#include "tests/crash/storage_pattern.hpp"

using namespace muster;
using namespace muster::storage;

namespace {

int fail_with(const Error& error) {
  std::cerr << error.message << "\n";
  return 1;
}

/// In one write, so that the reader sees whole lines.
void acknowledge(std::uint64_t number) {
  const std::string line = std::to_string(number) + "\n";
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::exit(1);
}

int write_journal(const std::string& directory, std::uint64_t number) {
  RocksDbOptions options;
  options.memtable_bytes = 1u << 20;  // Small, so that flushes are interrupted too.
  const auto journal = open_rocksdb_journal(directory, options);
  if (!journal) return fail_with(journal.error());
  for (;; ++number) {
    if (auto done = (*journal)->commit(testing::crash_batch(number)); !done)
      return fail_with(done.error());
    acknowledge(number);
    if (number % testing::kTrimEvery == 0) {
      const auto trimmed = testing::trimmed_below(number);
      if (auto done = (*journal)->drop(Family::inbox, "", testing::number_key(trimmed)); !done)
        return fail_with(done.error());
    }
  }
}

int write_runlog(const std::string& directory) {
  const auto log = RunLog::open(directory, testing::crash_limits());
  if (!log) return fail_with(log.error());
  const auto end = (*log)->sync(testing::kCrashKey);
  if (!end) return fail_with(end.error());
  std::uint64_t offset = *end;
  for (unsigned n = 1;; ++n) {
    // Small pieces and large ones, which are stored compressed, in turn: segments of either kind and of both are closed.
    const std::uint64_t size = n / 8 % 8 == 0 ? (64u << 10) + offset % 30'000 : 1 + offset % 3000;
    const std::string bytes = testing::crash_bytes(offset, size);
    const bool comes_packed = size >= kMinPacked && n % 2 == 0;
    const auto done = comes_packed ? (*log)->append_packed(testing::kCrashKey, offset, std::string(pack(bytes).value()))
                                   : (*log)->append(testing::kCrashKey, offset, bytes);
    if (!done) return fail_with(done.error());
    offset += bytes.size();
    if (n % 3 != 0) continue;
    const auto durable = (*log)->sync(testing::kCrashKey);
    if (!durable) return fail_with(durable.error());
    acknowledge(*durable);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[1] : "";
  if (what == "journal" && argc == 4) return write_journal(argv[2], std::stoull(argv[3]));
  if (what == "runlog") return write_runlog(argv[2]);
  std::cerr << "usage: storage_writer journal DIRECTORY FIRST | runlog DIRECTORY\n";
  return 2;
}
