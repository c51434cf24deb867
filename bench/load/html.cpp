#include "bench/load/html.hpp"

#include <algorithm>

#include "bench/load/plot.hpp"

namespace muster::load {

namespace {

constexpr std::size_t kMaxFleetRows = 200;

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --text: #1c2024; --soft: #60646c; --line: #d9dce1; --page: #fff; --card: #f7f8fa;
  --c0: #2563eb; --c1: #d97706; --c2: #059669; --c3: #db2777; --c4: #7c3aed; --c5: #0891b2; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --soft: #9ba1a8; --line: #33383f; --page: #14171a;
  --card: #1c2024; --c0: #6ea8fe; --c1: #f5b041; --c2: #4ade80; --c3: #f472b6; --c4: #c4b5fd; --c5: #67e8f9; --bad: #ff8a80; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--text); background: var(--page); margin: 2rem auto; max-width: 1340px;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; } .soft { color: var(--soft); } .bad { color: var(--bad); }
.numbers { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: .75rem; margin: 1.25rem 0; }
.numbers div { background: var(--card); border-radius: 8px; padding: .6rem .8rem; } .numbers b { display: block; font-size: 1.3rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(520px, 100%), 1fr)); gap: 1rem; }
svg { width: 100%; height: auto; background: var(--card); border-radius: 8px; } svg text { fill: var(--soft); font-size: 11px; }
svg .title { fill: var(--text); font-size: 13px; font-weight: 600; } svg .y { text-anchor: end; } svg .x { text-anchor: middle; }
.grid { stroke: var(--line); } polyline { fill: none; stroke-width: 1.6; }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); } .s2 { stroke: var(--c2); } .s3 { stroke: var(--c3); } .s4 { stroke: var(--c4); }
.s5 { stroke: var(--c5); } .f0 { fill: var(--c0); } .f1 { fill: var(--c1); } .f2 { fill: var(--c2); } .f3 { fill: var(--c3); }
.f4 { fill: var(--c4); } .f5 { fill: var(--c5); }
.wide { overflow-x: auto; margin-top: 1rem; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .8rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
)";

std::string tag(const std::string& name, const std::string& text) {
  return "<" + name + ">" + escaped(text) + "</" + name + ">";
}

std::string seconds(double s) {
  return amount_text(Unit::time, s * 1'000);
}
std::string axis_seconds(double s) {
  return amount_text(Unit::number, s) + "s";
}
std::string count(double n) {
  return amount_text(Unit::number, n);
}
std::string size(double n) {
  return amount_text(Unit::size, n);
}

std::string key_numbers(const Report& report) {
  std::string out = "<div class=\"numbers\">\n";
  for (const char* name : {"ended", "duration", "runs_per_s", "messages_per_s", "p50_total",
                           "p99_total", "p99_ack", "memory_peak", "fairness", "errors"}) {
    const auto found = report.metrics.find(name);
    if (found == report.metrics.end()) continue;
    for (const MetricName& metric : metric_names())
      if (metric.name == name)
        out += "<div><b>" + escaped(amount_text(metric.unit, found->second)) + "</b>" +
               escaped(name) + "</div>\n";
  }
  return out + "</div>\n";
}

/// Differences of a growing count, per second; as many as there are samples.
std::vector<double> rates(const std::vector<Sample>& samples, double Sample::*of) {
  std::vector<double> out;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const double time = i == 0 ? 0 : samples[i].at_s - samples[i - 1].at_s;
    out.push_back(time <= 0 ? 0 : std::max(0.0, (samples[i].*of - samples[i - 1].*of) / time));
  }
  return out;
}

std::vector<double> values(const std::vector<Sample>& samples, double Sample::*of) {
  std::vector<double> out;
  for (const Sample& sample : samples) out.push_back(sample.*of);
  return out;
}

std::string time_plots(const Report& report) {
  const auto& samples = report.timeline.samples();
  const std::vector<double> xs = values(samples, &Sample::at_s);
  std::string out;
  out += line_plot("Runs ended per second", xs, axis_seconds,
                   {{"runs/s", rates(samples, &Sample::ended)}}, count);
  out += line_plot("Runs by what they do", xs, axis_seconds,
                   {{"on hosts", values(samples, &Sample::running)},
                    {"queued", values(samples, &Sample::queued)},
                    {"waiting", values(samples, &Sample::waiting)}},
                   count);
  out += line_plot("Durable messages per second", xs, axis_seconds,
                   {{"messages/s", rates(samples, &Sample::messages)}}, count);
  out += line_plot("Memory of musterd", xs, axis_seconds,
                   {{"resident", values(samples, &Sample::memory)}}, size);
  out += line_plot("Processors that musterd uses", xs, axis_seconds,
                   {{"processors", rates(samples, &Sample::cpu_s)}}, count);
  out += line_plot("Connected hosts", xs, axis_seconds,
                   {{"hosts", values(samples, &Sample::hosts)}}, count);
  return out;
}

