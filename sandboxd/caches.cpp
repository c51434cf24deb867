#include "sandboxd/caches.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>

#include "sandboxd/host_ops.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

/// Directories below `parent` that may go.
void add_entries(const fs::path& parent, const std::set<std::string>& in_use,
                 std::vector<CacheEntry>& entries) {
  std::error_code error;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    struct stat info {};
    if (in_use.contains(name) || ::lstat(it->path().c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
      continue;
    entries.push_back(
        {it->path(), tree_bytes(it->path(), ~0ull >> 1),
         static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1000 + info.st_mtim.tv_nsec / 1'000'000});
  }
}

}  // namespace

std::vector<CacheEntry> least_used(std::vector<CacheEntry> entries, std::uint64_t bytes) {
  std::sort(entries.begin(), entries.end(), [](const CacheEntry& a, const CacheEntry& b) {
    return a.used_unix_ms < b.used_unix_ms;
  });
  std::uint64_t sum = 0;
  const auto enough = std::find_if(entries.begin(), entries.end(), [&](const CacheEntry& entry) {
    const bool reached = sum >= bytes;
    sum += entry.bytes;
    return reached;
  });
  entries.erase(enough, entries.end());
  return entries;
}

std::uint64_t clean_caches(const Paths& paths, const std::set<std::string>& in_use,
                           std::uint64_t bytes) {
  std::vector<CacheEntry> entries, images;
  add_entries(paths.mirrors(), in_use, entries);
  add_entries(paths.host() / "bundles", in_use, entries);
  add_entries(paths.host() / "prebuilds", in_use, entries);
  add_entries(paths.host() / "snapshots", in_use, entries);
  add_entries(paths.images(), in_use, images);
  const std::string mounts = read_file("/proc/self/mountinfo", 64u << 20).value_or("");
  for (auto& image : images) {
    const std::string name = image.path.filename();
    // Roots of this boot are small, and mounted by binding what is in them.
    if ((name.starts_with("tar-") || name.starts_with("oci-")) &&
        mounts.find(image.path.string()) == std::string::npos)
      entries.push_back(std::move(image));
  }
  std::uint64_t removed = 0;
  for (const auto& entry : least_used(std::move(entries), bytes)) {
    if (auto done = remove_tree(entry.path); !done) {
      spdlog::error("{}", done.error().message);
      continue;
    }
    spdlog::info("the disk is low: removed {} ({} bytes)", entry.path.string(), entry.bytes);
    removed += entry.bytes;
  }
  return removed;
}

void touch_cache(const fs::path& entry) {
  ::utimensat(AT_FDCWD, entry.c_str(), nullptr, 0);
}

std::uint64_t free_bytes(const fs::path& path) {
  struct statvfs info {};
  return ::statvfs(path.c_str(), &info) == 0
             ? static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize
             : 0;
}

}  // namespace muster::sandbox
