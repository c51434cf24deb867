// The embedded host: a sandboxd on this machine that musterd starts and looks after.
//
// It is a process in its own session, so it outlives a musterd that is killed. sandboxd's own lock
// file (run/muster/sandboxd.lock, with its pid) decides who owns the host: a restarted musterd that
// finds it held watches that process and starts none; one that an earlier musterd started with
// other arguments (the link has another port, say) is ended first. When it ends, it is started
// again, with a growing pause. stop() ends it gracefully unless it is to be kept; its sandboxes go
// on under conmon and are found by the next one.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/files.hpp"
#include "storage/base/time.hpp"

namespace muster::musterd {

struct EmbeddedHostOptions {
  std::filesystem::path program;  ///< sandboxd
  std::vector<std::string> arguments;
  std::filesystem::path lock;     ///< sandboxd's.
  std::filesystem::path log;      ///< Its output; begun anew beyond kMaxLog.
  std::filesystem::path started;  ///< Where we note what we started it with.
  Duration first_pause{250};
  Duration longest_pause{30'000};
  Duration healthy{60'000};     ///< After so long alive, the pause begins anew.
  Duration stop_limit{20'000};  ///< From SIGTERM to SIGKILL.
};

class EmbeddedHost {
 public:
  static constexpr std::uintmax_t kMaxLog = 16u << 20;

  explicit EmbeddedHost(EmbeddedHostOptions options);
  /// Leaves the process as it is.
  ~EmbeddedHost();
  EmbeddedHost(const EmbeddedHost&) = delete;
  EmbeddedHost& operator=(const EmbeddedHost&) = delete;

  /// Finds the living one or starts one, and watches it from then on.
  Result<void> start();
  /// No restart any more; `keep` leaves the process running, else it is ended.
  void stop(bool keep);

  /// 0 while none runs.
  [[nodiscard]] pid_t pid() const;
  /// Starts of this musterd's; a found one counts none.
  [[nodiscard]] unsigned starts() const;
  /// Waits until `starts()` has reached `count`; false when `limit` passed.
  bool wait_for_starts(unsigned count, Duration limit) const;

 private:
  Result<void> find_or_spawn();
  Result<void> spawn();
  [[nodiscard]] std::string identity() const;
  /// Whether an earlier musterd started the living one with other arguments.
  [[nodiscard]] bool is_outdated() const;
  void end_process(const Fd& process) const;
  void watch();
  /// False when stop() was called meanwhile.
  bool pause(Duration duration);

  EmbeddedHostOptions options_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool stopping_ = false;
  pid_t pid_ = 0;
  bool ours_ = false;  ///< A child of this process: to be reaped.
  unsigned starts_ = 0;
  std::uintmax_t log_begin_ = 0;  ///< The log's size when this one was started.
  Fd process_;  ///< pidfd
  Fd wake_;     ///< eventfd: ends the wait for the process.
  std::thread watcher_;
};

/// The last lines of a log that were written since it had `from` bytes, at most 1 KiB; "" when there are none.
std::string last_words(const std::filesystem::path& log, std::uintmax_t from);

/// Beside this program, else from PATH; "" when it is nowhere.
std::filesystem::path find_sandboxd();

}  // namespace muster::musterd
