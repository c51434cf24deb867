// Entries of git's trees, and which of two trees differ: trees with one id are never opened, so that a small change costs
// what it changes and not what the repository holds (libgit2's diff of trees opens them all).
#pragma once

#include <git2.h>

#include <set>
#include <string>

#include "actors/ports/git_handles.hpp"

namespace muster::actors::swarm {

constexpr int kMaxTreeDepth = 200;

/// One version of a file or a directory; `mode` 0: it isn't there.
struct FileVersion {
  git_oid id{};
  unsigned mode = 0;
};
inline bool present(const FileVersion& version) {
  return version.mode != 0;
}
inline bool is_tree(const FileVersion& version) {
  return version.mode == GIT_FILEMODE_TREE;
}
bool is_regular(const FileVersion& file);
bool same(const FileVersion& a, const FileVersion& b);

/// None for what is no directory. Errc::corrupt when the repository lacks it.
Result<git::Tree> tree_at(git_repository* repository, const FileVersion& version);
/// Of no tree: not there.
FileVersion entry_of(const git::Tree& tree, const std::string& name);
/// The names that `theirs` has changed, added or removed, of this level.
std::set<std::string> changed_names(const git::Tree& base, const git::Tree& theirs);

}  // namespace muster::actors::swarm
