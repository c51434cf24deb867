// From what a person wrote (a fleet file, options, or both) to a fleet that can be started:
// validated, its repositories resolved, its agent packed. Nothing is sent; every problem found is
// reported, each at its place.
#pragma once

#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "tools/muster/agent_bundle.hpp"
#include "tools/muster/selection.hpp"
#include "tools/muster/yaml_source.hpp"

namespace muster::cli {

/// What the command line says; empty: the file's word, or the default, stands.
struct FleetInput {
  std::string file;                  ///< Empty: everything is in the options (one-line mode).
  std::vector<std::string> command;  ///< After "--".
  std::string name, prompt;
  std::vector<std::string> repositories;  ///< -R: paths, globs, URLs.
  std::vector<std::string> lists;         ///< --repos
  std::vector<std::string> exclude;
  std::string branch, base_branch, message, title, body, conflict_strategy, image;
  std::vector<std::string> verify, reviewers, assignees, labels, files;
  std::optional<int> concurrency, max_attempts;
  std::size_t limit = 0;
  bool draft = false;
  bool check_repositories = true;
};

struct PreparedFleet {
  actors::FleetSpec spec;  ///< With the agent's command resolved.
  std::string spec_json;   ///< Canonical.
  Selection selection;
  AgentBundle bundle;
};

struct FleetProblems {
  std::vector<Located> problems;
  std::string text;  ///< Of the fleet file, for showing lines.
};

tl::expected<PreparedFleet, FleetProblems> prepare_fleet(const FleetInput& input);

/// All problems as text, at most 50, and how many more there are.
std::string render_problems(const FleetProblems& problems);

/// A name for a fleet that was given only a branch: "muster/LibGreet 2" -> "libgreet-2".
std::string name_from_branch(const std::string& branch);
/// A dry run is a fleet of its own: "x" -> "x.dry-1122154501", at most 63 characters.
std::string dry_run_name(const std::string& name, Instant now);

}  // namespace muster::cli
