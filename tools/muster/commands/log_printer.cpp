#include "tools/muster/commands/log_printer.hpp"

#include <utility>

#include "tools/muster/json_get.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

/// What an event says: "begin", or how a step ended, as JSON.
std::string event_text(const std::string& text) {
  const Json end = Json::parse(text, nullptr, false);
  if (!end.is_object()) return text == "begin" ? "begins" : text;
  if (str(end, "reason") == "skipped") return "skipped";
  std::string out = "ended";
  if (num(end, "signal") != 0)
    out += " by signal " + std::to_string(num(end, "signal"));
  else if (at(end, "exit_code").is_number() && num(end, "exit_code") >= 0)
    out += " with exit " + std::to_string(num(end, "exit_code"));
  if (!str(end, "reason").empty()) out += ", " + str(end, "reason");
  const Duration took{num(end, "ended_ms") - num(end, "started_ms")};
  return num(end, "ended_ms") == 0 ? out : out + " after " + human_duration(took);
}

}  // namespace

bool LogPrinter::line(const Json& record) {
  const std::string at = str(record, "at"), stream = str(record, "stream"),
                    text = str(record, "text");
  if (options_.since)
    if (const auto then = parse_rfc3339(at); then && *then < *options_.since) return true;
  if (options_.json) {
    keep_or_print(dumped(record));
    return true;
  }
  const auto attempt = num(record, "attempt");
  const std::string step =
      str(record, "step") + (attempt > 1 ? " (attempt " + std::to_string(attempt) + ")" : "");
  if (stream == "event" || stream == "note") {
    step_ = step;
    mark(at, stream == "note" ? "note: " + text : step + " " + event_text(text));
    return true;
  }
  if (std::exchange(step_, step) != step) mark(at, step);
  put(at, text);
  return true;
}

/// A line of Muster's own between the steps.
void LogPrinter::mark(const std::string& at, const std::string& text) {
  put(at, styled("--- " + safe_line(text), Style::bold, options_.look));
}

void LogPrinter::put(const std::string& at, std::string text) {
  if (options_.terminal)
    text = safe_text(text, options_.look.colour) + (options_.look.colour ? "\x1b[0m" : "");
  if (options_.timestamps) text.insert(0, safe_line(at) + " ");
  keep_or_print(std::move(text));
}

void LogPrinter::keep_or_print(std::string text) {
  if (!options_.tail) {
    to_ << text << "\n";
    return;
  }
  kept_.push_back(std::move(text));
  if (kept_.size() > *options_.tail) kept_.pop_front();
}

void LogPrinter::release_tail() {
  options_.tail.reset();
  for (const std::string& line : kept_) to_ << line << "\n";
  kept_.clear();
}

void LogPrinter::finish() {
  release_tail();
  to_.flush();
}

}  // namespace muster::cli
