// kill -9 of an engine under load at random moments, then every program that it had acknowledged, and every other
// one, must have taken effect exactly once. Power loss and failing disks: engine_fault_test.cpp.
#include <catch2/catch.hpp>

#include <fstream>
#include <set>

#include "engine/runtime/runtime.hpp"
#include "tests/crash/child.hpp"
#include "tests/crash/program.hpp"
#include "tests/unit/storage/temp_directory.hpp"

using namespace muster;
using namespace muster::test;
using muster::testing::Child;

namespace {

constexpr Duration kLongest{60'000};

std::unique_ptr<engine::Engine> open(const std::filesystem::path& directory, std::uint32_t shards) {
  engine::EngineConfig config;
  config.shards = shards;
  auto engine = engine::make_engine(config, engine::make_kinds<Interpreter>(), {}, directory);
  if (!engine) FAIL(engine.error().message);
  return std::move(*engine);
}

/// A number from the environment: a command for any size.
std::uint64_t asked(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::stoull(text) : otherwise;
}

}  // namespace

TEST_CASE("Random programs over many keys come to what the model says, over a restart too") {
  // MUSTER_KEYS=1000000 MUSTER_PROGRAMS=1000000 test_crash_engine "Random programs*"
  const std::uint64_t keys = asked("MUSTER_KEYS", testing::soaking() ? 100'000 : 300);
  const std::uint64_t count = asked("MUSTER_PROGRAMS", testing::soaking() ? 100'000 : 2'000);
  INFO("MUSTER_SEED=" << testing::seed());
  const testing::TempDirectory directory;
  const Programs programs(testing::seed(), keys);
  const Model model = model_of(programs, count);
  const Duration longest = kLongest + Duration{static_cast<std::int64_t>(count / 5)};
  {
    const auto engine = open(directory.path(), 3);
    std::set<std::uint64_t> acknowledged;
    Client(*engine, programs, engine->now()).perform(1, count, [&](std::uint64_t number) {
      acknowledged.insert(number);
    });
    CHECK(acknowledged.size() == count);
    CHECK(wait_until_equal(*engine, model, longest) == "");
  }
  CHECK(difference(*open(directory.path(), 3), model) == "");
  WARN(count << " programs over " << keys << " keys came to what the model says, over a restart too");
}

TEST_CASE("An engine that is killed again and again under load loses nothing and does nothing twice") {
  const int kills = testing::soaking() ? 200 : 10;
  const std::uint64_t count = testing::soaking() ? 100'000 : 3'000;
  INFO("MUSTER_SEED=" << testing::seed());
  std::mt19937 random(testing::seed());
  const testing::TempDirectory directory;
  const auto data = directory.path() / "engine";
  const auto done_file = directory.path() / "done";
  std::filesystem::create_directories(data);
  const Programs programs(testing::seed(), 100);
  const std::string began = std::to_string(wall_clock_now().unix_ms);
  std::set<std::uint64_t> done;
  const auto writer = [&] {
    std::ofstream file(done_file, std::ios::trunc);
    for (const std::uint64_t number : done) file << number << "\n";
    file.close();
    return Child({MUSTER_ENGINE_WRITER, data.string(), std::to_string(testing::seed()), "100", began,
                  std::to_string(count), done_file.string()});
  };
  for (int kill = 0; kill < kills; ++kill) {
    Child child = writer();
    const std::uint64_t per_life = count / static_cast<std::uint64_t>(kills);
    for (std::uint64_t n = random() % per_life; n > 0; --n) {
      const std::uint64_t number = child.next();
      REQUIRE(number != 0);
      done.insert(number);
    }
    // Not a wait for anything: it only spreads the moment of the kill over the engine's work.
    ::usleep(static_cast<useconds_t>(random() % 20'000));
    for (const std::uint64_t number : child.kill_and_drain()) done.insert(number);
  }
  CHECK(done.size() < count);  // Else nothing was killed under load.
  Child last = writer();
  while (const std::uint64_t number = last.next()) done.insert(number);
  CHECK(done.size() == count);
  const auto engine = open(data, 2);
  CHECK(wait_until_equal(*engine, model_of(programs, count), kLongest) == "");
}
