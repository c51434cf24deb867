// Delivery to any URL that git can push to, by git processes in a scratch repository that lives for
// one call.
#pragma once

#include <string>

#include "actors/ports/forge.hpp"

namespace muster::actors::git {

/// The names and ids in requests must have been checked. Thread-safe.
struct RemoteForge {
  GitForgeOptions options;

  [[nodiscard]] PushResult push(const std::string& url, const PushRequest& request) const;
  [[nodiscard]] MergeResult merge(const std::string& url, const MergeRequest& request) const;
  [[nodiscard]] Result<void> delete_branch(const std::string& url, const std::string& branch,
                                           const std::string& expected_sha) const;
  [[nodiscard]] Result<std::string> diff(const std::string& url, const std::string& base_sha,
                                         const std::string& head_sha, std::size_t limit) const;
  [[nodiscard]] Result<std::string> diff_pack(const std::string& url, const PushRequest& request,
                                              std::size_t limit) const;
};

}  // namespace muster::actors::git
