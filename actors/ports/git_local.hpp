// A repository that is a path on this machine, seen through its files alone. Its configuration is
// never obeyed; of it only what tells the repository's shape is looked at: core.bare and
// extensions.*.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "actors/ports/git_refs.hpp"
#include "storage/base/error.hpp"
#include "storage/base/files.hpp"

namespace muster::actors::git {

/// core.bare and the extension that we can't handle, as a config file says them. Pure; includes are
/// not followed.
struct RepositoryShape {
  std::optional<bool> bare;
  std::string unsupported;  ///< For a person; empty when there is nothing.
};
RepositoryShape read_shape(std::string_view config);

class LocalRepository {
 public:
  /// `path` is a bare repository, a work tree with a .git directory, or one with a .git file.
  static Result<LocalRepository> open(const std::string& path);

  [[nodiscard]] Refs refs() const { return Refs(common_.get()); }
  [[nodiscard]] std::string objects_path() const { return common_path_ + "/objects"; }
  /// objects/pack, made when missing.
  [[nodiscard]] Result<Fd> pack_directory() const;
  /// The branch that HEAD names, born or not; Errc::not_found when HEAD is detached.
  [[nodiscard]] Result<std::string> head_branch() const;
  /// The branch meant by a base branch's name: itself, or HEAD's when it is empty.
  [[nodiscard]] Result<std::string> base_branch(const std::string& named) const;
  /// Whether a work tree of this repository has that branch checked out.
  [[nodiscard]] Result<bool> checked_out(const std::string& branch) const;

 private:
  std::string common_path_;
  Fd git_;     ///< Holds HEAD.
  Fd common_;  ///< Holds refs, packed-refs and objects; the same but for linked work trees.
  bool bare_ = true;
};

}  // namespace muster::actors::git
