// What the agent left in $MUSTER_OUTPUT. All optional; what is invalid becomes a warning. Secrets are masked in it, as
// muster-init masks them in the log.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sandboxd/init/mask.hpp"

namespace muster::sandbox {

struct Output {
  std::string summary;
  std::string result_json;
  std::vector<std::string> warnings;
};

Output read_output(const std::filesystem::path& out, const Mask& mask);

/// The secrets that a sandbox was given, from muster-init's orders, which live as long as the sandbox does.
Mask mask_from(const std::filesystem::path& orders);

}  // namespace muster::sandbox
