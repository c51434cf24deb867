// Files are taken from a sandbox without following anything. (Packs themselves: tests/integration/sandbox_*.)
#include "sandboxd/hostile_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "sandboxd/host_ops.hpp"
#include "storage/base/ids.hpp"
#include "tests/unit/storage/temp_directory.hpp"

namespace muster::sandbox::test {

namespace fs = std::filesystem;

TEST_CASE("only a regular file beneath the directory, of bounded size, is taken") {
  const testing::TempDirectory directory;
  const fs::path out = directory.path() / "out";
  fs::create_directories(out / "c.1");
  std::ofstream(directory.path() / "secret") << "secret";
  std::ofstream(out / "c.1/pack") << "bytes";
  fs::create_symlink("c.1/pack", out / "link");
  fs::create_symlink("c.1", out / "dirlink");
  fs::create_symlink(directory.path() / "secret", out / "secretlink");
  REQUIRE(::mkfifo((out / "fifo").c_str(), 0600) == 0);
  const auto verdict = [&](const std::string& name) {
    const auto text = take_text(out, name, 100);
    return text ? *text : text.error().message;
  };
  CHECK(verdict("c.1/pack") == "bytes");
  CHECK(verdict("link") == "link is a link");
  CHECK(verdict("dirlink/pack") == "dirlink/pack is a link");
  CHECK(verdict("secretlink") == "secretlink is a link");
  CHECK(verdict("../secret") == "../secret is a link");
  CHECK(verdict("c.1") == "c.1 is not a regular file");
  CHECK(verdict("fifo") == "fifo is not a regular file");
  CHECK(verdict("none") == "no file none");
  CHECK(take_text(out, "c.1/pack", 4).error().message == "c.1/pack is larger than 4 bytes");
  const fs::path target = directory.path() / "taken";
  CHECK(take_file(out, "c.1/pack", 5, target).value() == sha256_hex("bytes"));
  CHECK(fs::file_size(target) == 5);
}

TEST_CASE("a tree is measured and removed without following links") {
  const testing::TempDirectory directory;
  const fs::path top = directory.path() / "top";
  fs::create_directories(top / "a/b");
  std::ofstream(directory.path() / "outside") << std::string(1'000'000, 'x');
  std::ofstream(top / "a/b/file") << std::string(100'000, 'x');
  fs::create_symlink(directory.path(), top / "a/up");
  fs::permissions(top / "a/b", fs::perms::none);
  const auto bytes = tree_bytes(top, 1u << 30);
  CHECK(bytes >= 100'000);
  CHECK(bytes < 500'000);
  REQUIRE(remove_tree(top));
  CHECK_FALSE(fs::exists(top));
  CHECK(fs::exists(directory.path() / "outside"));
  REQUIRE(remove_tree(top));  // again is fine
}

}  // namespace muster::sandbox::test
