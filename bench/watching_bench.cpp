// What being watchable costs: processor time per message of an engine with many actors in memory,
// in turn
//
//   bare      without anything that only watches, twice: how far those two differ is noise
//   followed  as musterd has it while nobody looks: the hub of events, and the watch over attempts
//   watched   and with somebody who reads every change, and a list of all actors again and again
//
// Each step's own measuring (two readings of a clock, a histogram, three sums) can't be taken out
// of an engine; it is measured alone, and counts as watching.
//
//   bench-watching [--quick] [--dir DIR]
//
// Processor time, not time: what is measured is small beside what a disk's sync varies. The last
// line is JSON.
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/durable/beads.hpp"
#include "bench/durable/rig.hpp"
#include "engine/core/inspect.hpp"
#include "engine/core/stats.hpp"
#include "tools/musterd/attempt_watch.hpp"
#include "tools/musterd/events.hpp"

namespace muster::bench {
namespace {

namespace fs = std::filesystem;

struct WatchingSize {
  std::uint64_t actors = 100'000;
  std::uint32_t turns = 100;  ///< Questions of each part, each with its reply.
  std::uint32_t parts = 1'000;
  int rounds = 9;

  [[nodiscard]] double messages() const { return static_cast<double>(parts) * (2.0 * turns + 1); }
};

/// Of all threads of this process.
double processor_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

engine::EngineConfig all_in_memory(const WatchingSize& size) {
  engine::EngineConfig config;
  config.limits.active_actors = size.actors * 2;
  config.limits.idle_actors = size.actors * 2;
  return config;
}

/// Microseconds of the processor per message: questions and replies between actors drawn from all.
double work(Rig& rig, const WatchingSize& size, std::uint64_t& seed) {
  fbs::ReplyT begin;
  begin.turns = size.turns;
  begin.spread = static_cast<std::uint32_t>(size.actors);
  begin.body = body();
  const double before = processor_seconds();
  for (std::uint32_t part = 0; part < size.parts; ++part) {
    begin.seed = next_random(seed);
    rig.tell(bead(begin.seed % size.actors), Bead::Messages::encode(begin));
  }
  rig.wait_done(size.parts);
  return (processor_seconds() - before) * 1e6 / size.messages();
}

/// What musterd lets follow its engine, whether somebody looks or not.
struct Followers {
  explicit Followers(engine::Engine& engine, Duration linger = musterd::EventHub::kLinger)
      : attempts(engine, musterd::View(engine), {[](const std::string&, double) {}, nullptr}),
        hub(std::chrono::milliseconds(linger)) {
    hub.follow(engine);
  }
  musterd::AttemptWatch attempts;
  musterd::EventHub hub;
};

/// Reads every change as a stream does, and looks at who is in memory as a list does.
class Watcher {
 public:
  Watcher(musterd::EventHub& hub, engine::Engine& engine)
      : hub_(hub), inside_(dynamic_cast<engine::Inside&>(engine)), thread_([this] { look(); }) {}
  ~Watcher() {
    over_ = true;
    thread_.join();
  }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

 private:
  void look() {
    constexpr std::chrono::milliseconds kPause{250};  // As often as musterd makes a list anew.
    constexpr std::size_t kPage = 256;
    engine::Sequence position = hub_.last();
    while (!over_) {
      for (;;) {
        const auto page = hub_.after(position, kPage);
        position = page.last;
        if (page.events.size() < kPage) break;
      }
      seen_ += inside_.activations()->size();
      std::this_thread::sleep_for(kPause);
    }
  }

