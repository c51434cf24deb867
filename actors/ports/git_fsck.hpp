// What a tree and a commit must look like before they enter somebody's repository: the checks of
// `git fsck
// --strict` on one object. Pure functions.
#pragma once

#include <git2/oid.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::actors::git {

struct TreeEntry {
  std::uint32_t mode = 0;
  std::string_view name;  ///< Points into the checked bytes.
  git_oid id{};

  [[nodiscard]] bool is_tree() const { return mode == 0040000; }
  [[nodiscard]] bool is_submodule() const { return mode == 0160000; }
  /// .gitmodules, or what a Mac or Windows file system takes for it.
  [[nodiscard]] bool is_gitmodules() const;
};

/// The entries of a tree; Errc::corrupt for names with '/', ".", ".." or a form of ".git", unknown
/// modes, wrong order, duplicates, null ids.
Result<std::vector<TreeEntry>> check_tree(std::string_view raw);

struct CommitLinks {
  git_oid tree{};
  std::vector<git_oid> parents;
};
/// Errc::corrupt unless headers, identities and dates are as git writes them.
Result<CommitLinks> check_commit(std::string_view raw);

/// Whether a file system that ignores case, trailing dots or invisible characters takes `name` for
/// ".git".
bool is_dot_git(std::string_view name);

}  // namespace muster::actors::git
