#include "bench/durable/latency.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <thread>

#include "bench/durable/beads.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"

namespace muster::bench {

namespace {

using Steady = std::chrono::steady_clock;
using Micros = std::chrono::duration<double, std::micro>;

constexpr std::uint64_t kPopulation = 10'000;

engine::Call a_call(engine::Engine& engine, std::uint64_t& seed) {
  engine::Call call;
  call.to = bead(next_random(seed) % kPopulation);
  call.payload = init_payload();
  call.key = new_uuid_v7(engine.now());
  call.digest = std::string(64, 'd');
  return call;
}

double quantile(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  const auto at =
      values.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

/// Turns of `kBlock` each, so that both see the same disk.
void alone(Rig& rig, Scratch& scratch, int turns, Latency& latency) {
  constexpr int kBlock = 20;
  const std::string record(512, 'r');
  const Fd file(::open((scratch.path() / "appended").c_str(),
                       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) throw std::runtime_error("can't make a file");
  std::vector<double> acks, syncs;
  std::uint64_t seed = 1;
  for (int turn = 0; turn < turns; ++turn) {
    for (int i = 0; i < kBlock; ++i) {
      const auto begin = Steady::now();
      if (::write(file.get(), record.data(), record.size()) < 0 || ::fdatasync(file.get()) != 0)
        throw std::runtime_error("can't write");
      syncs.push_back(Micros(Steady::now() - begin).count());
    }
    for (int i = 0; i < kBlock; ++i) {
      engine::Call call = a_call(rig.engine(), seed);
      std::promise<Result<std::string>> answer;
      const auto begin = Steady::now();
      rig.engine().call(std::move(call),
                        [&](Result<std::string> r) { answer.set_value(std::move(r)); });
      if (const auto r = answer.get_future().get(); !r) throw std::runtime_error(r.error().message);
      acks.push_back(Micros(Steady::now() - begin).count());
    }
  }
  latency.ack_p50_us = quantile(acks, 0.5);
  latency.fdatasync_p50_us = quantile(syncs, 0.5);
}

/// Callers that repeat at once.
double saturate(Rig& rig, std::chrono::milliseconds length) {
  constexpr std::size_t kCallers = 2'000;
  const auto begin = Steady::now();
  const auto end = begin + length;
  std::atomic<std::size_t> alive{kCallers};
  std::atomic<std::uint64_t> answered{0};
  std::promise<void> all_ended;
  std::uint64_t seed = 2;  // Callbacks come on one strand.
  std::function<void(Result<std::string>)> next = [&](Result<std::string> r) {
    if (r) ++answered;
    if (Steady::now() < end) return rig.engine().call(a_call(rig.engine(), seed), next);
    if (--alive == 0) all_ended.set_value();
  };
  std::uint64_t first_seed = 3;
  for (std::size_t i = 0; i < kCallers; ++i)
    rig.engine().call(a_call(rig.engine(), first_seed), next);
  all_ended.get_future().wait();
  return static_cast<double>(answered) /
         std::chrono::duration<double>(Steady::now() - begin).count();
}

void at_rate(Rig& rig, double per_s, std::chrono::milliseconds length, Latency& latency) {
  const auto count =
      static_cast<std::size_t>(per_s * std::chrono::duration<double>(length).count());
  std::vector<double> took(count);
  std::atomic<std::size_t> left{count};
  std::atomic<std::size_t> refused{0};
  std::promise<void> all;
  std::uint64_t seed = 4;
  const auto begin = Steady::now();
  for (std::size_t i = 0; i < count; ++i) {
    const auto due = begin + std::chrono::duration_cast<Steady::duration>(
                                 std::chrono::duration<double>(static_cast<double>(i) / per_s));
    engine::Call call = a_call(rig.engine(), seed);
    if (Steady::now() < due) std::this_thread::sleep_until(due);
    rig.engine().call(std::move(call), [&, i, due](const Result<std::string>& r) {
      took[i] = Micros(Steady::now() - due).count();
      if (!r) ++refused;
      if (--left == 0) all.set_value();
    });
  }
  all.get_future().wait();
  if (refused != 0) throw std::runtime_error("calls were refused at half of the saturating load");
  latency.half_p50_us = quantile(took, 0.5);
  latency.half_p99_us = quantile(took, 0.99);
}

}  // namespace

Latency measure_latency(Scratch& scratch, bool quick) {
  engine::EngineConfig config;
  config.limits.idle_actors = kPopulation;
  Rig rig(scratch.fresh(), config);
  rig.make(0, kPopulation);
  Latency latency;
  alone(rig, scratch, quick ? 10 : 60, latency);
  const std::chrono::milliseconds length(quick ? 500 : 3'000);
  latency.saturated_per_s = saturate(rig, length);
  at_rate(rig, latency.saturated_per_s / 2, length, latency);
  return latency;
}

}  // namespace muster::bench
