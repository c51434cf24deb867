// Takes the logs of attempts from their hosts into the run-log store, by credit: a host may send
// what lies below `up_to`, and may forget what lies below `acknowledged`, which survives power
// loss.
//
// Each sink has a strand of its own. What was appended is synced together at most every kSyncPause,
// or as soon as a quarter of a log's window is spent (of many logs of one host: kMinStep), so that
// many chatting logs share few syncs and none waits for another. Every log has the same window, so none takes more than its part of the
// link. A part that comes packed is stored as it came; offsets and windows count the log's own bytes.
// Several sinks share the logs among them, because syncs wait for the disk and the file
// system commits those that wait together.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "actors/ports/inflow.hpp"
#include "actors/ports/strand.hpp"
#include "storage/runlog/runlog.hpp"

namespace muster::actors {

class LogSink {
 public:
  static constexpr std::uint64_t kWindow = 8u << 20;    ///< Unacknowledged bytes of one log.
  static constexpr std::uint64_t kSteps = 32u << 20;    ///< Of a host's logs together, not synced.
  static constexpr std::uint64_t kMinStep = 512u << 10; ///< Of each: many go on in small, equal ones.
  static constexpr std::size_t kMaxLogs = 1'024;        ///< Open at once in one session.
  static constexpr Duration kSyncPause{500};

  /// `may_write`: whether that attempt was placed on that host; any thread.
  using MayWrite = std::function<bool(const std::string& host, const storage::RunLogKey&)>;

  LogSink(storage::RunLog& logs, MayWrite may_write)
      : logs_(logs), may_write_(std::move(may_write)) {}

  /// Gives the host credit for a log, from where the store ends.
  void open(std::shared_ptr<storage::Session> session, storage::RunLogKey key);
  /// A LogChunk frame. An empty one asks for credit: a host has a log of an attempt that is over.
  void chunk(std::shared_ptr<storage::Session> session, FramePtr frame);
  void closed(const std::shared_ptr<storage::Session>& session);
  void stop() { strand_.stop(); }

 private:
  struct Log {
    std::uint64_t acknowledged = 0;
    std::uint64_t up_to = 0;
    std::uint64_t end = 0;  ///< Appended so far.
    bool over_limit =
        false;  ///< The store is full: what comes is dropped, so that the sandbox can go on.
    bool last = false;
  };
  using Logs = std::map<storage::RunLogKey, Log>;
  struct Open {
    std::shared_ptr<storage::Session> session;
    Logs logs;
    std::set<storage::RunLogKey> dirty;
  };

  /// What a LogChunk brings.
  struct Piece {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;  ///< In the log.
    std::string_view bytes;    ///< Of the log, or their frame (storage/base/packing.hpp).
    bool packed = false;
  };

  Log* find_or_open(Open& open, const storage::RunLogKey& key);
  void take(const std::shared_ptr<storage::Session>& session, std::string_view frame);
  Result<void> append(const storage::RunLogKey& key, Log& log, const Piece& piece);
  void schedule();
  /// So much of a log is synced without a pause.
  static std::uint64_t step(const Open& open);
  void sync_all();
  void sync(Open& open, const storage::RunLogKey& key);
  static void grant(Open& open, const storage::RunLogKey& key, const Log& log);

  storage::RunLog& logs_;
  const MayWrite may_write_;
  std::map<storage::Session*, Open> open_;  // on the strand
  bool scheduled_ = false;
  Strand strand_{"logs"};
};

/// Every log by the sink that its run's id picks.
class LogSinks {
 public:
  static constexpr std::size_t kSinks = 4;

  LogSinks(storage::RunLog& logs, const LogSink::MayWrite& may_write);
  void open(std::shared_ptr<storage::Session> session, storage::RunLogKey key);
  void chunk(std::shared_ptr<storage::Session> session, FramePtr frame);
  void closed(const std::shared_ptr<storage::Session>& session);
  void stop();

 private:
  LogSink& sink_of(std::string_view run);

  std::array<std::unique_ptr<LogSink>, kSinks> sinks_;
};

}  // namespace muster::actors
