#include "sandboxd/snapshot.hpp"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sandboxd/caches.hpp"
#include "sandboxd/host_ops.hpp"
#include "sandboxd/image_build.hpp"
#include "sandboxd/prebuild.hpp"
#include "storage/base/files.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr Duration kSnapshotTimeout{600'000};
constexpr std::size_t kMaxSnapshotRecord = 64u << 10;

/// Below Places::writable(), and in the snapshot. Of `out` only the agent's part: the rest is muster-init's.
constexpr const char* kSnapshotParts[] = {"work", "home", "tmp", "out/output", "repositories"};

Result<void> run_tool(std::vector<std::string> argv) {
  ProcessSpec spec;
  spec.argv = std::move(argv);
  spec.env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"LANG", "C.UTF-8"}};
  spec.timeout = kSnapshotTimeout;
  const auto done = run_checked(spec);
  if (!done) return tl::unexpected(done.error());
  return {};
}

/// Nothing in `from` is followed.
Result<void> copy_tree(const fs::path& from, const fs::path& to) {
  return run_tool({"cp", "--archive", "--reflink=auto", "--no-target-directory", "--", from.string(), to.string()});
}

bool is_directory_here(const fs::path& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

fs::path checkpoint_objects(const Places& places) { return places.kept / "resume" / "objects"; }

Result<Snapshot> read_snapshot(const fs::path& directory) {
  const auto text = read_file(directory / "snapshot.json", kMaxSnapshotRecord);
  if (!text) return tl::unexpected(text.error());
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object()) return fail(Errc::corrupt, directory.string() + " has no record");
  Snapshot snapshot;
  snapshot.id = directory.filename();
  snapshot.run = json.value("run", "");
  snapshot.attempt = json.value("attempt", 0u);
  snapshot.name = json.value("name", "");
  snapshot.repository = json.value("repository", "");
  snapshot.url = json.value("url", "");
  snapshot.base_sha = json.value("base_sha", "");
  snapshot.resumed = json.value("resumed", "");
  snapshot.bytes = json.value("bytes", std::uint64_t{0});
  snapshot.created_unix_ms = json.value("created_unix_ms", std::int64_t{0});
  return snapshot;
}

}  // namespace

nlohmann::json to_json(const Snapshot& snapshot) {
  return {{"id", snapshot.id},           {"run", snapshot.run},
          {"attempt", snapshot.attempt}, {"name", snapshot.name},
          {"repository", snapshot.repository}, {"url", snapshot.url},
          {"base_sha", snapshot.base_sha}, {"resumed", snapshot.resumed},
          {"bytes", snapshot.bytes},     {"created_unix_ms", snapshot.created_unix_ms}};
}

Result<void> Snapshots::open() {
  const std::lock_guard lock(mutex_);
  std::error_code error;
  for (fs::directory_iterator it(directory(), error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    auto snapshot = is_snapshot_id(name) ? read_snapshot(it->path()) : Result<Snapshot>(fail(Errc::corrupt, "half made"));
    if (snapshot) {
      all_[name] = std::move(*snapshot);
    } else if (auto removed = remove_tree(it->path()); !removed) {
      return removed;
    }
  }
  return {};
}

/// Under mutex_.
bool Snapshots::is_there(const std::string& id) const { return all_.contains(id) && is_directory_here(directory() / id); }

std::optional<Snapshot> Snapshots::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  if (!is_there(id)) return std::nullopt;
  return all_.at(id);
}

std::vector<Snapshot> Snapshots::list(const std::string& run) const {
  const std::lock_guard lock(mutex_);
  std::vector<Snapshot> found;
  for (const auto& [id, snapshot] : all_)
    if ((run.empty() || snapshot.run == run) && is_there(id)) found.push_back(snapshot);
  std::sort(found.begin(), found.end(), [](const Snapshot& a, const Snapshot& b) {
    return std::tie(a.created_unix_ms, a.id) < std::tie(b.created_unix_ms, b.id);
  });
  return found;
}

// ---- taking one ----

