// The RocksDB journal on a disk that fails, fills and loses power.
#include <catch2/catch.hpp>
#include <fstream>
#include <memory>
#include <random>

#include "storage/base/files.hpp"
#include "storage/journal/rocksdb_journal.hpp"
#include "tests/unit/storage/fault_file_system.hpp"
#include "tests/unit/storage/journal_text.hpp"
#include "tests/unit/storage/temp_directory.hpp"

using namespace muster;
using namespace muster::storage;
using muster::testing::FaultFileSystem;
using muster::testing::put;
using muster::testing::TempDirectory;
using muster::testing::to_text;
using rocksdb::IOStatus;

namespace {

struct Disk {
  TempDirectory temp;
  std::shared_ptr<FaultFileSystem> faults = std::make_shared<FaultFileSystem>();
  std::shared_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(faults);
  std::mt19937 random{static_cast<unsigned>(Catch::rngSeed()) + 1};

  std::unique_ptr<Journal> open() {
    RocksDbOptions options;
    options.memtable_bytes = 1u << 20;
    options.env = env;
    auto journal = open_rocksdb_journal(temp.path() / "shard-0", options);
    INFO((journal ? "" : journal.error().message));
    REQUIRE(journal);
    return std::move(*journal);
  }
};

void check_poisoned(Journal& journal) {
  CHECK(journal.commit(put(Family::state, "x", "x")).error().code == Errc::io);
  CHECK(to_text(journal) == "state a=1");  // What is durable is still read.
  CHECK(journal.drop(Family::state, "a", "b").error().code == Errc::io);
}

}  // namespace

TEST_CASE("after a failed sync every write is refused and every read answered until the disk is well and reopened") {
  for (const bool full : {false, true}) {
    DYNAMIC_SECTION((full ? "ENOSPC" : "EIO")) {
      Disk disk;
      auto journal = disk.open();
      REQUIRE(journal->commit(put(Family::state, "a", "1")));
      disk.faults->fail_syncs(full ? IOStatus::NoSpace("disk full") : IOStatus::IOError("broken"));
      CHECK(journal->commit(put(Family::state, "b", "2")).error().code == Errc::io);
      check_poisoned(*journal);
      CHECK(journal->reopen().error().code == Errc::io);
      check_poisoned(*journal);

      // The disk gets well: nothing happens by itself.
      disk.faults->fail_syncs(std::nullopt);
      check_poisoned(*journal);
      REQUIRE(journal->reopen());
      // The record that nobody was told of was there: unknown, not absent.
      CHECK(to_text(*journal) == "state a=1 b=2");

      // And what a reader was shown now survives a power cut, though its sync had failed.
      journal.reset();
      disk.faults->lose_unsynced(FaultFileSystem::Tail::gone, disk.random);
      CHECK(to_text(*disk.open()) == "state a=1 b=2");
    }
  }
}

TEST_CASE("after a failed sync and a power cut the record may be gone, and nothing else") {
  Disk disk;
  auto journal = disk.open();
  REQUIRE(journal->commit(put(Family::state, "a", "1")));
  disk.faults->fail_syncs(IOStatus::IOError("broken"));
  CHECK_FALSE(journal->commit(put(Family::state, "b", "2")));
  journal.reset();
  disk.faults->fail_syncs(std::nullopt);
  disk.faults->lose_unsynced(FaultFileSystem::Tail::gone, disk.random);
  journal = disk.open();
  CHECK(to_text(*journal) == "state a=1");
  REQUIRE(journal->commit(put(Family::state, "c", "3")));
}

TEST_CASE("a disk that fills in the middle of a record leaves no half batch") {
  Disk disk;
  auto journal = disk.open();
  REQUIRE(journal->commit(put(Family::state, "a", "1")));
  Batch batch;
  batch.put(Family::inbox, "b", std::string(5000, 'b'));
  batch.put(Family::timers, "b", "2");
  disk.faults->fail_appends(IOStatus::NoSpace("disk full"));
  CHECK(journal->commit(batch).error().code == Errc::io);
  check_poisoned(*journal);
  CHECK(journal->reopen().error().code == Errc::io);
  disk.faults->fail_appends(std::nullopt);
  REQUIRE(journal->reopen());
  CHECK(to_text(*journal) == "state a=1");
  REQUIRE(journal->commit(put(Family::state, "c", "3")));
  journal.reset();
  CHECK(to_text(*disk.open()) == "state a=1 c=3");
}

