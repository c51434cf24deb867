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
  std::uint32_t attempt = 0;  ///< 0: the current one, and with follow the later ones too.
  std::string step;
  std::uint64_t offset = 0;  ///< Of a frame: a line's `offset` or `next`.
  bool follow = false;
  std::vector<std::string> steps;  ///< Names by index.
};

std::shared_ptr<BodyStream> make_log_stream(const View& view, WatchedRunLog& logs, EventHub& events,
                                            LogRequest request);

}  // namespace muster::musterd
