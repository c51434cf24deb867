#include "sandboxd/spool.hpp"

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/unit/storage/temp_directory.hpp"

namespace muster::sandbox::test {

namespace {

std::string story(const EventSpool& spool) {
  std::string text = "mark " + std::to_string(spool.mark());
  for (const auto& event : spool.waiting()) text += " " + std::to_string(event.number) + ":" + event.frame;
  return text;
}

}  // namespace

TEST_CASE("events are numbered without gaps, across acknowledgements and restarts") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "events";
  {
    auto spool = EventSpool::open(path).value();
    for (const char* text : {"a", "b", "c"}) REQUIRE(spool.append(text));
    REQUIRE(spool.acknowledge(2));
    CHECK(story(spool) == "mark 2 3:c");
  }
  auto spool = EventSpool::open(path).value();
  // The mark was not worth a write: what the engine knows comes again, under its number.
  CHECK(spool.append("d").value() == 4);
  REQUIRE(spool.acknowledge(4));
  CHECK(story(spool) == "mark 4");
  auto later = EventSpool::open(path).value();
  CHECK(story(later) == "mark 4");
  CHECK(later.append("e").value() == 5);
  REQUIRE(later.acknowledge(99));
  CHECK(story(later) == "mark 5");
}

TEST_CASE("a torn end is cut off, what stands before it is kept") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "events";
  {
    auto spool = EventSpool::open(path).value();
    REQUIRE(spool.append("whole"));
    REQUIRE(spool.append("torn"));
  }
  const auto size = std::filesystem::file_size(path);
  for (std::uintmax_t cut = 1; cut <= 20; ++cut) {
    std::filesystem::resize_file(path, size - cut);
    auto spool = EventSpool::open(path).value();
    CHECK(story(spool) == "mark 0 1:whole");
    CHECK(spool.append("torn").value() == 2);
  }
}

TEST_CASE("an engine with another mark gets what waits under its own numbers") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "events";
  auto spool = EventSpool::open(path).value();
  for (const char* text : {"a", "b", "c"}) REQUIRE(spool.append(text));
  REQUIRE(spool.acknowledge(1));
  REQUIRE(spool.renumber(70));
  CHECK(story(spool) == "mark 70 71:b 72:c");
  CHECK(story(EventSpool::open(path).value()) == "mark 70 71:b 72:c");
  CHECK(spool.append("d").value() == 73);
}

TEST_CASE("it says when it is full, also after a restart, and no longer when that is taken") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "events";
  {
    auto spool = EventSpool::open(path).value();
    for (int n = 0; n < 8; ++n) REQUIRE(spool.append(std::string(8u << 20, 'x')));
    CHECK_FALSE(spool.full());
    REQUIRE(spool.append("y"));
    CHECK(spool.full());
  }
  auto spool = EventSpool::open(path).value();
  CHECK(spool.full());
  REQUIRE(spool.acknowledge(1));
  CHECK_FALSE(spool.full());
}

TEST_CASE("the file does not grow for ever") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "events";
  auto spool = EventSpool::open(path).value();
  const std::string big(100'000, 'x');
  for (int i = 0; i < 200; ++i) {
    const auto number = spool.append(big).value();
    if (i % 3 == 0) REQUIRE(spool.acknowledge(number - 1));
  }
  CHECK(std::filesystem::file_size(path) < 6u << 20);
}

}  // namespace muster::sandbox::test
