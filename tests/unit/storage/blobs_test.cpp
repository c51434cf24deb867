#include "storage/base/blobs.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <thread>
#include <vector>

#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "tests/unit/storage/temp_directory.hpp"

using namespace muster;
using muster::testing::TempDirectory;
namespace fs = std::filesystem;

namespace {

/// Every file below `directory`, sorted, with its size.
std::string tree(const fs::path& directory) {
  std::vector<std::string> lines;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file())
      lines.push_back(fs::relative(entry.path(), directory).string() + ":" +
                      std::to_string(entry.file_size()));
  std::sort(lines.begin(), lines.end());
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

const std::string kText = "hello, blob";
const std::string kDigest = sha256_hex(kText);
const std::string kPlace = kDigest.substr(0, 2) + "/" + kDigest;

}  // namespace

TEST_CASE("a blob is found by its digest, once") {
  const TempDirectory temp;
  Blobs blobs(temp.path() / "blobs");
  CHECK_FALSE(blobs.has(kDigest));
  CHECK(blobs.get(kDigest).error().code == Errc::not_found);
  REQUIRE(blobs.put(kDigest, kText));
  REQUIRE(blobs.put(kDigest, kText));
  CHECK(blobs.has(kDigest));
  CHECK(blobs.get(kDigest).value() == kText);
  CHECK(read_file(blobs.path(kDigest)).value() == kText);
  CHECK(tree(temp.path()) == "blobs/" + kPlace + ":11\n");
  CHECK(Blobs(temp.path() / "blobs").get(kDigest).value() == kText);
}

TEST_CASE("all complete blobs are told with the time of their last arrival") {
  const TempDirectory temp;
  Blobs blobs(temp.path() / "blobs");
  const auto told = [&] {
    std::map<std::string, Instant> all;
    REQUIRE(blobs.each([&](const std::string& digest, Instant at) { all.emplace(digest, at); }));
    return all;
  };
  CHECK(told().empty());
  REQUIRE(blobs.put(kDigest, kText));
  const std::string other = "in parts";
  REQUIRE(blobs.append(sha256_hex(other), 0, other.size(), other.substr(0, 3)));
  CHECK(told().size() == 1);
  const auto aged = [&] {
    fs::last_write_time(blobs.path(kDigest),
                        fs::file_time_type::clock::now() - std::chrono::hours(5));
    return told().at(kDigest);
  };
  const Instant recent = wall_clock_now() - Duration{3'600'000};
  CHECK(aged() < recent);
  REQUIRE(blobs.put(kDigest, kText));
  CHECK(told().at(kDigest) > recent);
  CHECK(aged() < recent);
  REQUIRE(blobs.append(kDigest, 0, kText.size(), kText));
  CHECK(told().at(kDigest) > recent);
}

TEST_CASE("bytes with another digest, and too many, are refused and leave nothing") {
  const TempDirectory temp;
  Blobs blobs(temp.path(), 20);
  CHECK(blobs.put(kDigest, "other bytes").error().code == Errc::invalid);
  const std::string large(21, 'x');
  CHECK(blobs.put(sha256_hex(large), large).error().code == Errc::invalid);
  CHECK(blobs.append(kDigest, 0, 21, "x").error().code == Errc::invalid);
  CHECK(tree(temp.path()).empty());
}

TEST_CASE("what is no digest never becomes a path") {
  const TempDirectory temp;
  Blobs blobs(temp.path() / "blobs");
  std::ofstream(temp.path() / "secret") << "secret";
  std::string upper = kDigest;
  upper[0] = 'A';
  for (const std::string& hostile :
       {std::string(), std::string("../secret"), std::string("/etc/passwd"), kDigest + "0",
        kDigest.substr(1), std::string(64, 'g'), std::string(64, '\0'), upper,
        "../" + kDigest.substr(3)}) {
    INFO(hostile);
    CHECK(blobs.put(hostile, kText).error().code == Errc::invalid);
    CHECK(blobs.append(hostile, 0, 1, "x").error().code == Errc::invalid);
    CHECK(blobs.get(hostile).error().code == Errc::invalid);
    CHECK(blobs.remove(hostile).error().code == Errc::invalid);
    CHECK_FALSE(blobs.has(hostile));
    CHECK(blobs.path(hostile).parent_path() == temp.path() / "blobs" / "partial");
  }
  CHECK(tree(temp.path()) == "secret:6\n");
}

