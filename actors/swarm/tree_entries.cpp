#include "actors/swarm/tree_entries.hpp"

namespace muster::actors::swarm {
namespace {

FileVersion version_of(const git_tree_entry* entry) {
  if (entry == nullptr) return {};
  return {*git_tree_entry_id(entry), static_cast<unsigned>(git_tree_entry_filemode_raw(entry))};
}

}  // namespace

bool is_regular(const FileVersion& file) {
  return file.mode == GIT_FILEMODE_BLOB || file.mode == GIT_FILEMODE_BLOB_EXECUTABLE;
}

bool same(const FileVersion& a, const FileVersion& b) {
  return a.mode == b.mode && (a.mode == 0 || git_oid_equal(&a.id, &b.id) != 0);
}

Result<git::Tree> tree_at(git_repository* repository, const FileVersion& version) {
  if (!is_tree(version)) return git::Tree();
  git_tree* raw = nullptr;
  if (git_tree_lookup(&raw, repository, &version.id) != 0)
    return git::failure(Errc::corrupt, "tree");
  return git::Tree(raw);
}

FileVersion entry_of(const git::Tree& tree, const std::string& name) {
  return tree ? version_of(git_tree_entry_byname(tree.get(), name.c_str())) : FileVersion{};
}

/// Both trees are in git's order.
std::set<std::string> changed_names(const git::Tree& base, const git::Tree& theirs) {
  std::set<std::string> names;
  const std::size_t base_count = base ? git_tree_entrycount(base.get()) : 0;
  const std::size_t theirs_count = theirs ? git_tree_entrycount(theirs.get()) : 0;
  for (std::size_t b = 0, t = 0; b < base_count || t < theirs_count;) {
    const auto* left = b < base_count ? git_tree_entry_byindex(base.get(), b) : nullptr;
    const auto* right = t < theirs_count ? git_tree_entry_byindex(theirs.get(), t) : nullptr;
    const int order = left == nullptr ? 1 : right == nullptr ? -1 : git_tree_entry_cmp(left, right);
    if (order < 0) names.insert(git_tree_entry_name(left));
    if (order > 0) names.insert(git_tree_entry_name(right));
    if (order == 0 && !same(version_of(left), version_of(right)))
      names.insert(git_tree_entry_name(left));
    if (order <= 0) ++b;
    if (order >= 0) ++t;
  }
  return names;
}

}  // namespace muster::actors::swarm
