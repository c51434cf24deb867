// A list as a stream: what changed since, each item as the list shows it. A client reads the list,
// then follows from its Muster-Position; after a break it resumes by Last-Event-ID.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "tools/musterd/events.hpp"
#include "tools/musterd/sse.hpp"

namespace muster::musterd {

/// An actor's item by its key; nothing when it is gone, or a filter or the scope passes over it.
using RenderItem = std::function<std::optional<Json>(const std::string& key)>;

/// Events `changed` with an item, and `gap` when some were missed: then the list is to be read
/// again. An id says up to where everything was told.
Result<Response> list_stream(EventHub& events, const Request& request, std::string kind,
                             RenderItem render);

}  // namespace muster::musterd
