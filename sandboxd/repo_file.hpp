// Files of a commit, read from its mirror before any sandbox is made. The repository is hostile: git reads it in a
// process with little memory and time, sizes are looked at before contents, and nothing is checked out or followed.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::sandbox {

struct RepoFile {
  std::string id;           ///< Of the blob; empty: there is no file of that path.
  std::uint64_t bytes = 0;
};

/// What `commit` has at each of `paths`, in their order. A path is ours or has passed is_repo_path.
Result<std::vector<RepoFile>> find_files(const std::filesystem::path& objects, const std::string& commit,
                                         const std::vector<std::string>& paths);

/// The contents. Errc::invalid: more than `limit` bytes.
Result<std::string> read_blob(const std::filesystem::path& objects, const RepoFile& file, std::size_t limit);

/// Paths of everything that the commit tracks, submodules too. Errc::invalid: more than can be listed.
Result<std::vector<std::string>> tracked_files(const std::filesystem::path& objects, const std::string& commit);

/// A plain path inside a repository: relative, no "..", no control character.
bool is_repo_path(std::string_view path);

}  // namespace muster::sandbox
