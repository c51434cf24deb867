#include "tools/musterd/log_lines.hpp"

#include <nlohmann/json.hpp>

namespace muster::musterd {
namespace {

std::string_view stream_name(LogType type) {
  switch (type) {
    case LogType::out:
      return "stdout";
    case LogType::err:
      return "stderr";
    case LogType::note:
      return "note";
    case LogType::step_begin:
    case LogType::step_end:
      return "event";
  }
  return "note";
}

/// The name in a StepEnd; "" when there is none.
std::string ended_step(std::string_view json) {
  const auto end = nlohmann::json::parse(json, nullptr, false);
  const auto name = end.is_object() ? end.find("name") : end.end();
  return name != end.end() && name->is_string() ? name->get<std::string>() : "";
}

}  // namespace

LogLines::LogLines(std::uint32_t attempt, std::uint64_t offset, std::vector<std::string> steps,
                   std::string wanted)
    : attempt_(attempt), offset_(offset), steps_(std::move(steps)), wanted_(std::move(wanted)) {}

Result<std::string> LogLines::add(std::string_view bytes) {
  pending_ += bytes;
  std::string_view rest = pending_;
  std::string out;
  LogFrame frame;
  for (;;) {
    const std::size_t before = rest.size();
    auto taken = take_log_frame(rest, frame);
    if (!taken) return tl::unexpected<Error>(taken.error());
    if (!*taken) break;
    next_ = offset_ + (before - rest.size());
    take(frame, next_, out);
    offset_ = next_;
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

void LogLines::take(const LogFrame& frame, std::uint64_t next, std::string& out) {
  next_ = next;
  if (frame.type == LogType::step_begin) learn(frame.step, std::string(frame.bytes));
  // The host's own steps (checkout, commit) only ever end.
  if (frame.type == LogType::step_end) learn(frame.step, ended_step(frame.bytes));
  if (frame.type == LogType::out || frame.type == LogType::err) return take_text(frame, out);
  if (frame.type == LogType::step_end)
    for (auto& [source, partial] : partial_)
      if (source.first == frame.step) end_line(source, partial, out);
  if (frame.type != LogType::note && !wanted(frame.step)) return;
  const std::string text = frame.type == LogType::step_begin ? "begin" : std::string(frame.bytes);
  emit(offset_, frame.at, frame.step, stream_name(frame.type), text, out);
}

void LogLines::learn(std::uint8_t step, std::string name) {
  if (name.empty()) return;
  if (steps_.size() <= step) steps_.resize(step + std::size_t{1});
  steps_[step] = std::move(name);
}

void LogLines::take_text(const LogFrame& frame, std::string& out) {
  if (!wanted(frame.step)) return;
  const Source source{frame.step, frame.type};
  Partial& partial = partial_[source];
  std::string_view rest = frame.bytes;
  while (!rest.empty()) {
    if (partial.text.empty()) {
      partial.offset = offset_;
      partial.at = frame.at;
    }
    const std::size_t newline = rest.find('\n');
    const std::size_t length = std::min(std::min(newline, rest.size()),
                                        kMaxLine - std::min(partial.text.size(), kMaxLine));
    partial.text += rest.substr(0, length);
    rest.remove_prefix(length);
    const bool whole = !rest.empty() && rest.front() == '\n';
    if (whole) {
      rest.remove_prefix(1);
      emit(partial.offset, partial.at, frame.step, stream_name(frame.type), partial.text, out);
      partial.text.clear();
    } else if (partial.text.size() >= kMaxLine) {
      end_line(source, partial, out);
    }
  }
}

void LogLines::end_line(const Source& source, Partial& partial, std::string& out) {
  if (partial.text.empty()) return;
  emit(partial.offset, partial.at, source.first, stream_name(source.second), partial.text, out);
  partial.text.clear();
}

std::string LogLines::flush() {
  std::string out;
  next_ = offset_;
  for (auto& [source, partial] : partial_) end_line(source, partial, out);
  return out;
}

void LogLines::emit(std::uint64_t offset, Instant at, std::uint8_t step, std::string_view stream,
                    std::string_view text, std::string& out) {
  if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  const nlohmann::ordered_json line = {
      {"offset", offset},        {"next", next_},    {"attempt", attempt_}, {"at", to_rfc3339(at)},
      {"step", step_name(step)}, {"stream", stream}, {"text", text}};
  out += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string LogLines::step_name(std::uint8_t step) const {
  if (step < steps_.size() && !steps_[step].empty()) return steps_[step];
  return std::to_string(step);
}

bool LogLines::wanted(std::uint8_t step) const {
  if (wanted_.empty()) return true;
  const std::string name = step_name(step);
  return name == wanted_ || name.substr(0, name.find(':')) == wanted_;
}

}  // namespace muster::musterd
