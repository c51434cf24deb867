// A pack from a host on its way into a repository: indexed in scratch, checked there, and only then
// installed. Until it is installed nothing of the target changes, and what is installed is whole:
// the index appears last.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "actors/ports/git_handles.hpp"
#include "storage/base/error.hpp"
#include "storage/base/process.hpp"

namespace muster::actors::git {

struct PackLimits {
  std::uint64_t bytes = 256u << 20;
  std::uint32_t objects = 500'000;
  int depth = 512;  ///< Of directories.
  std::size_t commits = 10'000;
};

/// A new directory below `parent` that goes away with its owner.
class ScratchDirectory {
 public:
  static Result<ScratchDirectory> make(const std::filesystem::path& parent);
  ScratchDirectory(ScratchDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchDirectory& operator=(ScratchDirectory&&) = delete;
  ~ScratchDirectory();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};
/// Removes what a dead process left below `parent`.
void remove_leftovers(const std::filesystem::path& parent);

/// A pack with its index: DIRECTORY/pack-HASH.{pack,idx}.
struct IndexedPack {
  std::filesystem::path directory;
  std::string name;  ///< pack-HASH
  [[nodiscard]] std::string file(const char* extension) const {
    return (directory / (name + extension)).string();
  }
};

/// Writes pack and index into `directory`. Errc::corrupt for anything but one whole, self-contained
/// pack.
Result<IndexedPack> index_pack(const std::filesystem::path& pack,
                               const std::filesystem::path& directory,
                               const PackLimits& limits = {});

/// What is known of the objects that a pack refers to and does not hold.
enum class Outside {
  must_exist,    ///< In `target`, with everything below them.
  is_the_forges  ///< `target` is a copy without blobs; the forge checks its own.
};

/// That the pack holds exactly what `head` adds to `base`: every object sound, everything that
/// `head` refers to in the pack or in the target, `head` descending from `base`, and no object that
/// is neither needed nor there. True when the pack also holds a new .gitmodules, which only git's
/// own fsck should judge.
Result<bool> check_pack(const IndexedPack& pack, git_odb* target, const git_oid& base,
                        const git_oid& head, Outside outside = Outside::must_exist,
                        const PackLimits& limits = {});

/// `git index-pack --fsck-objects` over the pack, with `objects` as what it may refer to.
Result<void> fsck_with_git(const IndexedPack& pack, const std::string& objects);

/// An empty repository for git processes over the objects of another: none of the configuration,
/// attributes or hooks of that one count.
Result<void> make_empty_repository(const std::filesystem::path& directory);
/// `git ARGUMENTS` in that repository, which sees also what lies below `objects`.
ProcessSpec git_over(const std::filesystem::path& repository, const std::string& objects,
                     const std::vector<std::string>& arguments);

/// Under which name install_pack keeps a pack: one such as git gives, 40 digits, of which the first
/// twelve say that Muster installed it. The same pack has the same.
std::string installed_name(const IndexedPack& pack);
/// Whether `name` ("pack-HASH") is one of those.
bool installed_by_muster(std::string_view name);

/// Copies pack and index into `pack_directory` (objects/pack of the target), durable when it
/// returns. Doing it twice is doing it once.
Result<void> install_pack(const IndexedPack& pack, int pack_directory);

}  // namespace muster::actors::git
