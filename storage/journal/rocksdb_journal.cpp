// On disk: one RocksDB with one column family per Family, under its name ("default" exists and stays empty).
// Keys and values are the engine's; this file adds nothing to them. "probe" is what reopen() writes to learn
// whether the disk works again.
#include "storage/journal/rocksdb_journal.hpp"

#include <fcntl.h>

#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/memtablerep.h>
#include <rocksdb/perf_level.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "storage/base/files.hpp"
#include "storage/journal/torn_manifest.hpp"

namespace muster::storage {

namespace fs = std::filesystem;
using rocksdb::Slice;
using rocksdb::Status;

namespace {

constexpr std::size_t kInboxMemtable = 16u << 20;
constexpr std::size_t kOtherMemtable = 8u << 20;
/// RocksDB allocates memtables in blocks of this size; its default of 1 MiB times twelve families is too much.
constexpr std::size_t kArenaBlock = 128u << 10;
constexpr int kMaxMemtablesPerFamily = 4;
constexpr std::size_t kSequentialBlock = 32u << 10;
constexpr int kCacheShardBits = 2;
/// What recovery may have to read; beyond it the oldest families are flushed.
constexpr std::uint64_t kMaxWalBytes = 128u << 20;

Slice slice(std::string_view text) { return {text.data(), text.size()}; }
std::string_view view(const Slice& text) { return {text.data(), text.size()}; }

tl::unexpected<Error> failed(std::string_view what, const Status& status) {
  const Errc code = status.IsCorruption() ? Errc::corrupt : Errc::io;
  return fail(code, std::string(what) + ": " + status.ToString());
}

rocksdb::CompressionType first_supported(std::initializer_list<rocksdb::CompressionType> wanted) {
  const auto built_in = rocksdb::GetSupportedCompressions();
  for (const auto type : wanted)
    if (std::find(built_in.begin(), built_in.end(), type) != built_in.end()) return type;
  return rocksdb::kNoCompression;
}

/// Keeps RocksDB from going on by itself once a full disk has room again (7.8 does, from a thread of its own, whatever
/// max_bgerror_resume_count says): it would drop what the failed write left while we still read.
struct NoRecoveryByItself : rocksdb::EventListener {
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/, rocksdb::Status /*error*/,
                            bool* recover) override {
    *recover = false;
  }
};

rocksdb::DBOptions database_options(const RocksDbOptions& limits) {
  rocksdb::DBOptions options;
  if (limits.env) options.env = limits.env.get();
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.max_open_files = limits.max_open_files;
  options.write_buffer_manager =
      std::make_shared<rocksdb::WriteBufferManager>(limits.memtable_bytes);
  options.max_total_wal_size = kMaxWalBytes;
  // A vector memtable takes one writer at a time; the shard has one anyway.
  options.allow_concurrent_memtable_write = false;
  options.allow_mmap_reads = false;
  options.allow_mmap_writes = false;
  // Never go on by itself after a background error: what the failed write left is unknown until recovery.
  options.max_bgerror_resume_count = 0;
  options.listeners.push_back(std::make_shared<NoRecoveryByItself>());
  // A torn last record is normal after a power cut and was never acknowledged.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  // Recovered records go into synced files, because after a failed fsync the page cache may show bytes that
  // the disk does not hold, and no later fsync would write them.
  options.avoid_flush_during_recovery = false;
  options.max_manifest_file_size = 16u << 20;
  options.max_log_file_size = 4u << 20;
  options.keep_log_file_num = 3;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  return options;
}

rocksdb::ColumnFamilyOptions family_options(Family family, rocksdb::BlockBasedTableOptions table) {
  rocksdb::ColumnFamilyOptions options;
  options.compression = first_supported({rocksdb::kLZ4Compression, rocksdb::kZSTD});
  options.bottommost_compression = first_supported({rocksdb::kZSTD, rocksdb::kLZ4Compression});
  options.arena_block_size = kArenaBlock;
  options.max_write_buffer_number = kMaxMemtablesPerFamily;
  options.write_buffer_size = kOtherMemtable;
  if (family == Family::inbox) {
    options.write_buffer_size = kInboxMemtable;
    options.memtable_factory = std::make_shared<rocksdb::VectorRepFactory>();
  }
  if (family == Family::inbox || family == Family::changes) {
    // Written once in order and read in ranges. One compression on all levels, so that compaction moves whole
    // files; none for the inbox, which goes soon.
    if (family == Family::inbox) options.compression = rocksdb::kNoCompression;
    options.bottommost_compression = options.compression;
    table.filter_policy.reset();
    table.block_size = kSequentialBlock;
  }
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> families(const rocksdb::BlockBasedTableOptions& table) {
  std::vector<rocksdb::ColumnFamilyDescriptor> all;
  for (std::size_t i = 0; i < kFamilies; ++i) {
    const auto family = static_cast<Family>(i);
    all.emplace_back(std::string(to_string(family)), family_options(family, table));
  }
  all.emplace_back(rocksdb::kDefaultColumnFamilyName, rocksdb::ColumnFamilyOptions());
  return all;
}

/// Who holds RocksDB's lock. Only for a lock of another process: closing any descriptor of the file would
/// release a lock of our own.
std::string holder_of(const fs::path& lock) {
  const Fd fd(::open(lock.c_str(), O_RDWR | O_CLOEXEC));
  struct flock who {};
  who.l_type = F_WRLCK;
  who.l_whence = SEEK_SET;
  if (!fd.valid() || ::fcntl(fd.get(), F_GETLK, &who) != 0 || who.l_type == F_UNLCK)
    return "another process";
  return "process " + std::to_string(who.l_pid);
}

/// RocksDB 7.8 has no code for a held lock: "IO error: While lock file: DIR/LOCK: Resource temporarily
/// unavailable", or "lock hold by current process" when it is our own.
std::optional<Error> lock_conflict(const Status& status, const fs::path& directory) {
  const std::string text = status.ToString();
  const fs::path lock = directory / "LOCK";
  if (!status.IsIOError() || text.find(lock.string()) == std::string::npos) return std::nullopt;
  if (text.find("current process") != std::string::npos)
    return Error{Errc::conflict, directory.string() + " is already open in this process"};
  if (text.find("lock file") == std::string::npos) return std::nullopt;
  return Error{Errc::conflict, directory.string() + " is in use by " + holder_of(lock) +
                                   "; stop it, or choose another --root"};
}

/// An open RocksDB: handles first, then the database, both closed by the destructor.
struct Store {
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;

  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  ~Store() {
    if (!db) return;
    for (auto* handle : handles) db->DestroyColumnFamilyHandle(handle);
    db->Close().PermitUncheckedError();
  }
  [[nodiscard]] rocksdb::ColumnFamilyHandle* handle(Family family) const {
    return handles[static_cast<std::size_t>(family)];
  }
};

Result<std::unique_ptr<Store>> open_store(const fs::path& directory, const RocksDbOptions& limits) {
  rocksdb::BlockBasedTableOptions table;
  // An index and a filter of a whole file take more than a small cache's part holds, and would be read again for each
  // key: both are cut into blocks, and the cache has few parts.
  table.block_cache = rocksdb::NewLRUCache(limits.block_cache_bytes, kCacheShardBits);
  table.cache_index_and_filter_blocks = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  table.format_version = 5;
  // Debian's RocksDB is built without the processor's CRC32: for the files there is a faster checksum.
  table.checksum = rocksdb::kXXH3;

  auto store = std::make_unique<Store>();
  rocksdb::DB* db = nullptr;
  const Status status = rocksdb::DB::Open(database_options(limits), directory.string(),
                                          families(table), &store->handles, &db);
  store->db.reset(db);
  if (status.ok()) return store;
  if (auto conflict = lock_conflict(status, directory)) return tl::unexpected(*conflict);
  return failed("open " + directory.string(), status);
}

/// Both bounds are kept here because RocksDB keeps only pointers to them.
struct Range {
  Slice lower;
  Slice upper;
  rocksdb::ReadOptions options;

  Range(std::string_view from, std::string_view to) : lower(slice(from)), upper(slice(to)) {
    options.iterate_lower_bound = &lower;
    options.iterate_upper_bound = &upper;
  }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

class RocksDbJournal final : public Journal {
 public:
  RocksDbJournal(fs::path directory, RocksDbOptions options)
      : directory_(std::move(directory)), options_(std::move(options)) {}
  ~RocksDbJournal() override { close(); }

  Result<void> open();

  Result<void> commit(const Batch& batch) override;
  Result<std::optional<std::string>> get(Family family, std::string_view key) const override;
  Result<void> scan(Family family, std::string_view lower, std::string_view upper,
                    const RowVisitor& row) const override;
  Result<void> scan_back(Family family, std::string_view lower, std::string_view upper,
                         const RowVisitor& row) const override;
  Result<void> drop(Family family, std::string_view lower, std::string_view upper) override;
  Result<void> reopen() override;
  Result<void> checkpoint(const fs::path& directory) const override;
  Result<void> verify() const override;
  Result<void> compact(std::atomic<bool>& cancelled) const override;
  std::map<std::string, std::uint64_t> numbers() const override;

 private:
  /// The store for the length of one call; reopen() waits for those that are out.
  [[nodiscard]] Result<std::shared_ptr<Store>> use() const;
  /// The same, to read what is durable: after a failure too.
  [[nodiscard]] Result<std::shared_ptr<Store>> use_for_reading() const;
  Result<void> poison(std::string_view what, const Status& status);
  Result<void> probe() const;
  void close();

  const fs::path directory_;
  const RocksDbOptions options_;
  rocksdb::WriteBatch writes_;  ///< Of the writer alone; its buffer is used again.
  mutable std::mutex mutex_;
  std::condition_variable closed_;
  std::shared_ptr<Store> store_;  ///< Empty while closed.
  bool store_exists_ = false;     ///< Until the last user let go and its destructor has run.
  std::string failure_ = "not open";
};

Result<void> RocksDbJournal::open() {
  auto opened = open_store(directory_, options_);
  if (!opened && opened.error().code == Errc::corrupt && cut_torn_manifest(directory_).value_or(false))
    opened = open_store(directory_, options_);
  const std::lock_guard lock(mutex_);
  if (!opened) {
    failure_ = opened.error().message;
    return tl::unexpected(opened.error());
  }
  store_exists_ = true;
  store_ = std::shared_ptr<Store>(opened->release(), [this](Store* store) {
    delete store;
    const std::lock_guard done(mutex_);
    store_exists_ = false;
    closed_.notify_all();
  });
  failure_.clear();
  return {};
}

void RocksDbJournal::close() {
  std::unique_lock lock(mutex_);
  auto mine = std::exchange(store_, nullptr);
  if (failure_.empty()) failure_ = "closed";
  lock.unlock();
  mine.reset();
  lock.lock();
  closed_.wait(lock, [this] { return !store_exists_; });
}

Result<std::shared_ptr<Store>> RocksDbJournal::use() const {
  const std::lock_guard lock(mutex_);
  if (!failure_.empty())
    return fail(Errc::io, "the journal waits to be reopened after: " + failure_);
  return store_;
}

Result<std::shared_ptr<Store>> RocksDbJournal::use_for_reading() const {
  const std::lock_guard lock(mutex_);
  if (!store_) return fail(Errc::io, "the journal is being reopened after: " + failure_);
  return store_;
}

Result<void> RocksDbJournal::poison(std::string_view what, const Status& status) {
  const auto error = failed(what, status);
  const std::lock_guard lock(mutex_);
  failure_ = error.value().message;
  return fail(Errc::io, error.value().message);
}

Result<void> RocksDbJournal::commit(const Batch& batch) {
  const auto store = use();
  if (!store) return tl::unexpected(store.error());
  if (batch.bytes() > kMaxBatchBytes) return fail(Errc::invalid, "the batch is too large");
  if (batch.empty()) return {};
  // Counters of RocksDB that nobody reads cost the writer a twentieth. Per thread; commits come from one.
  rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable);
  if (writes_.GetDataSize() > Batch::kKeptBytes) writes_ = rocksdb::WriteBatch();
  writes_.Clear();
  Status added;
  batch.for_each([&](Family family, std::string_view key, std::optional<std::string_view> value) {
    if (!added.ok()) return;
    auto* handle = (*store)->handle(family);
    added =
        value ? writes_.Put(handle, slice(key), slice(*value)) : writes_.Delete(handle, slice(key));
  });
  if (!added.ok()) return poison("commit", added);
  rocksdb::WriteOptions synced;
  synced.sync = true;
  if (const Status status = (*store)->db->Write(synced, &writes_); !status.ok())
    return poison("commit", status);
  return {};
}

Result<std::optional<std::string>> RocksDbJournal::get(Family family, std::string_view key) const {
  const auto store = use_for_reading();
  if (!store) return tl::unexpected(store.error());
  std::string value;
  const Status status =
      (*store)->db->Get(rocksdb::ReadOptions(), (*store)->handle(family), slice(key), &value);
  if (status.IsNotFound()) return std::optional<std::string>{};
  if (!status.ok()) return failed("get", status);
  return std::optional<std::string>(std::move(value));
}

Result<void> RocksDbJournal::scan(Family family, std::string_view lower, std::string_view upper,
                                  const RowVisitor& row) const {
  const auto store = use_for_reading();
  if (!store) return tl::unexpected(store.error());
  if (lower >= upper) return {};
  const Range range(lower, upper);
  const std::unique_ptr<rocksdb::Iterator> it(
      (*store)->db->NewIterator(range.options, (*store)->handle(family)));
  for (it->Seek(range.lower); it->Valid(); it->Next())
    if (!row(view(it->key()), view(it->value()))) break;
  if (!it->status().ok()) return failed("scan", it->status());
  return {};
}

Result<void> RocksDbJournal::scan_back(Family family, std::string_view lower,
                                       std::string_view upper, const RowVisitor& row) const {
  const auto store = use_for_reading();
  if (!store) return tl::unexpected(store.error());
  if (lower >= upper) return {};
  const Range range(lower, upper);
  const std::unique_ptr<rocksdb::Iterator> it(
      (*store)->db->NewIterator(range.options, (*store)->handle(family)));
  for (it->SeekToLast(); it->Valid(); it->Prev())
    if (!row(view(it->key()), view(it->value()))) break;
  if (!it->status().ok()) return failed("scan back", it->status());
  return {};
}

Result<void> RocksDbJournal::drop(Family family, std::string_view lower, std::string_view upper) {
  const auto store = use();
  if (!store) return tl::unexpected(store.error());
  if (lower >= upper) return {};
  auto* handle = (*store)->handle(family);
  rocksdb::DB& db = *(*store)->db;
  const Slice from = slice(lower);
  const Slice to = slice(upper);
  // The tombstone first: whole files may hold the newest version of a key whose older one lies elsewhere,
  // and without the tombstone that older one would come back. Then the files inside the range go at once.
  if (const Status s = db.DeleteRange(rocksdb::WriteOptions(), handle, from, to); !s.ok())
    return poison("drop", s);
  if (const Status s = rocksdb::DeleteFilesInRange(&db, handle, &from, &to, false); !s.ok())
    return poison("drop", s);
  return {};
}

/// Through the same Env as the journal, in the same directory.
Result<void> RocksDbJournal::probe() const {
  rocksdb::Env* env = options_.env ? options_.env.get() : rocksdb::Env::Default();
  const std::string path = (directory_ / "probe").string();
  std::unique_ptr<rocksdb::WritableFile> file;
  Status status = env->NewWritableFile(path, &file, rocksdb::EnvOptions());
  // More than a block, because a full disk may still have room for a few bytes.
  if (status.ok()) status = file->Append(std::string(64u << 10, 'p'));
  if (status.ok()) status = file->Sync();
  if (status.ok()) status = file->Close();
  file.reset();
  const Status removed = env->DeleteFile(path);
  if (status.ok()) status = removed;
  if (!status.ok()) return failed("the disk is not well yet", status);
  return {};
}

Result<void> RocksDbJournal::checkpoint(const fs::path& directory) const {
  const auto store = use();
  if (!store) return tl::unexpected(store.error());
  rocksdb::Checkpoint* made = nullptr;
  if (const Status s = rocksdb::Checkpoint::Create((*store)->db.get(), &made); !s.ok())
    return failed("checkpoint", s);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  // Memtables are not flushed for it: the WAL is copied along up to what is synced.
  constexpr std::uint64_t kNeverFlush = ~std::uint64_t{0};
  if (const Status s = checkpoint->CreateCheckpoint(directory.string(), kNeverFlush); !s.ok())
    return failed("checkpoint into " + directory.string(), s);
  return {};
}

Result<void> RocksDbJournal::verify() const {
  const auto store = use();
  if (!store) return tl::unexpected(store.error());
  if (const Status s = (*store)->db->VerifyChecksum(); !s.ok()) return failed("verify", s);
  return {};
}

Result<void> RocksDbJournal::compact(std::atomic<bool>& cancelled) const {
  const auto store = use();
  if (!store) return tl::unexpected(store.error());
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;  // Those that RocksDB begins by itself go on.
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  options.canceled = &cancelled;
  for (std::size_t i = 0; i < kFamilies; ++i) {
    if (cancelled) return fail(Errc::refused, "the compaction was ended early");
    auto* family = (*store)->handle(static_cast<Family>(i));
    const Status s = (*store)->db->CompactRange(options, family, nullptr, nullptr);
    if (s.IsManualCompactionPaused()) return fail(Errc::refused, "the compaction was ended early");
    if (!s.ok()) return failed("compact", s);
  }
  return {};
}

std::map<std::string, std::uint64_t> RocksDbJournal::numbers() const {
  const auto store = use();
  if (!store) return {};
  static constexpr std::pair<const char*, const char*> kNumbers[] = {
      {"live_sst_bytes", "rocksdb.live-sst-files-size"},
      {"memtable_bytes", "rocksdb.cur-size-all-mem-tables"},
      {"pending_compaction_bytes", "rocksdb.estimate-pending-compaction-bytes"},
      {"running_compactions", "rocksdb.num-running-compactions"},
      {"running_flushes", "rocksdb.num-running-flushes"},
      {"write_stopped", "rocksdb.is-write-stopped"},
      {"delayed_write_rate", "rocksdb.actual-delayed-write-rate"},
      {"background_errors", "rocksdb.background-errors"},
      {"estimated_keys", "rocksdb.estimate-num-keys"}};
  std::map<std::string, std::uint64_t> all;
  for (const auto& [name, property] : kNumbers) {
    std::uint64_t value = 0;
    if ((*store)->db->GetAggregatedIntProperty(property, &value)) all[name] = value;
  }
  return all;
}

Result<void> RocksDbJournal::reopen() {
  if (auto well = probe(); !well) return well;  // Until then what is durable can be read.
  close();
  return open();
}

}  // namespace

Result<std::unique_ptr<Journal>> open_rocksdb_journal(const fs::path& directory,
                                                      RocksDbOptions options) {
  if (auto made = make_directory(directory, 0750); !made) return tl::unexpected(made.error());
  auto journal = std::make_unique<RocksDbJournal>(directory, std::move(options));
  if (auto opened = journal->open(); !opened) return tl::unexpected(opened.error());
  return journal;
}

}  // namespace muster::storage
