#include "storage/base/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "storage/base/files.hpp"

namespace muster {

namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

/// Everything the child needs, laid out before vfork(): after it, only async-signal-safe calls are allowed, and nothing
/// that the parent uses is changed.
struct ChildPlan {
  std::string program;
  std::vector<char*> argv;
  std::vector<std::string> env_text;
  std::vector<char*> env;
  std::vector<int> keep;  // sorted descriptors
  const char* directory = nullptr;
  bool dies_with_parent = true;
  pid_t parent = 0;
  int in = -1, out = -1, err = -1, error_pipe = -1;
};

Result<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::string_view rest =
      path != nullptr ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::string candidate = std::string(rest.substr(0, end)) + "/" + name;
    if (end > 0 && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return fail(Errc::not_found, "no program " + name + " in PATH");
}

void close_all_but(const std::vector<int>& keep, int error_pipe) {
  unsigned first = 3;
  const auto close_up_to = [&](unsigned end) {  // [first, end)
    if (first < end) ::syscall(SYS_close_range, first, end - 1, 0);
    first = end + 1;
  };
  bool error_done = false;
  for (const int fd : keep) {
    if (!error_done && error_pipe < fd) {
      close_up_to(static_cast<unsigned>(error_pipe));
      error_done = true;
    }
    close_up_to(static_cast<unsigned>(fd));
  }
  if (!error_done) close_up_to(static_cast<unsigned>(error_pipe));
  ::syscall(SYS_close_range, first, ~0u, 0);
}

[[noreturn]] void child_fail(int error_pipe) {
  const int code = errno;
  [[maybe_unused]] const ssize_t n = ::write(error_pipe, &code, sizeof code);
  ::_exit(127);
}

/// Neither a handler of the parent's, which would run in its memory, nor an ignored SIGPIPE reaches the program.
void forget_handlers() {
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    if (::sigaction(number, nullptr, &action) != 0) continue;
    const bool ignored = action.sa_handler == SIG_IGN && number != SIGPIPE;
    if (action.sa_handler == SIG_DFL || ignored) continue;
    action = {};
    action.sa_handler = SIG_DFL;
    ::sigaction(number, &action, nullptr);
  }
}

[[noreturn]] void become(const ChildPlan& plan) {
  ::setpgid(0, 0);
  if (plan.dies_with_parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != plan.parent) ::_exit(127);
  }
  forget_handlers();
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::dup2(plan.in, 0) < 0 || ::dup2(plan.out, 1) < 0 || ::dup2(plan.err, 2) < 0)
    child_fail(plan.error_pipe);
  close_all_but(plan.keep, plan.error_pipe);
  for (const int fd : plan.keep) ::fcntl(fd, F_SETFD, 0);
  if (plan.directory != nullptr && ::chdir(plan.directory) != 0) child_fail(plan.error_pipe);
  ::execve(plan.program.c_str(), plan.argv.data(), plan.env.data());
  child_fail(plan.error_pipe);
}

/// A child that borrows this process's memory until it is another program: a fork would copy the page tables of a
/// daemon, which costs more than all the rest. This thread waits, its signals blocked, meanwhile.
[[gnu::noinline]] pid_t start(const ChildPlan& plan) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::vfork();
  if (pid == 0) become(plan);
  const int code = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = code;
  return pid;
}

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("pipe", errno);
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

void set_nonblocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

/// Reads what is there; false at the end of the stream.
bool drain(int fd, std::string& to, std::size_t limit, bool& truncated) {
  std::array<char, 65536> buffer{};
  while (true) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    if (n == 0) return false;
    const std::size_t room = limit - std::min(limit, to.size());
    const std::size_t take = std::min(room, static_cast<std::size_t>(n));
    truncated = truncated || take < static_cast<std::size_t>(n);
    to.append(buffer.data(), take);
  }
}

