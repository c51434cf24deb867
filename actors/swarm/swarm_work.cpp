// What a swarm does to a repository: its branches, and the merges of a batch.
#include <algorithm>
#include <optional>
#include <set>

#include "actors/common.hpp"
#include "actors/ports/git_gather.hpp"
#include "actors/ports/git_history.hpp"
#include "actors/ports/git_local.hpp"
#include "actors/ports/git_names.hpp"
#include "actors/swarm/changed_paths.hpp"
#include "actors/swarm/merge.hpp"
#include "actors/swarm/remake.hpp"
#include "actors/swarm/scope.hpp"
#include "actors/swarm/swarm.hpp"
#include "actors/swarm/swarm_port.hpp"

namespace muster::actors {
namespace {

using fbs::HeadOutcome;
using git::LocalRepository;
using swarm::changed_paths;
using swarm::diff_of;
using swarm::MergeAnswer;
using swarm::MergeKind;

/// Dependents in one page of a plan, so that it stays small beside a decision's 1 MiB.
constexpr std::size_t kDependentsPerPage = 20'000;
/// What all conflicts of a batch may tell, beside a decision's 1 MiB.
constexpr std::size_t kContextOfBatch = 320u << 10;
/// What a judge is shown of all candidates' changes.
constexpr std::size_t kDiffsOfCandidates = 256u << 10;
/// Merges of the line that are looked at for who changed a conflicting file, and bytes of a task
/// shown.
constexpr std::size_t kMergesLookedAt = 200;
constexpr std::size_t kTaskShown = 2'000;
constexpr std::size_t kNamedPaths = 8;

Result<LocalRepository> open_local(const std::string& url) {
  const auto address = parse_address(url);
  if (!address) return tl::unexpected<Error>(address.error());
  if (!address->local)
    return fail(Errc::refused, "a swarm's repository must be a path on musterd's machine");
  return LocalRepository::open(address->path);
}

std::string listed(const std::vector<std::string>& paths) {
  std::string text;
  for (std::size_t i = 0; i < paths.size() && i < kNamedPaths; ++i)
    text += (i == 0 ? "" : ", ") + one_line(paths[i], 200);
  if (paths.size() > kNamedPaths)
    text += " and " + std::to_string(paths.size() - kNamedPaths) + " more";
  return text;
}

using Repository = git::Repository;

/// The change as a patch, as much of it as there is room for.
Result<std::string> diff_text(git_repository* repository, const std::string& base,
                              const std::string& head, std::size_t room) {
  for (const auto* id : {&base, &head})
    if (auto ok = check_commit_id(*id); !ok) return tl::unexpected<Error>(ok.error());
  const auto diff = diff_of(repository, git::parse_id(base), git::parse_id(head));
  if (!diff) return tl::unexpected<Error>(diff.error());
  struct Text {
    std::string text;
    std::size_t room;
  } whole{{}, room};
  const auto add = [](const git_diff_delta*, const git_diff_hunk*, const git_diff_line* line,
                      void* to) {
    Text& all = *static_cast<Text*>(to);
    if (line->origin == '+' || line->origin == '-' || line->origin == ' ') all.text += line->origin;
    all.text.append(line->content, std::min(line->content_len, all.room));
    return all.text.size() > all.room ? GIT_EUSER : 0;
  };
  const int printed = git_diff_print(diff->get(), GIT_DIFF_FORMAT_PATCH, add, &whole);
  if (printed != 0 && printed != GIT_EUSER) return git::failure(Errc::corrupt, "the change");
  return bounded(whole.text, room);
}

/// One batch onto one line.
class BatchMerge {
 public:
  BatchMerge(const swarm::SwarmPlan& plan, const fbs::MergeFacetsT& order, swarm::Merger merger,
             Repository objects)
      : plan_(plan), order_(order), merger_(std::move(merger)), objects_(std::move(objects)) {}

