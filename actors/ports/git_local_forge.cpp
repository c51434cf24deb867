#include "actors/ports/git_local_forge.hpp"

#include <optional>

#include "actors/ports/git_handles.hpp"
#include "actors/ports/git_history.hpp"
#include "actors/ports/git_local.hpp"
#include "actors/ports/git_pack.hpp"

namespace muster::actors::git {
namespace {

/// A merge is made anew when the base branch moved meanwhile; this often, then the caller is told.
constexpr int kMergeRaces = 5;

using Stop = std::optional<PushResult>;  ///< A reason to go no further.

PushResult failed(const Error& error) {
  return {PushOutcome::failed, error.message};
}

/// An error of the target or the pack: what can't be helped by repeating is `rejected`.
PushResult refused_or_failed(const Error& error) {
  const bool final =
      error.code == Errc::refused || error.code == Errc::corrupt || error.code == Errc::invalid;
  return {final ? PushOutcome::rejected : PushOutcome::failed, error.message};
}

PushResult exists(const std::string& branch, const std::string& at) {
  return {PushOutcome::branch_exists, "branch '" + branch + "' exists already, at " + at};
}

/// What the branch's present value means for this push, before anything is done.
Stop judge_branch(const LocalRepository& repository, const PushRequest& request,
                  const std::optional<std::string>& now) {
  if (now && *now == request.head_sha)
    return PushResult{PushOutcome::already_there, "branch '" + request.branch + "' is there"};
  if (now && !request.replace) return exists(request.branch, *now);
  const auto checked_out = repository.checked_out(request.branch);
  if (!checked_out) return refused_or_failed(checked_out.error());
  if (*checked_out)
    return PushResult{
        PushOutcome::rejected,
        "branch '" + request.branch + "' is checked out in a work tree of the repository"};
  if (now) return std::nullopt;
  const auto conflict = repository.refs().name_conflict(request.branch);
  if (!conflict) return failed(conflict.error());
  if (!conflict->empty()) return PushResult{PushOutcome::rejected, *conflict};
  return std::nullopt;
}

Stop judge_base(const LocalRepository& repository, git_odb* odb, const PushRequest& request) {
  const git_oid base = parse_id(request.base_sha);
  if (git_odb_exists(odb, &base) == 0)
    return PushResult{PushOutcome::base_moved,
                      "commit " + request.base_sha + " is not in the repository any more"};
  const auto name = repository.base_branch(request.base_branch);
  if (!name) return refused_or_failed(name.error());
  const auto head = repository.base_branch("");
  if (request.branch == *name || (head && request.branch == *head))
    return refused_base_branch(request.branch);
  const auto tip = repository.refs().read(*name);
  if (!tip) return refused_or_failed(tip.error());
  if (!*tip)
    return PushResult{PushOutcome::base_moved,
                      "base branch '" + *name + "' does not exist any more"};
  if (**tip == request.base_sha) return std::nullopt;
  auto wrapped = wrap(odb);
  if (!wrapped) return failed(wrapped.error());
  const auto reachable = contains(wrapped->get(), parse_id(**tip), base);
  if (!reachable) return failed(reachable.error());
  if (*reachable) return std::nullopt;
  return PushResult{
      PushOutcome::base_moved,
      "base branch '" + *name + "' was rewritten: it no longer contains " + request.base_sha};
}

/// The pack, indexed below `scratch` and found to be base..head and nothing else.
Result<IndexedPack> checked_pack(const PushRequest& request, const ScratchDirectory& scratch,
                                 const LocalRepository& repository, git_odb* odb) {
  auto pack = index_pack(request.pack, scratch.path());
  if (!pack) return pack;
  const auto doubtful =
      check_pack(*pack, odb, parse_id(request.base_sha), parse_id(request.head_sha));
  if (!doubtful) return tl::unexpected<Error>(doubtful.error());
  if (*doubtful)
    if (auto ok = fsck_with_git(*pack, repository.objects_path()); !ok)
      return tl::unexpected<Error>(ok.error());
  return pack;
}

/// Sets the branch; losing a race is not an error when the winner set the same.
PushResult set_branch(const LocalRepository& repository, const PushRequest& request,
                      const std::optional<std::string>& seen) {
  auto refs = repository.refs();
  const auto done = refs.swap(request.branch, seen, request.head_sha);
  if (done)
    return {PushOutcome::pushed, "branch '" + request.branch + "' is at " + request.head_sha};
  if (done.error().code != Errc::conflict) return refused_or_failed(done.error());
  const auto now = refs.read(request.branch);
  if (now && *now == request.head_sha)
    return {PushOutcome::already_there, "branch '" + request.branch + "' is there"};
  return {PushOutcome::branch_exists, "another push came first: " + done.error().message};
}

/// One try of a merge: a result, or nothing when the base branch moved meanwhile.
std::optional<MergeResult> try_merge(const LocalRepository& repository, const MergeRequest& request,
                                     const std::string& base_branch,
                                     const std::filesystem::path& parent) {
  auto refs = repository.refs();
  const auto tip = refs.read(base_branch);
  if (!tip) return merge_failed(tip.error());
  if (!*tip)
    return no_merge(MergeOutcome::failed, "base branch '" + base_branch + "' does not exist");
  const git_oid base = parse_id(**tip);
  const git_oid head = parse_id(request.head_sha);
  auto odb = open_objects(repository.objects_path());
  if (!odb) return merge_failed(odb.error());
  auto wrapped = wrap(odb->get());
  if (!wrapped) return merge_failed(wrapped.error());

  if (git_odb_exists(odb->get(), &head) != 0) {  // First, because a merged branch may be deleted.
    const auto merged = contains(wrapped->get(), base, head);
    if (!merged) return merge_failed(merged.error());
    if (*merged)
      return MergeResult{MergeOutcome::already_merged,
                         to_string(merged_by(wrapped->get(), base, head).value_or(base)),
                         "'" + base_branch + "' contains " + request.head_sha};
  }
  const auto now = refs.read(request.branch);
  if (!now) return merge_failed(now.error());
  if (*now != request.head_sha)
    return no_merge(MergeOutcome::head_moved, "branch '" + request.branch + "' " +
                                                  (*now ? "is at " + **now : "does not exist"));
  const auto checked_out = repository.checked_out(base_branch);
  if (!checked_out) return merge_failed(checked_out.error());
  if (*checked_out)
    return no_merge(MergeOutcome::checked_out,
                    "'" + base_branch + "' is checked out in a work tree: merge there");

  const auto scratch = ScratchDirectory::make(parent);
  if (!scratch) return merge_failed(scratch.error());
  const auto merged = git::merge(repository.objects_path(), base, head, request, scratch->path());
  if (!merged) return merge_failed(merged.error());
  if (!merged->conflict.empty()) return no_merge(MergeOutcome::conflict, merged->conflict);
  if (merged->pack) {
    const auto directory = repository.pack_directory();
    if (!directory) return merge_failed(directory.error());
    if (auto ok = install_pack(*merged->pack, directory->get()); !ok)
      return merge_failed(ok.error());
  }
  const std::string commit = to_string(merged->commit);
  const auto done = refs.swap(base_branch, **tip, commit);
  if (done)
    return MergeResult{MergeOutcome::merged, commit, "'" + base_branch + "' is at " + commit};
  if (done.error().code == Errc::conflict) return std::nullopt;
  return merge_failed(done.error());
}

}  // namespace

PushResult LocalForge::push(const std::string& path, const PushRequest& request) const {
  const auto repository = LocalRepository::open(path);
  if (!repository) return refused_or_failed(repository.error());
  const auto now = repository->refs().read(request.branch);
  if (!now) return refused_or_failed(now.error());
  if (const Stop stop = judge_branch(*repository, request, *now)) return *stop;
  const auto odb = open_objects(repository->objects_path());
  if (!odb) return failed(odb.error());
  if (const Stop stop = judge_base(*repository, odb->get(), request)) return *stop;

  const auto temporary = ScratchDirectory::make(scratch);
  if (!temporary) return failed(temporary.error());
  const auto pack = checked_pack(request, *temporary, *repository, odb->get());
  if (!pack) return refused_or_failed(pack.error());
  const auto directory = repository->pack_directory();
  if (!directory) return refused_or_failed(directory.error());
  if (auto ok = install_pack(*pack, directory->get()); !ok) return failed(ok.error());
  return set_branch(*repository, request, *now);
}

MergeResult LocalForge::merge(const std::string& path, const MergeRequest& request) const {
  const auto repository = LocalRepository::open(path);
  if (!repository) return merge_failed(repository.error());
  const auto base_branch = repository->base_branch(request.base_branch);
  if (!base_branch) return merge_failed(base_branch.error());
  for (int race = 0; race < kMergeRaces; ++race)
    if (auto result = try_merge(*repository, request, *base_branch, scratch)) return *result;
  return no_merge(MergeOutcome::failed, "'" + *base_branch + "' keeps moving; try again");
}

Result<void> LocalForge::delete_branch(const std::string& path, const std::string& branch,
                                       const std::string& expected_sha) const {
  const auto repository = LocalRepository::open(path);
  if (!repository) return tl::unexpected<Error>(repository.error());
  const auto now = repository->refs().read(branch);
  if (!now) return tl::unexpected<Error>(now.error());
  if (!*now) return {};
  const auto checked_out = repository->checked_out(branch);
  if (!checked_out) return tl::unexpected<Error>(checked_out.error());
  if (*checked_out)
    return fail(Errc::refused, "branch '" + branch + "' is checked out in a work tree");
  return repository->refs().remove(branch, expected_sha);
}

Result<std::string> LocalForge::diff(const std::string& path, const std::string& base_sha,
                                     const std::string& head_sha, std::size_t limit) const {
  const auto repository = LocalRepository::open(path);
  if (!repository) return tl::unexpected<Error>(repository.error());
  const auto odb = open_objects(repository->objects_path());
  if (!odb) return tl::unexpected<Error>(odb.error());
  const auto wrapped = wrap(odb->get());
  if (!wrapped) return tl::unexpected<Error>(wrapped.error());
  return patch(wrapped->get(), parse_id(base_sha), parse_id(head_sha), limit);
}

Result<std::string> LocalForge::diff_pack(const std::string& path, const PushRequest& request,
                                          std::size_t limit) const {
  const auto repository = LocalRepository::open(path);
  if (!repository) return tl::unexpected<Error>(repository.error());
  const auto odb = open_objects(repository->objects_path());
  if (!odb) return tl::unexpected<Error>(odb.error());
  const auto temporary = ScratchDirectory::make(scratch);
  if (!temporary) return tl::unexpected<Error>(temporary.error());
  const auto pack = index_pack(request.pack, temporary->path());
  if (!pack) return tl::unexpected<Error>(pack.error());
  if (auto ok = add_pack(odb->get(), pack->file(".idx")); !ok)
    return tl::unexpected<Error>(ok.error());
  const auto wrapped = wrap(odb->get());
  if (!wrapped) return tl::unexpected<Error>(wrapped.error());
  return patch(wrapped->get(), parse_id(request.base_sha), parse_id(request.head_sha), limit);
}

}  // namespace muster::actors::git
