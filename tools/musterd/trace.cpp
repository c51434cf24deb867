#include "tools/musterd/trace.hpp"

#include <algorithm>
#include <utility>

#include "storage/base/ids.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kTrace = 32;
constexpr std::size_t kSpan = 16;

thread_local std::string current_correlation;
thread_local std::string current_trace;

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos &&
         text.find_first_not_of('0') != std::string_view::npos;
}

/// The 128 bits of a UUID; "" for anything else.
std::string trace_of_key(std::string_view key) {
  std::string id(key);
  std::erase(id, '-');
  std::transform(id.begin(), id.end(), id.begin(), [](char c) {
    return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return id.size() == kTrace && is_hex(id) ? id : "";
}

}  // namespace

std::string TraceContext::traceparent() const {
  return "00-" + trace_id + "-" + span + (sampled ? "-01" : "-00");
}

TraceContext trace_of(std::string_view header, std::string_view key) {
  TraceContext context;
  context.span = to_hex(random_bytes(kSpan / 2));
  // version "-" trace-id "-" parent-id "-" flags; later versions may append more.
  constexpr std::size_t kLength = 55;
  const bool whole =
      header.size() >= kLength && header[2] == '-' && header[35] == '-' && header[52] == '-' &&
      header.substr(0, 2) != "ff" &&
      (header.size() == kLength || (header.substr(0, 2) != "00" && header[kLength] == '-'));
  if (whole && is_hex(header.substr(3, kTrace)) && is_hex(header.substr(36, kSpan))) {
    context.trace_id = header.substr(3, kTrace);
    context.parent = header.substr(36, kSpan);
    context.sampled = (header[54] - '0') % 2 == 1;
    return context;
  }
  context.trace_id = trace_of_key(key);
  if (context.trace_id.empty()) context.trace_id = to_hex(random_bytes(kTrace / 2));
  return context;
}

LogContext::LogContext(std::string correlation, std::string trace_id)
    : outer_correlation_(std::exchange(current_correlation, std::move(correlation))),
      outer_trace_(std::exchange(current_trace, std::move(trace_id))) {}

LogContext::~LogContext() {
  current_correlation = std::move(outer_correlation_);
  current_trace = std::move(outer_trace_);
}

std::string_view LogContext::correlation() {
  return current_correlation;
}
std::string_view LogContext::trace_id() {
  return current_trace;
}

}  // namespace muster::musterd
