// What an agent leaves in artifacts/ becomes one bounded tar and a list. (Hostile names and links: tests/escape.)
#include "sandboxd/artifacts.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/process.hpp"
#include "tests/unit/storage/temp_directory.hpp"

namespace muster::sandbox::test {

namespace fs = std::filesystem;

namespace {

struct Out {
  testing::TempDirectory directory;
  fs::path out = directory.path() / "out";
  fs::path tar = directory.path() / "artifacts.tar";

  Out() { fs::create_directories(out / "output/artifacts"); }
  void write(const std::string& path, const std::string& bytes) const {
    const fs::path file = out / "output/artifacts" / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << bytes;
  }
  [[nodiscard]] Artifacts take(std::uint64_t max_bytes = 1u << 20) const {
    auto taken = take_artifacts(out, tar, max_bytes);
    if (!taken) FAIL(taken.error().message);
    return std::move(*taken);
  }
  [[nodiscard]] std::string unpacked(const std::string& path) const {
    ProcessSpec spec;
    spec.argv = {"tar", "--extract", "--to-stdout", "--file", tar.string(), path};
    return run_checked(spec).value();
  }
};

}  // namespace

TEST_CASE("artefacts become a tar and a list with digests, in the order of their paths") {
  const Out out;
  const std::string deep = std::string(120, 'd') + "/" + std::string(100, 'f');
  out.write("report.json", "{}");
  out.write("bin/tool", "#!/bin/sh");
  out.write(deep, "deep");
  out.write("grüße.txt", "");
  fs::permissions(out.out / "output/artifacts/bin/tool", fs::perms(0700));
  const auto taken = out.take();
  REQUIRE(taken.files.size() == 4);
  CHECK(taken.files[0]->path == "bin/tool");
  CHECK(taken.files[0]->mode == 0755);
  CHECK(taken.files[1]->path == deep);
  CHECK(taken.files[2]->path == "grüße.txt");
  CHECK(taken.files[2]->bytes == 0);
  CHECK(taken.files[3]->path == "report.json");
  CHECK(taken.files[3]->mode == 0644);
  CHECK(taken.files[3]->sha256 == sha256_hex("{}"));
  CHECK(taken.warnings.empty());
  const std::string tar = read_file(out.tar, 1u << 20).value();
  CHECK(taken.bytes == tar.size());
  CHECK(taken.digest == sha256_hex(tar));
  CHECK(out.unpacked(deep) == "deep");
  CHECK(out.unpacked("bin/tool") == "#!/bin/sh");
}

TEST_CASE("nothing left is nothing taken") {
  const Out out;
  fs::create_directories(out.out / "output/artifacts/empty");
  CHECK(out.take().digest.empty());
  CHECK_FALSE(fs::exists(out.tar));
  fs::remove_all(out.out / "output/artifacts");
  CHECK(out.take().files.empty());
}

TEST_CASE("what exceeds the limits is left out and named; the rest is kept within them") {
  const Out out;
  out.write("a", std::string(300'000, 'a'));
  out.write("b", std::string(300'000, 'b'));
  out.write("c", "small");
  const auto taken = out.take(400'000);
  REQUIRE(taken.files.size() == 2);
  CHECK(taken.files[1]->path == "c");
  CHECK(taken.bytes <= 400'000);
  CHECK(taken.bytes == fs::file_size(out.tar));
  REQUIRE(taken.warnings.size() == 1);
  CHECK(taken.warnings[0] == "artifacts: 1 left out: b, because all together may have 400000 bytes");

  CHECK(out.take(1000).files.empty());
  CHECK_FALSE(fs::exists(out.tar));

  for (int i = 0; i < 300; ++i) out.write("many/" + std::to_string(i), "x");
  const auto many = out.take(1u << 22);
  CHECK(many.files.size() == Artifacts::kMaxFiles);
  CHECK(many.warnings[0].starts_with("artifacts: 47 left out: many/"));

  std::string down;
  for (unsigned i = 0; i < 40; ++i) down += "d/";
  const Out deep;
  deep.write(down + "x", "x");
  CHECK(deep.take().files.empty());
}

}  // namespace muster::sandbox::test
