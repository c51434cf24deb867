#include "bench/load/faults.hpp"

#include <cmath>

namespace muster::load {

namespace {

constexpr std::uint64_t kLongestAwayMs = 3'600'000;
constexpr std::int64_t kSlowRest = 2;  ///< Between two slow reads, so many times their length.

}  // namespace

FaultMaker::FaultMaker(const Faults& faults, std::uint64_t seed,
                       std::vector<std::unique_ptr<SimulatedHost>>& hosts, Meters& meters)
    : faults_(faults),
      hosts_(hosts),
      meters_(meters),
      random_(seed_of(seed, "faults")),
      away_(hosts.size(), false) {}

void FaultMaker::start() {
  strand_.post([this] {
    if (faults_.lose_every.count() > 0) lose_later();
    if (faults_.storm_every.count() > 0) storm_later();
    const auto slow = static_cast<std::size_t>(
        std::ceil(faults_.slow_share * static_cast<double>(hosts_.size())));
    for (std::size_t host = 0; host < slow; ++host) slow_later(host);
  });
}

void FaultMaker::lose_later() {
  const double mean = static_cast<double>(faults_.lose_every.count());
  const auto pause = static_cast<std::int64_t>(-mean * std::log1p(-random_.unit()));
  strand_.after(Duration{pause}, [this] {
    lose_one();
    lose_later();
  });
}

void FaultMaker::lose_one() {
  const std::size_t host = random_.below(hosts_.size());
  const auto away = static_cast<std::int64_t>(faults_.away.sample(random_, kLongestAwayMs));
  if (away_[host]) return;
  away_[host] = true;
  ++meters_.hosts_lost;
  hosts_[host]->lose();
  strand_.after(Duration{away}, [this, host] {
    hosts_[host]->come_back();
    away_[host] = false;
  });
}

void FaultMaker::storm_later() {
  strand_.after(faults_.storm_every, [this] {
    ++meters_.storms;
    for (std::size_t host = 0; host < hosts_.size(); ++host)
      if (!away_[host]) hosts_[host]->cut();
    storm_later();
  });
}

void FaultMaker::slow_later(std::size_t host) {
  const auto rest = static_cast<std::int64_t>(
      random_.below(static_cast<std::uint64_t>(2 * kSlowRest * faults_.slow_pause.count()) + 1));
  strand_.after(Duration{rest} + faults_.slow_pause, [this, host] {
    if (!away_[host]) hosts_[host]->read_nothing_for(faults_.slow_pause);
    slow_later(host);
  });
}

}  // namespace muster::load
