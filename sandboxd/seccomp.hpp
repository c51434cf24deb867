// The system calls a sandbox may make. Deny by default: what is not in the table answers EPERM.
#pragma once

#include <nlohmann/json.hpp>

namespace muster::sandbox {

/// The `linux.seccomp` object of an OCI configuration.
nlohmann::ordered_json seccomp_profile();

}  // namespace muster::sandbox
