#include "storage/runlog/runlog.hpp"

#include <algorithm>
#include <list>
#include <map>
#include <mutex>

#include "storage/base/files.hpp"
#include "storage/base/packing.hpp"
#include "storage/runlog/attempt_log.hpp"

namespace muster::storage {

namespace fs = std::filesystem;

bool is_log_key(const RunLogKey& key) {
  constexpr std::size_t kMinLength = 2;
  constexpr std::size_t kMaxLength = 64;
  const auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  };
  return key.run.size() >= kMinLength && key.run.size() <= kMaxLength &&
         std::all_of(key.run.begin(), key.run.end(), allowed);
}

namespace {

/// Keeps the logs in use: of at most max_open_segments of them the descriptors too (and of one more per thread that is
/// inside a call), of at most max_logs_in_memory what is known of them.
class FileRunLog final : public RunLog {
 public:
  FileRunLog(fs::path directory, RunLogLimits limits, RunLogSystem system)
      : directory_(std::move(directory)), limits_(limits), system_(std::move(system)) {}

  Result<void> append(const RunLogKey& key, std::uint64_t offset, std::string_view bytes) override {
    if (bytes.size() > kMaxLogAppend) return fail(Errc::invalid, "a log append above 4 MiB");
    const auto log = find(key);
    return log ? (*log)->append(offset, bytes) : tl::unexpected(log.error());
  }
  Result<void> append_packed(const RunLogKey& key, std::uint64_t offset, std::string_view frame) override {
    const auto bytes = unpack(frame);
    if (!bytes) return tl::unexpected(bytes.error());
    const auto log = find(key);
    return log ? (*log)->append(offset, *bytes, frame) : tl::unexpected(log.error());
  }
  Result<std::uint64_t> sync(const RunLogKey& key) override {
    const auto log = find(key);
    return log ? (*log)->sync() : tl::unexpected(log.error());
  }
  Result<void> finish(const RunLogKey& key) override {
    const auto log = find(key);
    return log ? (*log)->finish() : tl::unexpected(log.error());
  }
  Result<std::string> read(const RunLogKey& key, std::uint64_t offset, std::size_t limit) override {
    const auto log = find(key);
    return log ? (*log)->read(offset, limit) : tl::unexpected(log.error());
  }
  Result<std::uint64_t> end(const RunLogKey& key) override {
    const auto log = find(key);
    return log ? (*log)->end() : tl::unexpected(log.error());
  }
  Result<void> remove(const std::string& run) override;

 private:
  using Keys = std::list<RunLogKey>;
  struct Entry {
    std::shared_ptr<AttemptLog> log;
    Keys::iterator place;
    bool awake = true;
  };

  Result<std::shared_ptr<AttemptLog>> find(const RunLogKey& key);
  std::shared_ptr<AttemptLog> wake(const RunLogKey& key);
  std::shared_ptr<AttemptLog> put_one_to_rest();
  void forget();

  const fs::path directory_;
  const RunLogLimits limits_;
  const RunLogSystem system_;
  DurableDirectories durable_;
  std::mutex mutex_;
  std::map<RunLogKey, Entry> logs_;
  // The most recently used first.
  Keys awake_;    ///< May have a descriptor.
  Keys resting_;  ///< Durable, but for those that could not be synced.
};

Result<std::shared_ptr<AttemptLog>> FileRunLog::find(const RunLogKey& key) {
  if (!is_log_key(key)) return fail(Errc::invalid, "not a run id");
  std::shared_ptr<AttemptLog> log, tired;
  {
    const std::lock_guard lock(mutex_);
    log = wake(key);
    tired = put_one_to_rest();
  }
  // May sync, so outside of the lock. When that fails, its end is where it is durable, and the sender repeats.
  if (tired) (void)tired->rest();
  return log;
}

std::shared_ptr<AttemptLog> FileRunLog::wake(const RunLogKey& key) {
  if (const auto found = logs_.find(key); found != logs_.end()) {
    Entry& entry = found->second;
    awake_.splice(awake_.begin(), entry.awake ? awake_ : resting_, entry.place);
    entry.awake = true;
    return entry.log;
  }
  forget();
  const fs::path place =
      directory_ / key.run.substr(0, 2) / key.run / std::to_string(key.attempt);
  auto log = std::make_shared<AttemptLog>(place, limits_, system_, durable_);
  awake_.push_front(key);
  logs_.emplace(key, Entry{log, awake_.begin()});
  return log;
}

/// The one that is above the number of descriptors. Whoever is inside it, or uses it next, opens it again.
std::shared_ptr<AttemptLog> FileRunLog::put_one_to_rest() {
  if (awake_.size() <= limits_.max_open_segments) return nullptr;
  Entry& entry = logs_.at(awake_.back());
  resting_.splice(resting_.begin(), awake_, entry.place);
  entry.awake = false;
  return entry.log;
}

Result<void> FileRunLog::remove(const std::string& run) {
  if (!is_log_key({run, 1})) return fail(Errc::invalid, "not a run id");
  {
    const std::lock_guard lock(mutex_);
    for (auto it = logs_.lower_bound({run, 0}); it != logs_.end() && it->first.run == run;) {
      (it->second.awake ? awake_ : resting_).erase(it->second.place);
      it = logs_.erase(it);
    }
  }
  const fs::path directory = directory_ / run.substr(0, 2) / run;
  std::error_code error;
  if (fs::remove_all(directory, error) == 0 && !error) return {};
  if (error) return fail_errno("remove " + directory.string(), error.value());
  return sync_directory(directory.parent_path());
}

/// Makes room for one. A log goes only when nobody is inside it and all of it is durable, because the next
/// load takes everything that it finds on disk for synced.
void FileRunLog::forget() {
  const std::size_t most = std::max(limits_.max_logs_in_memory, limits_.max_open_segments + 1);
  for (auto it = resting_.end(); logs_.size() >= most && it != resting_.begin();) {
    --it;
    const auto entry = logs_.find(*it);
    // Copies are made under mutex_ only, so a count of one can't grow here.
    if (entry->second.log.use_count() > 1 || !entry->second.log->settle()) continue;
    logs_.erase(entry);
    it = resting_.erase(it);
  }
}

}  // namespace

Result<void> RunLog::append_packed(const RunLogKey& key, std::uint64_t offset, std::string_view frame) {
  const auto bytes = unpack(frame);
  return bytes ? append(key, offset, *bytes) : tl::unexpected(bytes.error());
}

Result<std::unique_ptr<RunLog>> RunLog::open(fs::path directory, RunLogLimits limits,
                                             RunLogSystem system) {
  if (limits.segment_bytes == 0 || limits.max_open_segments == 0)
    return fail(Errc::invalid, "a run log needs room for a segment");
  if (auto made = make_directory(directory, 0750); !made) return tl::unexpected(made.error());
  return std::make_unique<FileRunLog>(std::move(directory), limits, std::move(system));
}

}  // namespace muster::storage
