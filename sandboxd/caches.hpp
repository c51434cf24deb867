// What this host keeps to be fast and could fetch or make again (mirrors, agent bundles, prebuilds, unpacked images), and
// snapshots. When the disk runs low, what was not used for longest goes first, and never what a living attempt uses.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "storage/base/paths.hpp"

namespace muster::sandbox {

struct CacheEntry {
  std::filesystem::path path;
  std::uint64_t bytes = 0;
  std::int64_t used_unix_ms = 0;
};

/// The least recently used entries that make at least `bytes` together; all of them when they don't. Pure.
std::vector<CacheEntry> least_used(std::vector<CacheEntry> entries, std::uint64_t bytes);

/// Removes entries until `bytes` are free, sparing those named by `in_use` (mirror keys, bundle digests, prebuilds, snapshots) and images
/// that are mounted. Nobody may begin to use an entry meanwhile: the host takes no work while it cleans. Returns the
/// bytes removed.
std::uint64_t clean_caches(const Paths& paths, const std::set<std::string>& in_use, std::uint64_t bytes);

/// An entry was used now: its directory's time says so.
void touch_cache(const std::filesystem::path& entry);

/// Bytes that an unprivileged process could still write there.
std::uint64_t free_bytes(const std::filesystem::path& path);

}  // namespace muster::sandbox
