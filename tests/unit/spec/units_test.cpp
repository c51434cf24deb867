#include "actors/spec/units.hpp"

#include <catch2/catch.hpp>

namespace muster::actors {
namespace {

TEST_CASE("sizes") {
  CHECK(parse_size("2GiB") == 2ull << 30);
  CHECK(parse_size("512 MiB") == 512ull << 20);
  CHECK(parse_size("4096") == 4096u);
  CHECK(size_text(2ull << 30) == "2GiB");
  CHECK(size_text(1536ull << 20) == "1536MiB");
  CHECK(size_text(4097) == "4097");
  CHECK(parse_size("2GB").error().message ==
        "\"2GB\" is not a size like 512MiB or 2GiB: units are KiB, MiB, GiB, TiB");
  CHECK(parse_size("1.5GiB").error().message ==
        "\"1.5GiB\" is not a size like 512MiB or 2GiB: use a whole number of a smaller unit");
  CHECK(parse_size("99999999TiB").error().message ==
        "\"99999999TiB\" is not a size like 512MiB or 2GiB: too large");
  CHECK_FALSE(parse_size(""));
  CHECK_FALSE(parse_size("-1GiB"));
}

TEST_CASE("percentages") {
  CHECK(parse_percent("10%") == 100u);
  CHECK(parse_percent("0.5%") == 5u);
  CHECK(parse_percent("100%") == 1000u);
  CHECK(percent_text(5) == "0.5%");
  CHECK(percent_text(1000) == "100%");
  CHECK(parse_percent("120%").error().message == "120% is over 100%");
  CHECK(parse_percent("20").error().message == "\"20\" is not a percentage like 20% or 0.5%");
  CHECK_FALSE(parse_percent("0.05%"));
  CHECK_FALSE(parse_percent("-1%"));
  CHECK_FALSE(parse_percent("%"));
}

TEST_CASE("globs match over slashes") {
  CHECK(glob_match("acme/legacy-*", "acme/legacy-api"));
  CHECK(glob_match("*", "acme/api"));
  CHECK_FALSE(glob_match("acme/legacy-*", "acme/api"));
}

TEST_CASE("names of branches and fleets") {
  for (const char* good : {"main", "muster/libgreet-2", "release-2", "a.b/c"})
    CHECK(is_branch_name(good));
  for (const char* bad :
       {"",     "-x", "a..b",         "a b",   "a/",  "/a", "a//b", ".a",   "a/.b", "a.lock", "a.",
        "HEAD", "@",  "refs/heads/x", "a@{1}", "a~1", "a^", "a:b",  "a\nb", "a\\b", "a*"}) {
    INFO(bad);
    CHECK_FALSE(is_branch_name(bad));
  }
  CHECK(is_fleet_name("libgreet-2.1"));
  for (const char* bad : {"", "-x", "A", "a_b", "a/b", ".a"}) CHECK_FALSE(is_fleet_name(bad));
  CHECK_FALSE(is_fleet_name(std::string(64, 'a')));
}

TEST_CASE("the nearest word is suggested only when it is near") {
  const std::vector<std::string> keys{"run", "files", "timeout", "idle_timeout"};
  CHECK(nearest("timout", keys) == "timeout");
  CHECK(nearest("rnu", keys) == "run");
  CHECK(nearest("file", keys) == "files");
  CHECK(nearest("concurrency", keys).empty());
}

}  // namespace
}  // namespace muster::actors
