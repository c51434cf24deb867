// Where a client stands in a list that it follows: "POSITION.LIST" in Muster-Position and in the ids of events.
#pragma once

#include <string>

#include "tools/musterd/api_base.hpp"

namespace muster::musterd {

/// A position alone does not say what the client has: `list` is empty then.
struct ListPlace {
  engine::Sequence position = 0;
  std::string list;
};

std::string place_text(engine::Sequence position, const std::string& list);

/// Of Last-Event-ID; without one `absent`. Errc::invalid for what no event bears.
Result<ListPlace> list_place(const Request& request, engine::Sequence absent);

}  // namespace muster::musterd
