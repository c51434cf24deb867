// Holds every answer that a test gets to what openapi.yaml says of it.
#pragma once

#include <string>

#include "tools/musterd/http.hpp"
#include "tools/musterd/router.hpp"

namespace muster::musterd {

/// "" when the document allows that answer of that operation: the status is named (or falls under
/// `default`), the content type too, and a JSON body fits its schema. Else what does not fit.
std::string openapi_problem(const std::string& method, const std::string& pattern,
                            const Response& response);

}  // namespace muster::musterd
