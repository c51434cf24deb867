// Logs that are written in large pieces, and the files of earlier releases.
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <optional>
#include <random>

#include "storage/base/files.hpp"
#include "storage/base/packing.hpp"
#include "storage/base/process.hpp"
#include "storage/runlog/runlog.hpp"
#include "storage/runlog/segment.hpp"
#include "tests/unit/storage/run_log_store.hpp"

namespace muster::storage::packed_test {

namespace fs = std::filesystem;
using testing::log_directory;
using testing::open_store;
using testing::read_all;
using testing::segment_name;

namespace {

const RunLogKey kLog{"7K2M", 1};
constexpr std::size_t kPiece = 100'000;

fs::path segment(const testing::TempDirectory& temp, std::uint64_t offset, const std::string& suffix) {
  return log_directory(temp) / segment_name(offset, suffix);
}

std::vector<std::string> names(const testing::TempDirectory& temp) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(log_directory(temp))) found.push_back(entry.path().filename());
  std::sort(found.begin(), found.end());
  return found;
}

/// Lines as a build prints them.
std::string lines(std::size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string text;
  while (text.size() < size)
    text += "[" + std::to_string(random() % 1000) + "/1000] Building object src/module_" + std::to_string(random() % 5000) + ".o\n";
  text.resize(size);
  return text;
}

void write_all(RunLog& log, std::string_view bytes, std::uint64_t from = 0, std::size_t piece = kPiece) {
  for (std::size_t at = 0; at < bytes.size(); at += piece) REQUIRE(log.append(kLog, from + at, bytes.substr(at, piece)));
}

std::string read_back(RunLog& log, std::size_t step = 70'000) { return read_all(log, kLog, step); }

/// Empty where there is no zstd.
std::optional<std::string> by_zstd(const fs::path& file) {
  ProcessSpec zstd;
  zstd.argv = {"zstd", "-dc", file.string()};
  zstd.max_output = 64u << 20;
  const auto done = run_process(zstd);
  if (!done) return std::nullopt;
  return done->out;
}

void cut_in(const fs::path& file, std::uintmax_t at, std::string_view bytes) {
  std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
  out.seekp(static_cast<std::streamoff>(at));
  out << bytes;
}

}  // namespace

