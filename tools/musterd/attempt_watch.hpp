// Watches attempts end: their phases become metrics, and spans where a collector is configured.
// Reads committed state on a thread of its own; when it falls behind, some attempts are not
// measured, and nobody waits.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/core/engine.hpp"
#include "engine/core/inspect.hpp"
#include "tools/musterd/otlp.hpp"
#include "tools/musterd/view.hpp"

namespace muster::musterd {

struct PhaseSpan {
  std::string name;  ///< queue, start, agent, verify, deliver
  Instant begin;
  Instant end;
};

/// The phases of an attempt whose both ends are known.
std::vector<PhaseSpan> phases_of(const fbs::AttemptRowT& attempt);

/// One span for the attempt and one per phase; all attempts of a run are of one trace.
std::vector<Span> spans_of(const std::string& run, const fbs::RunHeadT& head,
                           const fbs::AttemptRowT& attempt);

class AttemptWatch {
 public:
  struct Sinks {
    std::function<void(const std::string& phase, double seconds)> phase;
    OtlpExporter* traces = nullptr;  ///< May be null.
    /// Of what was made before the attempt: warm_sandbox, prebuild. May be empty.
    std::function<void(const char* what, bool hit)> reuse{};
  };
  AttemptWatch(engine::Engine& engine, View view, Sinks sinks);
  ~AttemptWatch();
  AttemptWatch(const AttemptWatch&) = delete;
  AttemptWatch& operator=(const AttemptWatch&) = delete;

 private:
  void run();
  void look(const std::string& run);
  [[nodiscard]] std::string made_by(const std::string& run) const;

  View view_;
  engine::Inside* const inside_;  ///< Null: an engine that can't be looked into.
  Sinks sinks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> waiting_;  ///< Runs that changed. Under mutex_.
  bool stopping_ = false;          ///< Under mutex_.
  std::deque<std::string> measured_order_;
  std::set<std::string> measured_;  ///< "RUN-ATTEMPT": each once.
  std::shared_ptr<void> subscription_;
  std::thread thread_;
};

}  // namespace muster::musterd
