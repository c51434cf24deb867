// Errors as the API tells them: application/problem+json (RFC 9457), one table from Errc to HTTP.
#pragma once

#include <string>
#include <string_view>

#include "storage/base/error.hpp"
#include "tools/musterd/http.hpp"

namespace muster::musterd {

/// How one kind of failure looks over HTTP. `slug` ends the stable type
/// "https://muster.dev/problems/<slug>".
struct ProblemKind {
  int status;
  std::string_view slug;
  std::string_view title;
  std::string_view hint;  ///< What to do about it; may be empty.
};

const ProblemKind& problem_kind(Errc code);

/// The response for an error. 429 and 503 carry Retry-After.
Response problem(const Error& error);

/// As above, where the failure has a more special kind than its code tells.
Response problem(const ProblemKind& kind, Errc code, std::string_view detail);

/// The caller is known, and may not.
extern const ProblemKind kForbidden;
/// The address exists, but not for that method.
extern const ProblemKind kMethodNotAllowed;

/// For what the HTTP server refuses by itself: 400, 408, 413, 429, 431.
Response refusal(int status, std::string_view why);

}  // namespace muster::musterd
