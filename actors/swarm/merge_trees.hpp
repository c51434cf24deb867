// A three-way merge of trees in memory that looks only where base, ours and theirs differ.
//
// It decides what needs no guess: a path changed on one side, the same change on both, lines of one
// file changed on both without overlap, and files that have a driver. Everything where git looks
// for renames (a path removed on one side and changed on the other, or removed on both), directory
// against file, links, submodules, binary and huge files it leaves undecided, for git's own merge.
//
// Lines are merged by libgit2 with the plain (Myers) diff, as `git merge-file` does. git's default
// merge uses the histogram diff, which between repeated lines may find other matches. What a name
// may be is judged when packs arrive; names that change here are judged again by libgit2.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "actors/swarm/merge_drivers.hpp"
#include "actors/swarm/merge_objects.hpp"
#include "actors/swarm/tree_entries.hpp"

namespace muster::actors::swarm {

/// Larger files are left to git.
constexpr std::size_t kMaxMergedFileBytes = 8u << 20;

struct TreeMerge {
  std::optional<git_oid> tree;          ///< Nothing: undecided.
  std::string undecided;                ///< Then: the first path, and why.
  std::vector<std::string> united;      ///< Paths merged by Driver::unite.
  std::vector<std::string> regenerate;  ///< Paths that Driver::regenerate left as ours.
};

/// Errc::refused for a name that no tree may hold, and for too deep a tree.
Result<TreeMerge> merge_trees(MergeObjects& objects, const Drivers& drivers, const git_oid& base,
                              const git_oid& ours, const git_oid& theirs);

/// Both changed versions of a file in one, by lines; with `unite` nothing overlaps. Nothing when
/// they overlap, or are not text of a bounded size. `base` may be absent.
Result<std::optional<git_oid>> merge_files(MergeObjects& objects, const FileVersion& base,
                                           const FileVersion& ours, const FileVersion& theirs,
                                           bool unite);

}  // namespace muster::actors::swarm
