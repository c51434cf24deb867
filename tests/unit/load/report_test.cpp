#include "bench/load/report.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "bench/load/fleets.hpp"
#include "bench/load/html.hpp"
#include "bench/load/plot.hpp"
#include "bench/load/simulated_log.hpp"
#include "storage/base/log_frame.hpp"

using namespace muster;
using namespace muster::load;

namespace {

Report a_report() {
  Report report;
  report.command = "muster-load fleet --name <script>alert(1)</script>";
  report.started_at = "2026-11-22T15:04:05.678Z";
  report.states = {{"delivered", 3}, {"failed", 0}};
  for (int i = 0; i < 5; ++i) {
    Sample sample;
    sample.at_s = i;
    sample.ended = 10.0 * i;
    sample.memory = 100.0 * (1 << 20);
    report.timeline.add(sample);
  }
  report.phases["total"].record(1'500'000, 3);
  add_phases(report.metrics, report.phases);
  report.metrics["errors"] = 1;
  report.errors = 1;
  report.error_texts = {"run \"R\" & others"};
  report.fleets = {{"load-1", "completed", 0, 2.5, 0.5}};
  report.verdicts =
      judge({*parse_expectation("p99_total<1s"), *parse_expectation("errors<2")}, report.metrics);
  return report;
}

}  // namespace

TEST_CASE("A timeline of any length keeps a bounded number of looks, from the first on") {
  Timeline timeline;
  for (int i = 0; i < 100'000; ++i) {
    Sample sample;
    sample.at_s = i;
    timeline.add(sample);
  }
  const auto& samples = timeline.samples();
  CHECK(samples.size() <= Timeline::kMost);
  CHECK(samples.size() >= Timeline::kMost / 4);
  CHECK(samples.front().at_s == 0);
  CHECK(samples.back().at_s > 99'000);
  const double step = samples[1].at_s - samples[0].at_s;
  for (std::size_t i = 1; i < samples.size(); ++i)
    REQUIRE(samples[i].at_s - samples[i - 1].at_s == step);
}

TEST_CASE("Jain's index: 1 when all are alike, one part when one has everything") {
  CHECK(jain_index({0.5, 0.5, 0.5, 0.5}) == Approx(1));
  CHECK(jain_index({1, 0, 0, 0}) == Approx(0.25));
  CHECK(jain_index({1, 0.5}) == Approx(0.9));
  CHECK(jain_index({0, 0}) == 1);
}

TEST_CASE("A report names its numbers, its errors and what was expected") {
  const Report report = a_report();
  CHECK(report.metrics.at("p50_total") == Approx(1'500).epsilon(0.01));
  const std::string text = report_table(report);
  CHECK(text.find("  delivered            3\n") != std::string::npos);
  CHECK(text.find("failed      ") == std::string::npos);
  CHECK(text.find("Errors: 1\n  run \"R\" & others\n") != std::string::npos);
  CHECK(text.find("  FAILED  p99_total is 1.50s, expected <1s\n") != std::string::npos);
  CHECK(text.find("  ok      errors is 1, expected <2\n") != std::string::npos);
  const nlohmann::json json = report_json(report);
  CHECK(json["phases"]["total"]["count"] == 3);
  CHECK(json["timeline"].size() == 5);
  CHECK(json["expected"][0]["holds"] == false);
}

TEST_CASE("The page needs nothing from elsewhere, and shows text as text") {
  const std::string page = report_page(a_report());
  for (const char* outside : {"http:", "https:", "src=", "url(", "@import", "<script"})
    CHECK(page.find(outside) == std::string::npos);
  CHECK(page.find("&lt;script&gt;alert(1)") != std::string::npos);
  CHECK(page.find("run &quot;R&quot; &amp; others") != std::string::npos);
  std::size_t plots = 0;
  for (std::size_t at = 0; (at = page.find("<svg ", at)) != std::string::npos; ++at) ++plots;
  CHECK(plots == 7);
}

TEST_CASE("A plot of nothing, or of one look, is still a plot") {
  const Label label = [](double value) { return std::to_string(value); };
  for (const std::vector<double>& xs : {std::vector<double>{}, std::vector<double>{0}}) {
    const std::string plot = line_plot("Nothing", xs, label, {{"a", xs}}, label);
    CHECK(plot.starts_with("<svg "));
    CHECK(plot.find("nan") == std::string::npos);
    CHECK(plot.find("inf") == std::string::npos);
  }
  const Histogram empty;
  CHECK(percentile_plot("Nothing", {{"a", &empty}}).find("nan") == std::string::npos);
}

TEST_CASE("A simulated log is whole frames, the same wherever one begins to read it") {
  const std::string bytes = log_bytes(0, 10 * kLogFrameBytes);
  std::string_view rest = bytes;
  LogFrame frame;
  int frames = 0;
  while (!rest.empty()) {
    const auto taken = take_log_frame(rest, frame);
    REQUIRE(taken);
    REQUIRE(*taken);
    CHECK(frame.bytes.ends_with('\n'));
    ++frames;
  }
  CHECK(frames == 10);
  CHECK(log_bytes(700, 900) == bytes.substr(700, 900));
  // Beyond its pool it begins anew.
  const std::uint64_t pool = 1'024 * kLogFrameBytes;
  CHECK(log_bytes(pool - 256, 512) == log_bytes(pool - 256, 256) + bytes.substr(0, 256));
}
