// A process that a test kills: it says on standard output, one number a line, what was acknowledged to it.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "storage/base/files.hpp"

namespace muster::testing {

/// Killed, at the latest, with this object.
class Child {
 public:
  /// The program and its arguments.
  explicit Child(std::vector<std::string> arguments) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    std::vector<char*> argv;
    for (std::string& each : arguments) argv.push_back(each.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    out_ = Fd(ends[0]);
  }
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        out_(std::move(other.out_)),
        text_(std::move(other.text_)),
        last_(other.last_) {}
  Child& operator=(Child&&) = delete;
  ~Child() { kill(); }

  /// Waits for the next acknowledgement; 0 when the process ended by itself.
  std::uint64_t next() {
    while (true) {
      if (const auto line = text_.find('\n'); line != std::string::npos) {
        last_ = std::stoull(text_.substr(0, line));
        text_.erase(0, line + 1);
        return last_;
      }
      if (!fill()) return 0;
    }
  }

  /// kill -9; returns the last acknowledgement that it got out.
  std::uint64_t kill() {
    for (const std::uint64_t number : kill_and_drain()) last_ = number;
    return last_;
  }

  /// kill -9; returns the acknowledgements that next() has not given yet.
  std::vector<std::uint64_t> kill_and_drain() {
    std::vector<std::uint64_t> rest;
    if (pid_ <= 0) return rest;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
    while (fill()) {
    }
    while (text_.find('\n') != std::string::npos) rest.push_back(next());
    return rest;
  }

 private:
  bool fill() {
    char buffer[4096];
    ssize_t n = 0;
    do n = ::read(out_.get(), buffer, sizeof buffer);
    while (n < 0 && errno == EINTR);
    if (n > 0) text_.append(buffer, static_cast<std::size_t>(n));
    return n > 0;
  }

  pid_t pid_ = -1;
  Fd out_;
  std::string text_;
  std::uint64_t last_ = 0;
};

/// Another one in every run; MUSTER_SEED repeats the one that a failure shows.
inline unsigned seed() {
  static const char* given = std::getenv("MUSTER_SEED");
  static const unsigned value =
      given != nullptr ? static_cast<unsigned>(std::stoul(given)) : std::random_device{}();
  return value;
}

/// MUSTER_SOAK=1: the full size.
inline bool soaking() {
  const char* soak = std::getenv("MUSTER_SOAK");
  return soak != nullptr && *soak == '1';
}

}  // namespace muster::testing
