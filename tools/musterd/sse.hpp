// Server-sent events: how any source of things in order becomes a stream that is resumed by
// Last-Event-ID.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "tools/musterd/http.hpp"
#include "tools/musterd/render.hpp"
#include "tools/musterd/wakes.hpp"

namespace muster::musterd {

/// Whether the caller asks for a stream: Accept: text/event-stream.
bool wants_events(const Request& request);

/// The number in Last-Event-ID; `absent` without one. Errc::invalid for anything but a number.
Result<std::uint64_t> last_event_id(const Request& request, std::uint64_t absent);

/// "id: …\nevent: …\ndata: …\n\n"; an empty id or name is left out.
std::string sse_event(std::string_view id, std::string_view name, const Json& data);

/// What a stream tells. Used by one connection at a time, on workers' threads.
class SseSource {
 public:
  virtual ~SseSource() = default;
  /// Appends what is new as events, a bounded part of it; true when there may be more at once.
  virtual bool more(std::string& to) = 0;
  /// When there is something to look for that was left for later: how much later.
  [[nodiscard]] virtual std::optional<Duration> rest() const { return std::nullopt; }
};

using Subscribe = std::function<std::shared_ptr<void>(Wakes::Wake)>;

/// The stream over `source`, asked again whenever what `subscribe` gave calls its wake. Sends a
/// comment when it has been silent, so that a dead client shows.
Response sse_response(std::shared_ptr<SseSource> source, Subscribe subscribe);

}  // namespace muster::musterd
