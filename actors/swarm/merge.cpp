#include "actors/swarm/merge.hpp"

#include <git2/sys/commit.h>

#include <algorithm>
#include <cstring>

#include "actors/ports/git_history.hpp"
#include "actors/ports/git_names.hpp"

namespace muster::actors::swarm {
namespace {

using git::failure;

/// So far a head is followed down before libgit2 is asked.
constexpr std::size_t kMaxFacetCommits = 1000;

/// What one head, or a line that is resumed, may have.
constexpr std::size_t kMaxCommits = 200'000;

using Walk = git::Handle<git_revwalk, git_revwalk_free>;
using BaseList = std::unique_ptr<git_oidarray, git::Freer<git_oidarray_dispose>>;

Result<git::Signature> signature_of(const Person& person) {
  if (person.name.find_first_of(std::string_view("\0\n<>", 4)) != std::string::npos ||
      person.email.find_first_of(std::string_view("\0\n<>", 4)) != std::string::npos)
    return fail(Errc::invalid, "a name or address that git can't hold");
  git_signature* raw = nullptr;
  if (git_signature_new(&raw, person.name.c_str(), person.email.c_str(), person.unix_seconds, 0) !=
      0)
    return failure(Errc::invalid, "the merge's author");
  return git::Signature(raw);
}

Result<void> check(const MergeTask& task) {
  for (const auto* id : {&task.tip, &task.head})
    if (auto ok = check_commit_id(*id); !ok) return ok;
  if (task.message.empty() || task.message.find('\0') != std::string::npos)
    return fail(Errc::invalid, "a merge needs a message without NUL");
  return {};
}

/// What `tip` has and `hidden` lacks.
Result<std::vector<git_oid>> beyond(git_repository* repository, const git_oid& tip,
                                    const git_oid& hidden) {
  git_revwalk* raw = nullptr;
  if (git_revwalk_new(&raw, repository) != 0) return failure(Errc::internal, "history");
  const Walk walk(raw);
  if (git_revwalk_push(raw, &tip) != 0 || git_revwalk_hide(raw, &hidden) != 0)
    return failure(Errc::not_found, "the commits to merge");
  std::vector<git_oid> found;
  git_oid id{};
  int next = 0;
  while ((next = git_revwalk_next(&id, raw)) == 0) {
    if (found.size() == kMaxCommits) return fail(Errc::refused, "too many commits to merge");
    found.push_back(id);
  }
  if (next != GIT_ITEROVER) return failure(Errc::corrupt, "history");
  return found;
}

/// Whether lines of files were all that git could not merge.
bool only_lines(const MergeAnswer& answer) {
  return std::all_of(answer.notes.begin(), answer.notes.end(),
                     [](const MergeNote& note) {
                       return note.type == "CONFLICT (contents)" ||
                              !note.type.starts_with("CONFLICT");
                     }) &&
         std::all_of(answer.conflicts.begin(), answer.conflicts.end(), [](const Conflict& c) {
           return is_regular(c.ours) && is_regular(c.theirs) && c.ours.mode == c.theirs.mode;
         });
}

}  // namespace

Result<Merger> Merger::open(const std::string& objects, const std::filesystem::path& scratch,
                            Drivers drivers) {
  auto opened = MergeObjects::open(objects, scratch);
  if (!opened) return tl::unexpected<Error>(opened.error());
  return Merger(std::move(*opened), std::move(drivers));
}

Result<Merger::Bases> Merger::ask_libgit2(const git_oid& tip, const git_oid& head) const {
  git_oidarray raw{};
  const int found = git_merge_bases(&raw, objects_.repository(), &tip, &head);
  if (found == GIT_ENOTFOUND) return fail(Errc::refused, "the two have no common history");
  if (found != 0) return failure(Errc::not_found, "the commits to merge");
  const BaseList owned(&raw);
  Bases bases;
  if (raw.count == 1) bases.only = raw.ids[0];
  bases.contained = raw.count == 1 && git_oid_equal(&raw.ids[0], &head) != 0;
  auto on_top = beyond(objects_.repository(), head, tip);
  if (!on_top) return tl::unexpected<Error>(on_top.error());
  bases.on_top = std::move(*on_top);
  return bases;
}

Result<void> Merger::resume(const std::string& begin, const std::string& tip) {
  for (const auto* id : {&begin, &tip})
    if (auto ok = check_commit_id(*id); !ok) return ok;
  const git_oid from = git::parse_id(begin), to = git::parse_id(tip);
  const auto descends = git::contains(objects_.repository(), to, from);
  if (!descends) return tl::unexpected<Error>(descends.error());
  if (!*descends) return fail(Errc::refused, "the line does not begin there");
  const auto line = beyond(objects_.repository(), to, from);
  if (!line) return tl::unexpected<Error>(line.error());
  know({to, {line->begin(), line->end()}});
  known_.ids.insert(from);
  return {};
}

void Merger::know(KnownLine line) {
  known_ = std::move(line);
  added_.clear();
  last_tip_ = known_.tip;
}

void Merger::advance(const git_oid& tip) {
  added_.insert(tip);
  last_tip_ = tip;
}

std::pair<KnownLine, std::vector<git_oid>> Merger::give_back() {
  std::vector<git_oid> added(added_.begin(), added_.end());
  KnownLine line = std::move(known_);
  know({});
  return {std::move(line), std::move(added)};
}

Result<std::optional<git_oid>> Merger::base_of(const std::string& tip, const std::string& head) {
  for (const auto* id : {&tip, &head})
    if (auto ok = check_commit_id(*id); !ok) return tl::unexpected<Error>(ok.error());
  const auto bases = find_base(git::parse_id(tip), git::parse_id(head));
  if (!bases) return tl::unexpected<Error>(bases.error());
  return bases->only;
}

Result<Merger::Bases> Merger::find_base(const git_oid& tip, const git_oid& head) {
  const bool at_last = git_oid_equal(&tip, &last_tip_) != 0;
  if (!at_last && git_oid_equal(&tip, &known_.tip) == 0) know({tip, {tip}});
  Bases walked;
  git_oid id = head;
  while (walked.on_top.size() < kMaxFacetCommits) {
    if (known_.ids.count(id) != 0 || (at_last && added_.count(id) != 0)) {
      walked.only = id;
      walked.contained = walked.on_top.empty();
      return walked;
    }
    const auto commit = git::find_commit(objects_.repository(), id);
    if (!commit) return tl::unexpected<Error>(commit.error());
    if (git_commit_parentcount(commit->get()) != 1) break;
    walked.on_top.push_back(id);
    id = *git_commit_parent_id(commit->get(), 0);
  }
  return ask_libgit2(tip, head);
}

Result<TreeMerge> Merger::merge_in_memory(const git_oid& base, const git_oid& tip,
                                          const git_oid& head) {
  std::vector<git_oid> trees;
  for (const git_oid& id : {base, tip, head}) {
    const auto commit = git::find_commit(objects_.repository(), id);
    if (!commit) return tl::unexpected<Error>(commit.error());
    trees.push_back(*git_commit_tree_id(commit->get()));
  }
  return merge_trees(objects_, drivers_, trees[0], trees[1], trees[2]);
}

/// True when nothing is left, and `tree` is the merge.
Result<bool> Merger::apply_drivers(MergeAnswer& answer, git_oid& tree) {
  if (answer.conflicts.empty() || !only_lines(answer)) return false;
  std::vector<Conflict> left;
  std::vector<git_tree_update> updates;
  for (const Conflict& conflict : answer.conflicts) {
    const Driver driver = drivers_.of(conflict.path);
    std::optional<git_oid> id;
    if (driver == Driver::regenerate) id = conflict.ours.id;
    if (driver == Driver::unite) {
      auto united = merge_files(objects_, conflict.base, conflict.ours, conflict.theirs, true);
      if (!united) return tl::unexpected<Error>(united.error());
      id = *united;
    }
    if (!id) {
      left.push_back(conflict);
      continue;
    }
    (driver == Driver::unite ? answer.united : answer.regenerate).push_back(conflict.path);
    updates.push_back({GIT_TREE_UPDATE_UPSERT, *id, static_cast<git_filemode_t>(conflict.ours.mode),
                       conflict.path.c_str()});
  }
  if (left.empty()) {
    const auto before = git::Tree([&] {
      git_tree* raw = nullptr;
      return git_tree_lookup(&raw, objects_.repository(), &tree) == 0 ? raw : nullptr;
    }());
    if (!before || git_tree_create_updated(&tree, objects_.repository(), before.get(),
                                           updates.size(), updates.data()) != 0)
      return failure(Errc::refused, "merged tree");
    if (auto ok = objects_.note_tree(tree); !ok) return tl::unexpected<Error>(ok.error());
  }
  answer.conflicts = std::move(left);
  return answer.conflicts.empty();
}

Result<bool> Merger::decide_by_git(const git_oid& tip, const git_oid& head, MergeAnswer& answer,
                                   git_oid& tree) {
  auto by_git = merge_with_git(objects_, tip, head);
  if (!by_git) return tl::unexpected<Error>(by_git.error());
  answer.by_git = true;
  answer.conflicts = std::move(by_git->conflicts);
  answer.notes = std::move(by_git->notes);
  tree = by_git->tree;
  return by_git->clean ? Result<bool>(true) : apply_drivers(answer, tree);
}

Result<git_oid> Merger::write_commit(const MergeTask& task, const git_oid& tree_id) {
  const auto author = signature_of(task.author);
  if (!author) return tl::unexpected<Error>(author.error());
  const auto committer = signature_of(task.committer);
  if (!committer) return tl::unexpected<Error>(committer.error());
  const git_oid tip = git::parse_id(task.tip), head = git::parse_id(task.head);
  const git_oid* parents[] = {&tip, &head};
  git_oid id{};
  if (git_commit_create_from_ids(&id, objects_.repository(), nullptr, author->get(),
                                 committer->get(), nullptr, task.message.c_str(), &tree_id, 2,
                                 parents) != 0)
    return failure(Errc::internal, "merge commit");
  objects_.note(id);
  return id;
}

Result<MergeAnswer> Merger::merge(const MergeTask& task, bool on_trial) {
  if (auto ok = check(task); !ok) return tl::unexpected<Error>(ok.error());
  const git_oid tip = git::parse_id(task.tip), head = git::parse_id(task.head);
  auto bases = find_base(tip, head);
  if (!bases) return tl::unexpected<Error>(bases.error());
  if (!on_trial && git_oid_equal(&tip, &last_tip_) == 0) {  // the line goes on from where it was known
    added_.clear();
    last_tip_ = tip;
  }
  MergeAnswer answer;
  if (bases->contained) {
    answer.kind = MergeKind::contained;
    answer.commit = task.tip;
    return answer;
  }
  git_oid tree{};
  bool decided = false;
  if (bases->only) {
    answer.base = git::to_string(*bases->only);
    auto quick = merge_in_memory(*bases->only, tip, head);
    if (!quick) return tl::unexpected<Error>(quick.error());
    decided = quick->tree.has_value();
    if (decided) tree = *quick->tree;
    answer.united = std::move(quick->united);
    answer.regenerate = std::move(quick->regenerate);
  }
  if (!decided) {
    const auto settled = decide_by_git(tip, head, answer, tree);
    if (!settled) return tl::unexpected<Error>(settled.error());
    if (!*settled) {
      answer.tree = git::to_string(tree);
      return answer;
    }
  }

  const auto commit = write_commit(task, tree);
  if (!commit) return tl::unexpected<Error>(commit.error());
  answer.kind = MergeKind::merged;
  answer.notes.clear();
  answer.tree = git::to_string(tree);
  answer.commit = git::to_string(*commit);
  if (!on_trial) {
    added_.insert(*commit);
    added_.insert(bases->on_top.begin(), bases->on_top.end());
    last_tip_ = *commit;
  }
  if (auto ok = objects_.spill_if_full(); !ok) return tl::unexpected<Error>(ok.error());
  return answer;
}

Result<std::string> Merger::mark(const MergeTask& task, const MergeAnswer& conflict) {
  if (conflict.kind != MergeKind::conflict || conflict.tree.empty()) return std::string();
  const auto commit = write_commit(task, git::parse_id(conflict.tree));
  if (!commit) return tl::unexpected<Error>(commit.error());
  return git::to_string(*commit);
}

Result<void> Merger::publish(int pack_directory) {
  const auto pack = objects_.pack();
  if (!pack) return tl::unexpected<Error>(pack.error());
  if (!*pack) return {};
  if (auto ok = git::install_pack(**pack, pack_directory); !ok) return ok;
  objects_.handed_over();
  return {};
}

Result<std::string> Merger::content(const FileVersion& version, std::size_t limit) const {
  if (version.mode == 0) return std::string();
  git_odb_object* raw = nullptr;
  if (git_odb_read(&raw, objects_.all(), &version.id) != 0)
    return failure(Errc::not_found, "the file");
  const git::OdbObject object(raw);
  return std::string(static_cast<const char*>(git_odb_object_data(raw)),
                     std::min(git_odb_object_size(raw), limit));
}

}  // namespace muster::actors::swarm
