#include "actors/swarm/ledger_proof.hpp"

#include "actors/ports/git_names.hpp"
#include "actors/swarm/changed_paths.hpp"

namespace muster::actors::swarm {
namespace {

using git::failure;
using Walk = git::Handle<git_revwalk, git_revwalk_free>;

/// A commit of the line with the task that made it, if it was made by a merge.
struct Made {
  LineCommit commit;
  std::string tree;
  MergeTask task;
};

Person person_of(const git_signature* signature) {
  return {signature->name, signature->email, signature->when.time};
}

Made read_commit(const git_commit* commit) {
  Made made;
  made.commit.id = git::to_string(*git_commit_id(commit));
  made.tree = git::to_string(*git_commit_tree_id(commit));
  if (git_commit_parentcount(commit) > 0)
    made.task.tip = git::to_string(*git_commit_parent_id(commit, 0));
  if (git_commit_parentcount(commit) != 2) return made;
  made.commit.head = git::to_string(*git_commit_parent_id(commit, 1));
  made.task = {git::to_string(*git_commit_parent_id(commit, 0)), made.commit.head,
               git_commit_message_raw(commit), person_of(git_commit_author(commit)),
               person_of(git_commit_committer(commit))};
  return made;
}

/// From the deliverable down by first parents; false when that misses `begin`.
Result<bool> walk_line(git_repository* repository, const git_oid& begin, git_oid id,
                       std::vector<Made>& line) {
  while (git_oid_equal(&id, &begin) == 0) {
    if (line.size() == kMaxLineCommits) return fail(Errc::refused, "the line is too long");
    const auto commit = git::find_commit(repository, id);
    if (!commit) return tl::unexpected<Error>(commit.error());
    line.push_back(read_commit(commit->get()));
    if (git_commit_parentcount(commit->get()) == 1) {
      auto changed = changed_paths(repository, *git_commit_parent_id(commit->get(), 0), id);
      if (!changed) return tl::unexpected<Error>(changed.error());
      line.back().commit.changed = std::move(*changed);
    }
    if (git_commit_parentcount(commit->get()) == 0) return false;
    id = *git_commit_parent_id(commit->get(), 0);
  }
  return true;
}

Result<void> read_reachable(git_repository* repository, const git_oid& begin, const git_oid& tip,
                            GitFacts& facts) {
  git_revwalk* raw = nullptr;
  if (git_revwalk_new(&raw, repository) != 0) return failure(Errc::internal, "history");
  const Walk walk(raw);
  if (git_revwalk_push(raw, &tip) != 0 || git_revwalk_hide(raw, &begin) != 0)
    return failure(Errc::not_found, "the line");
  git_oid id{};
  int next = 0;
  while ((next = git_revwalk_next(&id, raw)) == 0) facts.reachable.insert(git::to_string(id));
  if (next != GIT_ITEROVER) return failure(Errc::corrupt, "history");
  return {};
}

/// Merges everything again, oldest first.
Result<void> merge_again(Merger& merger, const std::string& begin, std::vector<Made>& line) {
  std::string made_tip = begin;
  for (auto made = line.rbegin(); made != line.rend(); ++made) {
    if (made->commit.head.empty()) {
      if (made->task.tip != made_tip) continue;
      merger.advance(git::parse_id(made->commit.id));
      made_tip = made->commit.id;
      continue;
    }
    if (made->task.tip != made_tip)
      if (auto ok = merger.resume(begin, made->task.tip); !ok) return ok;
    const auto again = merger.merge(made->task);
    // Whatever can't be merged was not made by merging.
    if (!again) continue;
    made->commit.as_made = again->kind == MergeKind::merged && again->tree == made->tree;
    made_tip = again->commit;
    if (made_tip == made->commit.id) merger.forget();
  }
  return {};
}

}  // namespace

Result<GitFacts> read_line(const std::string& objects, const std::filesystem::path& scratch,
                           const std::string& begin, const std::string& deliverable,
                           Drivers drivers) {
  for (const auto* id : {&begin, &deliverable})
    if (auto ok = check_commit_id(*id); !ok) return tl::unexpected<Error>(ok.error());
  auto odb = git::open_objects(objects);
  if (!odb) return tl::unexpected<Error>(odb.error());
  const auto repository = git::wrap(odb->get());
  if (!repository) return tl::unexpected<Error>(repository.error());
  const git_oid from = git::parse_id(begin), tip = git::parse_id(deliverable);

  GitFacts facts;
  std::vector<Made> line;
  const auto descends = walk_line(repository->get(), from, tip, line);
  if (!descends) return tl::unexpected<Error>(descends.error());
  facts.descends = *descends;
  if (auto ok = read_reachable(repository->get(), from, tip, facts); !ok)
    return tl::unexpected<Error>(ok.error());
  if (facts.descends) {
    auto merger = Merger::open(objects, scratch, std::move(drivers));
    if (!merger) return tl::unexpected<Error>(merger.error());
    if (auto ok = merge_again(*merger, begin, line); !ok) return tl::unexpected<Error>(ok.error());
  }
  for (Made& made : line) facts.line.push_back(std::move(made.commit));
  return facts;
}

}  // namespace muster::actors::swarm
