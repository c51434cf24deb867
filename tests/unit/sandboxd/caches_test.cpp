#include "sandboxd/caches.hpp"

#include <catch2/catch.hpp>
#include <fstream>

namespace muster::sandbox {

namespace fs = std::filesystem;

TEST_CASE("what was not used for longest goes first, and no more than needed") {
  const std::vector<CacheEntry> entries = {{"b", 10, 2}, {"a", 5, 1}, {"d", 7, 4}, {"c", 1, 3}};
  const auto names = [&](std::uint64_t bytes) {
    std::string text;
    for (const auto& entry : least_used(entries, bytes)) text += entry.path.string();
    return text;
  };
  CHECK(names(0).empty());
  CHECK(names(1) == "a");
  CHECK(names(5) == "a");
  CHECK(names(6) == "ab");
  CHECK(names(16) == "abc");
  CHECK(names(17) == "abcd");
  CHECK(names(1000) == "abcd");
}

TEST_CASE("caches are removed from disk, but for those in use") {
  std::string top = "/tmp/muster-caches.XXXXXX";
  REQUIRE(::mkdtemp(top.data()) != nullptr);
  const Paths paths{top};
  for (const fs::path& entry :
       {paths.mirrors() / "old", paths.mirrors() / "used", paths.mirrors() / "new", paths.host() / "bundles/x",
        paths.images() / "tar-1", paths.images() / "oci-1", paths.images() / "host-boot-1"}) {
    fs::create_directories(entry);
    std::ofstream(entry / "data") << std::string(8192, 'x');
  }
  const auto age = [](const fs::path& path, int hours) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  age(paths.mirrors() / "old", 5);
  age(paths.mirrors() / "used", 9);
  age(paths.images() / "tar-1", 4);
  touch_cache(paths.mirrors() / "new");
  CHECK(clean_caches(paths, {"used"}, 8192) > 0);
  CHECK_FALSE(fs::exists(paths.mirrors() / "old"));
  CHECK(fs::exists(paths.images() / "tar-1"));
  clean_caches(paths, {"used"}, ~0ull >> 1);
  CHECK(fs::exists(paths.mirrors() / "used/data"));
  CHECK(fs::exists(paths.images() / "host-boot-1/data"));
  for (const fs::path& gone : {paths.mirrors() / "new", paths.host() / "bundles/x", paths.images() / "tar-1",
                               paths.images() / "oci-1"})
    CHECK_FALSE(fs::exists(gone));
  fs::remove_all(top);
}

}  // namespace muster::sandbox
