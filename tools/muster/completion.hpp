// Shell completion, made from the commands themselves. Pure.
#pragma once

#include <string>
#include <vector>

namespace muster::cli {

/// One command: "" (muster itself), "fleet", "fleet run", with what may follow it.
struct CompletionEntry {
  std::string path;
  std::vector<std::string> commands;
  std::vector<std::string> options;  ///< With their dashes.
};

/// A script for bash, zsh or fish; empty for any other shell.
std::string completion_script(const std::string& shell,
                              const std::vector<CompletionEntry>& entries);

}  // namespace muster::cli
