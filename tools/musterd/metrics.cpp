#include "tools/musterd/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <fstream>
#include <mutex>
#include <set>

#include "tools/musterd/engine_metrics.hpp"
#include "tools/musterd/version.hpp"

namespace muster::musterd {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::MetricType;

const Histogram::BucketBoundaries kLatency{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 30};
const Histogram::BucketBoundaries kPhase{0.1, 0.5, 2, 10, 60, 300, 1'200, 3'600, 14'400};

Family<Gauge>& gauges(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

/// A number that something else counts, as one family.
prometheus::MetricFamily one(const char* name, const char* help, MetricType type, double value) {
  prometheus::MetricFamily family{name, help, type, {}};
  prometheus::ClientMetric metric;
  if (type == MetricType::Counter) metric.counter.value = value;
  if (type == MetricType::Gauge) metric.gauge.value = value;
  family.metric.push_back(metric);
  return family;
}

/// The same with a label "what".
prometheus::MetricFamily by_what(const char* name, const char* help, MetricType type,
                                 const std::map<std::string, std::uint64_t>& values) {
  prometheus::MetricFamily family{name, help, type, {}};
  for (const auto& [what, value] : values) {
    prometheus::ClientMetric metric;
    metric.label.push_back({"what", what});
    if (type == MetricType::Counter) metric.counter.value = static_cast<double>(value);
    if (type == MetricType::Gauge) metric.gauge.value = static_cast<double>(value);
    family.metric.push_back(std::move(metric));
  }
  return family;
}

double number(std::uint64_t value) {
  return static_cast<double>(value);
}

}  // namespace

struct Metrics::Parts {
  prometheus::Registry registry;
  Family<Counter>& requests = prometheus::BuildCounter()
                                  .Name("muster_http_requests_total")
                                  .Help("Answered requests by method, route and status")
                                  .Register(registry);
  Family<Histogram>& latency =
      prometheus::BuildHistogram()
          .Name("muster_http_request_duration_seconds")
          .Help("Time to a request's answer by route; of streams, to their beginning")
          .Register(registry);
  Family<Histogram>& phases =
      prometheus::BuildHistogram()
          .Name("muster_attempt_phase_seconds")
          .Help("Phases of attempts that ended: queue, start (within it the sandbox's fetch and create), agent, "
                "verify, deliver, and the sandbox's teardown")
          .Register(registry);
  Family<Counter>& reuse =
      prometheus::BuildCounter()
          .Name("muster_attempt_reuse_total")
          .Help("Attempts that ended, by what was made before them and whether they found it")
          .Register(registry);
  Family<Gauge>& runs = gauges(registry, "muster_runs", "Runs of all fleets by state");
  Family<Gauge>& failed =
      gauges(registry, "muster_runs_failed", "Failed runs of all fleets by class");
  Family<Gauge>& fleets = gauges(registry, "muster_fleets", "Fleets by state");
  Family<Gauge>& queued =
      gauges(registry, "muster_runs_held", "Runs that wait, by what they wait for");
  Family<Gauge>& waits =
      gauges(registry, "muster_queue_wait_seconds",
             "How long that queued run has waited that has waited longest, by what it waits for");
  Family<Gauge>& hosts = gauges(registry, "muster_hosts", "Hosts by state");
  std::mutex scraping;
  std::set<std::string> causes;  ///< Under scraping.
};

Metrics::Metrics() : parts_(std::make_unique<Parts>()) {
  gauges(parts_->registry, "muster_build_info", "1, with the version as a label")
      .Add({{"version", std::string(kVersion)}})
      .Set(1);
}
Metrics::~Metrics() = default;

void Metrics::count_request(const std::string& method, const std::string& route, int status,
                            double seconds) {
  static const std::set<std::string> kMethods = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"};
  const std::string verb = kMethods.contains(method) ? method : "other";
  parts_->requests.Add({{"method", verb}, {"route", route}, {"status", std::to_string(status)}})
      .Increment();
  parts_->latency.Add({{"method", verb}, {"route", route}}, kLatency).Observe(seconds);
}

void Metrics::observe_phase(const std::string& phase, double seconds) {
  parts_->phases.Add({{"phase", phase}}, kPhase).Observe(seconds);
}

void Metrics::count_reuse(const std::string& what, bool hit) {
  parts_->reuse.Add({{"what", what}, {"result", hit ? "hit" : "miss"}}).Increment();
}

std::string Metrics::scrape(const Now& now) {
  const std::lock_guard lock(parts_->scraping);
  const auto set_all = [](Family<Gauge>& family, const char* label,
                          const std::map<std::string, std::uint64_t>& values) {
    for (const auto& [name, count] : values) family.Add({{label, name}}).Set(number(count));
  };
  set_all(parts_->runs, "state", now.runs);
  set_all(parts_->failed, "class", now.failed_runs);
  set_all(parts_->fleets, "state", now.fleets);
  auto causes = now.queued_by_cause;
  for (const std::string& cause : parts_->causes)
    causes.emplace(cause, 0);  // Nobody waits for it any more.
  for (const auto& [cause, runs] : causes) parts_->causes.insert(cause);
  set_all(parts_->queued, "cause", causes);
  for (const auto& [cause, runs] : causes) {
    const auto longest = now.longest_wait_by_cause.find(cause);
    parts_->waits.Add({{"cause", cause}})
        .Set(longest == now.longest_wait_by_cause.end()
                 ? 0
                 : static_cast<double>(longest->second.count()) * 1e-3);
  }
  set_all(parts_->hosts, "state", now.hosts);
  const auto gauge = [](const char* name, const char* help, double value) {
    return one(name, help, MetricType::Gauge, value);
  };
  const auto counter = [](const char* name, const char* help, double value) {
    return one(name, help, MetricType::Counter, value);
  };
  std::vector<prometheus::MetricFamily> families = parts_->registry.Collect();
  families.insert(
      families.end(),
      {gauge("muster_engine_trouble", "1 while the engine is not healthy", now.engine_in_trouble),
       gauge("muster_audit_trouble", "1 while the audit log can't be written",
             now.audit_in_trouble),
       gauge("muster_audit_entries", "The newest entry's number in the audit log",
             number(now.audit_entries)),
       gauge("muster_host_slots", "Slots of all hosts", number(now.slots)),
       gauge("muster_host_slots_used", "Slots that runs hold", number(now.used_slots)),
       by_what("muster_warm_sandboxes", "Sandboxes made ahead on all hosts: that wait, that are being made, that may be",
               MetricType::Gauge,
               {{"waiting", now.warm_waiting}, {"making", now.warm_making}, {"max", now.warm_max}}),
       gauge("muster_data_free_bytes", "Room left where the data lies",
             number(now.data_free_bytes)),
       gauge("muster_http_connections", "Open connections to the API",
             static_cast<double>(now.connections)),
       counter("muster_engine_messages_total",
               "Messages that actors took, since the installation began", number(now.messages)),
       counter("muster_log_bytes_total", "Bytes of runs' logs taken from hosts",
               number(now.log_bytes)),
       counter("muster_trace_spans_total", "Spans sent to the collector", number(now.traces_sent)),
       counter("muster_trace_spans_dropped_total", "Spans that found no room or no collector",
               number(now.traces_dropped)),
       by_what("muster_retention_due",
               "What ended, or was here last, so long ago that it is time to go, by what goes",
               MetricType::Gauge,
               {{"contents", now.retention.contents_due},
                {"fleets", now.retention.fleets_due},
                {"swarms", now.retention.swarms_due},
                {"hosts", now.retention.hosts_due},
                {"repositories", now.retention.repositories_due},
                {"packs", now.retention.packs_due},
                {"files", now.retention.files_due}}),
       by_what("muster_retention_removed_total",
               "What was removed of what ended long ago, by what it was", MetricType::Counter,
               {{"contents", now.retention.contents_removed},
                {"fleets", now.retention.fleets_removed},
                {"swarms", now.retention.swarms_removed},
                {"hosts", now.retention.hosts_removed},
                {"repositories", now.retention.repositories_removed},
                {"packs", now.retention.packs_removed},
                {"files", now.retention.files_removed}}),
       gauge("process_resident_memory_bytes", "Resident memory of musterd",
             number(resident_bytes()))});
  for (auto& family : engine_families(now.shards)) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace muster::musterd