Result<void> Snapshots::reserve(const Snapshot& wanted) {
  const bool plain = std::none_of(wanted.name.begin(), wanted.name.end(),
                                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (!is_snapshot_id(wanted.id)) return fail(Errc::invalid, "\"" + wanted.id + "\" is no id of a snapshot");
  if (wanted.name.size() > kMaxSnapshotName || !plain)
    return fail(Errc::invalid, "a snapshot's name is one line of at most " + std::to_string(kMaxSnapshotName) + " bytes");
  const std::lock_guard lock(mutex_);
  if (making_.contains(wanted.id)) return fail(Errc::conflict, "snapshot " + wanted.id + " is being taken");
  std::erase_if(all_, [this](const auto& entry) { return !is_there(entry.first); });
  if (all_.size() + making_.size() >= limits_.max)
    return fail(Errc::refused, "this host keeps at most " + std::to_string(limits_.max) +
                                      " snapshots (snapshots.max of its sandboxd.yaml): remove one");
  making_[wanted.id] = 0;
  return {};
}

void Snapshots::give_up(const std::string& id) {
  const std::lock_guard lock(mutex_);
  making_.erase(id);
}

/// What all others take, those being made too, is known by now.
Result<void> Snapshots::make_room(const std::string& id, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  std::uint64_t taken = bytes, coming = bytes;
  for (const auto& [other, snapshot] : all_)
    if (is_there(other)) taken += snapshot.bytes;
  for (const auto& [other, size] : making_) {
    taken += size;
    coming += size;
  }
  if (taken > limits_.max_bytes)
    return fail(Errc::refused, "it has " + std::to_string(bytes) + " bytes, and this host keeps snapshots of at most " +
                                      std::to_string(limits_.max_bytes) +
                                      " bytes together (snapshots.max_bytes of its sandboxd.yaml): remove one");
  if (const std::uint64_t free = free_bytes(directory()); free < limits_.free_bytes + coming)
    return fail(Errc::refused, "it has " + std::to_string(bytes) + " bytes, and only " + std::to_string(free) +
                                      " are free on this host's disk");
  making_[id] = bytes;
  return {};
}

Result<Snapshot> Snapshots::keep(Snapshot wanted, const Places& places, const SandboxHold& hold) {
  const std::string id = wanted.id;
  auto made = make(std::move(wanted), places, hold);
  if (!made)
    if (auto removed = remove_tree(directory() / (id + ".half")); !removed) spdlog::error("{}", removed.error().message);
  const std::lock_guard lock(mutex_);
  making_.erase(id);
  if (made) all_[id] = *made;
  return made;
}

Result<Snapshot> Snapshots::make(Snapshot wanted, const Places& places, const SandboxHold& hold) {
  if (auto still = hold.stand_still(); !still) return tl::unexpected(still.error());
  for (const char* part : kSnapshotParts) wanted.bytes += tree_bytes(places.writable() / part, limits_.max_bytes);
  if (auto room = make_room(wanted.id, wanted.bytes); !room) return tl::unexpected(room.error());
  const fs::path half = directory() / (wanted.id + ".half");
  if (auto removed = remove_tree(half); !removed) return tl::unexpected(removed.error());
  if (::mkdir(half.c_str(), 0711) != 0) return fail_errno("mkdir " + half.string(), errno);
  if (auto copied = copy(wanted, places, half); !copied) return tl::unexpected(copied.error());
  if (!hold.held()) return fail(Errc::conflict, "the sandbox ended meanwhile");
  hold.copied();
  // As a prebuild's: what the sandbox owned becomes uid 1000's, shown to a fork as its own.
  const std::string owner = std::to_string(kAgentUid) + ":" + std::to_string(kAgentUid);
  for (const char* part : {"work", "home", "tmp", "out", "repositories"})
    if (is_directory_here(half / part))
      if (auto done = run_tool({"chown", "-hR", owner, "--", (half / part).string()}); !done)
        return tl::unexpected(done.error());
  wanted.created_unix_ms = wall_clock_now().unix_ms;
  const std::string record = to_json(wanted).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (auto written = write_file_durably(half / "snapshot.json", record, 0600); !written)
    return tl::unexpected(written.error());
  if (auto synced = sync_all(half); !synced) return tl::unexpected(synced.error());
  if (::rename(half.c_str(), (directory() / wanted.id).c_str()) != 0) return fail_errno("rename " + half.string(), errno);
  return wanted;
}

Result<void> Snapshots::copy(const Snapshot& wanted, const Places& places, const fs::path& half) const {
  if (::mkdir((half / "out").c_str(), 0700) != 0) return fail_errno("mkdir " + half.string(), errno);
  for (const char* part : kSnapshotParts) {
    // The agent may have put anything else in the place of its output.
    if (!is_directory_here(places.writable() / part)) continue;
    if (auto done = copy_tree(places.writable() / part, half / part); !done) return done;
  }
  return wanted.resumed.empty() ? Result<void>{} : copy_tree(checkpoint_objects(places), half / "checkpoint");
}

// ---- using and removing one ----

Result<fs::path> Snapshots::begin_with(const std::string& id, const Places& places) const {
  const fs::path link = places.run / "prebuild", from = directory() / id;
  bool resumed = false;
  {
    const std::lock_guard lock(mutex_);
    if (!is_there(id)) return fail(Errc::not_found, "this host has no snapshot " + id);
    ::unlink(link.c_str());
    if (::symlink(id.c_str(), link.c_str()) != 0) return fail_errno("symlink " + link.string(), errno);
    resumed = !all_.at(id).resumed.empty();
  }
  touch_cache(from);
  if (!resumed) return from;
  const fs::path objects = checkpoint_objects(places);
  ::mkdir(objects.parent_path().c_str(), 0711);
  if (auto removed = remove_tree(objects); !removed) return tl::unexpected(removed.error());
  if (auto copied = copy_tree(from / "checkpoint", objects); !copied) return tl::unexpected(copied.error());
  return from;
}

Result<void> Snapshots::remove(const std::string& id, const std::string& run, const Prebuilds& in_use) {
  const fs::path gone = directory() / (id + ".half");
  {
    const std::lock_guard lock(mutex_);
    if (!is_snapshot_id(id) || !is_there(id) || all_.at(id).run != run)
      return fail(Errc::not_found, "run " + run + " has no snapshot " + id + " on this host");
    if (in_use.in_use().contains(id)) return fail(Errc::conflict, "an attempt works on snapshot " + id);
    if (::rename((directory() / id).c_str(), gone.c_str()) != 0) return fail_errno("rename " + gone.string(), errno);
    all_.erase(id);
  }
  return remove_tree(gone);
}

}  // namespace muster::sandbox
