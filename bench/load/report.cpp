#include "bench/load/report.hpp"

#include <nlohmann/json.hpp>

namespace muster::load {

using nlohmann::json;

namespace {

constexpr double kMicrosPerMs = 1'000;

std::string padded(const std::string& text, std::size_t width, bool right = false) {
  const std::string space(text.size() < width ? width - text.size() : 0, ' ');
  return right ? space + text : text + space;
}

std::string amount(const Report& report, const char* name) {
  const auto found = report.metrics.find(name);
  if (found == report.metrics.end()) return "not measured";
  for (const MetricName& metric : metric_names())
    if (metric.name == name) return amount_text(metric.unit, found->second);
  return "";
}

void add_line(std::string& to, const std::string& name, const std::string& value) {
  to += "  " + padded(name, 20) + " " + value + "\n";
}

std::string millis(std::uint64_t micros) {
  return amount_text(Unit::time, static_cast<double>(micros) / kMicrosPerMs);
}

void add_phase_table(std::string& to, const Report& report) {
  to += "\nLatency\n";
  const auto row = [&](const std::string& name, const std::vector<std::string>& cells,
                       const std::string& meaning) {
    to += "  " + padded(name, 8);
    for (const std::string& cell : cells) to += padded(cell, 9, true);
    to += "  " + meaning + "\n";
  };
  row("PHASE", {"COUNT", "P50", "P90", "P95", "P99", "MAX"}, "");
  for (const PhaseName& phase : phase_names()) {
    const auto found = report.phases.find(std::string(phase.name));
    if (found == report.phases.end()) continue;
    const Histogram& h = found->second;
    row(found->first,
        {std::to_string(h.count()), millis(h.percentile(50)), millis(h.percentile(90)),
         millis(h.percentile(95)), millis(h.percentile(99)), millis(h.max())},
        std::string(phase.meaning));
  }
}

json phase_json(const Histogram& h) {
  const auto ms = [](std::uint64_t micros) { return static_cast<double>(micros) / kMicrosPerMs; };
  return {{"count", h.count()},
          {"mean_ms", h.mean() / kMicrosPerMs},
          {"p50_ms", ms(h.percentile(50))},
          {"p90_ms", ms(h.percentile(90))},
          {"p95_ms", ms(h.percentile(95))},
          {"p99_ms", ms(h.percentile(99))},
          {"max_ms", ms(h.max())}};
}

}  // namespace

void Timeline::add(const Sample& sample) {
  if (seen_++ % keep_every_ != 0) return;
  samples_.push_back(sample);
  if (samples_.size() < kMost) return;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < samples_.size(); i += 2) samples_[kept++] = samples_[i];
  samples_.resize(kept);
  keep_every_ *= 2;
}

void add_phases(Metrics& metrics, const std::map<std::string, Histogram>& phases) {
  for (const auto& [name, h] : phases) {
    if (h.count() == 0) continue;
    for (const int percent : {50, 90, 95, 99})
      metrics["p" + std::to_string(percent) + "_" + name] =
          static_cast<double>(h.percentile(percent)) / kMicrosPerMs;
    metrics["max_" + name] = static_cast<double>(h.max()) / kMicrosPerMs;
  }
}

std::string report_table(const Report& report) {
  std::string text = report.command + "\n";
  if (!report.incomplete.empty()) text += "INCOMPLETE: " + report.incomplete + "\n";
  text += "\nOutcome\n";
  for (const auto& [state, count] : report.states)
    if (count > 0) add_line(text, state, std::to_string(count));
  for (const auto& [fault, count] : report.faults)
    if (count > 0) add_line(text, fault, std::to_string(count));
  text += "\nThroughput\n";
  add_line(text, "duration", amount(report, "duration"));
  add_line(text, "runs/s", amount(report, "runs_per_s"));
  add_line(text, "messages/s", amount(report, "messages_per_s"));
  add_line(text, "link frames/s", amount(report, "frames_per_s"));
  add_line(text, "durable log/s", amount(report, "log_bytes_per_s"));
  add_line(text, "fairness", amount(report, "fairness"));
  text += "\nmusterd\n";
  add_line(text, "memory, peak", amount(report, "memory_peak"));
  add_line(text, "memory, end", amount(report, "memory_end"));
  add_line(text, "processor", amount(report, "cpu"));
  add_phase_table(text, report);
  text += "\nErrors: " + std::to_string(report.errors) + "\n";
  for (const std::string& error : report.error_texts) text += "  " + error + "\n";
  if (!report.verdicts.empty()) text += "\nExpectations\n";
  for (const Verdict& verdict : report.verdicts)
    text += std::string(verdict.holds ? "  ok      " : "  FAILED  ") + describe(verdict) + "\n";
  return text;
}

json report_json(const Report& report) {
  json setting = json::object(), faults = json::object(), phases = json::object();
  for (const auto& [name, value] : report.setting) setting[name] = value;
  for (const auto& [name, value] : report.faults) faults[name] = value;
  for (const auto& [name, h] : report.phases) phases[name] = phase_json(h);
  json timeline = json::array(), fleets = json::array(), expected = json::array();
  for (const Sample& s : report.timeline.samples())
    timeline.push_back({{"s", s.at_s},
                        {"ended", s.ended},
                        {"running", s.running},
                        {"queued", s.queued},
                        {"waiting", s.waiting},
                        {"memory", s.memory},
                        {"cpu_s", s.cpu_s},
                        {"messages", s.messages},
                        {"hosts", s.hosts}});
  for (const FleetLine& f : report.fleets)
    fleets.push_back({{"name", f.name},
                      {"state", f.state},
                      {"began_s", f.began_s},
                      {"took_s", f.took_s},
                      {"share_at_half", f.at_half}});
  for (const Verdict& v : report.verdicts)
    expected.push_back({{"limit", v.expected.text}, {"holds", v.holds}, {"value", v.value}});
  return {{"command", report.command},
          {"version", report.version},
          {"started_at", report.started_at},
          {"incomplete", report.incomplete},
          {"setting", setting},
          {"duration_s", report.duration_s},
          {"states", report.states},
          {"faults", faults},
          {"metrics", report.metrics},
          {"phases", phases},
          {"fleets", fleets},
          {"timeline", timeline},
          {"errors", report.error_texts},
          {"expected", expected}};
}

}  // namespace muster::load
