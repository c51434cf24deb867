// Where merges read and write: the objects of one repository, which are only read; new objects in
// memory; and a scratch directory, where new objects become a pack when git itself has to see them,
// when there are many, and when they are handed over.
//
// One owner, one thread. After a death nothing of it is needed: the same merges make the same
// objects.
#pragma once

#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "actors/ports/git_handles.hpp"
#include "actors/ports/git_pack.hpp"
#include "storage/base/process.hpp"

struct git_odb_backend;

namespace muster::actors::swarm {

/// So many new objects at most are kept in memory alone.
constexpr std::size_t kMaxObjectsInMemory = 20'000;

class MergeObjects {
 public:
  /// `objects` is the directory of the repository's objects.
  static Result<MergeObjects> open(const std::string& objects,
                                   const std::filesystem::path& scratch);

  [[nodiscard]] git_repository* repository() const { return repository_.get(); }
  [[nodiscard]] git_odb* all() const { return odb_.get(); }

  /// An object that was written through repository(): it is in the next pack.
  void note(const git_oid& id);
  /// As note, for a tree that git wrote, with what below it the repository lacks.
  Result<void> note_tree(const git_oid& id);

  /// Moves what is in memory into the scratch directory, where git sees it.
  Result<void> spill();
  /// The same when there is much of it.
  Result<void> spill_if_full();
  /// One pack of everything noted since the last; nothing when that is empty. The caller installs
  /// it (git::install_pack) and then says handed_over().
  Result<std::optional<git::IndexedPack>> pack();
  void handed_over();
  /// Instead of handing over: nobody needs what was made.
  void forget();

  /// A git process over the same objects, without the repository's configuration and hooks.
  /// `arguments` follow "git".
  Result<ProcessResult> run_git(const std::vector<std::string>& arguments) const;

 private:
  using Ids = std::unordered_set<git_oid, git::IdHash, git::IdEqual>;
  MergeObjects(git::ScratchDirectory scratch, std::string objects)
      : scratch_(std::move(scratch)), objects_(std::move(objects)) {}
  Result<git::IndexedPack> write(const std::vector<git_oid>& ids,
                                 const std::filesystem::path& directory);
  [[nodiscard]] std::filesystem::path git_directory() const;

  git::ScratchDirectory scratch_;
  std::string objects_;
  git::Odb existing_;                  ///< The repository alone.
  git::Odb odb_;                       ///< The repository, the scratch directory and the memory.
  git_odb_backend* memory_ = nullptr;  ///< Owned by odb_.
  git::Repository repository_;
  std::vector<git_oid> fresh_;  ///< For the next pack, in the order they were made.
  Ids seen_;                    ///< The same, to find each once.
  std::size_t spilled_ = 0;     ///< So many of fresh_, from its beginning, are in scratch.
};

}  // namespace muster::actors::swarm
