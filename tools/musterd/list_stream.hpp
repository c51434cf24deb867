// A list as a stream: what changed since, each item as the list shows it, and what is in it no
// longer. A client reads the list, then follows from its Muster-Position; after a break it resumes
// by Last-Event-ID. Both name a position and what the client was given (list_memory.hpp).
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "tools/musterd/api_base.hpp"
#include "tools/musterd/sse.hpp"

namespace muster::musterd {

/// What a changed actor is to a list.
struct ListItem {
  enum class Is {
    shown,  ///< In it, and looks so now.
    left,   ///< Not in it now.
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
/// `left` is told of what the client was given, by its list or by this stream; after a `gap`, or
/// when that was forgotten, of all that is not in the list, once.
Result<Response> list_stream(const ApiContext& api, const Request& request, std::string kind,
                             RenderItem render);

/// The same of a list whose items are no actors.
struct ListOf {
  std::function<bool(const Event&)> concerns;
  std::function<std::string(const Event&)>
      name;  ///< Of several events with one name the last counts.
  std::function<ListItem(const Event&)> render;
};
Result<Response> list_stream_of(const ApiContext& api, const Request& request, ListOf list);

/// What is told once and never changes or leaves, as steps do: no list is remembered for it.
Response at_position(const Json& json, engine::Sequence position);

/// A page of a list that can be followed, with its Muster-Position. `name` is the list's own in the
/// answer; `position` is read before the list.
Response list_response(const ApiContext& api, const Page& page, const char* name,
                       const PageFill& fill, engine::Sequence position);

}  // namespace muster::musterd
