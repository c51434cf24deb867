// A file system for RocksDB that fails when told, and knows which bytes were never synced, so that a test can
// cut the power: LevelDB's fault_injection_test, for RocksDB 7.8.
//
// Not modelled: names that were never synced (a created or renamed file whose directory was not).
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>

namespace muster::testing {

class FaultFileSystem : public rocksdb::FileSystemWrapper {
 public:
  using IOStatus = rocksdb::IOStatus;

  FaultFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  [[nodiscard]] const char* Name() const override { return "FaultFileSystem"; }

  /// Syncs of write-ahead logs and of the probe fail with this; none: they work again.
  void fail_syncs(std::optional<IOStatus> with);
  /// Appends to write-ahead logs and to the probe fail with this after writing the half of their bytes.
  void fail_appends(std::optional<IOStatus> with);
  /// The power goes at the `n`th append or sync from now, counted from 1; that one is not done.
  void cut_power_at(std::uint64_t n);
  [[nodiscard]] bool power_is_cut() const;

  enum class Tail { gone, cut, garbled };
  /// After the cut, with the database closed: what was not synced is gone, or a random part of it stays, or
  /// its length stays with wrong bytes in it. Then the power is back.
  void lose_unsynced(Tail tail, std::mt19937& random);

  IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file,
                           rocksdb::IODebugContext* debug) override;
  IOStatus RenameFile(const std::string& from, const std::string& to,
                      const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override;
  IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                      rocksdb::IODebugContext* debug) override;

 private:
  friend class FaultFile;
  struct Sizes {
    std::uint64_t written = 0;
    std::uint64_t synced = 0;
  };

  /// Counts down to the cut; the error when the power is gone.
  IOStatus powered(bool counts);
  IOStatus failure(const std::string& name, const std::optional<IOStatus>& fault) const;
  void garble(const std::string& name, const Sizes& sizes, Tail tail, std::mt19937& random) const;

  mutable std::mutex mutex_;
  std::map<std::string, Sizes> files_;
  std::optional<IOStatus> sync_fault_;
  std::optional<IOStatus> append_fault_;
  std::uint64_t countdown_ = 0;  ///< 0: none.
  bool cut_ = false;
};

}  // namespace muster::testing
