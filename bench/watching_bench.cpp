// What being watchable costs: processor time per message of an engine with many actors in memory
//
//   bare      nothing follows the engine
//   followed  as musterd has it while nobody looks: the hub of events, and the watch over attempts
//   watched   and with somebody who reads every change, and a list of all actors again and again
//
// Each is compared with bare in many short rounds, "bare it it bare" and "it bare bare it" in turn,
// so that whatever drifts evenly falls out of each round's difference. The median of the
// differences is told, and between what it lies in 19 of 20 such benchmarks. Bare is compared with
// bare in the same way: what comes out there beside nothing is the method's own mistake.
//
// Each step's own measuring (two readings of a clock, a histogram, three sums) can't be taken out
// of an engine; it is measured alone, and counts as watching.
//
//   bench-watching [--quick] [--dir DIR]
//
// Processor time, not time: what is measured is small beside what a disk's sync varies. For the
// same reason the differences are taken over a journal in memory, and stated as parts of what a
// message costs over RocksDB: its flushes and compactions vary by more than all that watches costs.
// Commits over memory are small and many, so what each of them costs weighs more than over a disk.
// The last line is JSON.
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/durable/beads.hpp"
#include "bench/durable/rig.hpp"
#include "engine/core/inspect.hpp"
#include "engine/core/stats.hpp"
#include "storage/journal/memory_journal.hpp"
#include "tools/musterd/attempt_watch.hpp"
#include "tools/musterd/events.hpp"

namespace muster::bench {
namespace {

namespace fs = std::filesystem;

struct WatchingSize {
  std::uint64_t actors = 100'000;
  std::uint32_t turns = 100;  ///< Questions of each part, each with its reply.
  std::uint32_t parts = 50;
  int rounds = 120;

