// Revisions of single resources, as ETags: made of what is committed of them, never of how it is
// told.
//
// If-None-Match spares a reader what it has (304). If-Match lets a write through only when the
// resource is still the one that its sender saw (412). Private to the API.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tools/musterd/api_base.hpp"

namespace muster::musterd {

/// Whether the header lists the revision, or is "*". Weak or strong is the same here.
bool names_revision(std::string_view header, std::string_view revision);

/// Of the resource at `pattern`, or at the part of it that names one: of GET /v1/fleets/{name} as
/// of POST /v1/fleets/{name}/pause. "" where there is none.
Result<std::string> revision_at(const ApiContext& api, const Request& request,
                                std::string_view pattern);

/// A reader's revision: only where the whole address is the resource.
std::string revision_to_tell(const ApiContext& api, const Request& request,
                             std::string_view pattern);

/// The answer to a write whose If-Match can't be heard: what it changes has no revision, or the
/// header names none.
std::optional<Response> check_precondition(const Request& request, std::string_view pattern);

/// If-Match goes with the call to its step, which compares it with the state that it finds: of two
/// who saw the same only one gets through. A repeat under the same key gets the first one's answer.
void put_precondition(const Request& request, engine::Call& call);

Response not_modified(const std::string& revision);
/// 412
Response precondition_failed(const std::string& revision);

}  // namespace muster::musterd
