#include "actors/swarm/merge_trees.hpp"

#include <algorithm>
#include <cstring>
#include <set>

namespace muster::actors::swarm {
namespace {

using git::failure;

/// git looks so far for a NUL to call a file binary.
constexpr std::size_t kBinaryProbe = 8000;

using Version = FileVersion;
using Builder = git::Handle<git_treebuilder, git_treebuilder_free>;

class TreeMerger {
 public:
  TreeMerger(MergeObjects& objects, const Drivers& drivers)
      : objects_(objects), drivers_(drivers) {}

  /// Nothing: undecided, and why() says where.
  Result<std::optional<Version>> merge(const std::string& path, const Version& base,
                                       const Version& ours, const Version& theirs, int depth) {
    if (same(ours, theirs)) return merge_same(path, base, ours);
    if (same(base, ours)) return theirs;
    if (same(base, theirs)) return ours;
    if (is_tree(ours) && is_tree(theirs) && (is_tree(base) || !present(base)))
      return merge_directories(path, base, ours, theirs, depth);
    if (is_regular(ours) && is_regular(theirs) && (is_regular(base) || !present(base)))
      return merge_regular(path, base, ours, theirs);
    return undecided(path, "removed or of another kind on one side");
  }

  TreeMerge result;

 private:
  std::optional<Version> undecided(const std::string& path, const char* why) {
    result.undecided = (path.empty() ? "the root" : path) + ": " + why;
    return std::nullopt;
  }

  /// A file removed on both sides may be a rename on either, and so may be one in a directory that
  /// changed in the same manner.
  std::optional<Version> merge_same(const std::string& path, const Version& base,
                                    const Version& both) {
    if (same(base, both) || !present(base) || (is_regular(base) && is_regular(both))) return both;
    return undecided(path, "removed on both sides, perhaps");
  }

  Result<std::optional<Version>> merge_directories(const std::string& path, const Version& base,
                                                   const Version& ours, const Version& theirs,
                                                   int depth) {
    if (depth == kMaxTreeDepth) return fail(Errc::refused, "the tree is too deep");
    auto base_tree = tree_at(objects_.repository(), base);
    auto our_tree = tree_at(objects_.repository(), ours);
    auto their_tree = tree_at(objects_.repository(), theirs);
    for (const auto* tree : {&base_tree, &our_tree, &their_tree})
      if (!*tree) return tl::unexpected<Error>(tree->error());

    git_treebuilder* raw = nullptr;
    if (git_treebuilder_new(&raw, objects_.repository(), our_tree->get()) != 0)
      return failure(Errc::internal, "tree");
    const Builder builder(raw);
    for (const std::string& name : changed_names(*base_tree, *their_tree)) {
      const Version our_entry = entry_of(*our_tree, name);
      auto merged = merge(path.empty() ? name : path + "/" + name, entry_of(*base_tree, name),
                          our_entry, entry_of(*their_tree, name), depth + 1);
      if (!merged || !*merged) return merged;
      if (same(**merged, our_entry)) continue;
      if (auto ok = set(raw, name, **merged); !ok) return tl::unexpected<Error>(ok.error());
    }
    return write(raw);
  }

  static Result<void> set(git_treebuilder* builder, const std::string& name,
                          const Version& version) {
    if (!present(version)) {
      if (git_treebuilder_remove(builder, name.c_str()) != 0)
        return failure(Errc::internal, "tree");
      return {};
    }
    if (git_treebuilder_insert(nullptr, builder, name.c_str(), &version.id,
                               static_cast<git_filemode_t>(version.mode)) != 0)
      return failure(Errc::refused, "a name in a tree");
    return {};
  }

  /// git keeps no empty directories.
  Result<std::optional<Version>> write(git_treebuilder* builder) {
    if (git_treebuilder_entrycount(builder) == 0) return Version{};
    Version tree{{}, GIT_FILEMODE_TREE};
    if (git_treebuilder_write(&tree.id, builder) != 0) return failure(Errc::internal, "tree");
    objects_.note(tree.id);
    return tree;
  }

