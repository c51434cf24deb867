#include "actors/swarm/merge_objects.hpp"

#include <git2/sys/mempack.h>
#include <git2/sys/odb_backend.h>

#include "actors/ports/git_names.hpp"

namespace muster::actors::swarm {
namespace {

namespace fs = std::filesystem;
using git::failure;

/// Before packs and loose objects, so that it is what is written to.
constexpr int kMemoryPriority = 1000;
constexpr Duration kGitTimeout{120'000};
constexpr std::size_t kMaxGitOutput = 16u << 20;

}  // namespace

Result<MergeObjects> MergeObjects::open(const std::string& objects, const fs::path& scratch) {
  auto directory = git::ScratchDirectory::make(scratch);
  if (!directory) return tl::unexpected<Error>(directory.error());
  MergeObjects made(std::move(*directory), objects);
  if (auto ok = git::make_empty_repository(made.git_directory()); !ok) return tl::unexpected<Error>(ok.error());

  auto existing = git::open_objects(objects);
  if (!existing) return tl::unexpected<Error>(existing.error());
  made.existing_ = std::move(*existing);
  auto odb = git::open_objects(objects);
  if (!odb) return tl::unexpected<Error>(odb.error());
  made.odb_ = std::move(*odb);
  if (git_odb_add_disk_alternate(made.odb_.get(), (made.git_directory() / "objects").c_str()) != 0)
    return failure(Errc::io, "the scratch directory");
  if (git_mempack_new(&made.memory_) != 0) return failure(Errc::internal, "memory");
  if (git_odb_add_backend(made.odb_.get(), made.memory_, kMemoryPriority) != 0) {
    made.memory_->free(made.memory_);
    return failure(Errc::internal, "memory");
  }
  auto repository = git::wrap(made.odb_.get());
  if (!repository) return tl::unexpected<Error>(repository.error());
  made.repository_ = std::move(*repository);
  return made;
}

fs::path MergeObjects::git_directory() const {
  return scratch_.path() / "merge.git";
}

void MergeObjects::note(const git_oid& id) {
  if (seen_.insert(id).second) fresh_.push_back(id);
}

Result<void> MergeObjects::note_tree(const git_oid& id) {
  if (seen_.count(id) != 0) return {};
  if (git_odb_exists_ext(existing_.get(), &id, GIT_ODB_LOOKUP_NO_REFRESH) != 0) return {};
  note(id);
  git_tree* raw = nullptr;
  if (git_tree_lookup(&raw, repository(), &id) != 0) return failure(Errc::corrupt, "merged tree");
  const git::Tree tree(raw);
  for (std::size_t i = 0; i < git_tree_entrycount(raw); ++i) {
    const git_tree_entry* entry = git_tree_entry_byindex(raw, i);
    const git_oid& child = *git_tree_entry_id(entry);
    if (git_tree_entry_type(entry) == GIT_OBJECT_TREE) {
      if (auto ok = note_tree(child); !ok) return ok;
    } else if (git_tree_entry_type(entry) == GIT_OBJECT_BLOB &&
               git_odb_exists_ext(existing_.get(), &child, GIT_ODB_LOOKUP_NO_REFRESH) == 0) {
      note(child);
    }
  }
  return {};
}

Result<git::IndexedPack> MergeObjects::write(const std::vector<git_oid>& ids,
                                             const fs::path& directory) {
  git_packbuilder* raw = nullptr;
  if (git_packbuilder_new(&raw, repository()) != 0) return failure(Errc::internal, "pack");
  const git::PackBuilder builder(raw);
  git_packbuilder_set_threads(raw, 1);
  for (const git_oid& id : ids)
    if (git_packbuilder_insert(raw, &id, nullptr) != 0) return failure(Errc::internal, "pack");
  if (git_packbuilder_write(raw, directory.c_str(), 0, nullptr, nullptr) != 0)
    return failure(Errc::io, "write the merges");
  return git::IndexedPack{directory, std::string("pack-") + git_packbuilder_name(raw)};
}

Result<void> MergeObjects::spill() {
  if (spilled_ == fresh_.size()) return {};
  const std::vector<git_oid> rest(fresh_.begin() + static_cast<std::ptrdiff_t>(spilled_),
                                  fresh_.end());
  auto written = write(rest, git_directory() / "objects/pack");
  if (!written) return tl::unexpected<Error>(written.error());
  if (git_odb_refresh(all()) != 0) return failure(Errc::io, "the scratch directory");
  spilled_ = fresh_.size();
  git_mempack_reset(memory_);
  return {};
}

Result<void> MergeObjects::spill_if_full() {
  return fresh_.size() - spilled_ < kMaxObjectsInMemory ? Result<void>{} : spill();
}

Result<std::optional<git::IndexedPack>> MergeObjects::pack() {
  if (fresh_.empty()) return std::nullopt;
  auto written = write(fresh_, scratch_.path());
  if (!written) return tl::unexpected<Error>(written.error());
  return std::move(*written);
}

void MergeObjects::forget() {
  git_mempack_reset(memory_);
  fresh_.clear();
  seen_.clear();
  spilled_ = 0;
}

void MergeObjects::handed_over() {
  forget();
  git_odb_refresh(existing_.get());
  git_odb_refresh(all());
}

Result<ProcessResult> MergeObjects::run_git(const std::vector<std::string>& arguments) const {
  ProcessSpec spec = git::git_over(git_directory(), objects_, arguments);
  spec.timeout = kGitTimeout;
  spec.max_output = kMaxGitOutput;
  auto done = run_process(spec);
  if (!done) return done;
  if (done->timed_out) return fail(Errc::timed_out, "git took too long");
  if (done->output_truncated) return fail(Errc::refused, "git's answer is too long");
  return done;
}

}  // namespace muster::actors::swarm
