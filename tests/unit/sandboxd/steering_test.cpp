#include "sandboxd/steering.hpp"

#include <catch2/catch.hpp>
#include <fstream>

#include "storage/base/files.hpp"
#include "tests/unit/storage/temp_directory.hpp"

namespace muster::sandbox::test {

namespace fs = std::filesystem;

namespace {

SteerMessages messages(std::initializer_list<std::pair<std::uint32_t, std::string>> all) {
  SteerMessages made;
  for (const auto& [number, text] : all) {
    made.push_back(std::make_unique<wire::SteerMessageT>());
    made.back()->number = number;
    made.back()->by = "ann";
    made.back()->text = text;
    made.back()->at_unix_ms = 7;
  }
  return made;
}

std::string line(std::uint32_t number, const std::string& text) {
  return R"({"number":)" + std::to_string(number) + R"(,"by":"ann","text":")" + text + R"(","at_unix_ms":7})" + "\n";
}

struct Fixture {
  Fixture() : places(Paths{directory.path().string()}, "7K2M4P0Q8RSTV-1") { fs::create_directories(places.kept); }
  std::string shown() { return read_file(places.steering()).value_or("(none)"); }

  muster::testing::TempDirectory directory;
  Places places;
};

}  // namespace

TEST_CASE_METHOD(Fixture, "what people say is kept once, in order, and stands in the sandbox as it is kept") {
  CHECK(keep_messages(places, {}).value() == 0);
  CHECK_FALSE(fs::exists(places.kept / "steering"));
  CHECK(keep_messages(places, messages({{0, "one"}, {3, "two"}})).value() == 4);
  CHECK(show_messages(places).error().code == Errc::not_found);  // it is not made yet
  fs::create_directories(places.in());
  REQUIRE(show_messages(places));
  CHECK(shown() == line(0, "one") + line(3, "two"));
  CHECK(keep_messages(places, messages({{3, "again"}, {2, "late"}, {4, "three\nlines \"quoted\""}})).value() == 5);
  REQUIRE(show_messages(places));
  REQUIRE(show_messages(places));
  const std::string all = line(0, "one") + line(3, "two") + line(4, R"(three\nlines \"quoted\")");
  CHECK(shown() == all);
  CHECK(kept_messages(places) == all);
  CHECK(keep_messages(places, messages({{0, "one"}})).value() == 5);
}

TEST_CASE_METHOD(Fixture, "killed between keeping and showing, or within a line, it goes on where it ended") {
  fs::create_directories(places.in());
  REQUIRE(keep_messages(places, messages({{0, "one"}, {1, "two"}})));
  const std::string all = line(0, "one") + line(1, "two");
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    std::ofstream(places.steering(), std::ios::trunc) << all.substr(0, cut);
    REQUIRE(show_messages(places));
    REQUIRE(shown() == all);
  }
}

TEST_CASE_METHOD(Fixture, "bytes that are no text, and more than is kept") {
  fs::create_directories(places.in());
  REQUIRE(keep_messages(places, messages({{0, std::string("a\xff\x00z", 4)}})));
  CHECK(kept_messages(places) == line(0, "a\xEF\xBF\xBD\xEF\xBF\xBDz"));
  const auto too_much = keep_messages(places, messages({{1, std::string(kMaxSteerBytes, 'x')}}));
  CHECK(too_much.error().code == Errc::overloaded);
  CHECK(keep_messages(places, messages({{1, "short"}})).value() == 2);
}

}  // namespace muster::sandbox::test
