// Names from outside, checked before git or the file system sees them. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"

namespace muster::actors {

/// Longest branch name: its last part must still fit a file name with our lock's affixes.
constexpr std::size_t kMaxBranchBytes = 230;
/// Longest path or URL of a repository.
constexpr std::size_t kMaxUrlBytes = 4096;

/// The rules of git-check-ref-format for refs/heads/BRANCH, and no leading '-'.
Result<void> check_branch_name(std::string_view branch);

/// A whole SHA-1 in lower case. A SHA-256 gets a message of its own.
Result<void> check_commit_id(std::string_view sha);

/// Where a repository is: on this machine, or behind a transport that git speaks.
struct RepositoryAddress {
  bool local = false;
  std::string path;  ///< Absolute, when local.
  std::string url;   ///< What git is given, when not.
};

/// Takes an absolute path, file://, http://, https://, ssh://, git:// and HOST:PATH as ssh
/// understands it. Refuses every other transport (ext::, fd::), passwords, control characters, and
/// hosts or users that begin with '-'.
Result<RepositoryAddress> parse_address(std::string_view text);

/// git's own words with whatever stands between "://" and "@" taken out, one line, at most `limit`
/// bytes.
std::string clean_message(std::string_view text, std::size_t limit = 500);

}  // namespace muster::actors
