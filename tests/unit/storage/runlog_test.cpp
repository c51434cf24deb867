#include "storage/runlog/runlog.hpp"

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "storage/base/files.hpp"
#include "storage/base/process.hpp"
#include "tests/unit/storage/run_log_store.hpp"

using namespace muster;
using namespace muster::storage;
using muster::testing::log_directory;
using muster::testing::open_store;
using muster::testing::read_all;
using muster::testing::segment_name;
using muster::testing::TempDirectory;
namespace fs = std::filesystem;

namespace {

const RunLogKey kKey{"7K2M", 1};
constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

std::string files(const fs::path& where) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(where)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  std::string text;
  for (const auto& each : names) text += each + " ";
  return text;
}

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random() % 7 == 0 ? random() : 'a' + random() % 4);
  return bytes;
}

}  // namespace

TEST_CASE("the logs of a run go with all of its attempts, and can begin again") {
  const TempDirectory temp;
  const auto log = open_store(temp);
  for (const std::uint32_t attempt : {1U, 2U}) {
    REQUIRE(log->append({"7K2M", attempt}, 0, "some text"));
    REQUIRE(log->sync({"7K2M", attempt}));
  }
  REQUIRE(log->finish({"7K2M", 2}));
  REQUIRE(log->append({"7K2N", 1}, 0, "another run's"));
  REQUIRE(log->remove("7K2M"));
  CHECK_FALSE(fs::exists(temp.path() / "logs/7K/7K2M"));
  for (const std::uint32_t attempt : {1U, 2U})
    CHECK(log->read({"7K2M", attempt}, 0, 100).error().code == Errc::not_found);
  CHECK(log->read({"7K2N", 1}, 0, 100).value() == "another run's");
  REQUIRE(log->remove("7K2M"));
  CHECK(log->remove("../7K2N").error().code == Errc::invalid);
  REQUIRE(log->append(kKey, 0, "anew"));
  CHECK(log->sync(kKey).value() == 4);
  CHECK(open_store(temp)->read(kKey, 0, 100).value() == "anew");
}

TEST_CASE("bytes appended at the end are read from any offset") {
  const TempDirectory temp;
  const auto log = open_store(temp);
  REQUIRE(log->append(kKey, 0, "hello "));
  REQUIRE(log->append(kKey, 6, "world"));
  CHECK(log->end(kKey).value() == 11);
  CHECK(log->read(kKey, 0, kAll).value() == "hello world");
  CHECK(log->read(kKey, 4, 4).value() == "o wo");
  CHECK(log->read(kKey, 11, kAll).value().empty());
  CHECK(log->read(kKey, 1000, kAll).value().empty());
  CHECK(log->read(kKey, 0, 0).value().empty());
  CHECK(log->sync(kKey).value() == 11);
  CHECK(files(log_directory(temp)) == segment_name(0, ".log") + " ");
}

TEST_CASE("what comes twice is dropped, what leaves a hole is refused") {
  const TempDirectory temp;
  const auto log = open_store(temp);
  REQUIRE(log->append(kKey, 0, "abcdef"));
  REQUIRE(log->append(kKey, 0, "abc"));
  REQUIRE(log->append(kKey, 3, "def"));
  REQUIRE(log->append(kKey, 4, "efgh"));
  REQUIRE(log->append(kKey, 8, ""));
  const auto hole = log->append(kKey, 9, "x");
  REQUIRE_FALSE(hole);
  CHECK(hole.error().code == Errc::conflict);
  CHECK(hole.error().message == "the log ends at 8, before 9");
  CHECK(log->append(kKey, std::numeric_limits<std::uint64_t>::max(), "x").error().code ==
        Errc::conflict);
  CHECK(log->read(kKey, 0, kAll).value() == "abcdefgh");
}

TEST_CASE("a log that was never written") {
  const TempDirectory temp;
  const auto log = open_store(temp);
  CHECK(log->read(kKey, 0, 10).error().code == Errc::not_found);
  CHECK(log->end(kKey).error().code == Errc::not_found);
  CHECK(log->sync(kKey).value() == 0);
  CHECK(log->finish(kKey));
  CHECK(fs::is_empty(temp.path() / "logs"));
}