  Result<fbs::LineMergedT> run() {
    fbs::LineMergedT answer;
    answer.line = order_.line;
    answer.number = order_.number;
    answer.tip = order_.onto;
    for (const auto& head : order_.heads) {
      auto merged = one(*head, answer.tip);
      if (!merged) return tl::unexpected<Error>(merged.error());
      if (merged->outcome == HeadOutcome::merged) answer.tip = merged->merge;
      answer.heads.push_back(std::make_unique<fbs::MergedFacetT>(std::move(*merged)));
    }
    answer.remake.assign(remake_.begin(), remake_.end());
    return answer;
  }
  Result<void> publish(int pack_directory) { return merger_.publish(pack_directory); }
  swarm::Merger& merger() { return merger_; }

 private:
  Result<fbs::MergedFacetT> one(const fbs::FacetHeadT& head, const std::string& tip) {
    fbs::MergedFacetT to;
    to.facet = head.facet;
    if (auto ok = check_commit_id(head.commit); !ok) return tl::unexpected<Error>(ok.error());
    const auto beyond_scope = outside_scope(head);
    if (!beyond_scope) return tl::unexpected<Error>(beyond_scope.error());
    if (!beyond_scope->empty()) {
      to.outcome = HeadOutcome::out_of_scope;
      to.why = "it changes what is not in its scope: " + listed(*beyond_scope);
      return to;
    }
    const auto merged = merger_.merge(task(head, tip));
    if (!merged && merged.error().code == Errc::refused) {
      to.outcome = HeadOutcome::conflict;
      to.why = "it can't be merged: " + merged.error().message;
      return to;
    }
    if (!merged) return tl::unexpected<Error>(merged.error());
    describe(*merged, to);
    if (merged->kind == MergeKind::merged && !note_remakes(*merged)) {
      to.outcome = HeadOutcome::conflict;
      to.merge.clear();
      to.by_driver.clear();
      to.why = "too many files would have to be made anew in one batch";
      return to;
    }
    if (merged->kind == MergeKind::conflict && head.mark)
      if (auto ok = mark(head, *merged, tip, to); !ok) return tl::unexpected<Error>(ok.error());
    return to;
  }

  /// Files of this merge that a program has to make anew; false when they are too many.
  bool note_remakes(const MergeAnswer& merged) {
    std::set<std::string> all = remake_;
    for (const std::string& path : merged.regenerate)
      if (swarm::remaker_of(plan_.spec, path)) all.insert(path);
    std::size_t bytes = 0;
    for (const std::string& path : all) bytes += path.size();
    if (all.size() > swarm::kMaxRemade || bytes > swarm::kRemadeBytes) return false;
    remake_ = std::move(all);
    return true;
  }

  /// A resolver begins on what is green: a conflict with what this batch only tries is none of its.
  Result<void> mark(const fbs::FacetHeadT& head, const MergeAnswer& conflict,
                    const std::string& tip, fbs::MergedFacetT& to) {
    std::optional<MergeAnswer> with_green;
    if (tip != order_.onto) {
      auto merged = merger_.merge(task(head, order_.onto), true);
      if (!merged) return tl::unexpected<Error>(merged.error());
      if (merged->kind != MergeKind::conflict) return {};
      with_green = std::move(*merged);
      describe(*with_green, to);
    }
    const auto marked = merger_.mark(task(head, order_.onto), with_green ? *with_green : conflict);
    if (!marked) return tl::unexpected<Error>(marked.error());
    to.marked = *marked;
    to.context = bounded(intents(head, with_green ? *with_green : conflict) + to.context,
                         swarm::kFeedbackBytes);
    return {};
  }

  /// What both sides were asked: this facet, and those whose merges changed the conflicting files
  /// since it began.
  [[nodiscard]] std::string intents(const fbs::FacetHeadT& head,
                                    const MergeAnswer& conflict) const {
    std::string text = "==== asked of " + head.id + " (yours)\n" + task_of(head.id) + "\n";
    git_oid at = git::parse_id(order_.onto);
    const git_oid base = git::parse_id(conflict.base.empty() ? order_.onto : conflict.base);
    std::size_t named = 0;
    for (std::size_t i = 0; i < kMergesLookedAt && git_oid_equal(&at, &base) == 0; ++i) {
      const auto commit = git::find_commit(objects_.get(), at);
      if (!commit || git_commit_parentcount(commit->get()) == 0) break;
      const git_oid before = *git_commit_parent_id(commit->get(), 0);
      const std::string id = facet_in(git_commit_message(commit->get()));
      if (!id.empty() && named < kNamedPaths && changes(before, at, conflict)) {
        text += "==== asked of " + id + " (integrated)\n" + task_of(id) + "\n";
        ++named;
      }
      at = before;
    }
    return text;
  }

