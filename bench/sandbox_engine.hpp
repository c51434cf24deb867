// The engine's end of the link as bench/sandbox needs it: places attempts on one sandboxd,
// acknowledges what it says, and stores logs with the engine's own LogSink and run-log store.
// Thread-safe; one host.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "actors/ports/log_sink.hpp"
#include "storage/base/time.hpp"
#include "storage/link/frame.hpp"
#include "storage/link/link.hpp"
#include "storage/link/protocol.hpp"
#include "storage/runlog/runlog.hpp"
#include "storage/schema/wire_generated.h"

namespace muster::bench {

using BenchTime = std::chrono::steady_clock::time_point;

/// A run-log store that remembers how much of each log is durable, and since when.
class TimedRunLog final : public storage::RunLog {
 public:
  explicit TimedRunLog(std::unique_ptr<storage::RunLog> store) : store_(std::move(store)) {}

  Result<void> append(const storage::RunLogKey& key, std::uint64_t offset,
                      std::string_view bytes) override {
    return store_->append(key, offset, bytes);
  }
  Result<void> append_packed(const storage::RunLogKey& key, std::uint64_t offset,
                             std::string_view frame) override {
    return store_->append_packed(key, offset, frame);
  }
  Result<std::uint64_t> sync(const storage::RunLogKey& key) override {
    auto durable = store_->sync(key);
    if (durable) {
      const std::lock_guard lock(mutex_);
      durable_[key.run] = {*durable, std::chrono::steady_clock::now()};
    }
    return durable;
  }
  Result<void> finish(const storage::RunLogKey& key) override { return store_->finish(key); }
  Result<std::string> read(const storage::RunLogKey& key, std::uint64_t offset,
                           std::size_t limit) override {
    return store_->read(key, offset, limit);
  }
  Result<std::uint64_t> end(const storage::RunLogKey& key) override { return store_->end(key); }
  Result<void> remove(const std::string& run) override { return store_->remove(run); }

  /// Durable bytes by run, and when they became so.
  [[nodiscard]] std::map<std::string, std::pair<std::uint64_t, BenchTime>> durable() const {
    const std::lock_guard lock(mutex_);
    return durable_;
  }

 private:
  std::unique_ptr<storage::RunLog> store_;
  mutable std::mutex mutex_;
  std::map<std::string, std::pair<std::uint64_t, BenchTime>> durable_;
};

class BenchEngine {
 public:
  BenchEngine(const std::filesystem::path& ca, std::unique_ptr<storage::RunLog> store)
      : logs(std::move(store)), sink_(logs, [](const auto&, const auto&) { return true; }) {
    const auto tls = storage::ensure_server_certificate(ca.string());
    if (!tls) throw std::runtime_error(tls.error().message);
    storage::SessionEvents events;
    events.connected = [this](std::shared_ptr<storage::Session> session) {
      change([&] { inflow_ = std::make_shared<actors::Inflow>(std::move(session)); });
    };
    events.frame = [this](storage::Session&, storage::Stream stream, std::string_view bytes) {
      take(stream, bytes);
    };
    events.closed = [](storage::Session&, const std::string&) {};
    auto server = storage::LinkServer::start("127.0.0.1:0", *tls, std::move(events));
    if (!server) throw std::runtime_error(server.error().message);
    server_ = std::move(*server);
  }
  ~BenchEngine() {
    server_->stop();
    sink_.stop();
  }

  [[nodiscard]] int port() const { return server_->port(); }
  void wait_connected() {
    wait([this] { return ready_; });
  }
  /// Another sandboxd comes in the first one's place.
  void expect_another() {
    change([this] {
      ready_ = false;
      pool_.reset();
    });
  }
  /// Until `waiting` sandboxes wait, after `placed` attempts since that sandboxd began.
  void wait_warm(std::uint64_t placed, unsigned waiting) {
    wait([&] { return pool_ && pool_->hits + pool_->misses == placed && pool_->waiting == waiting; });
  }

  void start(const wire::SandboxSpecT& spec) {
    wire::FrameT frame;
    frame.run = spec.run;
    frame.attempt = spec.attempt;
    wire::StartT start;
    start.spec = std::make_unique<wire::SandboxSpecT>(spec);
    start.epoch = std::make_unique<wire::Epoch>(1, spec.attempt, 1);
    frame.body.Set(std::move(start));
    answer(storage::Stream::control, frame);
  }
  /// Its report, and when it came.
  std::pair<std::shared_ptr<const wire::AttemptReportT>, BenchTime> wait_report(
      const std::string& run) {
    wait([&] { return reports_.contains(run); });
    const std::lock_guard lock(mutex_);
    return reports_[run];
  }

  TimedRunLog logs;

 private:
  template <class Change>
  void change(Change apply) {
    {
      const std::lock_guard lock(mutex_);
      apply();
    }
    changed_.notify_all();
  }
  template <class Predicate>
  void wait(Predicate predicate) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::minutes(3), predicate))
      throw std::runtime_error("sandboxd does not answer; see its log");
  }
  void answer(storage::Stream stream, const wire::FrameT& frame) {
    (void)inflow_->session()->send(stream, storage::encode_frame(frame));
  }

  void take(storage::Stream stream, std::string_view bytes) {
    const auto& frame = *wire::GetFrame(bytes.data());
    if (frame.body_type() == wire::Body::LogChunk)
      return sink_.chunk(inflow_->session(), inflow_->take(stream, bytes));
    wire::FrameT reply;
    if (frame.body_type() == wire::Body::Hello) {
      reply.version = storage::kLinkProtocol;
      wire::WelcomeT welcome;
      welcome.session = welcome.generation = 1;
      welcome.lease_ms = 60'000;
      welcome.heartbeat_ms = 20;  // so that little time goes by until it is known what waits
      reply.body.Set(std::move(welcome));
      answer(stream, reply);
      change([this] { ready_ = true; });
    } else if (const auto* beat = frame.body_as_Heartbeat()) {
      if (beat->warm_pool() != nullptr)
        change([&] { pool_.reset(beat->warm_pool()->UnPack()); });
      wire::RenewT renew;
      renew.heartbeat = beat->number();
      reply.body.Set(std::move(renew));
      answer(stream, reply);
    } else if (const auto* event = frame.body_as_RunEvent()) {
      if (event->phase() == wire::Phase::accepted)
        sink_.open(inflow_->session(), {frame.run()->str(), frame.attempt()});
      if (event->report() != nullptr)
        change([&] {
          reports_[frame.run()->str()] = {
              std::shared_ptr<const wire::AttemptReportT>(event->report()->UnPack()),
              std::chrono::steady_clock::now()};
        });
      wire::AckT ack;
      ack.sequence = frame.sequence();
      reply.body.Set(std::move(ack));
      answer(stream, reply);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool ready_ = false;
  std::shared_ptr<const wire::WarmPoolStateT> pool_;  ///< Of the last heartbeat.
  std::map<std::string, std::pair<std::shared_ptr<const wire::AttemptReportT>, BenchTime>> reports_;
  std::shared_ptr<actors::Inflow> inflow_;
  actors::LogSink sink_;
  std::unique_ptr<storage::LinkServer> server_;
};

}  // namespace muster::bench
