// The forge: where branches go and pull requests live. Git and files only in the .cpp; GitHub and
// GitLab will be other implementations. Every call may block for as long as git does; call it from
// a port's own threads. Names, refs and paths come from outside and are hostile: each is checked
// before git sees it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "storage/base/error.hpp"

namespace muster::actors {

struct PushRequest {
  std::string url;          ///< Path or URL of the repository.
  std::string base_branch;  ///< Empty: its HEAD.
  std::string base_sha;
  std::string head_sha;
  std::string branch;
  std::filesystem::path pack;  ///< Every object of head that base lacks.
  bool replace = false;        ///< conflict_strategy: replace.
};

enum class PushOutcome : std::uint8_t {
  pushed,
  already_there /* with exactly that head */,
  branch_exists /* with another */,
  base_moved,
  rejected,
  failed
};
struct PushResult {
  PushOutcome outcome = PushOutcome::failed;
  std::string message;
};

/// What a push to the base branch, or to the one that HEAD names, comes to: those change by a merge alone.
PushResult refused_base_branch(const std::string& branch);

struct PullRequestText {
  std::string key;  ///< pr/<fleet>/<repo>: the same key never makes a second one.
  std::uint32_t proposed_number = 0;
  std::string repository;  ///< OWNER/NAME
  std::string url;
  std::string branch;
  std::string base_branch;
  std::string head_sha;
  std::string title;
  std::string body;
};
struct PullRef {
  std::uint32_t number = 0;
  std::string url;
};

enum class MergeOutcome : std::uint8_t {
  merged,
  already_merged,
  conflict,
  checked_out,
  head_moved,
  failed
};
struct MergeResult {
  MergeOutcome outcome = MergeOutcome::failed;
  std::string commit;
  std::string message;
};
inline MergeResult no_merge(MergeOutcome outcome, std::string message) {
  return {outcome, {}, std::move(message)};
}
inline MergeResult merge_failed(const Error& error) {
  return no_merge(MergeOutcome::failed, error.message);
}
struct MergeRequest {
  std::string url;
  std::string branch;
  std::string base_branch;  ///< Empty: its HEAD.
  std::string head_sha;     ///< The branch must still be there.
  std::string message;
  std::string author_name, author_email;
  std::int64_t date_unix_ms = 0;
};

class Forge {
 public:
  virtual ~Forge() = default;
  /// Compare-and-swap: creates the branch, or replaces the value it saw. No hook runs.
  virtual PushResult push(const PushRequest& request) = 0;
  virtual Result<PullRef> open_pull(const PullRequestText& text) = 0;
  /// A merge commit (or a fast-forward when `message` is empty) on the base branch, by
  /// compare-and-swap.
  virtual MergeResult merge(const MergeRequest& request) = 0;
  virtual Result<void> delete_branch(const std::string& url, const std::string& branch,
                                     const std::string& expected_sha) = 0;
  /// `git diff base...head` as a patch, at most `limit` bytes.
  virtual Result<std::string> diff(const std::string& url, const std::string& base_sha,
                                   const std::string& head_sha, std::size_t limit) = 0;
};

struct GitForgeOptions {
  std::filesystem::path scratch;  ///< Temporary repositories; one forge per directory.
  /// A git configuration file for URLs only (credential.helper, http.sslCAInfo, url.*.insteadOf):
  /// how the engine comes by its credentials. Empty: none; a URL that asks for some fails.
  std::filesystem::path git_config;
};

/// Into the repository that it came from: a path on this machine (objects and ref are written
/// directly, none of its hooks or configuration counts) or any URL git can push to. Thread-safe.
///
/// base_moved means that the base commit can't be built upon any more: it is gone, or the base
/// branch was rewritten and no longer contains it. A base branch that only moved on is no hindrance
/// to a pull request.
std::unique_ptr<Forge> make_git_forge(GitForgeOptions options);
std::unique_ptr<Forge> make_git_forge(std::filesystem::path scratch);

/// A diff of a pack against a base in the repository at `url`, without pushing anything: for dry
/// runs.
Result<std::string> diff_pack(const std::filesystem::path& scratch, const PushRequest& request,
                              std::size_t limit);

}  // namespace muster::actors