TEST_CASE("parts in order make a blob that shows only when complete") {
  const TempDirectory temp;
  Blobs blobs(temp.path());
  CHECK(blobs.append(kDigest, 0, 11, "hello").value() == false);
  CHECK_FALSE(blobs.has(kDigest));
  CHECK(blobs.get(kDigest).error().code == Errc::not_found);
  CHECK(blobs.append(kDigest, 4, 11, "o, blob").error().code == Errc::conflict);
  CHECK(blobs.append(kDigest, 6, 11, " blob").error().code == Errc::conflict);
  CHECK(blobs.append(kDigest, 5, 11, ", ").value() == false);
  CHECK(blobs.append(kDigest, 7, 11, "blob").value() == true);
  CHECK(blobs.get(kDigest).value() == kText);
  CHECK(tree(temp.path()) == kPlace + ":11\n");
  // Whoever repeats a part of a complete blob is told that it is complete.
  CHECK(blobs.append(kDigest, 5, 11, ", ").value() == true);
}

TEST_CASE("offset 0 begins anew, also after another process died in the middle") {
  const TempDirectory temp;
  CHECK(Blobs(temp.path()).append(kDigest, 0, 11, "hello, b").value() == false);
  Blobs blobs(temp.path());
  CHECK(blobs.append(kDigest, 0, 11, "hello").value() == false);
  CHECK(blobs.append(kDigest, 5, 11, ", blob").value() == true);
  CHECK(blobs.get(kDigest).value() == kText);
}

TEST_CASE("parts that don't make the digest are thrown away") {
  const TempDirectory temp;
  Blobs blobs(temp.path());
  CHECK(blobs.append(kDigest, 0, 11, "hello").value() == false);
  CHECK(blobs.append(kDigest, 5, 11, ", BLOB").error().code == Errc::invalid);
  CHECK(tree(temp.path()).empty());
  CHECK(blobs.append(kDigest, 0, 11, kText + "!").error().code == Errc::invalid);
  CHECK(blobs.append(kDigest, 12, 11, "").error().code == Errc::invalid);
  CHECK(blobs.append(kDigest, ~0ull, 11, "x").error().code == Errc::invalid);
  CHECK(blobs.append(kDigest, 0, 11, kText).value() == true);
}

TEST_CASE("the empty blob") {
  const TempDirectory temp;
  Blobs blobs(temp.path());
  const std::string digest = sha256_hex("");
  CHECK(blobs.append(digest, 0, 0, "").value() == true);
  CHECK(blobs.get(digest).value().empty());
}

TEST_CASE("a blob that the disk changed is corrupt, not served") {
  const TempDirectory temp;
  Blobs blobs(temp.path());
  REQUIRE(blobs.put(kDigest, kText));
  std::ofstream(blobs.path(kDigest)) << "hello, blot";
  CHECK(blobs.get(kDigest).error().code == Errc::corrupt);
}

TEST_CASE("remove takes the blob and its parts") {
  const TempDirectory temp;
  Blobs blobs(temp.path());
  REQUIRE(blobs.remove(kDigest));
  REQUIRE(blobs.put(kDigest, kText));
  const std::string other = sha256_hex("other");
  CHECK(blobs.append(other, 0, 5, "ot").value() == false);
  REQUIRE(blobs.remove(kDigest));
  REQUIRE(blobs.remove(other));
  CHECK_FALSE(blobs.has(kDigest));
  CHECK(tree(temp.path()).empty());
}

TEST_CASE("clean takes leftovers of the given age and no complete blob") {
  const TempDirectory temp;
  Blobs blobs(temp.path());
  CHECK(blobs.clean().value() == 0);
  REQUIRE(blobs.put(kDigest, kText));
  const std::string other = sha256_hex("other");
  CHECK(blobs.append(other, 0, 5, "ot").value() == false);
  std::ofstream(temp.path() / "partial" / (other + ".tmp.1.1")) << "half";
  fs::last_write_time(temp.path() / "partial" / (other + ".tmp.1.1"),
                      fs::file_time_type::clock::now() - std::chrono::hours(2));
  CHECK(blobs.clean(std::chrono::hours(1)).value() == 1);
  CHECK(blobs.append(other, 2, 5, "h").value() == false);
  CHECK(blobs.clean().value() == 1);
  CHECK(tree(temp.path()) == kPlace + ":11\n");
}