TEST_CASE("a power cut at any write keeps what was acknowledged, and batches whole") {
  Disk disk;
  int acknowledged = 0;
  int rounds_cut = 0;
  constexpr int kRounds = 24;
  for (int round = 0; round < kRounds; ++round) {
    const auto tail = static_cast<FaultFileSystem::Tail>(round % 3);
    {
      const auto journal = disk.open();
      disk.faults->cut_power_at(1 + disk.random() % 120);
      for (int i = 0; i < 200; ++i) {
        const std::string number = std::to_string(acknowledged + 1);
        Batch batch;
        batch.put(Family::inbox, "last", number + "." + std::string(disk.random() % 20'000, 'i'));
        batch.put(Family::state, "last", number);
        batch.put(Family::changes, number, number);
        if (!journal->commit(batch)) break;
        ++acknowledged;
      }
      if (disk.faults->power_is_cut()) ++rounds_cut;
    }
    disk.faults->lose_unsynced(tail, disk.random);

    INFO("round " << round);
    const auto journal = disk.open();
    const std::string last = journal->get(Family::state, "last").value().value_or("0");
    const std::string inbox = journal->get(Family::inbox, "last").value().value_or("0.");
    CHECK(inbox.substr(0, inbox.find('.')) == last);
    CHECK(std::stoi(last) >= acknowledged);
    CHECK(std::stoi(last) <= acknowledged + 1);
    acknowledged = std::stoi(last);
    for (int i = 1; i <= acknowledged; ++i)
      REQUIRE(journal->get(Family::changes, std::to_string(i)).value() ==
              std::optional<std::string>(std::to_string(i)));
  }
  CHECK(rounds_cut > kRounds / 2);
}

namespace {

std::filesystem::path manifest_of(const std::filesystem::path& shard) {
  const std::string current = read_file(shard / "CURRENT", 64).value();
  return shard / current.substr(0, current.find('\n'));
}
std::string bytes_of(const std::filesystem::path& file) { return read_file(file, 1u << 20).value(); }
void flip(char& byte) { byte = static_cast<char>(byte ^ 1); }
void append(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::app | std::ios::binary) << bytes;
}

}  // namespace

TEST_CASE("zeros in the last, unsynced record of the MANIFEST are cut off, wherever they begin") {
  const TempDirectory temp;
  const auto shard = temp.path() / "shard-0";
  REQUIRE((*open_rocksdb_journal(shard))->commit(put(Family::state, "a", "1")));
  for (std::size_t whole = 1;; whole += 3) {
    const std::string before = bytes_of(manifest_of(shard));
    const std::string record = before.substr(0, 7 + static_cast<unsigned char>(before[4]));
    if (whole >= record.size()) break;
    append(manifest_of(shard), record.substr(0, whole) + std::string(record.size() - whole, '\0'));
    INFO(whole << " of " << record.size() << " bytes were written");
    const auto journal = open_rocksdb_journal(shard);
    REQUIRE(journal);
    CHECK(to_text(**journal) == "state a=1");
  }
}

TEST_CASE("other damage of the MANIFEST is corrupt, and stays for whoever looks") {
  const TempDirectory temp;
  const auto shard = temp.path() / "shard-0";
  REQUIRE((*open_rocksdb_journal(shard))->commit(put(Family::state, "a", "1")));
  const auto manifest = manifest_of(shard);
  const std::string good = bytes_of(manifest);
  std::string bad = good;
  SECTION("a bit in the middle") { flip(bad[good.size() / 2]); }
  SECTION("a bit in the middle, and zeros at the end") {
    flip(bad[good.size() / 2]);
    bad += std::string(100, '\0');
  }
  SECTION("something after a record that is not whole") {
    bad += good.substr(0, 20) + std::string(30, '\0') + good;
  }
  std::ofstream(manifest, std::ios::binary) << bad;
  CHECK(open_rocksdb_journal(shard).error().code == Errc::corrupt);
  CHECK(bytes_of(manifest) == bad);
  std::ofstream(manifest, std::ios::binary) << good;
  CHECK(to_text(**open_rocksdb_journal(shard)) == "state a=1");
}
