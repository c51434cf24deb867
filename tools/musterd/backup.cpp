#include "tools/musterd/backup.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "tools/musterd/version.hpp"

namespace muster::musterd {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::size_t kChunk = 1u << 20;
constexpr std::size_t kMaxManifest = 512u << 20;
constexpr unsigned kPermissions = 07777;

// ---- copying ----

using DigestContext = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

struct Copied {
  std::string sha256;
  std::uint64_t bytes = 0;
};

/// Reads a file whole, into `to` as well unless that is invalid. A file that grows meanwhile ends
/// where it ended.
Result<Copied> copy_bytes(const fs::path& from, const Fd& to) {
  const Fd source(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!source.valid()) return fail_errno("open " + from.string(), errno);
  struct stat status {};
  if (::fstat(source.get(), &status) != 0) return fail_errno("stat " + from.string(), errno);
  const DigestContext context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  Copied copied;
  std::string chunk(kChunk, '\0');
  const auto end = static_cast<std::uint64_t>(status.st_size);
  while (copied.bytes < end) {
    const auto want = std::min<std::uint64_t>(kChunk, end - copied.bytes);
    const ssize_t got = ::read(source.get(), chunk.data(), static_cast<std::size_t>(want));
    if (got < 0) return fail_errno("read " + from.string(), errno);
    if (got == 0) break;
    EVP_DigestUpdate(context.get(), chunk.data(), static_cast<std::size_t>(got));
    std::string_view left(chunk.data(), static_cast<std::size_t>(got));
    while (to.valid() && !left.empty()) {
      const ssize_t wrote = ::write(to.get(), left.data(), left.size());
      if (wrote < 0) return fail_errno("writing a copy of " + from.string(), errno);
      left.remove_prefix(static_cast<std::size_t>(wrote));
    }
    copied.bytes += static_cast<std::uint64_t>(got);
  }
  std::string raw(32, '\0');
  EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(raw.data()), nullptr);
  copied.sha256 = to_hex(raw);
  return copied;
}

/// A new file beside its place, synced and then renamed there.
Result<Copied> copy_file(const fs::path& from, const fs::path& temporary,
                         const std::function<fs::path(const Copied&)>& place, unsigned mode) {
  const Fd to(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!to.valid()) return fail_errno("open " + temporary.string(), errno);
  auto copied = copy_bytes(from, to);
  if (!copied) return copied;
  if (::fchmod(to.get(), mode) != 0 || ::fsync(to.get()) != 0)
    return fail_errno("syncing " + temporary.string(), errno);
  const fs::path target = place(*copied);
  if (auto made = make_directory(target.parent_path(), 0700); !made)
    return tl::unexpected<Error>(made.error());
  if (::rename(temporary.c_str(), target.c_str()) != 0)
    return fail_errno("rename to " + target.string(), errno);
  if (auto synced = sync_directory(target.parent_path()); !synced)
    return tl::unexpected<Error>(synced.error());
  return copied;
}

fs::path object_path(const fs::path& directory, const std::string& sha256) {
  return directory / "objects" / sha256.substr(0, 2) / sha256;
}

// ---- manifests ----

ordered_json to_json(const BackupManifest& manifest) {
  ordered_json files = ordered_json::array();
  for (const BackupFile& file : manifest.files)
    files.push_back({{"path", file.path},
                     {"sha256", file.sha256},
                     {"bytes", file.bytes},
                     {"mode", file.mode},
                     {"inode", file.inode},
                     {"modified_ns", file.modified_ns}});
  return {{"format", 1},
          {"id", manifest.id},
          {"at", to_rfc3339(manifest.at)},
          {"version", manifest.version},
          {"generation", manifest.generation},
          {"files", std::move(files)}};
}

/// A path in a manifest leads below the data directory and nowhere else.
bool is_inside(const std::string& path) {
  const fs::path p(path);
  return !path.empty() && p.is_relative() &&
         std::none_of(p.begin(), p.end(),
                      [](const fs::path& part) { return part == ".." || part == "."; });
}

Result<BackupManifest> parse_manifest(const fs::path& path) {
  const auto text = read_file(path, kMaxManifest);
  if (!text) return tl::unexpected<Error>(text.error());
  try {
    const auto json = ordered_json::parse(*text);
    if (json.at("format") != 1)
      return fail(Errc::refused, path.string() + " was written by a newer musterd");
    BackupManifest manifest;
    manifest.id = json.at("id").get<std::string>();
    manifest.at = parse_rfc3339(json.at("at").get<std::string>()).value_or(Instant{0});
    manifest.version = json.at("version").get<std::string>();
    manifest.generation = json.at("generation").get<std::uint32_t>();
    for (const auto& each : json.at("files")) {
      BackupFile file{
          each.at("path").get<std::string>(),    each.at("sha256").get<std::string>(),
          each.at("bytes").get<std::uint64_t>(), each.at("mode").get<unsigned>(),
          each.at("inode").get<std::uint64_t>(), each.at("modified_ns").get<std::int64_t>()};
      if (!is_inside(file.path) || !is_sha256_hex(file.sha256))
        return fail(Errc::corrupt, path.string() + " names a file that no backup has");
      manifest.files.push_back(std::move(file));
    }
    return manifest;
  } catch (const ordered_json::exception& wrong) {
    return fail(Errc::corrupt, path.string() + ": " + wrong.what());
  }
}