TEST_CASE("many writers of one blob end with one good blob") {
  const TempDirectory temp;
  const std::string bytes(300'000, 'm');
  const std::string digest = sha256_hex(bytes);
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&] {
      Blobs blobs(temp.path());
      const auto done = blobs.put(digest, bytes);
      (void)done;
    });
    writers.emplace_back([&] {
      // Another one beginning anew makes a conflict; then this one begins anew as well.
      Blobs blobs(temp.path());
      for (std::uint64_t at = 0; at < bytes.size();) {
        const auto part = blobs.append(digest, at, bytes.size(), bytes.substr(at, 100'000));
        if (part && *part) break;
        at = part ? at + 100'000 : 0;
      }
    });
  }
  for (auto& writer : writers) writer.join();
  CHECK(Blobs(temp.path()).get(digest).value() == bytes);
  REQUIRE(Blobs(temp.path()).clean());
  CHECK(tree(temp.path()) == digest.substr(0, 2) + "/" + digest + ":300000\n");
}

TEST_CASE("killed at any moment, no half blob is ever visible") {
  const TempDirectory temp;
  constexpr int kRounds = 30;
  for (int round = 0; round < kRounds; ++round) {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      Blobs blobs(temp.path());
      for (int i = 0;; ++i) {
        const std::string bytes(200'000, static_cast<char>('a' + i % 26));
        const std::string unique = bytes + std::to_string(round) + "." + std::to_string(i);
        const auto done = blobs.put(sha256_hex(unique), unique);
        if (::write(ready[1], done ? "1" : "0", 1) != 1) ::_exit(1);
      }
    }
    ::close(ready[1]);
    char acknowledged = '0';
    for (int i = 0; i <= round % 5; ++i) REQUIRE(::read(ready[0], &acknowledged, 1) == 1);
    REQUIRE(::kill(child, SIGKILL) == 0);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    ::close(ready[0]);
    CHECK(acknowledged == '1');
  }
  Blobs blobs(temp.path());
  std::size_t found = 0;
  REQUIRE(blobs.clean());
  for (const auto& entry : fs::recursive_directory_iterator(temp.path())) {
    if (!entry.is_regular_file()) continue;
    ++found;
    CHECK(blobs.get(entry.path().filename().string()));
  }
  CHECK(found >= kRounds);
}

TEST_CASE("an old blob goes unless somebody asked for it since, and a crash in between brings it back") {
  const TempDirectory temp;
  Blobs blobs(temp.path());
  const std::string digest = sha256_hex("old");
  REQUIRE(blobs.put(digest, "old"));
  const auto arrived = [&] {
    Instant when;
    REQUIRE(blobs.each([&](const std::string&, Instant at) { when = at; }));
    return when;
  };
  const Instant first = arrived();
  CHECK_FALSE(blobs.remove_older(digest, first).value());  // It came then, not before.
  const struct timespec old[2] = {{1'000, 0}, {1'000, 0}};
  REQUIRE(::utimensat(AT_FDCWD, blobs.path(digest).c_str(), old, 0) == 0);
  CHECK(blobs.touch(digest));
  CHECK(arrived() >= first);
  CHECK_FALSE(blobs.remove_older(digest, first).value());
  CHECK(blobs.get(digest).value() == "old");

  // As kill -9 leaves it, out of the way and not yet gone.
  fs::rename(blobs.path(digest), temp.path() / "partial" / (digest + ".aside"));
  CHECK_FALSE(blobs.touch(digest));
  REQUIRE(blobs.clean());
  CHECK(blobs.get(digest).value() == "old");

  CHECK(blobs.remove_older(digest, arrived() + Duration{1}).value());
  CHECK_FALSE(blobs.has(digest));
  CHECK_FALSE(blobs.remove_older(digest, first + Duration{1'000}).value());
  CHECK_FALSE(blobs.touch("no digest"));
}
