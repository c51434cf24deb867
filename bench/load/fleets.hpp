// The fleets of a load, through musterd's API as any client: made, watched, and read at their end.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench/load/meters.hpp"
#include "bench/load/options.hpp"
#include "tools/muster/client.hpp"

namespace muster::load {

/// One fleet as its counters say.
struct FleetProgress {
  std::string name, state;
  std::map<std::string, std::uint64_t> counts;  ///< Runs by state.
  std::uint64_t ended = 0;
  std::int64_t created_unix_ms = 0, ended_unix_ms = 0;
  [[nodiscard]] bool over() const { return ended_unix_ms != 0; }
};

class Fleets {
 public:
  /// `repositories` holds the real ones; empty: names that nobody resolves.
  Fleets(const cli::Endpoint& endpoint, const Options& options, std::string repositories,
         Meters& meters);

  /// Makes the next fleet; there are options.fleets of them.
  Result<void> make_next();
  [[nodiscard]] std::uint32_t made() const { return made_; }
  /// Of all that were made.
  Result<std::vector<FleetProgress>> look();

  /// After the end: reads every run, takes "total" and, of a sample, the other phases; holds what
  /// musterd says against what the hosts did.
  Result<void> read_runs(const std::vector<FleetProgress>& fleets);
  /// Durable messages since musterd's start; negative when it does not say.
  double messages();

 private:
  [[nodiscard]] std::string name_of(std::uint32_t number) const;
  [[nodiscard]] nlohmann::json body_of(std::uint32_t number) const;
  Result<void> read_fleet(const FleetProgress& fleet, std::uint64_t& seen);
  void check(const nlohmann::json& run);
  Result<void> read_attempts(const std::string& run);
  Result<nlohmann::json> get(const std::string& path);

  cli::Client client_;
  const Options& options_;
  const std::string repositories_, name_;
  Meters& meters_;
  std::uint32_t made_ = 0;
};

/// Where that repository is, or would be.
std::string repository_url(const std::string& directory, std::uint32_t fleet,
                           std::uint32_t repository);

/// Jain's index of shares: 1 when all are alike, 1/n when one has everything.
double jain_index(const std::vector<double>& shares);

}  // namespace muster::load
