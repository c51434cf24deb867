// The command line: parses, runs one command, returns its exit code.
#pragma once

#include <string>
#include <vector>

#include "tools/muster/context.hpp"

namespace muster::cli {

/// `arguments` without the program's name.
int run_cli(const std::vector<std::string>& arguments, Io& io);

}  // namespace muster::cli
