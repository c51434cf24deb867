// What the agent left in $MUSTER_OUTPUT. All optional; what is invalid becomes a warning.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace muster::sandbox {

struct Output {
  std::string summary;
  std::string result_json;
  std::vector<std::string> warnings;
};

Output read_output(const std::filesystem::path& out);

}  // namespace muster::sandbox
