// Owners of libgit2's objects, and how its errors become ours. Only the .cpp files of this folder
// include it.
//
// No git_repository is ever opened on a path: that would read the repository's configuration. What
// is needed of one is wrapped around an object database, with an empty configuration.
#pragma once

#include <git2.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::actors::git {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* handle) const {
    Free(handle);
  }
};
template <class T, auto Free>
using Handle = std::unique_ptr<T, Freer<Free>>;

using Odb = Handle<git_odb, git_odb_free>;
using OdbObject = Handle<git_odb_object, git_odb_object_free>;
using Repository = Handle<git_repository, git_repository_free>;
using Config = Handle<git_config, git_config_free>;
using Commit = Handle<git_commit, git_commit_free>;
using Tree = Handle<git_tree, git_tree_free>;
using Index = Handle<git_index, git_index_free>;
using Indexer = Handle<git_indexer, git_indexer_free>;
using Diff = Handle<git_diff, git_diff_free>;
using PackBuilder = Handle<git_packbuilder, git_packbuilder_free>;
using Signature = Handle<git_signature, git_signature_free>;
using Conflicts = Handle<git_index_conflict_iterator, git_index_conflict_iterator_free>;

/// Once per process: no configuration of the system or the user, bounded caches. Thread-safe.
void initialise();

/// libgit2's last error of this thread, behind what was attempted.
tl::unexpected<Error> failure(Errc code, std::string_view attempted);

std::string to_string(const git_oid& id);
/// `sha` must have passed check_commit_id.
git_oid parse_id(std::string_view sha);

struct IdHash {
  std::size_t operator()(const git_oid& id) const noexcept;
};
struct IdEqual {
  bool operator()(const git_oid& a, const git_oid& b) const noexcept {
    return git_oid_equal(&a, &b) != 0;
  }
};

/// Reads the objects below `directory` and its alternates, and never writes there.
Result<Odb> open_objects(const std::string& directory);
/// Adds one indexed pack to what `odb` reads.
Result<void> add_pack(git_odb* odb, const std::string& index_file);
/// Reads one indexed pack and nothing else.
Result<Odb> open_pack(const std::string& index_file);
/// The ids of everything in the pack.
Result<std::vector<git_oid>> objects_of(git_odb* pack);
/// The library's view of an object database, without path, refs and configuration.
Result<Repository> wrap(git_odb* odb);

Result<Commit> find_commit(git_repository* repository, const git_oid& id);
Result<Tree> tree_of(const git_commit* commit);

}  // namespace muster::actors::git
