// Questions to a repository's history, and what is made from it in memory: ancestry, patches,
// merges.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "actors/ports/forge.hpp"
#include "actors/ports/git_handles.hpp"
#include "actors/ports/git_pack.hpp"

namespace muster::actors::git {

/// Ends a patch that was longer than its limit.
constexpr std::string_view kDiffCut = "\n[cut here: the rest of this patch is over the limit]\n";

/// Whether `tip` is `ancestor` or descends from it.
Result<bool> contains(git_repository* repository, const git_oid& tip, const git_oid& ancestor);

/// The commit on `tip`'s first-parent line that brought `head` in; nothing when it is not found
/// near the tip.
std::optional<git_oid> merged_by(git_repository* repository, const git_oid& tip,
                                 const git_oid& head);

/// `git diff base...head`, at most `limit` bytes and then kDiffCut.
Result<std::string> patch(git_repository* repository, const git_oid& base, const git_oid& head,
                          std::size_t limit);

struct Merged {
  git_oid commit{};
  std::optional<IndexedPack> pack;  ///< The new objects; nothing for a fast-forward.
  std::string conflict;             ///< For a person; not empty: there is no commit.
};
/// Merges head into base (`request.message` empty: only a fast-forward) over the objects at
/// `objects`, which it only reads; new ones become a pack in `directory`. The same request gives
/// the same commit.
Result<Merged> merge(const std::string& objects, const git_oid& base, const git_oid& head,
                     const MergeRequest& request, const std::filesystem::path& directory);

}  // namespace muster::actors::git
