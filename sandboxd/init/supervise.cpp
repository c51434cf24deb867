#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "sandboxd/init/init.hpp"

namespace muster::sandbox::init {

namespace {

constexpr std::int64_t kGraceMs = 10'000;  // between SIGTERM and SIGKILL, as the contract says
constexpr std::int64_t kFrozenMs = 1'000;     // never waits for longer, so that a longer wait is known for what it is
constexpr std::size_t kMaxCapture = 64u << 10;
constexpr int kPipeBytes = 256 << 10;

int signals = -1;
bool stopping = false;

std::int64_t clock_ms() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

/// The kernel's OOM killer shall take the agent, never this process: a process may raise its own score, and
/// for that it must be dumpable for a moment (nothing that could use it is alive then).
void volunteer_for_oom() {
  prctl(PR_SET_DUMPABLE, 1);
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t n = write(fd, "500", 3);
  close(fd);
}

[[noreturn]] void become(const Command& command, int out, int err) {
  setsid();
  const int in = command.in >= 0 ? command.in : open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  closefrom(3);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (command.max_file_bytes > 0) {
    const auto bytes = static_cast<rlim_t>(command.max_file_bytes);
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  volunteer_for_oom();
  if (chdir(command.directory.c_str()) != 0) _exit(126);
  auto argv = pointers(command.argv);
  auto env = pointers(command.env);
  environ = env.data();  // execvpe looks for the program in the command's own PATH
  execvpe(argv[0], argv.data(), env.data());
  dprintf(2, "muster: can't run %s: %s\n", argv[0], strerrordesc_np(errno));
  _exit(errno == ENOENT ? 127 : 126);
}

/// Running totals of children, to tell what one command used.
struct Usage {
  std::int64_t user_ms = 0, system_ms = 0, max_rss_kb = 0;
};
Usage children() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  return {usage.ru_utime.tv_sec * 1000 + usage.ru_utime.tv_usec / 1000,
          usage.ru_stime.tv_sec * 1000 + usage.ru_stime.tv_usec / 1000, usage.ru_maxrss};
}

/// One command from fork to the last reaped process.
class Supervision {
 public:
  Supervision(const Command& command, pid_t pid, int out, int err)
      : command_(command), pid_(pid), fds_{out, err}, started_(clock_ms()), heard_(started_), turned_(started_) {
    if (command.beside != nullptr) beside_at_ = started_ + command.beside->every_ms();
  }

  Ended run() {
    while (!exited_) turn();
    kill_everything();
    while (fds_[0] >= 0 || fds_[1] >= 0) drain();  // every writer is dead: ends
    return ended_;
  }

 private:
  void turn() {
    std::array<pollfd, 3> polled{{{fds_[0], POLLIN, 0}, {fds_[1], POLLIN, 0}, {signals, POLLIN, 0}}};
    const int wait = wait_ms();
    const std::int64_t before = clock_ms();
    poll(polled.data(), polled.size(), wait);
    const std::int64_t after = clock_ms();
    if (polled[0].revents != 0) pump(0);
    if (polled[1].revents != 0) pump(1);
    if (polled[2].revents != 0) take_signals();
    reap(WNOHANG);
    const std::int64_t now = clock_ms();
    excuse(now - std::min(after, before + wait) + before - turned_);
    turned_ = now;
    if (!exited_) check_limits();
    if (!exited_ && kill_at_ == 0) begin_beside();
  }

  void begin_beside() {
    if (command_.beside == nullptr || beside_ > 0 || clock_ms() < beside_at_) return;
    beside_ = command_.beside->begin();
    beside_at_ = clock_ms() + command_.beside->every_ms();
  }

  /// All but the poll's own time: when that is long, the sandbox was frozen, and it counts for no limit.
  void excuse(std::int64_t overtime) {
    if (overtime < kFrozenMs) return;
    started_ += overtime;
    heard_ = std::min(heard_ + overtime, clock_ms());
    if (kill_at_ > 0) kill_at_ += overtime;
  }

  [[nodiscard]] int wait_ms() const {
    std::int64_t until = started_ + 3'600'000;
    if (kill_at_ > 0) {
      until = kill_at_;
    } else {
      if (command_.timeout_ms > 0) until = std::min(until, started_ + command_.timeout_ms);
      if (command_.idle_ms > 0) until = std::min(until, heard_ + command_.idle_ms);
    }
    return static_cast<int>(std::clamp<std::int64_t>(until - clock_ms(), 0, kFrozenMs));
  }

  void check_limits() {
    const std::int64_t now = clock_ms();
    if (kill_at_ > 0) {
      if (now >= kill_at_) kill(-1, SIGKILL);
      return;
    }
    if (log_is_full()) return end_at_once("log_limit");
    if (stopping) return end("stopped");
    if (command_.timeout_ms > 0 && now >= started_ + command_.timeout_ms) return end("timed_out");
    if (command_.idle_ms > 0 && now >= heard_ + command_.idle_ms) return end("idle");
  }

  void end(const char* reason) {
    ended_.reason = reason;
    kill_at_ = clock_ms() + kGraceMs;
    kill(-1, SIGTERM);
    kill(-1, SIGCONT);  // a stopped process would sleep through SIGTERM
  }

