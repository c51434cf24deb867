// Backups of a running installation, and their restore. A backup is a manifest that names files by
// their SHA-256, and the files, kept once however many backups hold them: the next backup of the
// same directory copies what is new.
//
//   DIR/objects/ab/abcd…      a file's bytes
//   DIR/backups/ID.json       a manifest; written last, so a backup is whole or is none
//   DIR/backup.lock
//
// The order makes it consistent: first the audit log (what it took from the journal is then in the
// journal's copy too), then a checkpoint of the journal, then what the journal names (blobs, packs,
// run logs), which only grows.
//
// kill -9 in between leaves objects that no manifest names; the next backup uses or ignores them.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "engine/core/engine.hpp"
#include "storage/base/paths.hpp"

namespace muster::musterd {

struct BackupFile {
  std::string path;  ///< Below the data directory: "engine/shard-0/000012.sst".
  std::string sha256;
  std::uint64_t bytes = 0;
  unsigned mode = 0;
  // What lets the next backup trust the digest without reading the file again.
  std::uint64_t inode = 0;
  std::int64_t modified_ns = 0;
};

struct BackupManifest {
  std::string id;  ///< "20261122T190512Z"; later ones sort later.
  Instant at;
  std::string version;  ///< Of the musterd that made it.
  std::uint32_t generation = 0;
  std::vector<BackupFile> files;

  [[nodiscard]] std::uint64_t bytes() const;
};

struct BackupResult {
  BackupManifest manifest;
  std::size_t new_files = 0;  ///< Copied; the others were there.
  std::uint64_t new_bytes = 0;
};

/// Makes one of a running installation. Errc::conflict while another one is made there.
Result<BackupResult> make_backup(const Paths& paths, const engine::Engine& engine,
                                 const std::filesystem::path& directory, Instant now);

/// The oldest first.
Result<std::vector<BackupManifest>> list_backups(const std::filesystem::path& directory);
/// `id` empty: the newest. Errc::not_found.
Result<BackupManifest> find_backup(const std::filesystem::path& directory, const std::string& id);
/// Reads every object of it again. What is wrong; empty: nothing.
Result<std::vector<std::string>> verify_backup(const std::filesystem::path& directory,
                                               const BackupManifest& manifest);

/// Into an installation that has no data yet (Errc::conflict otherwise), while no musterd runs
/// there. The journal is put in place last: an interrupted restore is begun again. `raise` starts
/// the new generation in the restored journal.
Result<void> restore_backup(
    const Paths& paths, const std::filesystem::path& directory, const BackupManifest& manifest,
    const std::function<Result<void>(const std::filesystem::path& engine)>& raise);

}  // namespace muster::musterd
