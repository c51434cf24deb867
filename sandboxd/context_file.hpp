// Puts a file of an agent bundle where a sandbox's agent will find it. Both sides are taken as
// hostile: the bundle comes from whoever wrote the fleet, and HOME may hold what an earlier setup
// left.
#pragma once

#include "sandboxd/plan.hpp"
#include "storage/base/error.hpp"

namespace muster::sandbox {

/// Errc::invalid when the source is no plain file of the bundle, or a directory or a link stands in
/// the way.
Result<void> place_file(const PlaceFile& op);

}  // namespace muster::sandbox
