// What differs between two commits.
#pragma once

#include <string>
#include <vector>

#include "actors/ports/git_handles.hpp"

namespace muster::actors::swarm {

/// More changed paths than that are not looked through: Errc::refused.
inline constexpr std::size_t kMaxChangedPaths = 200'000;

/// The whole change, without looking for renames. Costs what the trees hold.
Result<git::Diff> diff_of(git_repository* repository, const git_oid& base, const git_oid& head);

/// Every file that differs between them. Costs what differs.
Result<std::vector<std::string>> changed_paths(git_repository* repository, const git_oid& base,
                                               const git_oid& head);

}  // namespace muster::actors::swarm
