// check_pack: a walk over what a pack holds, beside the base's tree.

#include <unordered_set>

#include "actors/ports/git_fsck.hpp"
#include "actors/ports/git_pack.hpp"

namespace muster::actors::git {
namespace {

using Ids = std::unordered_set<git_oid, IdHash, IdEqual>;

struct Object {
  OdbObject handle;
  [[nodiscard]] git_object_t type() const { return git_odb_object_type(handle.get()); }
  [[nodiscard]] std::string_view bytes() const {
    return {static_cast<const char*>(git_odb_object_data(handle.get())),
            git_odb_object_size(handle.get())};
  }
};

Result<Object> read_object(git_odb* odb, const git_oid& id) {
  git_odb_object* raw = nullptr;
  if (git_odb_read(&raw, odb, &id) != 0) return failure(Errc::corrupt, "object " + to_string(id));
  return Object{OdbObject(raw)};
}

class Check {
 public:
  Check(git_odb* pack, git_odb* target, git_repository* repository, Ids held, Outside outside,
        const PackLimits& limits)
      : pack_(pack),
        target_(target),
        repository_(repository),
        held_(std::move(held)),
        outside_(outside),
        limits_(limits) {}

  Result<void> run(const git_oid& base, const git_oid& head) {
    if (auto ok = commits(base, head); !ok) return ok;
    return nothing_else();
  }
  [[nodiscard]] bool new_gitmodules() const { return new_gitmodules_; }

 private:
  [[nodiscard]] bool in_pack(const git_oid& id) const { return held_.contains(id); }

  Result<void> commits(const git_oid& base, const git_oid& head) {
    if (!in_pack(head))
      return fail(Errc::corrupt, "the pack does not hold commit " + to_string(head));
    auto base_commit = read_object(target_, base);
    if (!base_commit) return tl::unexpected<Error>(base_commit.error());
    auto base_links = check_base(*base_commit);
    if (!base_links) return tl::unexpected<Error>(base_links.error());

    bool reaches_base = false;
    std::vector<git_oid> todo{head};
    seen_.insert(head);
    while (!todo.empty()) {
      const git_oid id = todo.back();
      todo.pop_back();
      if (++commits_ > limits_.commits)
        return fail(Errc::refused, "the pack holds too many commits");
      auto links = commit(id, base_links->tree);
      if (!links) return tl::unexpected<Error>(links.error());
      for (const git_oid& parent : links->parents) {
        if (git_oid_equal(&parent, &base) != 0) {
          reaches_base = true;
        } else if (in_pack(parent)) {
          if (seen_.insert(parent).second) todo.push_back(parent);
        } else if (auto ok = older_than(parent, base); !ok) {
          return ok;
        }
      }
    }
    if (!reaches_base)
      return fail(Errc::corrupt, "commit " + to_string(head) + " does not descend from its base");
    return {};
  }

  /// The base's tree; leniently, because it is in the repository already.
  static Result<CommitLinks> check_base(const Object& commit) {
    CommitLinks links;
    const std::string_view raw = commit.bytes();
    if (commit.type() != GIT_OBJECT_COMMIT || !raw.starts_with("tree ") || raw.size() < 45)
      return fail(Errc::corrupt, "the base is not a commit");
    links.tree = parse_id(raw.substr(5, GIT_OID_HEXSZ));
    return links;
  }

  Result<void> older_than(const git_oid& parent, const git_oid& base) {
    const int older = git_graph_descendant_of(repository_, &base, &parent);
    if (older < 0) return failure(Errc::corrupt, "parent " + to_string(parent));
    if (older == 0)
      return fail(Errc::corrupt,
                  "parent " + to_string(parent) + " is neither in the pack nor in the base");
    return {};
  }

  Result<CommitLinks> commit(const git_oid& id, const git_oid& base_tree) {
    auto object = read_object(pack_, id);
    if (!object) return tl::unexpected<Error>(object.error());
    if (object->type() != GIT_OBJECT_COMMIT)
      return fail(Errc::corrupt, to_string(id) + " is not a commit");
    auto links = check_commit(object->bytes());
    if (!links) return links;
    if (auto ok = link({0040000, {}, links->tree}, &base_tree, 0); !ok)
      return tl::unexpected<Error>(ok.error());
    return links;
  }

  /// Something that a commit or tree refers to; `base` is what the base's tree has at the same
  /// place.
  Result<void> link(const TreeEntry& entry, const git_oid* base, int depth) {
    if (depth > limits_.depth) return fail(Errc::refused, "the directories are too deep");
    if (entry.is_submodule()) return {};
    if (in_pack(entry.id)) return entry.is_tree() ? tree(entry.id, base, depth) : blob(entry.id);
    if (base != nullptr && git_oid_equal(base, &entry.id) != 0) return {};
    if (outside_ == Outside::is_the_forges) return {};
    return outside(entry, depth);
  }

