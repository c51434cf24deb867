// kill -9 at random moments: what was acknowledged is there, batches are whole, and the writer can go on.
// Power loss (unsynced bytes gone) is tested by tests/unit/storage/journal_fault_test.cpp and runlog_test.cpp.
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "storage/journal/rocksdb_journal.hpp"
#include "storage/runlog/runlog.hpp"
#include "tests/crash/child.hpp"
#include "tests/crash/storage_pattern.hpp"
#include "tests/unit/storage/temp_directory.hpp"

using namespace muster;
using namespace muster::storage;
using namespace muster::testing;

namespace {

constexpr int kRounds = 12;

/// A storage_writer that is killed, at the latest, with this object.
Child writer_of(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), MUSTER_STORAGE_WRITER);
  return Child(std::move(arguments));
}

/// Lets it live for a random number of acknowledgements and a random part of the next one.
std::uint64_t kill_somewhere(Child& writer, std::mt19937& random) {
  const auto acknowledgements = 1 + random() % 300;
  for (std::size_t i = 0; i < acknowledgements; ++i) REQUIRE(writer.next() != 0);
  // Not a wait for anything: it only spreads the moment of the kill over the writer's work.
  ::usleep(static_cast<useconds_t>(random() % 3000));
  return writer.kill();
}

/// The last batch that is there; checks that it and all before it are whole.
std::uint64_t check_journal(const std::filesystem::path& directory) {
  const auto journal = open_rocksdb_journal(directory);
  REQUIRE(journal);
  const auto stored = (*journal)->get(Family::meta, "last");
  REQUIRE(stored);
  REQUIRE(stored->has_value());
  const std::uint64_t last = get_be64(**stored);

  std::uint64_t next = 1;
  const auto numbered = [&](std::string_view key, std::string_view value) {
    if (get_be64(key) != next || value != number_value(next)) return false;
    ++next;
    return true;
  };
  REQUIRE((*journal)->scan(Family::state, "", prefix_end("\x7f"), numbered));
  CHECK(next == last + 1);

  std::string timers;
  REQUIRE((*journal)->scan(Family::timers, "", prefix_end("\x7f"), [&](auto key, auto) {
    timers += std::to_string(get_be64(key)) + " ";
    return true;
  }));
  CHECK(timers == std::to_string(last) + " ");

  // The trim may have been lost, never gone further.
  next = std::max<std::uint64_t>(1, trimmed_below(last));
  REQUIRE((*journal)->scan(Family::inbox, number_key(next), prefix_end("\x7f"), numbered));
  CHECK(next == last + 1);
  return last;
}

void check_log(const std::filesystem::path& directory, std::uint64_t acknowledged) {
  const auto log = RunLog::open(directory, crash_limits());
  REQUIRE(log);
  const std::uint64_t end = (*log)->end(kCrashKey).value();
  CHECK(end >= acknowledged);
  CHECK((*log)->sync(kCrashKey).value() == end);
  std::uint64_t offset = 0;
  while (true) {
    const auto part = (*log)->read(kCrashKey, offset, 1u << 20);
    REQUIRE(part);
    if (part->empty()) break;
    REQUIRE(*part == crash_bytes(offset, part->size()));
    offset += part->size();
  }
  CHECK(offset == end);
}

}  // namespace

TEST_CASE("a journal whose writer is killed keeps every acknowledged batch whole") {
  std::mt19937 random(seed());
  INFO("seed " << seed());
  const TempDirectory temp;
  const auto directory = temp.path() / "shard-0";
  std::uint64_t last = 0;
  for (int round = 0; round < kRounds; ++round) {
    Child writer = writer_of({"journal", directory.string(), std::to_string(last + 1)});
    const std::uint64_t acknowledged = kill_somewhere(writer, random);
    last = check_journal(directory);
    // One batch may be durable and not acknowledged, because the kill came in between.
    CHECK(last >= acknowledged);
    CHECK(last <= acknowledged + 1);
  }
}

TEST_CASE("a journal held by a living process is refused with its pid, a dead one's is not") {
  const TempDirectory temp;
  const auto directory = temp.path() / "shard-0";
  Child writer = writer_of({"journal", directory.string(), "1"});
  REQUIRE(writer.next() == 1);
  const auto refused = open_rocksdb_journal(directory);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::conflict);
  CHECK(refused.error().message.find("in use by process ") != std::string::npos);
  REQUIRE(writer.next() == 2);  // It was not disturbed.
  writer.kill();
  const auto opened = open_rocksdb_journal(directory);
  REQUIRE(opened);
  const auto twice = open_rocksdb_journal(directory);
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code == Errc::conflict);
  CHECK(twice.error().message.find("already open in this process") != std::string::npos);
}

TEST_CASE("a log whose writer is killed keeps every acknowledged byte") {
  std::mt19937 random(seed());
  INFO("seed " << seed());
  const TempDirectory temp;
  for (int round = 0; round < kRounds; ++round) {
    Child writer = writer_of({"runlog", temp.path().string()});
    const std::uint64_t acknowledged = kill_somewhere(writer, random);
    check_log(temp.path(), acknowledged);
  }
}
