#include "bench/load/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

namespace muster::load {

namespace {

constexpr std::chrono::milliseconds kTerminalPause{200}, kPipePause{5'000};

std::size_t columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress() : terminal_(::isatty(STDERR_FILENO) == 1) {}

void Progress::say(const std::string& line) {
  close();
  std::fprintf(stderr, "%s\n", line.c_str());
}

void Progress::show(const std::string& line) {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < (terminal_ ? kTerminalPause : kPipePause)) return;
  last_ = now;
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", line.substr(0, columns() - 1).c_str());
    std::fflush(stderr);
    open_ = true;
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

void Progress::close() {
  if (open_) std::fprintf(stderr, "\n");
  open_ = false;
}

}  // namespace muster::load