std::string percentile_plots(const Report& report) {
  const auto plot = [&](const char* title, const std::vector<std::string>& names) {
    std::vector<Curve> curves;
    for (const std::string& name : names)
      if (const auto found = report.phases.find(name); found != report.phases.end())
        curves.push_back({name, &found->second});
    return curves.empty() ? "" : percentile_plot(title, curves);
  };
  return plot("A run's phases, by percentile", {"total", "queue", "start", "settle", "refill"}) +
         plot("The link and the API, by percentile", {"ack", "renew", "log", "api", "operate"});
}

std::string phase_table(const Report& report) {
  std::string out =
      "<div class=\"wide\"><table><tr><th>phase</th><th>count</th><th>p50</th><th>p90</th>"
      "<th>p95</th><th>p99</th><th>max</th><th class=\"text\">what it is</th></tr>\n";
  for (const PhaseName& phase : phase_names()) {
    const auto found = report.phases.find(std::string(phase.name));
    if (found == report.phases.end()) continue;
    const Histogram& h = found->second;
    const auto cell = [](std::uint64_t micros) {
      return tag("td", amount_text(Unit::time, static_cast<double>(micros) / 1'000));
    };
    out += "<tr>" + tag("td", found->first) + tag("td", std::to_string(h.count())) +
           cell(h.percentile(50)) + cell(h.percentile(90)) + cell(h.percentile(95)) +
           cell(h.percentile(99)) + cell(h.max()) + "<td class=\"text soft\">" +
           escaped(std::string(phase.meaning)) + "</td></tr>\n";
  }
  return out + "</table></div>\n";
}

std::string pairs_table(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string out = "<table>\n";
  for (const auto& [name, value] : rows)
    out += "<tr>" + tag("td", name) + tag("td", value) + "</tr>\n";
  return out + "</table>\n";
}

std::string outcome_table(const Report& report) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const auto& [state, runs] : report.states)
    if (runs > 0) rows.emplace_back(state, std::to_string(runs));
  for (const auto& [fault, times] : report.faults)
    if (times > 0) rows.emplace_back(fault, std::to_string(times));
  return pairs_table(rows);
}

std::string fleet_table(const Report& report) {
  std::string out =
      "<div class=\"wide\"><table><tr><th>fleet</th><th class=\"text\">state</th><th>began</th>"
      "<th>took</th><th>share at half</th></tr>\n";
  for (std::size_t i = 0; i < std::min(report.fleets.size(), kMaxFleetRows); ++i) {
    const FleetLine& fleet = report.fleets[i];
    out += "<tr>" + tag("td", fleet.name) + "<td class=\"text\">" + escaped(fleet.state) + "</td>" +
           tag("td", seconds(fleet.began_s)) +
           tag("td", fleet.took_s > 0 ? seconds(fleet.took_s) : "") +
           tag("td", amount_text(Unit::share, fleet.at_half)) + "</tr>\n";
  }
  out += "</table></div>\n";
  if (report.fleets.size() > kMaxFleetRows)
    out += "<p class=\"soft\">and " + std::to_string(report.fleets.size() - kMaxFleetRows) +
           " more</p>\n";
  return out;
}

std::string troubles(const Report& report) {
  std::string out;
  if (!report.incomplete.empty())
    out += "<p class=\"bad\">Incomplete: " + escaped(report.incomplete) + "</p>\n";
  for (const Verdict& verdict : report.verdicts)
    out += std::string("<p") + (verdict.holds ? ">holds: " : " class=\"bad\">fails: ") +
           escaped(describe(verdict)) + "</p>\n";
  for (const std::string& error : report.error_texts)
    out += "<p class=\"bad\">" + escaped(error) + "</p>\n";
  return out;
}

}  // namespace

std::string report_page(const Report& report) {
  return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<title>muster-load</title>\n<style>" +
         std::string(kStyle) + "</style>\n</head>\n<body>\n" + tag("h1", "Load test") +
         "\n<p><code>" + escaped(report.command) + "</code></p>\n<p class=\"soft\">" +
         escaped(report.started_at + ", musterd " + report.version) + "</p>\n" +
         key_numbers(report) + troubles(report) + "<h2>Over time</h2>\n<div class=\"plots\">\n" +
         time_plots(report) + "</div>\n<h2>Latency</h2>\n<div class=\"plots\">\n" +
         percentile_plots(report) + "</div>\n" + phase_table(report) + "<h2>Outcome</h2>\n" +
         outcome_table(report) + "<h2>Setting</h2>\n" + pairs_table(report.setting) +
         "<h2>Fleets</h2>\n" + fleet_table(report) + "</body>\n</html>\n";
}

}  // namespace muster::load
