// Shell completion, made from the commands themselves. Pure.
#pragma once

#include <string>
#include <vector>

namespace muster::cli {

/// What may stand behind an option.
struct CompletionValue {
  std::string option;              ///< "--format"
  std::vector<std::string> words;  ///< All that it takes; or
  std::string names;               ///< whose names: as of CompletionEntry.
};

/// One command: "" (muster itself), "fleet", "fleet run", with what may follow it.
struct CompletionEntry {
  std::string path;
  std::vector<std::string> commands;
  std::vector<std::string> options;  ///< With their dashes.
  std::vector<CompletionValue> values;
  /// What the command is about: "fleet", "run", "pr", "host", or "" for none. The shell asks
  /// `muster names` for them.
  std::string names;
};

/// A script for bash, zsh or fish; empty for any other shell.
std::string completion_script(const std::string& shell,
                              const std::vector<CompletionEntry>& entries);

}  // namespace muster::cli
