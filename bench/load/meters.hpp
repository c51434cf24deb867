// What the simulated hosts count while a load runs. Thread-safe; bounded.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "bench/load/histogram.hpp"

namespace muster::load {

using Clock = std::chrono::steady_clock;

class Meters {
 public:
  static constexpr std::size_t kMaxErrorTexts = 20;
  static constexpr std::size_t kMaxFailureKinds = 50;

  std::atomic<std::uint64_t> frames_in{0}, frames_out{0}, starts{0}, stops{0}, finished{0},
      events_durable{0}, log_bytes{0}, sessions{0}, lease_losses{0}, hosts_lost{0}, storms{0},
      slow_reads{0}, flood_answered{0}, flood_refused{0}, operations{0}, running{0}, connected{0};
  std::atomic<std::int64_t> events_held{0}, logs_held{0};  ///< On hosts, not yet durable.

  /// A phase of expect.hpp.
  void took(const std::string& phase, Clock::duration time);
  void took_ms(const std::string& phase, std::int64_t milliseconds);
  [[nodiscard]] std::map<std::string, Histogram> phases() const;

  /// An attempt of the sample that did not succeed: "agent(exit_code)".
  void attempt_failed(const std::string& how);
  [[nodiscard]] std::map<std::string, std::uint64_t> failures() const;

  /// What must not happen. All are counted, the first ones kept.
  void error(const std::string& what);
  [[nodiscard]] std::uint64_t errors() const;
  [[nodiscard]] std::vector<std::string> error_texts() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Histogram> phases_;
  std::map<std::string, std::uint64_t> failures_;
  std::uint64_t errors_ = 0;
  std::vector<std::string> texts_;
};

/// Which attempts run anywhere, to notice one run on two hosts. Thread-safe; as large as the slots
/// of all hosts.
class Whereabouts {
 public:
  /// The host on which that run is alive already; empty: nowhere, and now it is on `host`.
  std::string begin(const std::string& run, const std::string& host);
  void end(const std::string& run, const std::string& host);

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> host_of_;
};

}  // namespace muster::load
