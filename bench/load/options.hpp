// The command line of muster-load.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/load/expect.hpp"
#include "bench/load/plan.hpp"

namespace muster::load {

constexpr std::uint32_t kMaxRepositories = 50'000;  ///< Of one fleet: musterd takes no more.
constexpr std::uint32_t kMaxRuns = 1'000'000;
constexpr std::uint32_t kMaxFleets = 5'000;
constexpr std::uint32_t kMaxHosts = 1'000;
constexpr std::uint32_t kMaxSlots = 1'000;
constexpr std::uint32_t kMaxFlood = 2'000;
/// Real repositories take a directory each.
constexpr std::uint32_t kMaxRealRepositories = 5'000;

struct Faults {
  Duration lose_every{};  ///< Mean; 0: never.
  Distribution away;
  Duration storm_every{};
  double slow_share = 0;  ///< Of the hosts.
  Duration slow_pause{3'000};

  [[nodiscard]] bool any() const {
    return lose_every.count() > 0 || storm_every.count() > 0 || slow_share > 0;
  }
};

struct Options {
  std::uint32_t repositories = 500, fleets = 20, hosts = 40, slots = 25;
  std::uint32_t concurrency = 0;  ///< Of a fleet; 0: as many as it has repositories.
  std::uint32_t attempts = 2;
  std::vector<std::string> waves{"100%"};
  Duration every{};  ///< Between the starts of two fleets.
  Workload workload;
  std::string delivery = "none";
  Faults faults;
  std::uint32_t flood = 0;   ///< Clients of the API that ask without a pause.
  Duration operate_every{};  ///< 0: no operator.

  std::string root, url, link, tls, musterd;
  std::string name;
  bool keep = false;
  Duration timeout{1'800'000};
  std::uint32_t sample = 2'000;

  bool json = false;
  std::string html;
  std::vector<Expectation> expected;
  std::string command;  ///< As it was typed.

  /// An own musterd is started when nobody says where one is.
  [[nodiscard]] bool own_engine() const { return root.empty() && url.empty(); }
  [[nodiscard]] std::uint64_t runs() const { return std::uint64_t{repositories} * fleets; }
};

/// Nothing when the program has done what was asked (--help), or was asked wrongly; then `status`
/// is the exit code.
std::optional<Options> read_command_line(int argc, char** argv, int& status);

}  // namespace muster::load