  [[nodiscard]] bool changes(const git_oid& before, const git_oid& after,
                             const MergeAnswer& conflict) const {
    const auto paths = changed_paths(objects_.get(), before, after);
    if (!paths) return false;
    return std::any_of(conflict.conflicts.begin(), conflict.conflicts.end(), [&](const auto& one) {
      return std::find(paths->begin(), paths->end(), one.path) != paths->end();
    });
  }

  [[nodiscard]] std::string task_of(const std::string& id) const {
    const auto place = plan_.places.find(id);
    return place == plan_.places.end() ? std::string("(unknown)")
                                       : bounded(plan_.spec.facets[place->second].task, kTaskShown);
  }

  static std::string facet_in(const std::string& message) {
    const std::string_view trailer = "\nMuster-Facet: ";
    const std::size_t at = message.rfind(trailer);
    if (at == std::string::npos) return {};
    const std::size_t from = at + trailer.size();
    return message.substr(from, message.find('\n', from) - from);
  }

  /// What it changed since it left the line, and had no right to.
  Result<std::vector<std::string>> outside_scope(const fbs::FacetHeadT& head) {
    const auto place = plan_.places.find(head.id);
    if (place == plan_.places.end()) return fail(Errc::corrupt, "the plan has no facet " + head.id);
    const auto left = merger_.base_of(order_.onto, head.commit);
    if (!left && left.error().code == Errc::refused)
      return std::vector<std::string>{"(everything: it has another history)"};
    if (!left) return tl::unexpected<Error>(left.error());
    const git_oid onto = git::parse_id(order_.onto), commit = git::parse_id(head.commit);
    git_oid base = left->value_or(git_oid{});
    if (!*left && git_merge_base(&base, objects_.get(), &onto, &commit) != 0)
      return git::failure(Errc::not_found, "commit " + head.commit);
    const auto paths = changed_paths(objects_.get(), base, commit);
    if (!paths) return paths;
    return swarm::outside(*paths, plan_.spec.facets[place->second].scope, plan_.spec.shared);
  }

  [[nodiscard]] swarm::MergeTask task(const fbs::FacetHeadT& head, const std::string& tip) const {
    const swarm::Person muster{"Muster", "muster@localhost", order_.unix_seconds};
    return {tip, head.commit,
            "Merge facet " + head.id + "\n\nMuster-Swarm: " + order_.swarm +
                "\nMuster-Facet: " + head.id + "\nMuster-Run: " + head.run + "\n",
            muster, muster};
  }

  void describe(const MergeAnswer& merged, fbs::MergedFacetT& to) const {
    if (merged.kind == MergeKind::merged) {
      to.merge = merged.commit;
      for (const auto* paths : {&merged.united, &merged.regenerate})
        for (const std::string& path : *paths)
          if (to.by_driver.size() < kNamedPaths) to.by_driver.push_back(one_line(path, 200));
      return;
    }
    if (merged.kind == MergeKind::contained) {
      to.outcome = HeadOutcome::nothing_new;
      to.why = "the line has its commit already";
      return;
    }
    to.outcome = HeadOutcome::conflict;
    std::vector<std::string> paths;
    for (const auto& conflict : merged.conflicts) paths.push_back(conflict.path);
    to.why = paths.empty() ? "it conflicts with what was integrated meanwhile"
                           : "it conflicts with what was integrated meanwhile in " + listed(paths);
    to.context = context_of(merged);
  }

