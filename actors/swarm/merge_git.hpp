// git's own merge (`git merge-tree --write-tree`), for what merge_trees can't decide; run over
// scratch objects, so that no configuration, attribute or hook of the repository is obeyed. Its
// arguments are commit ids only; paths come back as bytes between NULs, whatever characters they
// hold.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "actors/swarm/merge_trees.hpp"

namespace muster::actors::swarm {

/// A path that is not merged: the three versions in whole, each of which may be absent.
struct Conflict {
  std::string path;
  FileVersion base, ours, theirs;
};

/// What git says of paths: its short type ("CONFLICT (rename/delete)") and its sentence.
struct MergeNote {
  std::vector<std::string> paths;
  std::string type;
  std::string text;
};

struct GitMerge {
  /// Not clean and yet without a conflict: a directory was renamed in two ways, say; then `notes`
  /// tell.
  bool clean = false;
  git_oid tree{};  ///< With conflicts: files hold git's markers.
  std::vector<Conflict> conflicts;
  std::vector<MergeNote> notes;
};

/// Errc::refused when the two have no common history. Spills `objects` first.
Result<GitMerge> merge_with_git(MergeObjects& objects, const git_oid& ours, const git_oid& theirs);

/// What `git merge-tree -z` printed; Errc::corrupt when it is something else. Pure.
Result<GitMerge> parse_merge_tree(std::string_view output);

}  // namespace muster::actors::swarm
