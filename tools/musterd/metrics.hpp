// What musterd counts, as Prometheus text. Thread-safe. Names and units by Prometheus's
// conventions; every label has few values: routes, not paths; kinds, not actors; states, not
// fleets.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/stats.hpp"
#include "storage/base/time.hpp"

namespace muster::musterd {

/// What went of what ended long ago (retention.hpp), since the start, and what is due by the last
/// look.
struct RetentionCounts {
  std::uint64_t contents_due = 0;  ///< Fleets whose logs, packs and artefacts go.
  std::uint64_t fleets_due = 0;
  std::uint64_t swarms_due = 0;
  std::uint64_t hosts_due = 0;
  std::uint64_t repositories_due = 0;
  std::uint64_t packs_due = 0;  ///< And artefacts.
  std::uint64_t files_due = 0;  ///< Of fleets and swarms, as they were uploaded.
  std::uint64_t contents_removed = 0;
  std::uint64_t fleets_removed = 0;
  std::uint64_t swarms_removed = 0;
  std::uint64_t hosts_removed = 0;
  std::uint64_t repositories_removed = 0;
  std::uint64_t packs_removed = 0;
  std::uint64_t files_removed = 0;
};

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  /// `route` is the pattern, never the path: its values are few.
  void count_request(const std::string& method, const std::string& route, int status,
                     double seconds);
  /// Of one attempt: queue, start, agent, verify, deliver.
  void observe_phase(const std::string& phase, double seconds);

  /// Whether an attempt found what was made before it: warm_sandbox, prebuild.
  void count_reuse(const std::string& what, bool hit);

  struct Now {
    std::map<std::string, std::uint64_t> runs;             ///< By state, over all fleets.
    std::map<std::string, std::uint64_t> failed_runs;      ///< By class.
    std::map<std::string, std::uint64_t> fleets;           ///< By state.
    std::map<std::string, std::uint64_t> queued_by_cause;  ///< Queued runs by what they wait for, …
    std::map<std::string, Duration>
        longest_wait_by_cause;                   ///< … and for how long the first of them does.
    std::map<std::string, std::uint64_t> hosts;  ///< By state.
    std::uint64_t slots = 0;
    std::uint64_t used_slots = 0;
    std::uint64_t warm_waiting = 0;  ///< Sandboxes made ahead, on all hosts.
    std::uint64_t warm_making = 0;
    std::uint64_t warm_max = 0;
    std::uint64_t log_bytes = 0;  ///< Taken from hosts since the start.
    std::uint64_t data_free_bytes = 0;
    std::uint64_t audit_entries = 0;
    std::uint64_t traces_sent = 0;
    std::uint64_t traces_dropped = 0;
    RetentionCounts retention;
    bool engine_in_trouble = false;
    bool audit_in_trouble = false;
    std::size_t connections = 0;
    std::uint64_t messages = 0;  ///< That actors took, as the newest changes' positions say.
    std::vector<engine::ShardStats> shards;
  };
  /// Text format 0.0.4.
  std::string scrape(const Now& now);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// This process's resident set in bytes; 0 when /proc does not say.
std::uint64_t resident_bytes();

}  // namespace muster::musterd
