#include "actors/run/pull_text.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/common.hpp"
#include "actors/run/limits.hpp"

namespace muster::actors {

std::string safe_markdown(std::string_view text, std::size_t limit) {
  std::string safe;
  for (const char c : bounded(text, limit)) {
    if (c == '<') {
      safe += "&lt;";
    } else if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') {
      safe += c;
    }
  }
  return safe;
}

std::string safe_cell(std::string_view text, std::size_t limit) {
  std::string safe;
  for (const char c : one_line(text, limit)) {
    if (c == '|' || c == '`' || c == '*' || c == '_' || c == '[' || c == ']') safe += '\\';
    safe += c == '<' ? std::string("&lt;") : std::string(1, c);
  }
  return safe;
}

namespace {

constexpr std::size_t kTitleBytes = 200;
constexpr std::size_t kLabelBytes = 50;
constexpr std::size_t kLabels = 20;
constexpr std::size_t kIntentBytes = 16u << 10;
constexpr std::size_t kResultBodyBytes = 16u << 10;
constexpr std::size_t kSummaryBytes = 20u << 10;
constexpr std::size_t kBodyBytes = 60'000;
constexpr std::size_t kVerifications = 20;

/// result.json as far as it is what the contract says.
struct AgentResult {
  std::string title, body;
  std::vector<std::string> labels;
};

class ResultReader {
 public:
  explicit ResultReader(std::vector<std::string>& warnings) : warnings_(warnings) {}

  AgentResult read(const std::string& text) {
    AgentResult result;
    if (text.empty()) return result;
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object()) {
      warn("it is not a JSON object");
      return result;
    }
    result.title = one_line(string_of(json, "title"), kTitleBytes);
    result.body = string_of(json, "body");
    result.labels = labels_of(json);
    return result;
  }

 private:
  void warn(const std::string& why) { warnings_.push_back("result.json ignored in part: " + why); }

  std::string string_of(const nlohmann::json& json, const char* name) {
    const auto found = json.find(name);
    if (found == json.end() || found->is_null()) return {};
    if (found->is_string()) return found->get<std::string>();
    warn(std::string(name) + " is not text");
    return {};
  }

  std::vector<std::string> labels_of(const nlohmann::json& json) {
    std::vector<std::string> labels;
    const auto found = json.find("labels");
    if (found == json.end() || found->is_null()) return labels;
    if (!found->is_array()) {
      warn("labels is not a list");
      return labels;
    }
    for (const auto& label : *found) {
      if (labels.size() == kLabels) {
        warn("more than " + std::to_string(kLabels) + " labels");
        break;
      }
      const std::string text =
          label.is_string() ? one_line(label.get<std::string>(), kLabelBytes + 1) : std::string();
      if (text.empty() || text.size() > kLabelBytes) {
        warn("a label is not a text of 1 to " + std::to_string(kLabelBytes) + " bytes");
      } else {
        labels.push_back(text);
      }
    }
    return labels;
  }

  std::vector<std::string>& warnings_;
};

std::string title_of(const fbs::CreateRunT& create, const AgentResult& result) {
  if (!result.title.empty()) return result.title;
  const std::string wished = one_line(create.title, kTitleBytes);
  return wished.empty() ? "Muster: " + create.fleet : wished;
}

std::string duration_of(const wire::StepReportT& step) {
  const Duration took(std::max<std::int64_t>(0, step.ended_unix_ms - step.started_unix_ms));
  return muster::to_string(took);
}

std::string verification_table(const wire::AttemptReportT& report) {
  std::string rows;
  std::size_t count = 0;
  for (const auto& step : report.steps) {
    if (!step || !step->name.starts_with("verify:") || ++count > kVerifications) continue;
    const bool skipped = step->reason == "skipped";
    rows += "| " + safe_cell(std::string_view(step->name).substr(7), 80) + " | " +
            (skipped ? "does not apply | |\n" : "passed | " + duration_of(*step) + " |\n");
  }
  if (rows.empty()) return "Nothing was verified: the fleet asks for no verification.\n";
  if (count > kVerifications)
    rows += "| … and " + std::to_string(count - kVerifications) + " more | | |\n";
  return "| Verification | Result | Time |\n|---|---|---|\n" + rows;
}

std::string plural(std::uint32_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

std::string footer(const fbs::CreateRunT& create, const wire::AttemptReportT& report,
                   std::string_view run, std::uint32_t attempt) {
  std::string text = "---\n";
  if (report.diff)
    text += plural(report.diff->files, "file") + " changed, " +
            plural(report.diff->insertions, "insertion") + ", " +
            plural(report.diff->deletions, "deletion") + ". ";
  text += "Muster fleet `" + create.fleet + "`, run `" + std::string(run) + "`, attempt " +
          std::to_string(attempt);
  if (!create.author.empty()) text += ", started by " + safe_cell(create.author, 100);
  return text + ".\n";
}

/// Everything but the footer gives way when the whole is too long.
std::string body_of(const fbs::CreateRunT& create, const wire::AttemptReportT& report,
                    const AgentResult& result, std::string_view run, std::uint32_t attempt) {
  std::string text;
  if (!create.body.empty()) text += safe_markdown(create.body, kIntentBytes) + "\n\n";
  if (!result.body.empty()) text += safe_markdown(result.body, kResultBodyBytes) + "\n\n";
  if (!report.summary.empty())
    text += "## What was done\n\n" + safe_markdown(report.summary, kSummaryBytes) + "\n\n";
  text += "## Verification\n\n" + verification_table(report) + "\n";
  const std::string end = footer(create, report, run, attempt);
  return bounded(text, kBodyBytes - end.size() - 2) + "\n" + end;
}

void add_labels(std::vector<std::string>& labels, const std::vector<std::string>& more) {
  for (const std::string& label : more)
    if (std::find(labels.begin(), labels.end(), label) == labels.end()) labels.push_back(label);
}

}  // namespace

PullText compose_pull(const fbs::CreateRunT& create, const wire::AttemptReportT& report,
                      std::string_view run, std::uint32_t attempt) {
  PullText text;
  const AgentResult result = ResultReader(text.warnings).read(report.result_json);
  text.title = title_of(create, result);
  text.body = body_of(create, report, result, run, attempt);
  add_labels(text.labels, create.pull_labels);
  add_labels(text.labels, result.labels);
  return text;
}

}  // namespace muster::actors
