#include "tools/muster/wait.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>

#include "tools/muster/json_get.hpp"
#include "tools/muster/live_screen.hpp"
#include "tools/muster/render/fleet_view.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

// A signal handler reaches only globals: these belong to the one living Interrupt.
std::atomic<bool> g_raised{false};
std::array<int, 2> g_pipe{-1, -1};
struct sigaction g_before;

void on_interrupt(int) {
  const int saved = errno;
  g_raised = true;
  [[maybe_unused]] const auto written = ::write(g_pipe[1], "x", 1);
  errno = saved;
}

using Clock = std::chrono::steady_clock;

constexpr std::size_t kFailuresAsked = 100;

Duration since(Clock::time_point then) {
  return std::chrono::duration_cast<Duration>(Clock::now() - then);
}

class Progress {
 public:
  Progress(Context& context, const WaitOptions& options)
      : stream_(context.io().err), options_(options), screen_(stream_) {}

  void show(const Json& fleet, const std::vector<Json>& failures, Duration elapsed) {
    if (stream_.live) return screen_.draw(progress_frame(fleet, failures, stream_.look, elapsed));
    const std::string line = progress_line(fleet);
    const std::string step = str(fleet, "state") + std::to_string(num(fleet, "wave"));
    const bool due =
        !printed_ || since(*printed_) >= options_.plain_every || step != step_ || is_settled(fleet);
    if (!due || line == line_) return;
    stream_.to << line << "\n" << std::flush;
    printed_ = Clock::now();
    line_ = line;
    step_ = step;
  }

  void away(const Failure& failure) {
    if (away_) return;
    away_ = true;
    stream_.to << "musterd is away (" << safe_line(failure.message)
               << "); waiting for it to come back\n"
               << std::flush;
    screen_.forget();
  }
  void back() { away_ = false; }

 private:
  Stream& stream_;
  const WaitOptions& options_;
  LiveScreen screen_;
  std::optional<Clock::time_point> printed_;
  std::string line_, step_;
  bool away_ = false;
};

/// The newest failures, asked for only when there are more than before.
class RecentFailures {
 public:
  const std::vector<Json>& update(Client& client, const Json& fleet) {
    const auto failed = progress_of(fleet).failed;
    if (failed == known_) return rows_;
    known_ = failed;
    const std::string path =
        with_query("/v1/fleets/" + encoded(str(fleet, "name")) + "/runs", {{"state", "failed"}});
    auto rows = client.all(path, "runs", kFailuresAsked);
    if (!rows) return rows_;
    std::sort(rows->begin(), rows->end(),
              [](const Json& a, const Json& b) { return str(a, "ended_at") > str(b, "ended_at"); });
    rows_ = std::move(*rows);
    return rows_;
  }

 private:
  std::uint64_t known_ = 0;
  std::vector<Json> rows_;
};

}  // namespace

Interrupt::Interrupt() {
  g_raised = false;
  if (::pipe2(g_pipe.data(), O_CLOEXEC | O_NONBLOCK) != 0) g_pipe = {-1, -1};
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  ::sigaction(SIGINT, &action, &g_before);
}

Interrupt::~Interrupt() {
  ::sigaction(SIGINT, &g_before, nullptr);
  for (int& fd : g_pipe) ::close(std::exchange(fd, -1));
}

bool Interrupt::raised() const {
  return g_raised;
}

bool Interrupt::pause(Duration duration) const {
  pollfd ready{g_pipe[0], POLLIN, 0};
  if (!g_raised) ::poll(&ready, 1, static_cast<int>(duration.count()));
  return g_raised;
}

WaitResult wait_for_fleet(Context& context, Client& client, const std::string& name,
                          const WaitOptions& options) {
  const Interrupt interrupt;
  client.set_interrupt([&interrupt] { return interrupt.raised(); });
  struct Restore {
    Client& client;
    ~Restore() { client.set_interrupt({}); }
  } const restore{client};
  Progress progress(context, options);
  RecentFailures failures;
  WaitResult result;
  const auto begin = Clock::now();
  auto last_seen = begin;
  for (;;) {
    auto fleet = client.get("/v1/fleets/" + encoded(name));
    if (interrupt.raised()) {
      result.end = WaitResult::End::detached;
      return result;
    }
    if (fleet) {
      last_seen = Clock::now();
      progress.back();
      result.fleet = *fleet;
      progress.show(*fleet, failures.update(client, *fleet), since(begin));
      if (is_settled(*fleet)) return result;
    } else {
      const bool may_return = fleet.error().code == Errc::unreachable ||
                              fleet.error().code == Errc::unknown ||
                              fleet.error().code == Errc::overloaded;
      if (!may_return || since(last_seen) > options.reconnect) {
        result.end = WaitResult::End::failed;
        result.failure = fleet.error();
        return result;
      }
      progress.away(fleet.error());
    }
    Duration pause = options.poll;
    if (options.timeout.count() != 0) {
      const Duration left = options.timeout - since(begin);
      if (left.count() <= 0) {
        result.end = WaitResult::End::timed_out;
        return result;
      }
      pause = std::min(pause, left);
    }
    if (interrupt.pause(pause)) {
      result.end = WaitResult::End::detached;
      return result;
    }
  }
}

int finish_wait(Context& context, const std::string& name, const WaitResult& result) {
  const std::string status = context.program() + " fleet status " + shell_quoted(name);
  switch (result.end) {
    case WaitResult::End::settled:
      return exit_code_of_fleet(result.fleet);
    case WaitResult::End::failed:
      return context.fail(result.failure);
    case WaitResult::End::timed_out:
      context.err() << "The time is over; the fleet goes on. Watch it again: " << status
                    << " --watch\n"
                    << std::flush;
      return kExitTimedOut;
    case WaitResult::End::detached:
      context.err() << "\nDetached; the fleet goes on. Watch it again: " << status << " --watch\n"
                    << "Stop it: " << context.program() << " fleet cancel " << shell_quoted(name)
                    << "\n"
                    << std::flush;
      return kExitDetached;
  }
  return 1;
}

}  // namespace muster::cli
