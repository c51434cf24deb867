// One load test from its beginning to its report.
#pragma once

#include <atomic>

#include "bench/load/options.hpp"
#include "bench/load/report.hpp"

namespace muster::load {

/// Errc says why nothing could be measured. What began and could not be ended is in the report, as
/// incomplete. `stop` may be set at any time.
Result<Report> run_load(const Options& options, const std::atomic<bool>& stop);

}  // namespace muster::load
