// What a program's exit tells of an error: the same for muster, musterd and muster-load.
#pragma once

#include "storage/base/error.hpp"

namespace muster {

/// 1 failed, 2 usage or bad input, 3 not found, 4 refused, 5 conflict, 6 not reachable or not known to have
/// happened, 7 overloaded, 124 timed out.
int exit_code(Errc code);

}  // namespace muster
