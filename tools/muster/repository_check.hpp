// Can this repository be read, and what is its base branch? Paths are looked at directly, remotes
// asked by git.
#pragma once

#include <filesystem>
#include <string>

#include "storage/base/error.hpp"

namespace muster::cli {

/// A bare repository, or a work tree with a .git.
bool looks_like_repository(const std::filesystem::path& path);

/// The branch itself when `wanted` exists there; with an empty `wanted` the branch of its HEAD
/// (empty when that is detached). Errc::not_found when there is no such branch or no commit,
/// Errc::unreachable when it can't be read.
Result<std::string> resolve_base_branch(const std::string& url, const std::string& wanted);

}  // namespace muster::cli
