// Whether this machine can isolate: sandboxd never runs anything unisolated. Each finding says what is missing and
// how to mend it.
#pragma once

#include <string>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::sandbox {

struct HostConfig;

struct Finding {
  bool ok = false;
  std::string what;
  std::string mend;  ///< Empty when ok.
};

/// Resolves programs to paths and checks what every start needs, quickly. Errc::refused lists what is missing.
Result<void> complete(HostConfig& config);

/// Everything `sandboxd --check` prints, without running a sandbox.
std::vector<Finding> check_host(HostConfig config);

/// How disks of sandboxes are limited, in words; where they are only measured, also what would be better and how to get it.
std::string disk_limits(const HostConfig& config);

}  // namespace muster::sandbox
