// The forge of git alone: which of its two ways a repository is reached.
#include "actors/ports/forge.hpp"

#include "actors/ports/git_handles.hpp"
#include "actors/ports/git_local_forge.hpp"
#include "actors/ports/git_names.hpp"
#include "actors/ports/git_pack.hpp"
#include "actors/ports/git_remote_forge.hpp"

namespace muster::actors {
namespace {

Result<void> check_push(const PushRequest& request) {
  if (auto ok = check_branch_name(request.branch); !ok) return ok;
  if (!request.base_branch.empty())
    if (auto ok = check_branch_name(request.base_branch); !ok) return ok;
  if (auto ok = check_commit_id(request.base_sha); !ok) return ok;
  return check_commit_id(request.head_sha);
}

Result<void> check_merge(const MergeRequest& request) {
  if (auto ok = check_branch_name(request.branch); !ok) return ok;
  if (!request.base_branch.empty())
    if (auto ok = check_branch_name(request.base_branch); !ok) return ok;
  return check_commit_id(request.head_sha);
}

class GitForge final : public Forge {
 public:
  explicit GitForge(GitForgeOptions options)
      : local_{options.scratch}, remote_{std::move(options)} {}

  PushResult push(const PushRequest& request) override {
    if (auto ok = check_push(request); !ok) return {PushOutcome::rejected, ok.error().message};
    const auto address = parse_address(request.url);
    if (!address) return {PushOutcome::rejected, address.error().message};
    return address->local ? local_.push(address->path, request)
                          : remote_.push(address->url, request);
  }

  // The pull request itself is Muster's own actor: the number that the repo actor proposes is the
  // number, so the same key always gets the same one.
  Result<PullRef> open_pull(const PullRequestText& text) override {
    if (auto ok = check_branch_name(text.branch); !ok) return tl::unexpected<Error>(ok.error());
    return PullRef{text.proposed_number,
                   text.repository + "#" + std::to_string(text.proposed_number)};
  }

  MergeResult merge(const MergeRequest& request) override {
    if (auto ok = check_merge(request); !ok) return {MergeOutcome::failed, {}, ok.error().message};
    const auto address = parse_address(request.url);
    if (!address) return {MergeOutcome::failed, {}, address.error().message};
    return address->local ? local_.merge(address->path, request)
                          : remote_.merge(address->url, request);
  }

  Result<void> delete_branch(const std::string& url, const std::string& branch,
                             const std::string& expected_sha) override {
    if (auto ok = check_branch_name(branch); !ok) return ok;
    if (auto ok = check_commit_id(expected_sha); !ok) return ok;
    const auto address = parse_address(url);
    if (!address) return tl::unexpected<Error>(address.error());
    return address->local ? local_.delete_branch(address->path, branch, expected_sha)
                          : remote_.delete_branch(address->url, branch, expected_sha);
  }

  Result<std::string> diff(const std::string& url, const std::string& base_sha,
                           const std::string& head_sha, std::size_t limit) override {
    if (auto ok = check_commit_id(base_sha); !ok) return tl::unexpected<Error>(ok.error());
    if (auto ok = check_commit_id(head_sha); !ok) return tl::unexpected<Error>(ok.error());
    const auto address = parse_address(url);
    if (!address) return tl::unexpected<Error>(address.error());
    return address->local ? local_.diff(address->path, base_sha, head_sha, limit)
                          : remote_.diff(address->url, base_sha, head_sha, limit);
  }

 private:
  git::LocalForge local_;
  git::RemoteForge remote_;
};

}  // namespace

PushResult refused_base_branch(const std::string& branch) {
  return {PushOutcome::rejected,
          "'" + branch + "' is a base branch: it is changed by merging a pull request, never by a push"};
}

std::unique_ptr<Forge> make_git_forge(GitForgeOptions options) {
  git::initialise();
  git::remove_leftovers(options.scratch);
  return std::make_unique<GitForge>(std::move(options));
}

std::unique_ptr<Forge> make_git_forge(std::filesystem::path scratch) {
  return make_git_forge(GitForgeOptions{std::move(scratch), {}});
}

Result<std::string> diff_pack(const std::filesystem::path& scratch, const PushRequest& request,
                              std::size_t limit) {
  if (auto ok = check_commit_id(request.base_sha); !ok) return tl::unexpected<Error>(ok.error());
  if (auto ok = check_commit_id(request.head_sha); !ok) return tl::unexpected<Error>(ok.error());
  const auto address = parse_address(request.url);
  if (!address) return tl::unexpected<Error>(address.error());
  if (address->local) return git::LocalForge{scratch}.diff_pack(address->path, request, limit);
  return git::RemoteForge{GitForgeOptions{scratch, {}}}.diff_pack(address->url, request, limit);
}

}  // namespace muster::actors
