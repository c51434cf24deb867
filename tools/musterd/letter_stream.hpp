// Dead letters as a stream: those that come, and those that an operator closes. Private to the API.
#pragma once

#include "tools/musterd/api_inside.hpp"

namespace muster::musterd {

/// As list_stream(): events `changed` with a letter that the selection takes, `left` with the id of
/// one that the client was given and that is taken no longer, and `gap`.
Result<Response> letter_stream(const ApiContext& api, engine::Inside& inside,
                               const Request& request, LetterSelection selection);

}  // namespace muster::musterd
