#include "sandboxd/progress.hpp"

#include <signal.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sandboxd/init/plan_format.hpp"

namespace muster::sandbox {

namespace {

constexpr std::size_t kTailLines = 20;
constexpr std::size_t kTailBytes = 8u << 10;

/// Length of the UTF-8 sequence at `at`, or 0.
std::size_t sequence(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(at);
  const std::size_t length = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2
                             : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  if (first == 0xe0 && byte(at + 1) < 0xa0) return 0;
  if (first == 0xed && byte(at + 1) >= 0xa0) return 0;
  if (first == 0xf0 && byte(at + 1) < 0x90) return 0;
  if (first == 0xf4 && byte(at + 1) >= 0x90) return 0;
  return length;
}

}  // namespace

std::string valid_utf8(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = text[at] == '\0' ? 0 : sequence(text, at);
    out.append(length > 0 ? text.substr(at, length) : std::string_view("\xEF\xBF\xBD"));
    at += std::max<std::size_t>(length, 1);
  }
  return out;
}

std::string last_lines(std::string_view text, std::size_t lines, std::size_t bytes) {
  if (text.size() > bytes) text.remove_prefix(text.size() - bytes);
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  std::size_t begin = text.size();
  for (std::size_t n = 0; n < lines && begin != 0; ++n) {
    const std::size_t newline = begin == 0 ? std::string_view::npos : text.rfind('\n', begin - 1);
    begin = newline == std::string_view::npos ? 0 : newline;
  }
  if (begin < text.size() && text[begin] == '\n') ++begin;
  std::string valid = valid_utf8(text.substr(begin));
  if (valid.size() > bytes) valid = valid_utf8(std::string_view(valid).substr(valid.size() - bytes));
  return valid.substr(0, bytes);
}

Progress::Progress(const wire::SandboxSpecT& spec, const std::vector<std::string>& more) {
  for (const auto& step : spec.steps) names_.push_back(step->name);
  names_.insert(names_.end(), more.begin(), more.end());
}

Result<void> Progress::feed(std::string_view stream) {
  bytes_ += stream.size();
  if (!partial_.empty()) {
    partial_.append(stream);
    stream = partial_;
  }
  LogFrame frame;
  while (true) {
    const auto taken = take_log_frame(stream, frame);
    if (!taken) return tl::unexpected(taken.error());
    if (!*taken) break;
    take(frame);
  }
  std::string rest(stream);
  partial_.swap(rest);
  return {};
}

void Progress::take(const LogFrame& frame) {
  switch (frame.type) {
    case LogType::step_begin: return begin(frame);
    case LogType::step_end: return frame.step == kCommitStep ? end_commit(frame) : end(frame);
    case LogType::out:
    case LogType::err: return remember(frame.bytes);
    case LogType::note: return;
  }
}

void Progress::remember(std::string_view text) {
  tail_.append(text.substr(text.size() - std::min(text.size(), kTailBytes)));
  if (tail_.size() > 2 * kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
}

void Progress::begin(const LogFrame& frame) {
  if (frame.step >= names_.size()) return;
  tail_.clear();
  wire::StepReportT report;
  report.name = names_[frame.step];
  report.started_unix_ms = frame.at.unix_ms;
  stage_ = step_kind(report.name) == StepKind::verify ? Stage::verifying : Stage::running;
  steps_.push_back(std::move(report));
}

void Progress::end(const LogFrame& frame) {
  const auto said = nlohmann::json::parse(frame.bytes, nullptr, false);
  if (!said.is_object()) return;
  const int exit_code = said.value("exit_code", -1);
  if (frame.step == kCheckoutStep) {
    checked_out_ = exit_code == 0;
    if (!checked_out_) trouble_ = last_lines(tail_, kTailLines, kTailBytes);
    tail_.clear();
    return;
  }
  if (frame.step == kCheckpointStep) {  // beside a step, of whose last lines it is none
    checkpoint_head_ = said.value("head", "");
    checkpoint_pack_ = said.value("pack", "");
    return;
  }
  if (frame.step == kHoldStep) {
    held_ = true;
    tracked_unchanged_ = said.value("unchanged", false);
    tail_.clear();
    return;
  }
  if (frame.step >= names_.size()) return;
  if (steps_.empty() || steps_.back().name != names_[frame.step] || steps_.back().ended_unix_ms != 0) {
    steps_.emplace_back();  // skipped: it never began
    steps_.back().name = names_[frame.step];
  }
  auto& report = steps_.back();
  report.exit_code = exit_code;
  report.signal = said.value("signal", 0);
  report.reason = said.value("reason", "");
  report.started_unix_ms = said.value("started_ms", std::int64_t{0});
  report.ended_unix_ms = said.value("ended_ms", frame.at.unix_ms);
  if (report.reason != "skipped") report.tail = last_lines(tail_, kTailLines, kTailBytes);
  tail_.clear();
}

void Progress::end_commit(const LogFrame& frame) {
  const auto said = nlohmann::json::parse(frame.bytes, nullptr, false);
  commit_tried_ = true;
  if (!said.is_object()) return;
  committed_ = said.value("exit_code", -1) == 0 && said.value("reason", "").empty();
  pack_too_large_ = said.value("signal", 0) == SIGXFSZ;
  head_ = said.value("head", "");
  pack_ = said.value("pack", "");
  if (!committed_) trouble_ = last_lines(tail_, kTailLines, kTailBytes);
  tail_.clear();
}

void Progress::close_open_step(std::string_view reason, std::int64_t at_unix_ms) {
  if (steps_.empty()) return;
  auto& report = steps_.back();
  if (report.ended_unix_ms == 0) {
    report.ended_unix_ms = at_unix_ms;
    report.tail = last_lines(tail_, kTailLines, kTailBytes);
  }
  if (report.reason.empty() || report.reason == "stopped") report.reason = reason;
}

}  // namespace muster::sandbox
