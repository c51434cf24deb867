#include "actors/swarm/changed_paths.hpp"

#include "actors/ports/git_history.hpp"
#include "actors/swarm/tree_entries.hpp"

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

namespace {

class ChangedPaths {
 public:
  explicit ChangedPaths(git_repository* repository) : repository_(repository) {}

  /// What is below only one of the two, when that is a directory and the other is a file or nothing, has changed as well.
  Result<void> add(const std::string& path, const FileVersion& before, const FileVersion& after, int depth) {
    if (depth > kMaxTreeDepth) return fail(Errc::refused, "the tree is too deep");
    const bool file_before = present(before) && !is_tree(before), file_after = present(after) && !is_tree(after);
    if (file_before || file_after) {
      if (paths.size() == kMaxChangedPaths)
        return fail(Errc::refused, "it changes more than " + std::to_string(kMaxChangedPaths) + " paths");
      paths.push_back(path);
    }
    const auto from = tree_at(repository_, before);
    if (!from) return tl::unexpected<Error>(from.error());
    const auto to = tree_at(repository_, after);
    if (!to) return tl::unexpected<Error>(to.error());
    for (const std::string& name : changed_names(*from, *to))
      if (auto ok = add(path.empty() ? name : path + "/" + name, entry_of(*from, name), entry_of(*to, name), depth + 1); !ok)
        return ok;
    return {};
  }

  std::vector<std::string> paths;

 private:
  git_repository* repository_;
};

}  // namespace

Result<std::vector<std::string>> changed_paths(git_repository* repository, const git_oid& base,
                                               const git_oid& head) {
  std::vector<FileVersion> trees;
  for (const git_oid& id : {base, head}) {
    const auto commit = git::find_commit(repository, id);
    if (!commit) return tl::unexpected<Error>(commit.error());
    trees.push_back({*git_commit_tree_id(commit->get()), GIT_FILEMODE_TREE});
  }
  if (same(trees[0], trees[1])) return std::vector<std::string>();
  ChangedPaths changed(repository);
  if (auto ok = changed.add("", trees[0], trees[1], 0); !ok) return tl::unexpected<Error>(ok.error());
  return std::move(changed.paths);
}

}  // namespace muster::actors::swarm
