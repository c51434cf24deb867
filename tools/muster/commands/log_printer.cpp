#include "tools/muster/commands/log_printer.hpp"

#include "tools/muster/json_get.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

constexpr std::size_t kMaxLine = 64u << 10;  // a line without an end is printed in parts

}  // namespace

bool LogPrinter::line(const Json& record) {
  const std::string at = str(record, "at"), step = str(record, "step"), stream = str(record, "stream");
  if (options_.since)
    if (const auto then = parse_rfc3339(at); then && *then < *options_.since) return true;
  const std::string text = str(record, "text");
  if (stream == "event" || stream == "note") {
    end_line();
    step_ = step;
    mark(at, (step.empty() ? "" : step + ": ") + text);
    return true;
  }
  if (step != step_) {
    end_line();
    step_ = step;
    mark(at, step);
  }
  if (pending_.empty()) pending_at_ = at;
  pending_ += text;
  std::size_t begin = 0;
  for (std::size_t end; (end = pending_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    put((options_.timestamps ? pending_at_ + " " : "") + pending_.substr(begin, end - begin));
    pending_at_ = at;
  }
  pending_.erase(0, begin);
  if (pending_.size() > kMaxLine) end_line();
  return true;
}

void LogPrinter::end_line() {
  if (!pending_.empty()) put((options_.timestamps ? pending_at_ + " " : "") + pending_);
  pending_.clear();
}

/// A line of Muster's own between the steps.
void LogPrinter::mark(const std::string& at, const std::string& text) {
  put(styled((options_.timestamps ? at + " " : "") + "--- " + safe_line(text), Style::bold, options_.look));
}

void LogPrinter::put(std::string line) {
  if (options_.tail) {
    kept_.push_back(std::move(line));
    if (kept_.size() > *options_.tail) kept_.pop_front();
    return;
  }
  if (!options_.terminal) to_ << line << "\n";
  else to_ << safe_text(line, options_.look.colour) << (options_.look.colour ? "\x1b[0m\n" : "\n");
}

void LogPrinter::release_tail() {
  if (!options_.tail) return;
  options_.tail.reset();
  for (std::string& line : kept_) put(std::move(line));
  kept_.clear();
}

void LogPrinter::finish() {
  end_line();
  release_tail();
  to_.flush();
}

}  // namespace muster::cli
