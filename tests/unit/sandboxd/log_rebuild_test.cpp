#include "sandboxd/log_rebuild.hpp"

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

TEST_CASE("the stream comes back byte for byte, however the log is cut") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const std::string stream = random_text(random, random() % 500);
    const std::string log = to_k8s_log(stream, 1 + random() % 40);
    LogRebuilder rebuilder;
    std::string out;
    for (std::size_t at = 0; at < log.size();) {
      const std::size_t n = 1 + random() % 60;
      REQUIRE(rebuilder.feed(std::string_view(log).substr(at, n), out));
      at += n;
    }
    REQUIRE(out == stream);
  }
}

TEST_CASE("entries as conmon writes them") {
  LogRebuilder rebuilder;
  std::string out;
  REQUIRE(rebuilder.feed("2026-11-22T15:04:05.678901234+00:00 stdout F one\n"
                         "2026-11-22T15:04:05.678901234+00:00 stderr F of the runtime\n"
                         "2026-11-22T15:04:05.678901234+00:00 stdout P tw\n"
                         "2026-11-22T15:04:05.678901234+00:00 stdout F o\n"
                         "2026-11-22T15:04:05.678901234+00:00 stdout F \n"
                         "2026-11-22T15:04:05.678901234+00:00 stdout P unfinished",
                         out));
  CHECK(out == "one\ntwo\n\n");
  CHECK_FALSE(rebuilder.feed("\nnonsense\n", out));
}

TEST_CASE("a log is read while it grows, and again from any offset") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "log";
  std::mt19937 random(11);
  const std::string stream = random_text(random, 20'000);
  const std::string log = to_k8s_log(stream, 100);
  LogReader reader(path);
  std::string out;
  CHECK(reader.read(out, 10).value() == 0);  // not there yet
  for (std::size_t at = 0; at < log.size(); at += 1111) {
    append(path, std::string_view(log).substr(at, 1111));
    while (reader.read(out, 1 + random() % 300).value() > 0) {
    }
  }
  CHECK(out == stream);
  CHECK(reader.offset() == stream.size());
  for (int round = 0; round < 50; ++round) {
    const std::uint64_t offset = random() % (stream.size() + 1);
    REQUIRE(reader.seek(offset));
    CHECK(reader.offset() == offset);
    std::string piece;
    (void)reader.read(piece, 64);
    CHECK(piece == stream.substr(offset, piece.size()));
    CHECK(piece.size() == (offset < stream.size() ? std::min<std::size_t>(piece.size(), 64) : 0));
  }
  CHECK_FALSE(reader.seek(stream.size() + 1));
}

TEST_CASE("a checkpoint is as good as the beginning") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "log";
  std::string stream;
  for (int i = 0; i < 1'000'000; ++i) stream += std::to_string(i) + "\n";
  append(path, to_k8s_log(stream));
  LogReader reader(path);
  std::string piece;
  while (reader.read(piece, 1u << 20).value() > 0) piece.clear();
  REQUIRE(reader.seek(5'000'000));
  REQUIRE(reader.read(piece, 100).value() == 100);
  CHECK(piece == stream.substr(5'000'000, 100));
}

TEST_CASE("the host's own words join the stream") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "log";
  append(path, to_k8s_log("from the sandbox\n"));
  REQUIRE(append_stream(path, "from\nthe host"));
  LogReader reader(path);
  std::string out;
  while (reader.read(out, 100).value() > 0) {
  }
  CHECK(out == "from the sandbox\nfrom\nthe host");
}

}  // namespace muster::sandbox::test