TEST_CASE("large pieces are compressed before they are written, and their segment is closed by another name") {
  const testing::TempDirectory temp;
  RunLogLimits limits;
  limits.segment_bytes = 250'000;  // of the stream four times as many
  const std::string bytes = lines(2'500'000);
  const auto log = open_store(temp, limits);
  write_all(*log, bytes);
  CHECK(log->sync(kLog).value() == bytes.size());
  CHECK(names(temp) == std::vector<std::string>{segment_name(0, ".log.zst"), segment_name(1'000'000, ".log.zst"), segment_name(2'000'000, ".log")});
  std::uintmax_t on_disk = 0;
  for (const auto& entry : fs::directory_iterator(log_directory(temp))) on_disk += entry.file_size();
  CHECK(on_disk < bytes.size() / 2);
  CHECK((read_back(*log) == bytes));
  CHECK((read_back(*open_store(temp, limits), 300'000) == bytes));
  REQUIRE(log->finish(kLog));
  CHECK(names(temp).back() == segment_name(2'000'000, ".log.zst"));
  CHECK((read_back(*log, 4096) == bytes));
  CHECK(open_store(temp, limits)->end(kLog).value() == bytes.size());
  if (const auto plain = by_zstd(segment(temp, 1'000'000, ".log.zst")))
    CHECK((*plain == bytes.substr(1'000'000, 1'000'000)));
}

TEST_CASE("a piece that comes packed is stored as it came, and what can't be unpacked is refused") {
  const testing::TempDirectory temp;
  const std::string bytes = lines(kMaxPacked + 100'000, 5);
  const auto log = open_store(temp);
  const std::string first(pack(std::string_view(bytes).substr(0, kMaxPacked)).value());
  REQUIRE(log->append_packed(kLog, 0, first));
  CHECK(fs::file_size(segment(temp, 0, ".log")) == first.size() + 16);
  REQUIRE(log->append_packed(kLog, 0, first));  // again: dropped
  CHECK(log->end(kLog).value() == kMaxPacked);
  // A part of it came before.
  const std::string second(pack(std::string_view(bytes).substr(kMaxPacked - 50'000)).value());
  REQUIRE(log->append_packed(kLog, kMaxPacked - 50'000, second));
  CHECK(log->append_packed(kLog, bytes.size() + 1, first).error().code == Errc::conflict);
  for (const std::string& broken : {first.substr(0, first.size() - 1), first + "x", std::string("x")})
    CHECK(log->append_packed(kLog, bytes.size(), broken).error().code == Errc::corrupt);
  CHECK(log->sync(kLog).value() == bytes.size());
  CHECK((read_back(*log) == bytes));
  REQUIRE(log->finish(kLog));
  CHECK((read_back(*open_store(temp)) == bytes));
  if (const auto plain = by_zstd(segment(temp, 0, ".log.zst"))) CHECK((*plain == bytes));
}

TEST_CASE("a read anywhere equals the stream, whatever the sizes of its pieces were") {
  const testing::TempDirectory temp;
  RunLogLimits limits;
  limits.segment_bytes = 300'000;
  const std::string bytes = lines(3'000'000, 2);
  const auto log = open_store(temp, limits);
  std::mt19937 random(static_cast<unsigned>(Catch::rngSeed()));
  INFO("seed " << Catch::rngSeed());
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t size = random() % 3 == 0 ? 1 + random() % 5'000 : 60'000 + random() % 400'000;
    REQUIRE(log->append(kLog, at, std::string_view(bytes).substr(at, size)));
    at += std::min(size, bytes.size() - at);
  }
  SECTION("as written") {}
  SECTION("finished") { REQUIRE(log->finish(kLog)); }
  const auto again = open_store(temp, limits);
  for (RunLog* each : {log.get(), again.get()})
    for (int i = 0; i < 300; ++i) {
      const std::size_t offset = random() % bytes.size();
      const std::size_t limit = 1 + random() % (random() % 2 == 0 ? 3'000 : 600'000);
      const auto part = each->read(kLog, offset, limit);
      REQUIRE(part);
      REQUIRE_FALSE(part->empty());
      REQUIRE(part->size() <= limit);
      REQUIRE((*part == bytes.substr(offset, part->size())));
    }
}

TEST_CASE("small pieces among large ones: the closed segment holds both, and zstd reads it") {
  const testing::TempDirectory temp;
  const std::string bytes = lines(700'000, 3);
  const auto log = open_store(temp);
  REQUIRE(log->append(kLog, 0, bytes.substr(0, 10)));
  REQUIRE(log->append(kLog, 10, bytes.substr(10, 400'000)));
  for (std::size_t at = 400'010; at < 600'000; at += 10'000) REQUIRE(log->append(kLog, at, bytes.substr(at, 10'000)));
  REQUIRE(log->append(kLog, log->end(kLog).value(), bytes.substr(log->end(kLog).value())));
  CHECK((read_back(*log) == bytes));
  REQUIRE(log->finish(kLog));
  CHECK(names(temp) == std::vector<std::string>{segment_name(0, ".log.zst")});
  CHECK((read_back(*log) == bytes));
  if (const auto plain = by_zstd(segment(temp, 0, ".log.zst"))) CHECK((*plain == bytes));
}

TEST_CASE("a torn end of compressed records is cut off, whatever it looks like") {
  const testing::TempDirectory temp;
  const std::string first = lines(kPiece, 4), second = lines(kPiece, 5);
  const fs::path file = segment(temp, 0, ".log");
  std::uintmax_t synced = 0;
  {
    const auto log = open_store(temp);
    REQUIRE(log->append(kLog, 0, first));
    REQUIRE(log->sync(kLog).value() == first.size());
    synced = fs::file_size(file);
    REQUIRE(log->append(kLog, first.size(), second));
  }
  const std::uintmax_t whole = fs::file_size(file);
  SECTION("cut inside the frame") { fs::resize_file(file, whole - 1); }
  SECTION("cut inside the header") { fs::resize_file(file, synced + 11); }
  SECTION("cut where it was synced") { fs::resize_file(file, synced); }
  SECTION("zeros inside the frame") { cut_in(file, synced + 2'000, std::string(512, '\0')); }
  SECTION("zeros instead of the header") { cut_in(file, synced, std::string(16, '\0')); }
  SECTION("another size in what zstd skips") { cut_in(file, synced + 4, "\x09"); }
  SECTION("the first record once more") {
    const std::string stale = read_file(file)->substr(0, synced);
    fs::resize_file(file, synced);
    std::ofstream(file, std::ios::app | std::ios::binary) << stale;
  }
  const auto log = open_store(temp);
  CHECK(log->end(kLog).value() == first.size());
  CHECK(fs::file_size(file) == synced);
  REQUIRE(log->append(kLog, first.size(), second));
  CHECK((read_back(*log) == first + second));
}

TEST_CASE("whoever dies while a segment gets its other name leaves it under one of the two") {
  const testing::TempDirectory temp;
  const std::string bytes = lines(3 * kPiece, 6);
  {
    const auto log = open_store(temp);
    write_all(*log, bytes);
    REQUIRE(log->sync(kLog));
  }
  SECTION("the old one") {}
  SECTION("the new one") { fs::rename(segment(temp, 0, ".log"), segment(temp, 0, ".log.zst")); }
  const auto log = open_store(temp);
  CHECK(log->end(kLog).value() == bytes.size());
  CHECK(log->sync(kLog).value() == bytes.size());
  CHECK((read_back(*log) == bytes));
  REQUIRE(log->append(kLog, bytes.size(), "more"));
  CHECK((read_back(*log) == bytes + "more"));
}

TEST_CASE("a segment that can't be synced is not closed, and ends where it is durable") {
  const testing::TempDirectory temp;
  std::atomic<bool> failing{false};
  RunLogSystem system;
  system.sync_data = [&](int fd) {
    if (!failing) return ::fdatasync(fd);
    errno = EIO;
    return -1;
  };
  RunLogLimits limits;
  limits.segment_bytes = kPiece;
  const auto log = open_store(temp, limits, system);
  const std::string bytes = lines(8 * kPiece, 7);
  write_all(*log, bytes.substr(0, 2 * kPiece));
  REQUIRE(log->sync(kLog).value() == 2 * kPiece);
  write_all(*log, bytes.substr(2 * kPiece, 2 * kPiece), 2 * kPiece);
  failing = true;
  // The segment is full, so that this piece belongs into the next.
  CHECK(log->append(kLog, 4 * kPiece, bytes.substr(4 * kPiece, kPiece)).error().code == Errc::io);
  failing = false;
  CHECK(log->end(kLog).value() == 2 * kPiece);
  CHECK(log->sync(kLog).value() == 2 * kPiece);
  write_all(*log, bytes.substr(2 * kPiece), 2 * kPiece);
  CHECK((read_back(*log) == bytes));
  CHECK((read_back(*open_store(temp, limits)) == bytes));
}

TEST_CASE("a large piece that the disk refuses leaves nothing behind") {
  const testing::TempDirectory temp;
  const auto log = open_store(temp);
  const std::string bytes = lines(kPiece, 8);
  REQUIRE(log->append(kLog, 0, bytes));
  const auto size = fs::file_size(segment(temp, 0, ".log"));
  struct rlimit old {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit full = old;
  full.rlim_cur = size + 5'000;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &full) == 0);
  const auto refused = log->append(kLog, kPiece, lines(kPiece, 9));
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &old) == 0);
  std::signal(SIGXFSZ, handler);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::io);
  CHECK(fs::file_size(segment(temp, 0, ".log")) == size);
  CHECK(log->end(kLog).value() == kPiece);
  REQUIRE(log->append(kLog, kPiece, bytes));
  CHECK((read_back(*open_store(temp)) == bytes + bytes));
}

TEST_CASE("a compressed segment that was changed is corrupt") {
  const testing::TempDirectory temp;
  RunLogLimits limits;
  limits.segment_bytes = kPiece;
  const std::string bytes = lines(8 * kPiece, 10);
  {
    const auto log = open_store(temp, limits);
    write_all(*log, bytes);
    REQUIRE(log->finish(kLog));
  }
  const fs::path file = segment(temp, 0, ".log.zst");
  SECTION("inside a frame") { cut_in(file, fs::file_size(file) / 3, "changed"); }
  SECTION("cut off") { fs::resize_file(file, fs::file_size(file) - 7); }
  const auto log = open_store(temp, limits);
  std::uint64_t offset = 0;
  Result<std::string> part = std::string();
  while ((part = log->read(kLog, offset, 50'000)) && !part->empty()) {
    CHECK((*part == bytes.substr(offset, part->size())));
    offset += part->size();
  }
  REQUIRE_FALSE(part);
  CHECK(part.error().code == Errc::corrupt);
  CHECK(offset < 4 * kPiece);
}

TEST_CASE("what earlier releases wrote is read, and gone on with") {
  const auto from_hex = [](std::string_view text) {
    std::string bytes;
    for (std::size_t i = 0; i < text.size(); i += 2)
      bytes.push_back(static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
    return bytes;
  };
  const testing::TempDirectory temp;
  fs::create_directories(log_directory(temp));
  std::string text;
  SECTION("an open segment") {
    std::ofstream(segment(temp, 0, ".log"), std::ios::binary)
        << from_hex("04000000976230c16f6e650a0800000051617344616e642074776f0a");
    text = "one\nand two\n";
  }
  SECTION("a closed one") {
    std::ofstream(segment(temp, 0, ".log.zst"), std::ios::binary)
        << from_hex("28b52ffd241de90000636c6f73656420627920616e206561726c6965722072656c656173650a0ac8b0e3");
    text = "closed by an earlier release\n";
  }
  const auto log = open_store(temp);
  CHECK(log->end(kLog).value() == text.size());
  CHECK(read_back(*log) == text);
  const std::string more = lines(200'000, 11);
  REQUIRE(log->append(kLog, text.size(), more));
  REQUIRE(log->finish(kLog));
  CHECK((read_back(*log) == text + more));
}

}  // namespace muster::storage::packed_test