TEST_CASE("hostile run ids are refused before they become a path") {
  const TempDirectory temp;
  const auto log = open_store(temp);
  for (const std::string& run :
       {std::string(), std::string("A"), std::string(".."), std::string("../../etc"),
        std::string("ab/cd"), std::string("ab\0cd", 5), std::string("ab.cd"), std::string("a b"),
        std::string(65, 'A'), std::string("ab\n"), std::string("\xc3\xa4z")}) {
    const RunLogKey key{run, 1};
    INFO(run);
    CHECK_FALSE(is_log_key(key));
    CHECK(log->append(key, 0, "x").error().code == Errc::invalid);
    CHECK(log->sync(key).error().code == Errc::invalid);
    CHECK(log->finish(key).error().code == Errc::invalid);
    CHECK(log->read(key, 0, 1).error().code == Errc::invalid);
    CHECK(log->end(key).error().code == Errc::invalid);
  }
  CHECK(is_log_key({"7K2MABCDEFGHJ", 0}));
  CHECK(fs::is_empty(temp.path() / "logs"));
}

TEST_CASE("the limit of an attempt refuses and writes nothing") {
  const TempDirectory temp;
  RunLogLimits limits;
  limits.max_bytes_per_attempt = 10;
  const auto log = open_store(temp, limits);
  REQUIRE(log->append(kKey, 0, "12345678"));
  CHECK(log->append(kKey, 8, "abc").error().code == Errc::overloaded);
  CHECK(log->read(kKey, 0, kAll).value() == "12345678");
  REQUIRE(log->append(kKey, 7, "8ab"));
  CHECK(log->append(kKey, 10, "c").error().code == Errc::overloaded);
  REQUIRE(log->append(kKey, 0, "1234567"));
  CHECK(log->append({"7K2M", 2}, 0, "another attempt, too large").error().code ==
        Errc::overloaded);
  CHECK(log->append({"7K2M", 2}, 0, "fits").has_value());
  CHECK(open_store(temp)->append(kKey, 0, std::string(kMaxLogAppend + 1, 'x')).error().code ==
        Errc::invalid);
}