/// As write(), but a reader that is gone is EPIPE and never the SIGPIPE that would end the caller.
ssize_t write_without_signal(int fd, std::string_view bytes) {
  sigset_t pipe;
  sigset_t before;
  sigset_t pending;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::sigpending(&pending);
  ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
  const ssize_t n = ::write(fd, bytes.data(), bytes.size());
  const int code = errno;
  if (n < 0 && code == EPIPE && sigismember(&pending, SIGPIPE) == 0) {
    const struct timespec now {};
    ::sigtimedwait(&pipe, nullptr, &now);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = code;
  return n;
}

/// Feeds standard input; false when all is written or nobody reads.
bool feed(int fd, std::string_view& input) {
  while (!input.empty()) {
    const ssize_t n = write_without_signal(fd, input);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    input.remove_prefix(static_cast<std::size_t>(n));
  }
  return false;
}

constexpr int kAskMs = 1000;

/// Until the program has exited and nothing more can come from it; kills its group at the deadline.
class Conversation {
 public:
  Conversation(pid_t pid, Fd pidfd, Fd in, Fd out, Fd err, const ProcessSpec& spec)
      : pid_(pid), pidfd_(std::move(pidfd)), in_(std::move(in)), out_(std::move(out)),
        err_(std::move(err)), input_(spec.input), limit_(spec.max_output), give_up_(spec.give_up),
        deadline_(std::chrono::steady_clock::now() + spec.timeout) {}

  ProcessResult run() {
    bool exited = false;
    while (!exited) {
      std::array<pollfd, 4> fds{{{pidfd_.get(), POLLIN, 0}, {out_.get(), POLLIN, 0},
                                 {err_.get(), POLLIN, 0}, {in_.get(), POLLOUT, 0}}};
      const int n = ::poll(fds.data(), fds.size(), remaining_ms());
      if (n == 0 || due()) kill_group();
      if (n < 0 && errno != EINTR) break;
      exited = n > 0 && fds[0].revents != 0;
      pump();
    }
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pump();  // what was still in the pipes; a surviving grandchild's later words are not waited for
    result_.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    result_.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return std::move(result_);
  }

 private:
  int remaining_ms() const {
    if (result_.timed_out) return -1;  // killed: its end is certain
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline_ - std::chrono::steady_clock::now());
    return static_cast<int>(
        std::clamp<std::int64_t>(left.count() + 1, 0, give_up_ ? kAskMs : 1'000'000'000));
  }
  /// A program that talks all the time is asked about, and ends, too.
  bool due() {
    const auto now = std::chrono::steady_clock::now();
    if (result_.timed_out || (now < deadline_ && (!give_up_ || now < ask_))) return false;
    ask_ = now + std::chrono::milliseconds(kAskMs);
    return true;
  }
  void kill_group() {
    if (std::chrono::steady_clock::now() < deadline_ && !(give_up_ && give_up_())) return;
    result_.timed_out = true;
    ::kill(-pid_, SIGKILL);
  }
  void pump() {
    if (in_.valid() && !feed(in_.get(), input_)) in_.reset();
    if (out_.valid() && !drain(out_.get(), result_.out, limit_, result_.output_truncated))
      out_.reset();
    if (err_.valid() && !drain(err_.get(), result_.err, limit_, result_.output_truncated))
      err_.reset();
  }

  pid_t pid_;
  Fd pidfd_, in_, out_, err_;
  std::string_view input_;
  std::size_t limit_;
  const std::function<bool()>& give_up_;
  SteadyTime deadline_, ask_;
  ProcessResult result_;
};

Result<ChildPlan> make_plan(const ProcessSpec& spec) {
  if (spec.argv.empty()) return fail(Errc::invalid, "no program to run");
  auto program = find_program(spec.argv[0]);
  if (!program) return tl::unexpected<Error>(program.error());
  ChildPlan plan;
  plan.program = std::move(*program);
  for (const auto& arg : spec.argv) plan.argv.push_back(const_cast<char*>(arg.c_str()));
  plan.argv.push_back(nullptr);
  for (const auto& [name, value] : spec.env) plan.env_text.push_back(name + "=" + value);
  for (auto& text : plan.env_text) plan.env.push_back(text.data());
  plan.env.push_back(nullptr);
  plan.keep = spec.inherited_fds;
  std::sort(plan.keep.begin(), plan.keep.end());
  if (!spec.directory.empty()) plan.directory = spec.directory.c_str();
  plan.dies_with_parent = !spec.outlives_parent;
  plan.parent = ::getpid();
  return plan;
}

}  // namespace

Result<ProcessResult> run_process(const ProcessSpec& spec) {
  auto plan = make_plan(spec);
  if (!plan) return tl::unexpected<Error>(plan.error());
  auto out = make_pipe(), err = make_pipe(), error = make_pipe();
  Result<Pipe> in = Pipe{};
  if (spec.input.empty()) {
    in->read = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  } else {
    in = make_pipe();
  }
  if (!in || !out || !err || !error) return fail(Errc::io, "no descriptors left for a child");
  plan->in = in->read.get();
  plan->out = spec.out_fd >= 0 ? spec.out_fd : out->write.get();
  plan->err = spec.err_fd >= 0 ? spec.err_fd : err->write.get();
  plan->error_pipe = error->write.get();

  const pid_t pid = start(*plan);
  if (pid < 0) return fail_errno("fork", errno);
  ::setpgid(pid, pid);
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  in->read.reset();
  out->write.reset();
  err->write.reset();
  error->write.reset();

  int code = 0;
  ssize_t n = 0;
  while ((n = ::read(error->read.get(), &code, sizeof code)) < 0 && errno == EINTR) {
  }
  if (n == static_cast<ssize_t>(sizeof code)) {
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return fail_errno("start " + spec.argv[0], code);
  }
  for (const int fd : {in->write.get(), out->read.get(), err->read.get()})
    if (fd >= 0) set_nonblocking(fd);
  return Conversation(pid, std::move(pidfd), std::move(in->write), std::move(out->read),
                      std::move(err->read), spec)
      .run();
}

Result<std::string> run_checked(const ProcessSpec& spec) {
  auto result = run_process(spec);
  if (!result) return tl::unexpected<Error>(result.error());
  if (result->ok()) return std::move(result->out);
  std::string what = spec.argv[0];
  if (spec.argv[0] == "git" && !spec.argv.empty()) {
    // Skip "-c key=value" pairs: the verb is what a person wants to read.
    for (std::size_t i = 1; i < spec.argv.size(); ++i) {
      if (spec.argv[i] == "-c" || spec.argv[i] == "-C") {
        ++i;
      } else if (!spec.argv[i].starts_with("-")) {
        what += " " + spec.argv[i];
        break;
      }
    }
  }
  constexpr std::size_t kTail = 2000;
  std::string tail = result->err.size() > kTail
                         ? result->err.substr(result->err.size() - kTail)
                         : result->err;
  while (!tail.empty() && tail.back() == '\n') tail.pop_back();
  if (result->timed_out) return fail(Errc::timed_out, what + " took too long");
  return fail(Errc::io, what + " failed with " + std::to_string(result->exit_code) +
                            (tail.empty() ? "" : ": " + tail));
}

std::map<std::string, std::string> git_environment() {
  const char* path = std::getenv("PATH");
  return {{"PATH", path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin"},
          {"LANG", "C.UTF-8"},
          {"HOME", "/nonexistent"},
          {"GIT_CONFIG_NOSYSTEM", "1"},
          {"GIT_CONFIG_GLOBAL", "/dev/null"},
          {"GIT_TERMINAL_PROMPT", "0"},
          {"GIT_ASKPASS", "/bin/false"},
          {"SSH_ASKPASS", "/bin/false"},
          {"GIT_SSH_COMMAND", "ssh -oBatchMode=yes"},
          {"GIT_EDITOR", "/bin/false"},
          {"GIT_PAGER", "cat"},
          {"GIT_NO_REPLACE_OBJECTS", "1"},
          {"GIT_OPTIONAL_LOCKS", "0"}};
}

std::vector<std::string> git_command() {
  return {"git",
          "-c", "core.hooksPath=/dev/null",
          "-c", "core.fsmonitor=false",
          "-c", "core.pager=cat",
          "-c", "gc.auto=0",
          "-c", "maintenance.auto=false",
          "-c", "protocol.ext.allow=never",
          "-c", "safe.directory=*",
          "-c", "submodule.recurse=false",
          "-c", "advice.detachedHead=false"};
}

}  // namespace muster
