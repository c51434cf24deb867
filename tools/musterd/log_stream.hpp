// The body of GET /v1/runs/{id}/logs: one attempt's log as lines, and with `follow` what comes,
// attempt after attempt, until the run has ended.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "tools/musterd/events.hpp"
#include "tools/musterd/log_lines.hpp"
#include "tools/musterd/view.hpp"
#include "tools/musterd/watched_runlog.hpp"

namespace muster::musterd {

struct LogRequest {
  std::string run;
  std::uint32_t attempt = 0;  ///< 0: the current one.
  std::string step;
  std::uint64_t offset = 0;  ///< Of a frame: a line's `offset` or `next`.
  bool follow = false;
  bool later_attempts = false;     ///< With follow: goes on with those after it.
  std::vector<std::string> steps;  ///< Names by index.
};

std::shared_ptr<BodyStream> make_log_stream(const View& view, WatchedRunLog& logs, EventHub& events,
                                            LogRequest request);

/// The same lines as server-sent events with ids "ATTEMPT-OFFSET", from which a stream is resumed;
/// `end` when nothing more will come.
std::shared_ptr<BodyStream> make_log_events(std::shared_ptr<BodyStream> lines);

struct LogPlace {
  std::uint32_t attempt = 0;
  std::uint64_t offset = 0;
};
/// Of such an id. Errc::invalid for anything else.
Result<LogPlace> parse_log_place(const std::string& id);

}  // namespace muster::musterd