std::string id_of(Instant now) {
  std::string id;
  for (const char c : to_rfc3339(now))
    if (c != '-' && c != ':' && c != '.') id += c;
  return id;
}

// ---- making one ----

class BackupMaker {
 public:
  BackupMaker(const Paths& paths, fs::path directory)
      : paths_(paths), directory_(std::move(directory)) {}

  /// What the newest backup knows: its digests are trusted for files that have not changed since.
  Result<void> learn() {
    const auto all = list_backups(directory_);
    if (!all) return tl::unexpected<Error>(all.error());
    if (all->empty()) return {};
    for (const BackupFile& file : all->back().files) known_[file.path] = file;
    return {};
  }

  /// Every file below `from`, as `name`/…; what vanishes while we look was not of this backup.
  Result<void> take(const fs::path& from, const std::string& name) {
    std::error_code error;
    if (!fs::exists(from, error)) return {};
    if (!fs::is_directory(from, error)) return take_file(from, name);
    std::vector<fs::path> files;
    for (fs::recursive_directory_iterator it(from, error), end; !error && it != end;
         it.increment(error))
      if (it->is_regular_file(error) && !it->is_symlink(error)) files.push_back(it->path());
    if (error) return fail(Errc::io, "reading " + from.string() + ": " + error.message());
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files)
      if (auto taken = take_file(file, name + "/" + file.lexically_relative(from).string()); !taken)
        return taken;
    return {};
  }

  BackupResult finish() { return std::move(result_); }

 private:
  Result<void> take_file(const fs::path& from, const std::string& name) {
    const std::string leaf = from.filename();
    if (leaf == "LOCK" || leaf == "lock" || leaf == "LOG" || leaf.starts_with("LOG.old") ||
        leaf.find(".tmp.") != std::string::npos)
      return {};
    struct stat status {};
    if (::lstat(from.c_str(), &status) != 0)
      return errno == ENOENT ? Result<void>{} : fail_errno("stat " + from.string(), errno);
    BackupFile file;
    file.path = name;
    file.mode = status.st_mode & kPermissions;
    file.inode = status.st_ino;
    file.modified_ns = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
    const auto known = known_.find(name);
    if (known != known_.end() && known->second.inode == file.inode &&
        known->second.modified_ns == file.modified_ns &&
        known->second.bytes == static_cast<std::uint64_t>(status.st_size) &&
        fs::exists(object_path(directory_, known->second.sha256))) {
      file.sha256 = known->second.sha256;
      file.bytes = known->second.bytes;
      result_.manifest.files.push_back(std::move(file));
      return {};
    }
    bool is_new = false;
    const auto copied = copy_file(
        from, directory_ / "incoming",
        [&](const Copied& done) {
          is_new = !fs::exists(object_path(directory_, done.sha256));
          return object_path(directory_, done.sha256);
        },
        0600);
    if (!copied) {
      std::error_code gone;
      return fs::exists(from, gone) ? tl::unexpected<Error>(copied.error()) : Result<void>{};
    }
    file.sha256 = copied->sha256;
    file.bytes = copied->bytes;
    if (is_new) {
      ++result_.new_files;
      result_.new_bytes += file.bytes;
    }
    result_.manifest.files.push_back(std::move(file));
    return {};
  }

  const Paths& paths_;
  const fs::path directory_;
  std::map<std::string, BackupFile> known_;
  BackupResult result_;
};

}  // namespace

std::uint64_t BackupManifest::bytes() const {
  std::uint64_t sum = 0;
  for (const BackupFile& file : files) sum += file.bytes;
  return sum;
}