  /// All versions of every conflicting file, as far as there is room.
  [[nodiscard]] std::string context_of(const MergeAnswer& merged) const {
    const std::size_t room = std::min(
        swarm::kFeedbackBytes, kContextOfBatch / std::max<std::size_t>(1, order_.heads.size()));
    std::string text;
    for (const auto& note : merged.notes) text += one_line(note.text, 300) + "\n";
    for (const auto& conflict : merged.conflicts) {
      for (const auto& [name, version] :
           {std::pair{"base", &conflict.base}, std::pair{"integrated", &conflict.ours},
            std::pair{"yours", &conflict.theirs}}) {
        text += "==== " + one_line(conflict.path, 300) + " (" + name + ")\n";
        const auto content = merger_.content(*version, room);
        text += version->mode == 0 ? std::string("(not there)\n")
                                   : content.value_or(std::string("(unreadable)")) + "\n";
      }
      if (text.size() > room) break;
    }
    return bounded(text, room);
  }

  const swarm::SwarmPlan& plan_;
  const fbs::MergeFacetsT& order_;
  swarm::Merger merger_;
  Repository objects_;
  std::set<std::string> remake_;
};

/// Whether anything of the answer must be in the repository.
bool makes_commits(const fbs::LineMergedT& answer, const std::string& onto) {
  return answer.tip != onto || std::any_of(answer.heads.begin(), answer.heads.end(),
                                           [](const auto& head) { return !head->marked.empty(); });
}

/// What a commit that should only make files anew is beyond that, for a person; empty: nothing.
Result<std::string> beyond_remade(const LocalRepository& repository, const fbs::MoveGreenT& order) {
  if (auto ok = check_commit_id(order.merged); !ok) return tl::unexpected<Error>(ok.error());
  const auto odb = git::open_objects(repository.objects_path());
  if (!odb) return tl::unexpected<Error>(odb.error());
  const auto objects = git::wrap(odb->get());
  if (!objects) return tl::unexpected<Error>(objects.error());
  const git_oid merged = git::parse_id(order.merged), made = git::parse_id(order.to);
  const auto commit = git::find_commit(objects->get(), made);
  if (!commit) return tl::unexpected<Error>(commit.error());
  if (git_commit_parentcount(commit->get()) != 1 ||
      git_oid_equal(git_commit_parent_id(commit->get(), 0), &merged) == 0)
    return std::string("the commit with the files made anew is not on top of the merges");
  const auto paths = changed_paths(objects->get(), merged, made);
  if (!paths) return tl::unexpected<Error>(paths.error());
  std::vector<std::string> more;
  for (const std::string& path : *paths)
    if (std::find(order.made.begin(), order.made.end(), path) == order.made.end())
      more.push_back(path);
  return more.empty() ? std::string()
                      : "what made files anew changed others too: " + listed(more);
}

/// The try branch is the swarm's own: whatever it says, it says the tip after this.
Result<void> set_try_branch(const LocalRepository& repository, const std::string& branch,
                            const std::string& tip) {
  if (auto ok = check_branch_name(branch); !ok) return ok;
  auto refs = repository.refs();
  const auto before = refs.read(branch);
  if (!before) return tl::unexpected<Error>(before.error());
  if (*before == tip) return {};
  return refs.swap(branch, *before, tip);
}

}  // namespace

fbs::PlanPageT SwarmWork::read_plan(const fbs::ReadPlanT& read) {
  fbs::PlanPageT page;
  page.first = read.first;
  const auto plan = specs_.find(read.digest);
  if (!plan) {
    page.error = plan.error().message;
    return page;
  }
  std::size_t dependents = 0;
  for (std::size_t i = read.first; i < (*plan)->facets.size() && page.facets.size() < read.count;
       ++i) {
    const fbs::PlanFacetT& facet = (*plan)->facets[i];
    dependents += facet.needed_by.size();
    if (dependents > kDependentsPerPage && !page.facets.empty()) break;
    page.facets.push_back(std::make_unique<fbs::PlanFacetT>(facet));
  }
  return page;
}

/// Made of the kept plan and of what the planner said alone, so a repeat makes the same.
fbs::PlanAdoptedT SwarmWork::adopt(const fbs::AdoptPlanT& order) {
  fbs::PlanAdoptedT answer;
  answer.number = order.number;
  const auto before = specs_.find(order.plan_digest);
  if (!before) {
    answer.error = before.error().message;
    return answer;
  }
  const auto after = swarm::add_plan((*before)->spec, order.planner, order.result, order.again);
  if (!after) {
    for (const Problem& problem : after.error())
      answer.problems += (answer.problems.empty() ? "" : "\n") + problem.pointer +
                         (problem.pointer.empty() ? "the plan " : ": ") + problem.message;
    return answer;
  }
  const auto kept = specs_.keep(order.plan_digest, order.planner, order.result);
  const auto plan = kept ? specs_.find(*kept) : tl::unexpected<Error>(kept.error());
  if (!plan) {
    answer.error = plan.error().message;
    return answer;
  }
  answer.digest = *kept;
  for (std::size_t i = (*before)->facets.size(); i < (*plan)->facets.size(); ++i)
    answer.facets.push_back(std::make_unique<fbs::PlanFacetT>((*plan)->facets[i]));
  return answer;
}

/// Each with its share of the room.
fbs::CandidatesShownT SwarmWork::show(const fbs::ShowCandidatesT& order) const {
  fbs::CandidatesShownT answer;
  answer.facet = order.facet;
  answer.run = order.run;
  const std::size_t room = kDiffsOfCandidates / std::max<std::size_t>(1, order.commits.size());
  const auto repository = open_local(order.url);
  const auto odb = repository ? git::open_objects(repository->objects_path())
                              : tl::unexpected<Error>(repository.error());
  const auto objects = odb ? git::wrap(odb->get()) : tl::unexpected<Error>(odb.error());
  if (!objects) {
    answer.error = objects.error().message;
    return answer;
  }
  for (std::size_t i = 0; i < order.commits.size() && i < order.bases.size(); ++i) {
    const auto text = diff_text(objects->get(), order.bases[i], order.commits[i], room);
    if (!text) {
      answer.error = text.error().message;
      return answer;
    }
    answer.diffs.push_back(*text);
  }
  return answer;
}

fbs::LineStartedT SwarmWork::start_line(const fbs::StartLineT& start) const {
  fbs::LineStartedT answer;
  answer.line = start.line;
  const auto begun = [&]() -> Result<std::string> {
    const auto repository = open_local(start.url);
    if (!repository) return tl::unexpected<Error>(repository.error());
    if (auto ok = check_branch_name(start.green_branch); !ok)
      return tl::unexpected<Error>(ok.error());
    const auto base = repository->base_branch(start.base_branch);
    if (!base) return tl::unexpected<Error>(base.error());
    answer.base_branch = *base;
    auto refs = repository->refs();
    const auto tip = refs.read(*base);
    if (!tip) return tl::unexpected<Error>(tip.error());
    if (!*tip) return fail(Errc::not_found, "its base branch '" + *base + "' has no commit");
    const auto green = refs.read(start.green_branch);
    if (!green) return tl::unexpected<Error>(green.error());
    if (!*green) {
      const auto in_the_way = refs.name_conflict(start.green_branch);
      if (!in_the_way) return tl::unexpected<Error>(in_the_way.error());
      if (!in_the_way->empty()) return fail(Errc::refused, *in_the_way);
      if (auto made = refs.swap(start.green_branch, std::nullopt, **tip); !made)
        return tl::unexpected<Error>(made.error());
      return **tip;
    }
    // An earlier try made it, and the base branch may have moved on since.
    const auto odb = git::open_objects(repository->objects_path());
    if (!odb) return tl::unexpected<Error>(odb.error());
    const auto wrapped = git::wrap(odb->get());
    if (!wrapped) return tl::unexpected<Error>(wrapped.error());
    const auto ours = git::contains(wrapped->get(), git::parse_id(**tip), git::parse_id(**green));
    if (!ours) return tl::unexpected<Error>(ours.error());
    if (!*ours)
      return fail(Errc::conflict, "branch '" + start.green_branch +
                                      "' is there already, with other work: delete it, or choose "
                                      "another name for the swarm");
    return **green;
  }();
  if (begun)
    answer.begin = *begun;
  else
    answer.error = begun.error().message;
  return answer;
}

fbs::LineMergedT SwarmWork::merge(const fbs::MergeFacetsT& order) {
  auto merged = [&]() -> Result<fbs::LineMergedT> {
    const auto plan = specs_.find(order.plan_digest);
    if (!plan) return tl::unexpected<Error>(plan.error());
    const auto repository = open_local(order.url);
    if (!repository) return tl::unexpected<Error>(repository.error());
    if (auto ok = check_commit_id(order.onto); !ok) return tl::unexpected<Error>(ok.error());
    const auto directory = repository->pack_directory();
    if (!directory) return tl::unexpected<Error>(directory.error());
    // Packs of facets and of batches before: with all of them merges are as right, and slower.
    if (auto ok = git::gather_packs(repository->objects_path(), directory->get(), scratch_); !ok)
      complain_("packs of " + order.url + " can't be gathered: " + ok.error().message);
    const auto odb = git::open_objects(repository->objects_path());
    if (!odb) return tl::unexpected<Error>(odb.error());
    auto objects = git::wrap(odb->get());
    if (!objects) return tl::unexpected<Error>(objects.error());
    auto merger = swarm::Merger::open(repository->objects_path(), scratch_,
                                      swarm::drivers_of((*plan)->spec));
    if (!merger) return tl::unexpected<Error>(merger.error());
    const std::string line = order.url + "\n" + order.try_branch;
    if (auto ok = lines_.tell(*merger, objects->get(), line, order.begin, order.onto); !ok)
      return tl::unexpected<Error>(ok.error());
    BatchMerge batch(**plan, order, std::move(*merger), std::move(*objects));
    auto answer = batch.run();
    lines_.keep(batch.merger(), line, answer ? answer->tip : "");
    if (!answer || !makes_commits(*answer, order.onto)) return answer;
    if (auto ok = batch.publish(directory->get()); !ok) return tl::unexpected<Error>(ok.error());
    for (std::size_t i = 0; i < answer->heads.size(); ++i) {
      if (answer->heads[i]->marked.empty()) continue;
      const std::string branch = swarm::marked_branch(order.swarm, order.heads[i]->id);
      if (auto ok = set_try_branch(*repository, branch, answer->heads[i]->marked); !ok)
        return tl::unexpected<Error>(ok.error());
    }
    if (answer->tip == order.onto) return answer;
    if (auto ok = set_try_branch(*repository, order.try_branch, answer->tip); !ok)
      return tl::unexpected<Error>(ok.error());
    return answer;
  }();
  if (merged) return std::move(*merged);
  fbs::LineMergedT answer;
  answer.line = order.line;
  answer.number = order.number;
  answer.error = merged.error().message;
  return answer;
}

fbs::GreenMovedT SwarmWork::move_green(const fbs::MoveGreenT& order) const {
  fbs::GreenMovedT answer;
  answer.line = order.line;
  answer.number = order.number;
  const auto moved = [&]() -> Result<void> {
    const auto repository = open_local(order.url);
    if (!repository) return tl::unexpected<Error>(repository.error());
    for (const auto* id : {&order.from, &order.to})
      if (auto ok = check_commit_id(*id); !ok) return ok;
    auto refs = repository->refs();
    const auto now = refs.read(order.green_branch);
    if (!now) return tl::unexpected<Error>(now.error());
    if (*now == order.to) return {};  // an earlier try did it
    if (*now != order.from) {
      answer.lost = true;
      return fail(Errc::conflict, "somebody else moved branch '" + order.green_branch + "' from " +
                                      order.from + " to " + now->value_or("nothing"));
    }
    if (!order.made.empty()) {
      const auto more = beyond_remade(*repository, order);
      if (!more) return tl::unexpected<Error>(more.error());
      answer.unfit = *more;
      if (!more->empty()) return {};
    }
    const auto checked_out = repository->checked_out(order.green_branch);
    if (!checked_out) return tl::unexpected<Error>(checked_out.error());
    if (*checked_out)
      return fail(Errc::refused,
                  "branch '" + order.green_branch + "' is checked out in a work tree");
    const auto objects = git::open_objects(repository->objects_path());
    if (!objects) return tl::unexpected<Error>(objects.error());
    const git_oid to = git::parse_id(order.to);
    if (git_odb_exists(objects->get(), &to) == 0)
      return fail(Errc::refused, "commit " + order.to + " is not in the repository");
    return refs.swap(order.green_branch, order.from, order.to);
  }();
  if (!moved) answer.error = moved.error().message;
  return answer;
}

}  // namespace muster::actors