  musterd::EventHub& hub_;
  engine::Inside& inside_;
  std::atomic<bool> over_{false};
  std::size_t seen_ = 0;
  std::thread thread_;
};

/// Microseconds that a shard needs to measure one step: what Shard::step and note_step do for it.
double measuring_a_step() {
  constexpr int kSteps = 5'000'000;
  engine::PowerHistogram histogram;
  std::uint64_t steps = 0, total = 0, longest = 0;
  const double before = processor_seconds();
  for (int n = 0; n < kSteps; ++n) {
    const engine::Stopwatch watch;
    asm volatile("" ::: "memory");  // Here a step would be.
    const std::uint64_t us = watch.us();
    histogram.observe(us);
    ++steps;
    total += us;
    longest = std::max(longest, us);
    asm volatile("" : : "r"(&histogram), "r"(steps), "r"(total), "r"(longest) : "memory");
  }
  return (processor_seconds() - before) * 1e6 / kSteps;
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// By name, one value per round.
struct WatchingFigures {
  std::vector<double> bare, again, followed, watched;

  /// Of neighbours, because what varies slowly is the same for both.
  [[nodiscard]] double percent(const std::vector<double>& of) const {
    std::vector<double> more;
    for (std::size_t n = 0; n < of.size(); ++n)
      more.push_back((of[n] * 2 / (bare[n] + again[n]) - 1) * 100);
    return median_of(more);
  }
  /// How far apart two rounds of the same lie.
  [[nodiscard]] double noise() const {
    std::vector<double> apart;
    for (std::size_t n = 0; n < bare.size(); ++n)
      apart.push_back(std::abs(again[n] / bare[n] - 1) * 100);
    return median_of(apart);
  }
};

void round_of(Rig& rig, const WatchingSize& size, int round, std::uint64_t& seed,
              WatchingFigures& figures) {
  const auto bare = [&](std::vector<double>& into) { into.push_back(work(rig, size, seed)); };
  const auto followed = [&] {
    // A hub whose last reader has gone, as it is a minute later.
    const Followers followers(rig.engine(), Duration{0});
    figures.followed.push_back(work(rig, size, seed));
  };
  const auto watched = [&] {
    Followers followers(rig.engine());
    const Watcher watcher(followers.hub, rig.engine());
    figures.watched.push_back(work(rig, size, seed));
  };
  // Forwards and backwards in turn: what grows with the journal favours nobody.
  bare(figures.bare);
  if (round % 2 == 0) {
    followed();
    watched();
  } else {
    watched();
    followed();
  }
  bare(figures.again);
}

int run(const WatchingSize& size, const fs::path& disk) {
  Scratch scratch(disk);
  Rig rig(scratch.fresh(), all_in_memory(size));
  rig.make(0, size.actors);
  std::uint64_t seed = 1;
  (void)work(rig, size, seed);  // Everything has been somewhere once.
  WatchingFigures figures;
  for (int round = 0; round < size.rounds; ++round) round_of(rig, size, round, seed, figures);

  const double us = median_of(figures.bare);
  const double measuring = measuring_a_step();
  const double measuring_percent = measuring / us * 100;
  const double followed = figures.percent(figures.followed);
  const double watched = figures.percent(figures.watched);
  std::cout << std::fixed << std::setprecision(2) << "processor time per message, " << size.actors
            << " actors in memory, medians of " << size.rounds << " rounds of "
            << static_cast<std::uint64_t>(size.messages()) << " messages\n"
            << "  bare                        " << us << " us, of them " << measuring << " us ("
            << measuring_percent << " %) to measure the step\n"
            << "  followed, nobody looks      " << median_of(figures.followed) << " us, "
            << followed << " % more\n"
            << "  a stream and a list of all  " << median_of(figures.watched) << " us, " << watched
            << " % more\n"
            << "  two rounds of bare differ by " << figures.noise() << " %\n"
            << nlohmann::json{{"watching_percent", measuring_percent + followed},
                              {"measuring_percent", measuring_percent},
                              {"followed_percent", followed},
                              {"watched_percent", watched},
                              {"noise_percent", figures.noise()},
                              {"bare_us", us},
                              {"actors", size.actors},
                              {"rounds", size.rounds}}
                   .dump()
            << std::endl;
  return 0;
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  muster::bench::WatchingSize size;
  std::filesystem::path disk = "/var/tmp";
  for (int n = 1; n < argc; ++n) {
    if (std::strcmp(argv[n], "--quick") == 0)
      size = {5'000, 20, 200, 3};
    else if (std::strcmp(argv[n], "--dir") == 0 && n + 1 < argc)
      disk = argv[++n];
    else
      return std::cerr << "usage: bench-watching [--quick] [--dir DIR]\n", 2;
  }
  return muster::bench::run(size, disk);
}
