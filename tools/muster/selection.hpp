// Which repositories a fleet works on: sources resolved once, into a snapshot. Reads the disk and
// asks remotes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "actors/spec/fleet_spec.hpp"

namespace muster::cli {

/// One repository of the snapshot.
struct Selected {
  std::string repository;  ///< OWNER/NAME
  std::string url;
  std::string canonical_url;
  std::string base_branch;  ///< Resolved; empty only when the remote's HEAD is detached.
  std::map<std::string, std::string> labels;
};

/// A problem of a source, or of a line of the file that it names.
struct SelectionProblem {
  std::string pointer;  ///< /repositories/2
  std::string file;     ///< With `line`: where the repository was named, if in a file.
  std::size_t line = 0;
  std::string message;
};

struct Selection {
  std::vector<Selected> repositories;  ///< In the order of the sources.
  std::vector<SelectionProblem> problems;
  std::size_t excluded = 0;
  std::size_t duplicates = 0;
  std::size_t beyond_limit = 0;
};

struct SelectionOptions {
  std::filesystem::path directory;  ///< What relative paths are relative to.
  std::size_t limit = 0;            ///< At most so many, the first; 0: all.
  std::size_t parallel = 16;        ///< Remotes asked at a time.
  bool check = true;                ///< That each can be read and has its base branch.
};

Selection resolve_selection(const actors::FleetSpec& spec, const SelectionOptions& options);

}  // namespace muster::cli
