#include "bench/durable/recorder.hpp"

#include <chrono>
#include <memory>
#include <stdexcept>

#include "storage/journal/rocksdb_journal.hpp"

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/perf_level.h>
#include <rocksdb/utilities/options_util.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>

namespace muster::bench {

using storage::Batch;
using storage::Family;

namespace {

class Observer final : public storage::Journal {
 public:
  Observer(std::unique_ptr<Journal> journal, Observed& observed)
      : journal_(std::move(journal)), observed_(observed) {}

  Result<void> commit(const Batch& batch) override {
    ++observed_.commits;
    observed_.bytes += batch.bytes();
    observed_.records += batch.size();
    if (observed_.recording) observed_.stream.push_back(batch);
    return journal_->commit(batch);
  }
  Result<std::optional<std::string>> get(Family family, std::string_view key) const override {
    ++observed_.reads;
    return journal_->get(family, key);
  }
  Result<void> scan(Family family, std::string_view lower, std::string_view upper,
                    const storage::RowVisitor& row) const override {
    ++observed_.reads;
    return journal_->scan(family, lower, upper, row);
  }
  Result<void> scan_back(Family family, std::string_view lower, std::string_view upper,
                         const storage::RowVisitor& row) const override {
    return journal_->scan_back(family, lower, upper, row);
  }
  Result<void> drop(Family family, std::string_view lower, std::string_view upper) override {
    return journal_->drop(family, lower, upper);
  }
  Result<void> reopen() override { return journal_->reopen(); }

 private:
  std::unique_ptr<Journal> journal_;
  Observed& observed_;
};

rocksdb::Slice slice(std::string_view text) {
  return {text.data(), text.size()};
}

void must(const rocksdb::Status& status) {
  if (!status.ok()) throw std::runtime_error("RocksDB: " + status.ToString());
}

/// The engine's own options, read back from the OPTIONS file that its journal leaves.
struct RawStore {
  explicit RawStore(const std::filesystem::path& directory) {
    if (auto made = storage::open_rocksdb_journal(directory); !made)
      throw std::runtime_error(made.error().message);
    rocksdb::DBOptions options;
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    must(rocksdb::LoadLatestOptions(rocksdb::ConfigOptions(), directory.string(), &options,
                                    &families));
    options.write_buffer_manager =
        std::make_shared<rocksdb::WriteBufferManager>(storage::RocksDbOptions{}.memtable_bytes);
    rocksdb::DB* opened = nullptr;
    must(rocksdb::DB::Open(options, directory.string(), families, &handles, &opened));
    db.reset(opened);
    for (std::size_t i = 0; i < storage::kFamilies; ++i)
      for (auto* handle : handles)
        if (handle->GetName() == storage::to_string(static_cast<Family>(i)))
          by_family.push_back(handle);
  }
  ~RawStore() {
    for (auto* handle : handles) db->DestroyColumnFamilyHandle(handle);
    db->Close().PermitUncheckedError();
  }
  RawStore(const RawStore&) = delete;
  RawStore& operator=(const RawStore&) = delete;

  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  std::vector<rocksdb::ColumnFamilyHandle*> by_family;
  std::unique_ptr<rocksdb::DB> db;
};

}  // namespace

std::unique_ptr<storage::Journal> observe(std::unique_ptr<storage::Journal> journal,
                                          Observed& observed) {
  return std::make_unique<Observer>(std::move(journal), observed);
}

double replay(const RecordStream& stream, const std::filesystem::path& directory) {
  RawStore store(directory);
  rocksdb::WriteOptions synced;
  synced.sync = true;
  const auto begin = std::chrono::steady_clock::now();
  rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable);  // As the journal does.
  rocksdb::WriteBatch writes;
  for (const Batch& batch : stream) {
    writes.Clear();
    batch.for_each([&](Family family, std::string_view key, std::optional<std::string_view> value) {
      auto* handle = store.by_family[static_cast<std::size_t>(family)];
      must(value ? writes.Put(handle, slice(key), slice(*value))
                 : writes.Delete(handle, slice(key)));
    });
    must(store.db->Write(synced, &writes));
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace muster::bench
