// What a load test found: as metrics, a table, JSON, and (html.hpp) a page. Pure.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench/load/expect.hpp"
#include "bench/load/histogram.hpp"

namespace muster::load {

/// One look at everything while it ran.
struct Sample {
  double at_s = 0;
  double ended = 0, running = 0, queued = 0, waiting = 0;
  double memory = 0, cpu_s = 0, messages = 0, hosts = 0;
};

/// Looks at regular times, never more than kMost: when it is full every second one goes, and from
/// then on only every second look is kept.
class Timeline {
 public:
  static constexpr std::size_t kMost = 600;
  void add(const Sample& sample);
  [[nodiscard]] const std::vector<Sample>& samples() const { return samples_; }

 private:
  std::vector<Sample> samples_;
  std::size_t keep_every_ = 1, seen_ = 0;
};

struct FleetLine {
  std::string name, state;
  double began_s = 0, took_s = 0;  ///< Since the load's start; took 0: not over.
  double at_half = 0;              ///< Its share of ended runs when half of all had ended.
};

struct Report {
  std::string command, version, started_at, incomplete;  ///< incomplete: why, or empty.
  std::vector<std::pair<std::string, std::string>> setting;
  double duration_s = 0;
  std::map<std::string, std::uint64_t> states;
  std::vector<std::pair<std::string, std::uint64_t>> faults;
  std::map<std::string, Histogram> phases;
  Timeline timeline;
  std::vector<FleetLine> fleets;
  Metrics metrics;
  std::uint64_t errors = 0;
  std::vector<std::string> error_texts;
  std::vector<Verdict> verdicts;
};

/// Adds p50_total and the likes.
void add_phases(Metrics& metrics, const std::map<std::string, Histogram>& phases);

std::string report_table(const Report& report);
nlohmann::json report_json(const Report& report);

}  // namespace muster::load
