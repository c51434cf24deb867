// How musterd's own log looks: text or JSON lines on stderr, each with the correlation and trace of
// the request that it belongs to (trace.hpp, LogContext).
#pragma once

#include <string>

namespace muster::musterd {

/// `format`: "text" or "json"; `level`: "debug", "info", "warn" or "error".
void set_up_log(const std::string& level, const std::string& format);

}  // namespace muster::musterd
