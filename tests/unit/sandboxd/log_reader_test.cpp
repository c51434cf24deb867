#include "sandboxd/log_reader.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/unit/storage/temp_directory.hpp"

namespace muster::sandbox::test {

namespace {

std::string random_text(std::mt19937& random, std::size_t length) {
  std::string text(length, '\0');
  for (char& c : text) c = static_cast<char>("\n\n\0 aFP\xff"[random() % 8]);
  return text;
}

void append(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::app | std::ios::binary) << text;
}

}  // namespace

TEST_CASE("a log is read while it grows, and again from any offset") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "log";
  std::mt19937 random(11);
  const std::string stream = random_text(random, 20'000);
  LogReader reader(path);
  std::string out;
  CHECK(reader.read(out, 10).value() == 0);  // not there yet
  CHECK(reader.seek(0));
  CHECK_FALSE(reader.seek(1));
  for (std::size_t at = 0; at < stream.size(); at += 1111) {
    append(path, std::string_view(stream).substr(at, 1111));
    while (reader.read(out, 1 + random() % 300).value() > 0) {
    }
  }
  CHECK(out == stream);
  CHECK(reader.offset() == stream.size());
  for (int round = 0; round < 50; ++round) {
    const std::uint64_t offset = random() % (stream.size() + 1);
    REQUIRE(reader.seek(offset));
    CHECK(reader.offset() == offset);
    std::string piece = "before ";
    const std::size_t n = reader.read(piece, 64).value();
    CHECK(n == std::min<std::size_t>(64, stream.size() - offset));
    CHECK(piece == "before " + stream.substr(offset, n));
  }
  CHECK_FALSE(reader.seek(stream.size() + 1));
}

TEST_CASE("the host's own words join the log") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "log";
  append(path, "from the sandbox\n");
  REQUIRE(append_log(path, "from\nthe host"));
  LogReader reader(path);
  std::string out;
  while (reader.read(out, 100).value() > 0) {
  }
  CHECK(out == "from the sandbox\nfrom\nthe host");
}

}  // namespace muster::sandbox::test