  Result<std::optional<Version>> merge_regular(const std::string& path, const Version& base,
                                               const Version& ours, const Version& theirs) {
    const bool contents_differ = git_oid_equal(&ours.id, &theirs.id) == 0;
    if (!present(base) && ours.mode != theirs.mode)
      return undecided(path, "added on both sides with different modes");
    Version merged{ours.id, base.mode == ours.mode ? theirs.mode : ours.mode};
    if (!contents_differ || (present(base) && git_oid_equal(&base.id, &theirs.id) != 0))
      return merged;
    if (present(base) && git_oid_equal(&base.id, &ours.id) != 0) {
      merged.id = theirs.id;
      return merged;
    }
    const Driver driver = drivers_.of(path);
    if (driver == Driver::regenerate) {
      result.regenerate.push_back(path);
      return merged;
    }
    if (!present(base) && driver == Driver::none) return undecided(path, "added on both sides");
    auto id = merge_files(objects_, base, ours, theirs, driver == Driver::unite);
    if (!id) return tl::unexpected<Error>(id.error());
    if (!*id) return undecided(path, "changed on both sides");
    if (driver == Driver::unite) result.united.push_back(path);
    merged.id = **id;
    return merged;
  }

  MergeObjects& objects_;
  const Drivers& drivers_;
};

/// What of a file libgit2's merge takes: its bytes stay with `object`.
struct Input {
  git::OdbObject object;
  git_merge_file_input raw = GIT_MERGE_FILE_INPUT_INIT;
  bool text = true;
};

Result<Input> input_of(git_odb* odb, const Version& version) {
  Input input;
  input.raw.mode = version.mode;
  if (!present(version)) {
    input.raw.ptr = "";
    return input;
  }
  std::size_t size = 0;
  git_object_t type{};
  if (git_odb_read_header(&size, &type, odb, &version.id) != 0)
    return failure(Errc::corrupt, "file");
  if (size > kMaxMergedFileBytes) {
    input.text = false;
    return input;
  }
  git_odb_object* raw = nullptr;
  if (git_odb_read(&raw, odb, &version.id) != 0) return failure(Errc::corrupt, "file");
  input.object.reset(raw);
  input.raw.ptr = static_cast<const char*>(git_odb_object_data(raw));
  input.raw.size = git_odb_object_size(raw);
  input.text = std::memchr(input.raw.ptr, 0, std::min(input.raw.size, kBinaryProbe)) == nullptr;
  return input;
}

/// Frees the bytes that libgit2 gave.
struct FileResult {
  git_merge_file_result raw{};
  FileResult() = default;
  FileResult(const FileResult&) = delete;
  FileResult& operator=(const FileResult&) = delete;
  ~FileResult() { git_merge_file_result_free(&raw); }
};

}  // namespace

Result<std::optional<git_oid>> merge_files(MergeObjects& objects, const FileVersion& base,
                                           const FileVersion& ours, const FileVersion& theirs,
                                           bool unite) {
  const auto ancestor = input_of(objects.all(), base);
  const auto left = input_of(objects.all(), ours);
  const auto right = input_of(objects.all(), theirs);
  for (const auto* input : {&ancestor, &left, &right}) {
    if (!*input) return tl::unexpected<Error>(input->error());
    if (!(*input)->text) return std::nullopt;
  }
  git_merge_file_options options = GIT_MERGE_FILE_OPTIONS_INIT;
  if (unite) options.favor = GIT_MERGE_FILE_FAVOR_UNION;
  FileResult merged;
  if (git_merge_file(&merged.raw, &ancestor->raw, &left->raw, &right->raw, &options) != 0)
    return failure(Errc::internal, "merge of a file");
  if (merged.raw.automergeable == 0) return std::nullopt;
  git_oid id{};
  if (git_blob_create_from_buffer(&id, objects.repository(), merged.raw.ptr, merged.raw.len) != 0)
    return failure(Errc::internal, "merged file");
  objects.note(id);
  return id;
}

Result<TreeMerge> merge_trees(MergeObjects& objects, const Drivers& drivers, const git_oid& base,
                              const git_oid& ours, const git_oid& theirs) {
  TreeMerger merger(objects, drivers);
  const auto tree = [](const git_oid& id) { return FileVersion{id, GIT_FILEMODE_TREE}; };
  auto merged = merger.merge("", tree(base), tree(ours), tree(theirs), 0);
  if (!merged) return tl::unexpected<Error>(merged.error());
  if (!*merged) {
    merger.result.united.clear();
    merger.result.regenerate.clear();
    return std::move(merger.result);
  }
  if (is_tree(**merged)) {
    merger.result.tree = (*merged)->id;
    return std::move(merger.result);
  }
  git_oid empty{};  // Every file is gone.
  if (git_odb_write(&empty, objects.all(), "", 0, GIT_OBJECT_TREE) != 0)
    return failure(Errc::internal, "tree");
  objects.note(empty);
  merger.result.tree = empty;
  return std::move(merger.result);
}

}  // namespace muster::actors::swarm