  /// Whoever floods the log gets no time to go on with it.
  void end_at_once(const char* reason) {
    ended_.reason = reason;
    kill_at_ = clock_ms();
    kill(-1, SIGKILL);
  }

  static void take_signals() {
    signalfd_siginfo info{};
    while (read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info))
      // Sent from outside this pid namespace: the sender has no number here. The agent's own kill(1) has.
      if (info.ssi_signo == SIGTERM && info.ssi_pid == 0) stopping = true;
  }

  /// Takes every process that is waiting to be reaped; false when there is no child left.
  bool reap(int flags) {
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, flags)) > 0) {
      if (pid == beside_) {
        beside_ = 0;
        command_.beside->ended(WIFEXITED(status) && WEXITSTATUS(status) == 0);
      }
      if (pid != pid_) continue;
      exited_ = true;
      ended_.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      ended_.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    return pid == 0 || errno != ECHILD;
  }

  /// kill(-1) reaches every process of this pid namespace but ourselves; orphans become our children.
  void kill_everything() {
    do {
      kill(-1, SIGKILL);
    } while (reap(0));
  }

  void pump(std::size_t which) {
    std::array<char, kMaxLogFrame> buffer;
    const ssize_t n = read(fds_[which], buffer.data(), buffer.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      close(fds_[which]);
      fds_[which] = -1;
      return write_log(which, {}, true);
    }
    heard_ = clock_ms();
    const std::string_view bytes(buffer.data(), static_cast<std::size_t>(n));
    if (which == 0 && command_.capture != nullptr) {
      command_.capture->append(
          bytes.substr(0, kMaxCapture - std::min(kMaxCapture, command_.capture->size())));
    } else {
      write_log(which, bytes, false);
    }
  }

  void write_log(std::size_t which, std::string_view bytes, bool last) {
    const LogType type = which == 0 ? LogType::out : LogType::err;
    if (command_.mask == nullptr || command_.mask->empty())
      return emit_output(type, command_.frame_step, bytes);
    masked_.clear();
    command_.mask->feed(undecided_[which], bytes, masked_);
    if (last) command_.mask->finish(undecided_[which], masked_);
    emit_output(type, command_.frame_step, masked_);
  }

  void drain() {
    std::array<pollfd, 2> polled{{{fds_[0], POLLIN, 0}, {fds_[1], POLLIN, 0}}};
    poll(polled.data(), polled.size(), 1000);
    for (std::size_t i = 0; i < polled.size(); ++i)
      if (fds_[i] >= 0 && polled[i].revents != 0) pump(i);
  }

  const Command& command_;
  pid_t pid_;
  std::array<int, 2> fds_;
  std::array<Mask::Stream, 2> undecided_;
  std::string masked_;
  std::int64_t started_;
  std::int64_t heard_;
  std::int64_t turned_;  // the last turn's end
  std::int64_t kill_at_ = 0;
  std::int64_t beside_at_ = 0;
  pid_t beside_ = 0;  // its child
  bool exited_ = false;
  Ended ended_;
};

}  // namespace

bool watch_signals() {
  sigset_t set;
  sigfillset(&set);
  sigprocmask(SIG_SETMASK, &set, nullptr);
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGUSR1);
  signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  return signals >= 0;
}

void wait_for_go() {
  while (!stopping) {
    pollfd waits{signals, POLLIN, 0};
    poll(&waits, 1, -1);
    signalfd_siginfo info{};
    while (read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_pid != 0) continue;
      if (info.ssi_signo == SIGUSR1) return;
      if (info.ssi_signo == SIGTERM) stopping = true;
    }
  }
}

bool stop_requested() {
  signalfd_siginfo info{};
  while (read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info))
    if (info.ssi_signo == SIGTERM && info.ssi_pid == 0) stopping = true;
  return stopping;
}

int run_aside(const Command& command) {
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  const pid_t pid = fork();
  if (pid == 0) become(command, command.out >= 0 ? command.out : nowhere, nowhere);
  int status = 0;
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  close(nowhere);
  return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Ended supervise(const Command& command) {
  std::array<int, 2> out{-1, -1}, err{-1, -1};
  Ended failed;
  failed.reason = "start_failed";
  if (pipe2(err.data(), O_CLOEXEC) != 0) return failed;
  if (command.out < 0 && pipe2(out.data(), O_CLOEXEC) != 0) return failed;
  const Usage before = children();
  const pid_t pid = fork();
  if (pid == 0) become(command, command.out >= 0 ? command.out : out[1], err[1]);
  close(err[1]);
  if (out[1] >= 0) close(out[1]);
  if (pid < 0) {
    close(err[0]);
    if (out[0] >= 0) close(out[0]);
    return failed;
  }
  for (const int fd : {out[0], err[0]})
    if (fd >= 0) {
      fcntl(fd, F_SETFL, O_NONBLOCK);
      fcntl(fd, F_SETPIPE_SZ, kPipeBytes);  // fewer turns for who prints much; where it is refused, 64 KiB do
    }
  Ended ended = Supervision(command, pid, out[0], err[0]).run();
  const Usage after = children();
  ended.user_ms = after.user_ms - before.user_ms;
  ended.system_ms = after.system_ms - before.system_ms;
  ended.max_rss_kb = after.max_rss_kb;
  return ended;
}

}  // namespace muster::sandbox::init