TEST_CASE("segments close compressed, and reads cross them") {
  const TempDirectory temp;
  RunLogLimits limits;
  limits.segment_bytes = 300'000;
  const std::string bytes = noise(1'000'000, 1);
  {
    const auto log = open_store(temp, limits);
    std::mt19937 random(2);
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t size = 1 + random() % 5000;
      REQUIRE(log->append(kKey, at, bytes.substr(at, size)));
      at += std::min(size, bytes.size() - at);
    }
    CHECK(read_all(*log, kKey, 100'000) == bytes);
    CHECK(log->sync(kKey).value() == bytes.size());
    CHECK(read_all(*log, kKey, 4096) == bytes);
  }
  const auto log = open_store(temp, limits);
  CHECK(log->end(kKey).value() == bytes.size());
  CHECK(read_all(*log, kKey, 4096) == bytes);
  REQUIRE(log->finish(kKey));
  REQUIRE(log->finish(kKey));
  CHECK(read_all(*log, kKey, 70'000) == bytes);
  CHECK(log->sync(kKey).value() == bytes.size());

  const std::string names = files(log_directory(temp));
  CHECK(std::count(names.begin(), names.end(), ' ') == 4);
  CHECK(names.find(".log ") == std::string::npos);
  CHECK(names.starts_with(segment_name(0, ".log.zst")));
  std::uintmax_t on_disk = 0;
  for (const auto& entry : fs::directory_iterator(log_directory(temp))) on_disk += entry.file_size();
  CHECK(on_disk < bytes.size() * 3 / 4);

  ProcessSpec zstd;
  zstd.argv = {"zstd", "-dc", (log_directory(temp) / segment_name(0, ".log.zst")).string()};
  const auto plain = run_process(zstd);
  if (plain) CHECK(bytes.starts_with(plain->out));
}

TEST_CASE("a random read equals the same part of the stream, open or closed") {
  const TempDirectory temp;
  RunLogLimits limits;
  limits.segment_bytes = 64'000;
  const std::string bytes = noise(150'000, 3);
  const auto log = open_store(temp, limits);
  std::mt19937 random(static_cast<unsigned>(Catch::rngSeed()));
  INFO("seed " << Catch::rngSeed());
  for (std::size_t at = 0; at < bytes.size(); at += 37)
    REQUIRE(log->append(kKey, at, bytes.substr(at, 37)));
  for (int i = 0; i < 500; ++i) {
    const std::size_t offset = random() % (bytes.size() + 10);
    const std::size_t limit = 1 + random() % 3000;
    const auto part = log->read(kKey, offset, limit);
    REQUIRE(part);
    REQUIRE(part->size() <= limit);
    if (offset >= bytes.size()) {
      REQUIRE(part->empty());
    } else {
      REQUIRE_FALSE(part->empty());
      REQUIRE(*part == bytes.substr(offset, part->size()));
    }
  }
}

TEST_CASE("a finished log may go on after all") {
  const TempDirectory temp;
  const auto log = open_store(temp);
  REQUIRE(log->append(kKey, 0, "abc"));
  REQUIRE(log->finish(kKey));
  REQUIRE(log->append(kKey, 3, "def"));
  CHECK(files(log_directory(temp)) == segment_name(0, ".log.zst") + " " + segment_name(3, ".log") + " ");
  CHECK(read_all(*log, kKey, 100) == "abcdef");
}

TEST_CASE("few descriptors serve many logs") {
  const TempDirectory temp;
  RunLogLimits limits;
  limits.max_open_segments = 4;
  const auto log = open_store(temp, limits);
  const auto open_files = [] {
    const fs::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto before = open_files();
  for (int part = 0; part < 3; ++part)
    for (std::uint32_t attempt = 0; attempt < 40; ++attempt) {
      const std::string bytes = std::to_string(attempt % 10) + "|";
      REQUIRE(log->append({"RUN1", attempt}, static_cast<std::uint64_t>(part) * 2, bytes));
    }
  CHECK(open_files() - before <= 4);
  for (std::uint32_t attempt = 0; attempt < 40; ++attempt) {
    const std::string bytes = std::to_string(attempt % 10) + "|";
    CHECK(log->read({"RUN1", attempt}, 0, kAll).value() == bytes + bytes + bytes);
    CHECK(log->sync({"RUN1", attempt}).value() == 6);
  }
  CHECK(open_files() - before <= 4);
}

TEST_CASE("more logs than descriptors: none is read or synced again for being used again") {
  const TempDirectory temp;
  RunLogLimits limits;
  limits.max_open_segments = 4;
  int syncs = 0;
  RunLogSystem counting;
  counting.sync_data = [&](int fd) {
    ++syncs;
    return ::fdatasync(fd);
  };
  const auto log = RunLog::open(temp.path() / "logs", limits, counting).value();
  for (std::uint64_t part = 0; part < 5; ++part)
    for (std::uint32_t attempt = 0; attempt < 40; ++attempt) {
      REQUIRE(log->append({"RUN1", attempt}, part * 3, "abc"));
      REQUIRE(log->sync({"RUN1", attempt}).value() == part * 3 + 3);
    }
  CHECK(syncs == 5 * 40);
  // A file that somebody changed meanwhile is not gone on with.
  const fs::path file = temp.path() / "logs" / "RU" / "RUN1" / "0" / segment_name(0, ".log");
  fs::resize_file(file, fs::file_size(file) - 1);
  CHECK(log->append({"RUN1", 0}, 15, "abc").error().code == Errc::corrupt);
  CHECK(log->append({"RUN1", 1}, 15, "abc"));
}

TEST_CASE("more logs than memory knows are read from disk again") {
  const TempDirectory temp;
  RunLogLimits limits;
  limits.max_open_segments = 2;
  limits.max_logs_in_memory = 6;
  const auto log = open_store(temp, limits);
  for (std::uint64_t part = 0; part < 3; ++part)
    for (std::uint32_t attempt = 0; attempt < 20; ++attempt)
      REQUIRE(log->append({"RUN1", attempt}, part * 3, "abc"));
  for (std::uint32_t attempt = 0; attempt < 20; ++attempt)
    CHECK(log->read({"RUN1", attempt}, 0, kAll).value() == "abcabcabc");
}

TEST_CASE("a torn end is cut off, whatever it looks like; what was synced stays") {
  const TempDirectory temp;
  const std::string first = noise(40'000, 4);
  const std::string second = noise(20'000, 5);
  std::uintmax_t synced_size = 0;
  const fs::path file = log_directory(temp) / segment_name(0, ".log");
  {
    const auto log = open_store(temp);
    REQUIRE(log->append(kKey, 0, first));
    REQUIRE(log->sync(kKey).value() == first.size());
    synced_size = fs::file_size(file);
    REQUIRE(log->append(kKey, first.size(), second));
  }
  const std::uintmax_t whole_size = fs::file_size(file);
  SECTION("nothing was lost") {
    CHECK(open_store(temp)->end(kKey).value() == first.size() + second.size());
    return;
  }
  SECTION("cut inside the bytes") { fs::resize_file(file, whole_size - 1); }
  SECTION("cut inside the header") { fs::resize_file(file, synced_size + 3); }
  SECTION("cut where it was synced") { fs::resize_file(file, synced_size); }
  SECTION("zeros instead of a page") {
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(static_cast<std::streamoff>(synced_size + 8000));
    out << std::string(4096, '\0');
  }
  SECTION("only zeros") {
    fs::resize_file(file, synced_size);
    fs::resize_file(file, whole_size);
  }
  SECTION("an older record of the same file stands there") {
    const std::string stale = read_file(file)->substr(0, synced_size);
    fs::resize_file(file, synced_size);
    std::ofstream(file, std::ios::app | std::ios::binary) << stale;
  }
  SECTION("a length beyond everything") {
    fs::resize_file(file, synced_size);
    std::ofstream(file, std::ios::app | std::ios::binary) << "\xff\xff\xff\xff garbage";
  }
  const auto log = open_store(temp);
  CHECK(log->end(kKey).value() == first.size());
  CHECK(log->sync(kKey).value() == first.size());
  CHECK(fs::file_size(file) == synced_size);
  CHECK(read_all(*log, kKey, 5000) == first);
  REQUIRE(log->append(kKey, first.size(), second));
  CHECK(read_all(*log, kKey, 5000) == first + second);
}

TEST_CASE("a crash while a segment closes leaves one of its two forms") {
  const TempDirectory temp;
  const std::string bytes = noise(10'000, 6);
  const fs::path plain = log_directory(temp) / segment_name(0, ".log");
  const fs::path kept = temp.path() / "kept";
  {
    const auto log = open_store(temp);
    REQUIRE(log->append(kKey, 0, bytes));
    fs::copy_file(plain, kept);
    REQUIRE(log->finish(kKey));
  }
  SECTION("both are there") { fs::copy_file(kept, plain); }
  SECTION("the closed one is unfinished") {
    const fs::path closed = log_directory(temp) / segment_name(0, ".log.zst");
    fs::rename(closed, closed.string() + ".tmp.17.1");
    fs::resize_file(closed.string() + ".tmp.17.1", 5);
    fs::copy_file(kept, plain);
  }
  const auto log = open_store(temp);
  CHECK(log->end(kKey).value() == bytes.size());
  CHECK(read_all(*log, kKey, 999) == bytes);
  const std::string names = files(log_directory(temp));
  CHECK(std::count(names.begin(), names.end(), ' ') == 1);
}

TEST_CASE("a segment that is missing or damaged is corrupt, never silently skipped") {
  const TempDirectory temp;
  RunLogLimits limits;
  limits.segment_bytes = 1000;
  {
    const auto log = open_store(temp, limits);
    for (std::uint64_t at = 0; at < 5000; at += 500)
      REQUIRE(log->append(kKey, at, noise(500, static_cast<unsigned>(at))));
    REQUIRE(log->finish(kKey));
  }
  SECTION("missing") {
    fs::remove(log_directory(temp) / segment_name(1000, ".log.zst"));
    // The one before it now seems longer than it is.
    const auto log = open_store(temp, limits);
    CHECK(log->read(kKey, 0, kAll).value().size() == 1000);
    CHECK(log->read(kKey, 1000, kAll).error().code == Errc::corrupt);
  }
  SECTION("the first is missing") {
    fs::remove(log_directory(temp) / segment_name(0, ".log.zst"));
    CHECK(open_store(temp, limits)->read(kKey, 0, kAll).error().code == Errc::corrupt);
  }
  SECTION("changed") {
    const fs::path file = log_directory(temp) / segment_name(1000, ".log.zst");
    std::string bytes = read_file(file).value();
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x55);
    std::ofstream(file, std::ios::binary) << bytes;
    CHECK(open_store(temp, limits)->read(kKey, 1000, kAll).error().code == Errc::corrupt);
  }
  SECTION("the last one cut off") {
    fs::resize_file(log_directory(temp) / segment_name(4000, ".log.zst"), 20);
    CHECK(open_store(temp, limits)->end(kKey).error().code == Errc::corrupt);
  }
}

TEST_CASE("after a failed sync the log ends where it is durable, and the sender repeats") {
  const TempDirectory temp;
  std::atomic<bool> failing{false};
  RunLogSystem system;
  system.sync_data = [&](int fd) {
    if (!failing) return ::fdatasync(fd);
    errno = EIO;
    return -1;
  };
  const auto log = open_store(temp, {}, system);
  REQUIRE(log->append(kKey, 0, "durable,"));
  REQUIRE(log->sync(kKey).value() == 8);
  REQUIRE(log->append(kKey, 8, "lost?"));
  failing = true;
  CHECK(log->sync(kKey).error().code == Errc::io);
  failing = false;
  CHECK(log->end(kKey).value() == 8);
  CHECK(log->sync(kKey).value() == 8);
  CHECK(log->append(kKey, 13, "more").error().code == Errc::conflict);
  REQUIRE(log->append(kKey, 8, "again"));
  CHECK(log->sync(kKey).value() == 13);
  CHECK(open_store(temp)->read(kKey, 0, kAll).value() == "durable,again");
}

TEST_CASE("an append that the disk refuses leaves nothing behind") {
  const TempDirectory temp;
  const auto log = open_store(temp);
  const std::string fits = noise(50'000, 7);
  REQUIRE(log->append(kKey, 0, fits));
  // A limit on the size of files is a full disk that needs no privileges: a part is written, then EFBIG.
  struct rlimit old {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit full = old;
  full.rlim_cur = 60'000;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &full) == 0);
  const auto refused = log->append(kKey, fits.size(), noise(50'000, 8));
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &old) == 0);
  std::signal(SIGXFSZ, handler);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::io);
  CHECK(fs::file_size(log_directory(temp) / segment_name(0, ".log")) == fits.size() + 8);
  CHECK(log->end(kKey).value() == fits.size());
  REQUIRE(log->append(kKey, fits.size(), "there is room again"));
  CHECK(open_store(temp)->read(kKey, fits.size(), kAll).value() == "there is room again");
}

TEST_CASE("writers, a reader and evictions at once") {
  const TempDirectory temp;
  RunLogLimits limits;
  limits.max_open_segments = 2;
  limits.segment_bytes = 2000;
  const auto log = open_store(temp, limits);
  constexpr int kLogs = 4;
  constexpr std::uint64_t kParts = 200;
  std::atomic<int> wrong{0};
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < kLogs; ++i) {
    threads.emplace_back([&, i] {
      const RunLogKey key{"RUN1", i};
      for (std::uint64_t part = 0; part < kParts; ++part) {
        if (!log->append(key, part * 50, std::string(50, static_cast<char>('a' + i)))) ++wrong;
        if (part % 20 == 0 && log->sync(key).value_or(0) != (part + 1) * 50) ++wrong;
      }
    });
  }
  std::thread reader([&] {
    while (!done)
      for (std::uint32_t i = 0; i < kLogs; ++i) {
        const auto bytes = log->read({"RUN1", i}, 0, 500);
        if (!bytes && bytes.error().code != Errc::not_found) ++wrong;
        if (bytes && bytes->find_first_not_of(static_cast<char>('a' + i)) != std::string::npos)
          ++wrong;
      }
  });
  for (auto& thread : threads) thread.join();
  done = true;
  reader.join();
  CHECK(wrong == 0);
  for (std::uint32_t i = 0; i < kLogs; ++i)
    CHECK(read_all(*log, {"RUN1", i}, 777) ==
          std::string(kParts * 50, static_cast<char>('a' + i)));
}
