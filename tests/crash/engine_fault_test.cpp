// The whole engine on a file system that fails: errors on write and sync, a full disk, power that goes at any write
// with what was not synced gone, cut or garbled. It must come back by itself, and in the end every program must
// have taken effect exactly once.
#include <catch2/catch.hpp>

#include <set>

#include "engine/runtime/runtime.hpp"
#include "storage/journal/rocksdb_journal.hpp"
#include "tests/crash/child.hpp"
#include "tests/crash/program.hpp"
#include "tests/unit/storage/fault_file_system.hpp"
#include "tests/unit/storage/temp_directory.hpp"

using namespace muster;
using namespace muster::test;
using muster::testing::FaultFileSystem;
using rocksdb::IOStatus;

namespace {

constexpr Duration kPatience{60'000};
constexpr std::uint64_t kKeys = 40;

/// An engine's disk, with the power on.
class Disk {
 public:
  explicit Disk(std::filesystem::path directory) : directory_(std::move(directory)) {}

  std::unique_ptr<engine::Engine> start() {
    engine::EngineConfig config;
    config.limits.reopen_pause = Duration{10};
    config.limits.window = 4;
    config.limits.active_actors = 50;
    config.open_journal = [this](const std::filesystem::path& path) {
      storage::RocksDbOptions options;
      options.memtable_bytes = 1u << 20;
      options.env = env_;
      return storage::open_rocksdb_journal(path, options);
    };
    auto engine = engine::make_engine(config, engine::make_kinds<Interpreter>(), {}, directory_);
    if (!engine) FAIL(engine.error().message);
    return std::move(*engine);
  }

  std::shared_ptr<FaultFileSystem> system = std::make_shared<FaultFileSystem>();

 private:
  std::filesystem::path directory_;
  std::shared_ptr<rocksdb::Env> env_{rocksdb::NewCompositeEnv(system)};
};

/// Programs that are performed through faults; remembers which are acknowledged.
struct Load {
  explicit Load(std::uint64_t its_count) : count(its_count) {}

  /// Until all are acknowledged or `go_on` says no.
  void run(engine::Engine& engine, const std::function<bool()>& go_on) {
    std::vector<std::uint64_t> left;
    for (std::uint64_t number = 1; number <= count; ++number)
      if (!done.contains(number)) left.push_back(number);
    Client(engine, programs, began).perform(
        std::move(left), [this](std::uint64_t number) { done.insert(number); }, go_on);
  }

  std::uint64_t count;
  Programs programs{testing::seed(), kKeys};
  Instant began = wall_clock_now();
  std::set<std::uint64_t> done;
};

}  // namespace

TEST_CASE("Disk errors under load: said in health, reads go on, and it comes back by itself") {
  INFO("MUSTER_SEED=" << testing::seed());
  std::mt19937 random(testing::seed());
  const testing::TempDirectory directory;
  Disk disk(directory.path());
  Load load(testing::soaking() ? 20'000 : 1'500);
  const auto engine = disk.start();
  std::size_t next_fault = 50;
  int faults = 0;
  bool broken = false;
  load.run(*engine, [&] {
    // Not while it comes back from the last one: its reads are refused for the moment in which it opens its disk anew.
    const bool well = engine->trouble().empty();
    if (!broken && well && load.done.size() >= next_fault && load.done.size() < load.count) {
      next_fault = load.done.size() + 50 + random() % 200;
      broken = true;
      ++faults;
      const bool full = random() % 2 == 0;
      const IOStatus error = full ? IOStatus::NoSpace("the disk is full") : IOStatus::IOError("EIO");
      if (random() % 2 == 0) {
        disk.system->fail_syncs(error);
      } else {
        disk.system->fail_appends(error);
      }
    } else if (broken && !well) {
      // What is durable is still read, while nothing can be written.
      const auto program = load.programs.at(*load.done.begin());
      const auto head = engine->head({"test", "interpreter", program.key});
      CHECK(head);
      disk.system->fail_syncs({});
      disk.system->fail_appends({});
      broken = false;
    }
    return true;
  });
  disk.system->fail_syncs({});
  disk.system->fail_appends({});
  CHECK(faults >= 3);
  CHECK(load.done.size() == load.count);
  CHECK(wait_until_equal(*engine, model_of(load.programs, load.count), kPatience) == "");
  CHECK(engine->trouble() == "");
}

TEST_CASE("Power cuts at any write, with the unsynced tail gone, cut or garbled, lose nothing acknowledged") {
  INFO("MUSTER_SEED=" << testing::seed());
  std::mt19937 random(testing::seed());
  const testing::TempDirectory directory;
  Disk disk(directory.path());
  const int cuts = testing::soaking() ? 200 : 15;
  Load load(testing::soaking() ? 50'000 : 1'500);
  for (int cut = 0; cut < cuts; ++cut) {
    auto engine = disk.start();
    disk.system->cut_power_at(1 + random() % 300);
    load.run(*engine, [&] { return !disk.system->power_is_cut(); });
    engine.reset();  // its last writes may be what the power ends at
    if (!disk.system->power_is_cut()) break;
    constexpr FaultFileSystem::Tail kTails[] = {
        FaultFileSystem::Tail::gone, FaultFileSystem::Tail::cut, FaultFileSystem::Tail::garbled};
    disk.system->lose_unsynced(kTails[random() % 3], random);
  }
  disk.system->cut_power_at(0);
  const auto engine = disk.start();
  load.run(*engine, [] { return true; });
  CHECK(load.done.size() == load.count);
  CHECK(wait_until_equal(*engine, model_of(load.programs, load.count), kPatience) == "");
}
