// A list whose items lie within one actor (its rows, a swarm's facets) as a stream. A commit says which actor it changed
// and not which of its rows, so the stream looks at them again after commits of the actor and compares; it rests
// for twenty times as long as that took, so that watching stays cheap whatever the list's length.
//
// Events `changed` and `left` as of list_stream.hpp; `gap` only where a client resumes and what it was told is not
// remembered: it reads the list again, and from then on it is told of changes. An id says up to where everything was
// told; what comes after the last id that a client got is told again when it resumes there.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/musterd/api_base.hpp"

namespace muster::musterd {

struct RowList {
  using Render = std::function<std::optional<Json>()>;
  /// False ends the walk. `content`: a hash of everything that the item shows.
  using Each =
      std::function<bool(const std::string& name, std::size_t content, const Render& render)>;

  std::vector<engine::ActorId> actors;  ///< Whose commits may change an item.
  const char* key = "id";               ///< The field of an item that names it.
  std::function<Result<void>(const Each& each)> walk;  ///< Those that the filters take.
};

/// Follows at most kMaxScanned items; those beyond are not told of.
Result<Response> row_stream(const ApiContext& api, const Request& request, RowList list);

/// Names of items, each with its content.
using RowContents = std::vector<std::pair<std::string, std::size_t>>;

/// A page of such a list, with its Muster-Position, which was read before the list. `shown`: all items of the page.
Response row_list_response(const ApiContext& api, const Page& page, const char* name,
                           const PageFill& fill, const RowContents& shown,
                           engine::Sequence position);

/// What `content` may be: of bytes as they are stored.
std::size_t content_of(std::string_view bytes, std::string_view more = {});

}  // namespace muster::musterd
