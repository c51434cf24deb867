#include "tools/musterd/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <fstream>

#include "tools/musterd/version.hpp"

namespace muster::musterd {

struct Metrics::Parts {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests =
      prometheus::BuildCounter()
          .Name("muster_http_requests_total")
          .Help("Answered requests by method, route and status")
          .Register(registry);
  prometheus::Family<prometheus::Gauge>& runs = prometheus::BuildGauge()
                                                    .Name("muster_runs")
                                                    .Help("Runs of all fleets by state")
                                                    .Register(registry);
  prometheus::Gauge& trouble = prometheus::BuildGauge()
                                   .Name("muster_engine_trouble")
                                   .Help("1 while the engine is not healthy")
                                   .Register(registry)
                                   .Add({});
  prometheus::Gauge& connections = prometheus::BuildGauge()
                                       .Name("muster_http_connections")
                                       .Help("Open connections to the API")
                                       .Register(registry)
                                       .Add({});
  prometheus::Gauge& memory = prometheus::BuildGauge()
                                  .Name("process_resident_memory_bytes")
                                  .Help("Resident memory of musterd")
                                  .Register(registry)
                                  .Add({});
  prometheus::Counter& messages =
      prometheus::BuildCounter()
          .Name("muster_engine_messages_total")
          .Help("Messages that actors took, since the installation began; seen since the start")
          .Register(registry)
          .Add({});
};

Metrics::Metrics() : parts_(std::make_unique<Parts>()) {
  prometheus::BuildGauge()
      .Name("muster_build_info")
      .Help("1, with the version as a label")
      .Register(parts_->registry)
      .Add({{"version", std::string(kVersion)}})
      .Set(1);
}
Metrics::~Metrics() = default;

void Metrics::count_request(const std::string& method, const std::string& route, int status) {
  parts_->requests.Add({{"method", method}, {"route", route}, {"status", std::to_string(status)}})
      .Increment();
}

std::string Metrics::scrape(const Now& now) {
  for (const auto& [state, count] : now.runs)
    parts_->runs.Add({{"state", state}}).Set(static_cast<double>(count));
  parts_->trouble.Set(now.engine_in_trouble ? 1 : 0);
  parts_->connections.Set(static_cast<double>(now.connections));
  parts_->memory.Set(static_cast<double>(resident_bytes()));
  const double more = static_cast<double>(now.messages) - parts_->messages.Value();
  if (more > 0) parts_->messages.Increment(more);
  return prometheus::TextSerializer().Serialize(parts_->registry.Collect());
}

std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace muster::musterd
