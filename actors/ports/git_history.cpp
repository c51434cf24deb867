#include "actors/ports/git_history.hpp"

#include <git2/sys/mempack.h>
#include <git2/sys/odb_backend.h>

namespace muster::actors::git {
namespace {

constexpr int kMergeSearch = 1'000;  // First parents looked at for the merge of a head.
constexpr std::size_t kNamedConflicts = 5;
constexpr std::size_t kMaxRenameSources = 400;
/// Above packs and loose files, so that what a merge makes stays in memory.
constexpr int kMemoryPriority = 1'000;

struct PatchText {
  std::string text;
  std::size_t limit = 0;
};

int append_line(const git_diff_delta*, const git_diff_hunk*, const git_diff_line* line,
                void* payload) {
  auto& patch = *static_cast<PatchText*>(payload);
  const bool marked = line->origin == GIT_DIFF_LINE_CONTEXT ||
                      line->origin == GIT_DIFF_LINE_ADDITION ||
                      line->origin == GIT_DIFF_LINE_DELETION;
  if (patch.text.size() + line->content_len + 1 > patch.limit) return GIT_EUSER;
  if (marked) patch.text += line->origin;
  patch.text.append(line->content, line->content_len);
  return 0;
}

std::string conflict_text(git_index* index) {
  git_index_conflict_iterator* raw = nullptr;
  if (git_index_conflict_iterator_new(&raw, index) != 0) return "the merge conflicts";
  const Conflicts conflicts(raw);
  std::string names;
  std::size_t count = 0;
  const git_index_entry *ancestor = nullptr, *ours = nullptr, *theirs = nullptr;
  while (git_index_conflict_next(&ancestor, &ours, &theirs, raw) == 0) {
    const auto* entry = ours != nullptr ? ours : theirs != nullptr ? theirs : ancestor;
    if (++count <= kNamedConflicts && entry != nullptr)
      names += (names.empty() ? "" : ", ") + std::string(entry->path);
  }
  if (count > kNamedConflicts) names += " and " + std::to_string(count - kNamedConflicts) + " more";
  return "the merge conflicts in " + names;
}

/// Adds to the pack what of `tree` the repository lacks.
Result<void> insert_new(git_packbuilder* builder, git_repository* repository, git_odb* existing,
                        const git_oid& id) {
  if (git_odb_exists(existing, &id) != 0) return {};
  if (git_packbuilder_insert(builder, &id, nullptr) != 0) return failure(Errc::internal, "pack");
  git_tree* raw = nullptr;
  if (git_tree_lookup(&raw, repository, &id) != 0) return failure(Errc::internal, "merged tree");
  const Tree tree(raw);
  for (std::size_t i = 0; i < git_tree_entrycount(raw); ++i) {
    const git_tree_entry* entry = git_tree_entry_byindex(raw, i);
    const git_oid& child = *git_tree_entry_id(entry);
    if (git_tree_entry_type(entry) == GIT_OBJECT_TREE) {
      if (auto ok = insert_new(builder, repository, existing, child); !ok) return ok;
    } else if (git_tree_entry_type(entry) == GIT_OBJECT_BLOB &&
               git_odb_exists(existing, &child) == 0) {
      if (git_packbuilder_insert(builder, &child, nullptr) != 0)
        return failure(Errc::internal, "pack");
    }
  }
  return {};
}

Result<IndexedPack> write_pack(git_repository* repository, git_odb* existing, const git_oid& commit,
                               const git_oid& tree, const std::filesystem::path& directory) {
  git_packbuilder* raw = nullptr;
  if (git_packbuilder_new(&raw, repository) != 0) return failure(Errc::internal, "pack");
  const PackBuilder builder(raw);
  git_packbuilder_set_threads(raw, 1);
  if (git_packbuilder_insert(raw, &commit, nullptr) != 0) return failure(Errc::internal, "pack");
  if (auto ok = insert_new(raw, repository, existing, tree); !ok)
    return tl::unexpected<Error>(ok.error());
  if (git_packbuilder_write(raw, directory.c_str(), 0, nullptr, nullptr) != 0)
    return failure(Errc::io, "write the merge");
  return IndexedPack{directory, std::string("pack-") + git_packbuilder_name(raw)};
}

Result<git_oid> write_commit(git_repository* repository, const git_oid& tree_id,
                             const git_commit* base, const git_commit* head,
                             const MergeRequest& request) {
  git_signature* raw_signature = nullptr;
  if (git_signature_new(&raw_signature, request.author_name.c_str(), request.author_email.c_str(),
                        request.date_unix_ms / 1000, 0) != 0)
    return failure(Errc::invalid, "the merge's author");
  const Signature signature(raw_signature);
  git_tree* raw_tree = nullptr;
  if (git_tree_lookup(&raw_tree, repository, &tree_id) != 0)
    return failure(Errc::internal, "merged tree");
  const Tree tree(raw_tree);
  const git_commit* parents[] = {base, head};
  git_oid id{};
  if (git_commit_create(&id, repository, nullptr, raw_signature, raw_signature, nullptr,
                        request.message.c_str(), raw_tree, 2, parents) != 0)
    return failure(Errc::internal, "merge commit");
  return id;
}

/// A repository over `odb` whose new objects stay in memory.
Result<Repository> wrap_in_memory(git_odb* odb) {
  git_odb_backend* memory = nullptr;
  if (git_mempack_new(&memory) != 0) return failure(Errc::internal, "memory");
  if (git_odb_add_backend(odb, memory, kMemoryPriority) != 0) {
    memory->free(memory);
    return failure(Errc::internal, "memory");
  }
  return wrap(odb);
}

}  // namespace

Result<bool> contains(git_repository* repository, const git_oid& tip, const git_oid& ancestor) {
  if (git_oid_equal(&tip, &ancestor) != 0) return true;
  const int descends = git_graph_descendant_of(repository, &tip, &ancestor);
  if (descends < 0) return failure(Errc::corrupt, "the history of " + to_string(tip));
  return descends == 1;
}

std::optional<git_oid> merged_by(git_repository* repository, const git_oid& tip,
                                 const git_oid& head) {
  git_oid id = tip;
  for (int i = 0; i < kMergeSearch; ++i) {
    const auto commit = find_commit(repository, id);
    if (!commit) return std::nullopt;
    const unsigned parents = git_commit_parentcount(commit->get());
    for (unsigned p = 1; p < parents; ++p)
      if (git_oid_equal(git_commit_parent_id(commit->get(), p), &head) != 0) return id;
    if (git_oid_equal(&id, &head) != 0) return id;  // Fast-forwarded.
    if (parents == 0) return std::nullopt;
    id = *git_commit_parent_id(commit->get(), 0);
  }
  return std::nullopt;
}

Result<std::string> patch(git_repository* repository, const git_oid& base, const git_oid& head,
                          std::size_t limit) {
  git_oid from = base;
  if (git_merge_base(&from, repository, &base, &head) != 0) from = base;
  const auto old_commit = find_commit(repository, from);
  if (!old_commit) return tl::unexpected<Error>(old_commit.error());
  const auto new_commit = find_commit(repository, head);
  if (!new_commit) return tl::unexpected<Error>(new_commit.error());
  const auto old_tree = tree_of(old_commit->get());
  if (!old_tree) return tl::unexpected<Error>(old_tree.error());
  const auto new_tree = tree_of(new_commit->get());
  if (!new_tree) return tl::unexpected<Error>(new_tree.error());

  git_diff* raw = nullptr;
  if (git_diff_tree_to_tree(&raw, repository, old_tree->get(), new_tree->get(), nullptr) != 0)
    return failure(Errc::corrupt, "diff");
  const Diff diff(raw);
  git_diff_find_options find = GIT_DIFF_FIND_OPTIONS_INIT;
  find.flags = GIT_DIFF_FIND_RENAMES;
  find.rename_limit = kMaxRenameSources;
  if (git_diff_find_similar(raw, &find) != 0) return failure(Errc::corrupt, "diff");
  PatchText text{{}, limit};
  const int printed = git_diff_print(raw, GIT_DIFF_FORMAT_PATCH, append_line, &text);
  if (printed == GIT_EUSER) return text.text + std::string(kDiffCut);
  if (printed != 0) return failure(Errc::corrupt, "diff");
  return std::move(text.text);
}

Result<Merged> merge(const std::string& objects, const git_oid& base, const git_oid& head,
                     const MergeRequest& request, const std::filesystem::path& directory) {
  auto existing = open_objects(objects);
  if (!existing) return tl::unexpected<Error>(existing.error());
  auto working = open_objects(objects);
  if (!working) return tl::unexpected<Error>(working.error());
  auto wrapped = wrap_in_memory(working->get());
  if (!wrapped) return tl::unexpected<Error>(wrapped.error());
  git_repository* repository = wrapped->get();
  const auto base_commit = find_commit(repository, base);
  if (!base_commit) return tl::unexpected<Error>(base_commit.error());
  const auto head_commit = find_commit(repository, head);
  if (!head_commit) return tl::unexpected<Error>(head_commit.error());
  if (request.message.empty()) {
    const auto forward = contains(repository, head, base);
    if (!forward) return tl::unexpected<Error>(forward.error());
    if (*forward) return Merged{head, std::nullopt, {}};
    return Merged{{}, std::nullopt, "the base has moved on: this is no fast-forward"};
  }

  git_index* raw_index = nullptr;
  git_merge_options options = GIT_MERGE_OPTIONS_INIT;
  options.flags = GIT_MERGE_FIND_RENAMES;
  if (git_merge_commits(&raw_index, repository, base_commit->get(), head_commit->get(), &options) !=
      0)
    return failure(Errc::corrupt, "merge");
  const Index index(raw_index);
  if (git_index_has_conflicts(raw_index) != 0)
    return Merged{{}, std::nullopt, conflict_text(raw_index)};
  git_oid tree{};
  if (git_index_write_tree_to(&tree, raw_index, repository) != 0)
    return failure(Errc::internal, "merged tree");
  const auto commit =
      write_commit(repository, tree, base_commit->get(), head_commit->get(), request);
  if (!commit) return tl::unexpected<Error>(commit.error());
  auto pack = write_pack(repository, existing->get(), *commit, tree, directory);
  if (!pack) return tl::unexpected<Error>(pack.error());
  return Merged{*commit, std::move(*pack), {}};
}

}  // namespace muster::actors::git
