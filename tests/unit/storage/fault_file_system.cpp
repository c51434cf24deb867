#include "tests/unit/storage/fault_file_system.hpp"

#include <filesystem>
#include <fstream>
#include <utility>

namespace muster::testing {

using rocksdb::FSWritableFile;
using rocksdb::FSWritableFileOwnerWrapper;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

class FaultFile final : public FSWritableFileOwnerWrapper {
 public:
  FaultFile(std::string name, std::unique_ptr<FSWritableFile> file, FaultFileSystem& system)
      : FSWritableFileOwnerWrapper(std::move(file)), name_(std::move(name)), system_(system) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    if (auto s = system_.powered(true); !s.ok()) return s;
    const std::lock_guard lock(system_.mutex_);
    const auto fault = system_.failure(name_, system_.append_fault_);
    const Slice part(data.data(), fault.ok() ? data.size() : data.size() / 2);
    const auto written = target()->Append(part, options, debug);
    if (!written.ok()) return written;
    system_.files_[name_].written += part.size();
    return fault;
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& /*info*/, IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return sync([&] { return target()->Sync(options, debug); });
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return sync([&] { return target()->Fsync(options, debug); });
  }

 private:
  template <class DoSync>
  IOStatus sync(DoSync do_sync) {
    if (auto s = system_.powered(true); !s.ok()) return s;
    const std::lock_guard lock(system_.mutex_);
    if (auto fault = system_.failure(name_, system_.sync_fault_); !fault.ok()) return fault;
    const IOStatus done = do_sync();
    if (done.ok()) system_.files_[name_].synced = system_.files_[name_].written;
    return done;
  }

  std::string name_;
  FaultFileSystem& system_;
};

void FaultFileSystem::fail_syncs(std::optional<IOStatus> with) {
  const std::lock_guard lock(mutex_);
  sync_fault_ = std::move(with);
}

void FaultFileSystem::fail_appends(std::optional<IOStatus> with) {
  const std::lock_guard lock(mutex_);
  append_fault_ = std::move(with);
}

void FaultFileSystem::cut_power_at(std::uint64_t n) {
  const std::lock_guard lock(mutex_);
  countdown_ = n;
}

bool FaultFileSystem::power_is_cut() const {
  const std::lock_guard lock(mutex_);
  return cut_;
}

IOStatus FaultFileSystem::powered(bool counts) {
  const std::lock_guard lock(mutex_);
  if (counts && countdown_ > 0 && --countdown_ == 0) cut_ = true;
  return cut_ ? IOStatus::IOError("no power") : IOStatus::OK();
}

IOStatus FaultFileSystem::failure(const std::string& name,
                                  const std::optional<IOStatus>& fault) const {
  const bool aimed_at = name.ends_with(".log") || name.ends_with("/probe");
  return fault && aimed_at ? *fault : IOStatus::OK();
}

void FaultFileSystem::lose_unsynced(Tail tail, std::mt19937& random) {
  const std::lock_guard lock(mutex_);
  for (const auto& [name, sizes] : files_)
    if (sizes.synced < sizes.written && std::filesystem::exists(name))
      garble(name, sizes, tail, random);
  files_.clear();
  countdown_ = 0;
  cut_ = false;
}

void FaultFileSystem::garble(const std::string& name, const Sizes& sizes, Tail tail,
                             std::mt19937& random) const {
  if (tail == Tail::gone) std::filesystem::resize_file(name, sizes.synced);
  const std::uint64_t somewhere = sizes.synced + random() % (sizes.written - sizes.synced);
  if (tail == Tail::cut) std::filesystem::resize_file(name, somewhere);
  if (tail != Tail::garbled) return;
  std::filesystem::resize_file(name, somewhere);
  std::filesystem::resize_file(name, sizes.written);  // Zeros, as of blocks that were never written.
}

IOStatus FaultFileSystem::NewWritableFile(const std::string& name,
                                          const rocksdb::FileOptions& options,
                                          std::unique_ptr<FSWritableFile>* file,
                                          IODebugContext* debug) {
  if (auto s = powered(false); !s.ok()) return s;
  std::unique_ptr<FSWritableFile> inner;
  if (auto s = target()->NewWritableFile(name, options, &inner, debug); !s.ok()) return s;
  const std::lock_guard lock(mutex_);
  files_[name] = {};
  *file = std::make_unique<FaultFile>(name, std::move(inner), *this);
  return IOStatus::OK();
}

IOStatus FaultFileSystem::RenameFile(const std::string& from, const std::string& to,
                                     const IOOptions& options, IODebugContext* debug) {
  if (auto s = powered(false); !s.ok()) return s;
  if (auto s = target()->RenameFile(from, to, options, debug); !s.ok()) return s;
  const std::lock_guard lock(mutex_);
  if (auto node = files_.extract(from)) files_[to] = node.mapped();
  return IOStatus::OK();
}

IOStatus FaultFileSystem::DeleteFile(const std::string& name, const IOOptions& options,
                                     IODebugContext* debug) {
  if (auto s = powered(false); !s.ok()) return s;
  const std::lock_guard lock(mutex_);
  files_.erase(name);
  return target()->DeleteFile(name, options, debug);
}

}  // namespace muster::testing
