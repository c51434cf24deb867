#include "actors/ports/git_handles.hpp"

#include <git2/sys/odb_backend.h>
#include <git2/sys/repository.h>

#include <cstring>
#include <mutex>

#include "actors/ports/git_names.hpp"

namespace muster::actors::git {
namespace {

constexpr std::size_t kCacheBytes = 16u << 20;
/// A single object of a pack; more than a sandbox's disk can hold is never honest.
[[maybe_unused]] constexpr std::size_t kMaxObjectBytes = 1u << 30;
constexpr std::size_t kMaxPackObjects = 1'000'000;
/// Packs are asked before the loose objects, and the pack at hand before all.
constexpr int kPackPriority = 10;

}  // namespace

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] {
    git_libgit2_init();
    for (const int level : {GIT_CONFIG_LEVEL_PROGRAMDATA, GIT_CONFIG_LEVEL_SYSTEM,
                            GIT_CONFIG_LEVEL_XDG, GIT_CONFIG_LEVEL_GLOBAL})
      git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, level, "");
    git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, static_cast<ssize_t>(kCacheBytes));
#ifdef MUSTER_LIBGIT2_LIMITS_OBJECTS  // Not there before Debian's security update: CMake warns.
    git_libgit2_opts(GIT_OPT_SET_PACK_MAX_OBJECT_SIZE, kMaxObjectBytes);
#endif
    git_libgit2_opts(GIT_OPT_SET_PACK_MAX_OBJECTS, kMaxPackObjects);
  });
}

tl::unexpected<Error> failure(Errc code, std::string_view attempted) {
  const git_error* last = git_error_last();
  return fail(code, std::string(attempted) + ": " +
                        clean_message(last != nullptr ? last->message : "unknown error"));
}

std::string to_string(const git_oid& id) {
  std::string text(GIT_OID_HEXSZ, '\0');
  git_oid_fmt(text.data(), &id);
  return text;
}

git_oid parse_id(std::string_view sha) {
  git_oid id{};
  git_oid_fromstrn(&id, sha.data(), sha.size());
  return id;
}

std::size_t IdHash::operator()(const git_oid& id) const noexcept {
  std::size_t hash = 0;  // A digest already: its first bytes are as good as any hash.
  std::memcpy(&hash, id.id, sizeof hash);
  return hash;
}

Result<Odb> open_objects(const std::string& directory) {
  initialise();
  git_odb* raw = nullptr;
  if (git_odb_new(&raw) != 0) return failure(Errc::internal, "object database");
  Odb odb(raw);
  // As an alternate: libgit2 never writes to one.
  if (git_odb_add_disk_alternate(odb.get(), directory.c_str()) != 0)
    return failure(Errc::io, "the repository's objects");
  return odb;
}

Result<void> add_pack(git_odb* odb, const std::string& index_file) {
  git_odb_backend* backend = nullptr;
  if (git_odb_backend_one_pack(&backend, index_file.c_str()) != 0)
    return failure(Errc::corrupt, "the pack");
  if (git_odb_add_backend(odb, backend, kPackPriority) != 0) {
    backend->free(backend);
    return failure(Errc::internal, "the pack");
  }
  return {};
}

Result<Odb> open_pack(const std::string& index_file) {
  initialise();
  git_odb* raw = nullptr;
  if (git_odb_new(&raw) != 0) return failure(Errc::internal, "object database");
  Odb odb(raw);
  if (auto ok = add_pack(raw, index_file); !ok) return tl::unexpected<Error>(ok.error());
  return odb;
}

Result<std::vector<git_oid>> objects_of(git_odb* pack) {
  std::vector<git_oid> ids;
  const auto each = [](const git_oid* id, void* to) {
    static_cast<std::vector<git_oid>*>(to)->push_back(*id);
    return 0;
  };
  if (git_odb_foreach(pack, each, &ids) != 0) return failure(Errc::corrupt, "the pack");
  return ids;
}

Result<Repository> wrap(git_odb* odb) {
  git_repository* raw = nullptr;
  if (git_repository_wrap_odb(&raw, odb) != 0) return failure(Errc::internal, "repository");
  Repository repository(raw);
  git_config* empty = nullptr;
  if (git_config_new(&empty) != 0) return failure(Errc::internal, "configuration");
  const Config config(empty);
  if (git_repository_set_config(repository.get(), config.get()) != 0)
    return failure(Errc::internal, "configuration");
  return repository;
}

Result<Commit> find_commit(git_repository* repository, const git_oid& id) {
  git_commit* raw = nullptr;
  if (git_commit_lookup(&raw, repository, &id) != 0)
    return failure(Errc::not_found, "commit " + to_string(id));
  return Commit(raw);
}

Result<Tree> tree_of(const git_commit* commit) {
  git_tree* raw = nullptr;
  if (git_commit_tree(&raw, commit) != 0) return failure(Errc::corrupt, "the commit's tree");
  return Tree(raw);
}

}  // namespace muster::actors::git
