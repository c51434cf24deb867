// W3C trace context. A write's trace id is its Idempotency-Key unless the caller brought a
// traceparent, so that the id in logs, in the audit log and in a tracer is one, and nothing has to
// be remembered for it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace muster::musterd {

struct TraceContext {
  std::string trace_id;  ///< 32 hexadecimal digits.
  std::string parent;    ///< 16 digits: the caller's span; "" when it sent none.
  std::string span;      ///< 16 digits: ours.
  bool sampled = true;

  /// "00-TRACE-SPAN-01": what is passed on.
  [[nodiscard]] std::string traceparent() const;
};

/// From the two headers; what is malformed counts as absent, as the recommendation has it.
TraceContext trace_of(std::string_view traceparent, std::string_view idempotency_key);

/// While it lives, this thread's log lines bear `correlation` and the trace. They nest.
class LogContext {
 public:
  LogContext(std::string correlation, std::string trace_id);
  ~LogContext();
  LogContext(const LogContext&) = delete;
  LogContext& operator=(const LogContext&) = delete;

  /// The innermost one's of this thread; empty outside.
  static std::string_view correlation();
  static std::string_view trace_id();

 private:
  std::string outer_correlation_;
  std::string outer_trace_;
};

}  // namespace muster::musterd
