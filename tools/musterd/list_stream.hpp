// A list as a stream: what changed since, each item as the list shows it, and what is in it no
// longer. A client reads the list, then follows from its Muster-Position; after a break it resumes
// by Last-Event-ID.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "tools/musterd/events.hpp"
#include "tools/musterd/sse.hpp"

namespace muster::musterd {

/// What a changed actor is to a list.
struct ListItem {
  enum class Is {
    shown,  ///< In it, and looks so now.
    left,   ///< Not in it now; perhaps it was.
    other,  ///< Can't ever be in it, or is not for the caller to know of.
  };
  Is is = Is::other;
  Json json;  ///< The item; of one that left, its name alone: {"id": …}.

  static ListItem shown(Json item) { return {Is::shown, std::move(item)}; }
  static ListItem left(const char* key, const std::string& name) {
    return {Is::left, Json::object({{key, name}})};
  }
  static ListItem other() { return {}; }
};
using RenderItem = std::function<ListItem(const engine::ActorId& actor)>;

/// Events `changed` with an item, `left` with the name of one that the filters take no longer, and
/// `gap` when some were missed: then the list is to be read again. An id says up to where
/// everything was told. `kind` empty: actors of all kinds.
///
/// Nobody remembers what a client was shown, so `left` may name what it never had; but not again
/// and again (kRememberedLeft).
inline constexpr std::size_t kRememberedLeft = 4'096;
Result<Response> list_stream(EventHub& events, const Request& request, std::string kind,
                             RenderItem render);

}  // namespace muster::musterd
