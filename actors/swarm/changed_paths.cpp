#include "actors/swarm/changed_paths.hpp"

#include "actors/ports/git_history.hpp"

namespace muster::actors::swarm {

Result<git::Diff> diff_of(git_repository* repository, const git_oid& base, const git_oid& head) {
  std::vector<git::Tree> trees;
  for (const git_oid& id : {base, head}) {
    const auto commit = git::find_commit(repository, id);
    if (!commit) return tl::unexpected<Error>(commit.error());
    auto tree = git::tree_of(commit->get());
    if (!tree) return tl::unexpected<Error>(tree.error());
    trees.push_back(std::move(*tree));
  }
  git_diff* raw = nullptr;
  if (git_diff_tree_to_tree(&raw, repository, trees[0].get(), trees[1].get(), nullptr) != 0)
    return git::failure(Errc::corrupt, "the change");
  return git::Diff(raw);
}

Result<std::vector<std::string>> changed_paths(git_repository* repository, const git_oid& base,
                                               const git_oid& head) {
  const auto diff = diff_of(repository, base, head);
  if (!diff) return tl::unexpected<Error>(diff.error());
  git_diff* raw = diff->get();
  std::vector<std::string> paths;
  if (git_diff_num_deltas(raw) > kMaxChangedPaths)
    return fail(Errc::refused,
                "it changes more than " + std::to_string(kMaxChangedPaths) + " paths");
  for (std::size_t i = 0; i < git_diff_num_deltas(raw); ++i) {
    const git_diff_delta* delta = git_diff_get_delta(raw, i);
    paths.emplace_back(delta->old_file.path != nullptr ? delta->old_file.path
                                                       : delta->new_file.path);
    if (delta->new_file.path != nullptr && paths.back() != delta->new_file.path)
      paths.emplace_back(delta->new_file.path);
  }
  return paths;
}

}  // namespace muster::actors::swarm