  Result<void> blob(const git_oid& id) {
    if (!seen_.insert(id).second) return {};
    std::size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    if (git_odb_read_header(&size, &type, pack_, &id) != 0)
      return failure(Errc::corrupt, "object " + to_string(id));
    if (type != GIT_OBJECT_BLOB)
      return fail(Errc::corrupt, to_string(id) + " is not a file's content");
    return {};
  }

  Result<void> tree(const git_oid& id, const git_oid* base, int depth) {
    if (!seen_.insert(id).second) return {};
    auto object = read_object(pack_, id);
    if (!object) return tl::unexpected<Error>(object.error());
    if (object->type() != GIT_OBJECT_TREE)
      return fail(Errc::corrupt, to_string(id) + " is not a tree");
    auto entries = check_tree(object->bytes());
    if (!entries) return tl::unexpected<Error>(entries.error());
    Tree base_tree;
    if (base != nullptr) {
      git_tree* raw = nullptr;
      if (git_tree_lookup(&raw, repository_, base) == 0) base_tree.reset(raw);
    }
    for (const TreeEntry& entry : *entries) {
      const git_oid* same_place = nullptr;
      if (base_tree != nullptr) {
        const auto* found = git_tree_entry_byname(base_tree.get(), std::string(entry.name).c_str());
        if (found != nullptr &&
            static_cast<std::uint32_t>(git_tree_entry_filemode(found)) == entry.mode)
          same_place = git_tree_entry_id(found);
      }
      if (entry.is_gitmodules() &&
          (same_place == nullptr || git_oid_equal(same_place, &entry.id) == 0))
        new_gitmodules_ = true;
      if (auto ok = link(entry, same_place, depth + 1); !ok) return ok;
    }
    return {};
  }

  /// An object of the target, with all that hangs on it: what only happens to lie there may be half
  /// pruned.
  Result<void> outside(const TreeEntry& entry, int depth) {
    if (depth > limits_.depth) return fail(Errc::refused, "the directories are too deep");
    if (!seen_.insert(entry.id).second) return {};
    std::size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    if (git_odb_read_header(&size, &type, target_, &entry.id) != 0)
      return fail(Errc::corrupt, "object " + to_string(entry.id) +
                                     " is neither in the pack nor in the repository");
    if (type != (entry.is_tree() ? GIT_OBJECT_TREE : GIT_OBJECT_BLOB))
      return fail(Errc::corrupt,
                  "object " + to_string(entry.id) + " is of another type than its tree says");
    if (!entry.is_tree()) return {};
    auto object = read_object(target_, entry.id);
    if (!object) return tl::unexpected<Error>(object.error());
    auto entries = check_tree(object->bytes());
    if (!entries) return tl::unexpected<Error>(entries.error());
    for (const TreeEntry& child : *entries) {
      if (child.is_submodule()) continue;
      if (auto ok = outside(child, depth + 1); !ok) return ok;
    }
    return {};
  }

  /// Objects of the pack that nothing needed: harmless where the target has them, else smuggled.
  Result<void> nothing_else() {
    for (const git_oid& id : held_)
      if (!seen_.contains(id) && git_odb_exists(target_, &id) == 0)
        return fail(Errc::corrupt,
                    "the pack holds " + to_string(id) + ", which the commit does not need");
    return {};
  }

  git_odb* pack_;
  git_odb* target_;
  git_repository* repository_;  ///< Over the target.
  Ids held_;
  Outside outside_;
  const PackLimits& limits_;
  Ids seen_;
  std::size_t commits_ = 0;
  bool new_gitmodules_ = false;
};

}  // namespace

Result<bool> check_pack(const IndexedPack& pack, git_odb* target, const git_oid& base,
                        const git_oid& head, Outside outside, const PackLimits& limits) {
  const auto opened = open_pack(pack.file(".idx"));
  if (!opened) return tl::unexpected<Error>(opened.error());
  git_odb* own = opened->get();
  const auto held = objects_of(own);
  if (!held) return tl::unexpected<Error>(held.error());
  auto repository = wrap(target);
  if (!repository) return tl::unexpected<Error>(repository.error());
  Check check(own, target, repository->get(), {held->begin(), held->end()}, outside, limits);
  if (auto ok = check.run(base, head); !ok) return tl::unexpected<Error>(ok.error());
  return check.new_gitmodules();
}

}  // namespace muster::actors::git