Result<BackupResult> make_backup(const Paths& paths, const engine::Engine& engine,
                                 const fs::path& directory, Instant now) {
  if (!directory.is_absolute())
    return fail(Errc::invalid,
                "a backup's directory must be an absolute path: " + directory.string());
  const fs::path data = fs::weakly_canonical(paths.data());
  const fs::path inside = fs::weakly_canonical(directory).lexically_relative(data);
  if (!inside.empty() && *inside.begin() != "..")
    return fail(Errc::invalid, "a backup inside " + data.string() + " would be lost with it");
  for (const fs::path& each : {directory / "objects", directory / "backups"})
    if (auto made = make_directory(each, 0700); !made) return tl::unexpected<Error>(made.error());
  const auto lock = lock_file(directory / "backup.lock");
  if (!lock) return fail(lock.error(), "another backup is being made there");
  const fs::path checkpoint = paths.data() / "checkpoint";
  std::error_code ignored;
  fs::remove_all(checkpoint, ignored);  // Of a backup that was interrupted.

  BackupMaker maker(paths, directory);
  if (auto done = maker.learn(); !done) return tl::unexpected<Error>(done.error());
  if (auto done = maker.take(paths.audit(), "audit"); !done)
    return tl::unexpected<Error>(done.error());
  if (auto done = engine.checkpoint(checkpoint); !done) return tl::unexpected<Error>(done.error());
  Result<void> done = maker.take(checkpoint, "engine");
  fs::remove_all(checkpoint, ignored);
  for (const char* name :
       {"blobs", "packs", "logs", "ca", "tokens.json", "limits.json", "link-port"})
    if (done) done = maker.take(paths.data() / name, name);
  if (!done) return tl::unexpected<Error>(done.error());

  BackupResult result = maker.finish();
  result.manifest.id = id_of(now);
  result.manifest.at = now;
  result.manifest.version = kVersion;
  result.manifest.generation = engine.generation();
  const fs::path path = directory / "backups" / (result.manifest.id + ".json");
  if (auto written = write_file_durably(path, to_json(result.manifest).dump() + "\n", 0600);
      !written)
    return tl::unexpected<Error>(written.error());
  return result;
}

Result<std::vector<BackupManifest>> list_backups(const fs::path& directory) {
  std::vector<BackupManifest> all;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory / "backups", error)) {
    if (entry.path().extension() != ".json") continue;
    auto manifest = parse_manifest(entry.path());
    if (!manifest) return tl::unexpected<Error>(manifest.error());
    all.push_back(std::move(*manifest));
  }
  if (error) return fail(Errc::not_found, "no backups in " + directory.string());
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return all;
}

Result<BackupManifest> find_backup(const fs::path& directory, const std::string& id) {
  auto all = list_backups(directory);
  if (!all) return tl::unexpected<Error>(all.error());
  const auto found = id.empty() ? (all->empty() ? all->end() : all->end() - 1)
                                : std::find_if(all->begin(), all->end(),
                                               [&](const auto& each) { return each.id == id; });
  if (found == all->end())
    return fail(Errc::not_found, "no backup " + id + " in " + directory.string());
  return std::move(*found);
}

Result<std::vector<std::string>> verify_backup(const fs::path& directory,
                                               const BackupManifest& manifest) {
  std::vector<std::string> wrong;
  for (const BackupFile& file : manifest.files) {
    const auto read = copy_bytes(object_path(directory, file.sha256), Fd());
    if (!read) {
      wrong.push_back(file.path + ": " + read.error().message);
    } else if (read->sha256 != file.sha256 || read->bytes != file.bytes) {
      wrong.push_back(file.path + ": its copy was changed");
    }
  }
  return wrong;
}

Result<void> restore_backup(const Paths& paths, const fs::path& directory,
                            const BackupManifest& manifest,
                            const std::function<Result<void>(const fs::path& engine)>& raise) {
  if (fs::exists(paths.engine()))
    return fail(Errc::conflict, paths.engine().string() +
                                    " exists: a restore needs an installation without data. Move " +
                                    paths.data().string() + " away first");
  if (auto made = make_directory(paths.data(), 0711); !made) return made;
  const auto lock = lock_file(paths.data() / "musterd.lock");
  if (!lock) return fail(lock.error(), "stop musterd first");
  const fs::path staging = paths.data() / "restoring";
  std::error_code error;
  fs::remove_all(staging, error);  // Of a restore that was interrupted.
  if (auto made = make_directory(staging, 0700); !made) return made;
  for (const BackupFile& file : manifest.files) {
    // The journal waits in the staging directory until everything else is in place.
    const bool journal = file.path.starts_with("engine/");
    const fs::path target = (journal ? staging : paths.data()) / file.path;
    const auto copied = copy_file(
        object_path(directory, file.sha256), staging / "incoming",
        [&](const Copied&) { return target; }, file.mode);
    if (!copied) return fail(copied.error(), "restoring " + file.path);
    if (copied->sha256 != file.sha256)
      return fail(Errc::corrupt, "the backup's copy of " + file.path + " was changed");
  }
  if (!fs::exists(staging / "engine")) return fail(Errc::corrupt, "the backup holds no journal");
  if (auto raised = raise(staging / "engine"); !raised)
    return fail(raised.error(), "starting a new generation");
  fs::rename(staging / "engine", paths.engine(), error);
  if (error) return fail(Errc::io, "putting the journal in place: " + error.message());
  fs::remove_all(staging, error);
  return sync_directory(paths.data());
}

}  // namespace muster::musterd
