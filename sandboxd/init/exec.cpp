#include "sandboxd/init/exec.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>

namespace muster::sandbox::init {
namespace {

constexpr int kCantRun = 126, kNotFound = 127;
constexpr const char* kWorkspace = "/work";

bool limit(__rlimit_resource what, const char* value) {
  const rlim_t most = strtoull(value, nullptr, 10);
  const rlimit both{most, most};
  return most == 0 || setrlimit(what, &both) == 0;
}

int complain(int code, const char* what) {
  dprintf(STDERR_FILENO, "muster: %s: %s\n", what, strerror(errno));
  return code;
}

bool say(const std::string& text) {
  return write(kStatusFd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

pid_t read_pid(const char* path) {
  std::array<char, 32> text{};
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  const ssize_t n = read(fd, text.data(), text.size() - 1);
  close(fd);
  return n > 0 ? static_cast<pid_t>(atol(text.data())) : -1;
}

/// The runtime, with the command's standard streams as its own.
int run_runtime(char** argv, const sigset_t& blocked) {
  const pid_t pid = fork();
  if (pid == 0) {
    close(kTieFd);
    close(kStatusFd);
    sigprocmask(SIG_SETMASK, &blocked, nullptr);
    execvp(argv[0], argv);
    _exit(complain(kNotFound, argv[0]));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : kCantRun;
}

/// The command's whole process group; it leads one, because the runtime gives it a session.
void tell(pid_t pid, int number) {
  kill(-pid, number);
  kill(pid, number);
}

/// Signals that sandboxd sends; false when it is gone, or wants the command to be.
bool pass_on(pid_t pid) {
  std::array<unsigned char, 16> numbers{};
  const ssize_t n = read(kTieFd, numbers.data(), numbers.size());
  if (n < 0 && errno == EINTR) return true;
  for (ssize_t i = 0; i < n; ++i) tell(pid, numbers[static_cast<std::size_t>(i)]);
  return n > 0;
}

/// Takes whoever ended; true when it was the command.
bool reap(pid_t wanted, int& status) {
  int each = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &each, WNOHANG)) > 0)
    if (pid == wanted) {
      status = each;
      return true;
    }
  return false;
}

}  // namespace

int enter(int argc, char** argv) {
  if (argc < 6) return kCantRun;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // A daemon that was started in the background ignores ^C; its terminals must not.
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  close_range(STDERR_FILENO + 1, ~0u, 0);  // whatever a runtime left open
  if (chdir(kWorkspace) != 0 || chdir(argv[4]) != 0) return complain(kCantRun, argv[4]);
  if (!limit(RLIMIT_AS, argv[2]) || !limit(RLIMIT_CPU, argv[3]))
    return complain(kCantRun, "its limits");
  execvp(argv[5], argv + 5);
  return complain(errno == ENOENT ? kNotFound : kCantRun, argv[5]);
}

int parent(int argc, char** argv) {
  if (argc < 4) return kCantRun;
  sigset_t child, before;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, &before);
  fcntl(kTieFd, F_SETFD, FD_CLOEXEC);
  fcntl(kStatusFd, F_SETFD, FD_CLOEXEC);
  const int ends = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  // The runtime ends once the command runs; then the command is ours.
  if (ends < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return kCantRun;
  const int started = run_runtime(argv + 3, before);
  const pid_t pid = started == 0 ? read_pid(argv[2]) : -1;
  if (pid <= 0) return say("failed\n") ? 0 : kCantRun;
  // Ours must not hold the command's pipes open.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) close(fd);
  say("started\n");
  int status = 0;
  bool tied = true;
  while (!reap(pid, status)) {
    std::array<pollfd, 2> waits{{{ends, POLLIN, 0}, {tied ? kTieFd : -1, POLLIN, 0}}};
    poll(waits.data(), waits.size(), -1);
    std::array<signalfd_siginfo, 8> taken;
    while (read(ends, taken.data(), sizeof taken) > 0) {
    }
    if (waits[1].revents == 0 || pass_on(pid)) continue;
    tied = false;
    tell(pid, SIGKILL);
  }
  say(WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) + "\n"
                          : "exit " + std::to_string(WEXITSTATUS(status)) + "\n");
  return 0;
}

}  // namespace muster::sandbox::init
