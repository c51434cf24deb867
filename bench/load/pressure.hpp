// What people do to musterd's API while fleets run: clients that ask again and again as fast as
// they are answered, more of them than musterd serves at a time, and an operator who pauses and
// resumes fleets, cordons and uncordons hosts, and must get through.
//
// An overload must be answered: status 429 with a Retry-After. Anything else but an answer is an
// error of the load.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bench/load/meters.hpp"
#include "bench/load/options.hpp"
#include "tools/muster/client.hpp"

namespace muster::load {

class ApiPressure {
 public:
  ApiPressure(cli::Endpoint endpoint, const Options& options, Meters& meters);
  ~ApiPressure() { stop(); }

  void start();
  /// The operator ends what it began: nothing stays paused or cordoned.
  void stop();
  /// Fleets that may be paused: those that still run.
  void running(std::vector<std::string> fleets);

 private:
  void flood();
  void operate();
  void order(cli::Client& client, const std::string& path);
  [[nodiscard]] std::string some_fleet(Random& random);

  const cli::Endpoint endpoint_;
  const Options& options_;
  Meters& meters_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<std::string> fleets_;
  std::vector<std::thread> threads_;
};

}  // namespace muster::load
