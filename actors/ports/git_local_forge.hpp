// Delivery into a repository on this machine, in process: no git is started, but to judge a new
// .gitmodules.
#pragma once

#include <filesystem>
#include <string>

#include "actors/ports/forge.hpp"

namespace muster::actors::git {

/// The names and ids in requests must have been checked; `path` is absolute. Thread-safe.
struct LocalForge {
  std::filesystem::path scratch;

  [[nodiscard]] PushResult push(const std::string& path, const PushRequest& request) const;
  [[nodiscard]] MergeResult merge(const std::string& path, const MergeRequest& request) const;
  [[nodiscard]] Result<void> delete_branch(const std::string& path, const std::string& branch,
                                           const std::string& expected_sha) const;
  [[nodiscard]] Result<std::string> diff(const std::string& path, const std::string& base_sha,
                                         const std::string& head_sha, std::size_t limit) const;
  [[nodiscard]] Result<std::string> diff_pack(const std::string& path, const PushRequest& request,
                                              std::size_t limit) const;
};

}  // namespace muster::actors::git