  [[nodiscard]] WatchingSize times(std::uint32_t factor) const {
    WatchingSize more = *this;
    more.parts *= factor;
    return more;
  }
  [[nodiscard]] double messages() const { return static_cast<double>(parts) * (2.0 * turns + 1); }
};

/// Of all threads of this process.
double processor_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
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

/// The median of some differences, and the bounds that hold it 19 times of 20, whatever their
/// distribution: the differences so many places beside the middle.
struct Middle {
  explicit Middle(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const auto count = static_cast<double>(values.size());
    const auto at = [&](double place) {
      return values[static_cast<std::size_t>(std::clamp(place, 0.0, count - 1))];
    };
    constexpr double kNineteenOfTwenty = 0.98;  // 1.96 / 2, of a binomial's deviation.
    const double beside = kNineteenOfTwenty * std::sqrt(count);
    median = at(count / 2);
    low = at(std::floor(count / 2 - beside));
    high = at(std::ceil(count / 2 + beside));
  }
  double median = 0, low = 0, high = 0;
};

/// Whoever follows the engine, for as long as it is.
using Following = std::function<std::shared_ptr<void>(engine::Engine&)>;

/// A hub whose last reader has gone, as it is a minute later.
std::shared_ptr<void> nobody_looks(engine::Engine& engine) {
  return std::make_shared<Followers>(engine, Duration{0});
}
std::shared_ptr<void> somebody_looks(engine::Engine& engine) {
  struct Looked : Followers {
    explicit Looked(engine::Engine& of) : Followers(of), watcher(hub, of) {}
    Watcher watcher;
  };
  return std::make_shared<Looked>(engine);
}
std::shared_ptr<void> nobody(engine::Engine&) {
  return nullptr;
}

/// How much more a message costs with them than without, in microseconds, in one round.
double difference_in_round(Rig& rig, const WatchingSize& size, bool outside, std::uint64_t& seed,
                           const Following& following) {
  double with = 0, without = 0;
  for (const bool follow :
       outside ? std::array{true, false, false, true} : std::array{false, true, true, false}) {
    const auto followers = follow ? following(rig.engine()) : nullptr;
    (follow ? with : without) += work(rig, size, seed);
  }
  return (with - without) / 2;
}

/// Microseconds per message, one value per round.
struct WatchingFigures {
  std::vector<double> bare, followed, watched;
};

/// What a message costs over RocksDB while nothing watches.
double bare_on_disk(const WatchingSize& size, const fs::path& directory) {
  constexpr std::uint32_t kLonger = 20;  // Some flushes and compactions.
  Rig rig(directory, all_in_memory(size));
  rig.make(0, size.actors);
  std::uint64_t seed = 1;
  std::vector<double> rounds;
  for (int round = 0; round < 3; ++round) rounds.push_back(work(rig, size.times(kLonger), seed));
  return Middle(std::move(rounds)).median;
}

WatchingFigures over_memory(const WatchingSize& size, const fs::path& directory) {
  engine::EngineConfig config = all_in_memory(size);
  config.open_journal = [](const fs::path&) -> Result<std::unique_ptr<storage::Journal>> {
    return std::make_unique<storage::MemoryJournal>();
  };
  // It grows until its oldest are trimmed: soon, so that every round finds the same.
  constexpr std::uint64_t kKept = 50'000;
  config.limits.inbox_retention = config.limits.changes_retention = kKept;
  config.limits.trim_chunk = kKept / 10;
  fs::create_directories(directory);  // RocksDB would have.
  Rig rig(directory, config);
  rig.make(0, size.actors);
  std::uint64_t seed = 1;
  const double steady = 3.0 * static_cast<double>(kKept + size.actors);
  for (double done = 0; done < steady; done += size.messages()) (void)work(rig, size, seed);
  WatchingFigures figures;
  // What costs much is seen in fewer rounds, each as long as a few looks at all actors.
  constexpr int kSeldom = 8;
  constexpr std::uint32_t kLonger = 6;
  for (int round = 0; round < size.rounds; ++round) {
    const bool outside = round % 2 != 0;
    const auto more = [&](const Following& following, std::uint32_t times = 1) {
      return difference_in_round(rig, size.times(times), outside, seed, following);
    };
    figures.bare.push_back(more(nobody));
    figures.followed.push_back(more(nobody_looks));
    if (round % kSeldom < 2) figures.watched.push_back(more(somebody_looks, kLonger));
  }
  return figures;
}

int run(const WatchingSize& size, const fs::path& disk) {
  Scratch scratch(disk);
  const double us = bare_on_disk(size, scratch.fresh());
  const WatchingFigures figures = over_memory(size, scratch.fresh());
  const double measuring = measuring_a_step();
  const auto percent = [us](double part) { return part / us * 100; };
  nlohmann::json json{{"measuring_percent", percent(measuring)},
                      {"bare_us", us},
                      {"actors", size.actors},
                      {"rounds", size.rounds}};
  std::cout << std::fixed << std::setprecision(2) << "processor time per message, " << size.actors
            << " actors in memory, medians of " << size.rounds << " rounds of 4 times "
            << static_cast<std::uint64_t>(size.messages()) << " messages\n";
  const auto line = [&](const char* what, double microseconds) -> std::ostream& {
    return std::cout << "  " << std::left << std::setw(44) << what << std::right << std::setw(7)
                     << microseconds << " us  " << std::setw(6) << percent(microseconds) << " %";
  };
  const auto difference = [&](const char* what, const std::string& name, const Middle& of) {
    line(what, of.median) << "  (" << percent(of.low) << " to " << percent(of.high) << ")\n";
    json[name + "_percent"] = percent(of.median);
    json[name + "_low"] = percent(of.low);
    json[name + "_high"] = percent(of.high);
  };
  line("a message, over RocksDB", us) << "\n";
  line("of it to measure the step", measuring) << "\n";
  const Middle followed(figures.followed);
  difference("more when followed, and nobody looks", "followed", followed);
  difference("more with a stream and a list of all", "watched", Middle(figures.watched));
  difference("bare against bare", "noise", Middle(figures.bare));
  json["watching_percent"] = percent(measuring + followed.median);
  std::cout << json.dump() << std::endl;
  return 0;
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  muster::bench::WatchingSize size;
  std::filesystem::path disk = "/var/tmp";
  for (int n = 1; n < argc; ++n) {
    if (std::strcmp(argv[n], "--quick") == 0)
      size = {5'000, 20, 50, 8};
    else if (std::strcmp(argv[n], "--dir") == 0 && n + 1 < argc)
      disk = argv[++n];
    else
      return std::cerr << "usage: bench-watching [--quick] [--dir DIR]\n", 2;
  }
  return muster::bench::run(size, disk);
}
