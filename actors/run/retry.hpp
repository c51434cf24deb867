// What stands between two attempts: how long to wait, and what the next one is told of the last. Pure.
#pragma once

#include <string>
#include <string_view>

#include "actors/run/run_generated.h"
#include "storage/base/time.hpp"

namespace muster::actors {

/// backoff * 2^(attempt-1), at most max_backoff, of which the upper half is spread by run id and attempt, so
/// that runs that failed together do not come back together. Deterministic.
Duration backoff(const fbs::RunPolicyT& policy, std::string_view run, std::uint32_t attempt);

/// MUSTER_FEEDBACK_FILE of the attempt after `last`: {"attempt", "class", "reason", "message", "step", "output"},
/// the output being the end of the failing step's, bounded. Always valid UTF-8. What the run was told from its
/// beginning (JSON, or nothing) stands in it as "before".
std::string feedback_json(const fbs::AttemptRowT& last, const std::string& before = {});

}  // namespace muster::actors
