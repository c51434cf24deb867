// A run-log store that tells its readers when an attempt's log grows or ends; everything else is
// forwarded.
#pragma once

#include <atomic>

#include "storage/base/packing.hpp"
#include "storage/runlog/runlog.hpp"
#include "tools/musterd/wakes.hpp"

namespace muster::musterd {

class WatchedRunLog final : public storage::RunLog {
 public:
  explicit WatchedRunLog(std::unique_ptr<storage::RunLog> store) : store_(std::move(store)) {}

  Result<void> append(const storage::RunLogKey& key, std::uint64_t offset,
                      std::string_view bytes) override {
    auto done = store_->append(key, offset, bytes);
    if (done) taken_bytes_ += bytes.size();
    wakes_.wake(name(key));
    return done;
  }
  Result<void> append_packed(const storage::RunLogKey& key, std::uint64_t offset,
                             std::string_view frame) override {
    auto done = store_->append_packed(key, offset, frame);
    if (done) taken_bytes_ += packed_length(frame);
    wakes_.wake(name(key));
    return done;
  }
  Result<std::uint64_t> sync(const storage::RunLogKey& key) override { return store_->sync(key); }
  Result<void> finish(const storage::RunLogKey& key) override {
    auto done = store_->finish(key);
    wakes_.wake(name(key));
    return done;
  }
  Result<std::string> read(const storage::RunLogKey& key, std::uint64_t offset,
                           std::size_t limit) override {
    return store_->read(key, offset, limit);
  }
  Result<std::uint64_t> end(const storage::RunLogKey& key) override { return store_->end(key); }
  Result<void> remove(const std::string& run) override { return store_->remove(run); }

  /// Since the start.
  [[nodiscard]] std::uint64_t taken_bytes() const { return taken_bytes_; }

  /// Woken at every change of that attempt's log until the handle is gone.
  [[nodiscard]] std::shared_ptr<void> on_change(const storage::RunLogKey& key, Wakes::Wake wake) {
    return wakes_.add(name(key), std::move(wake));
  }

 private:
  static std::string name(const storage::RunLogKey& key) {
    return key.run + "-" + std::to_string(key.attempt);
  }

  std::unique_ptr<storage::RunLog> store_;
  Wakes wakes_;
  std::atomic<std::uint64_t> taken_bytes_{0};
};

}  // namespace muster::musterd
