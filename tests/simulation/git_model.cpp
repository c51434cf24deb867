#include "tests/simulation/git_model.hpp"

#include <algorithm>

#include "actors/swarm/scope.hpp"
#include "storage/base/ids.hpp"

namespace muster::sim {

namespace kfbs = muster::actors::fbs;
using kfbs::HeadOutcome;

namespace {

constexpr std::string_view kChangelog = "CHANGELOG.md";
/// As actors/swarm/swarm_work.cpp has it.
constexpr std::size_t kDependentsPerPage = 20'000;

const std::string* bytes_at(const Files& files, const std::string& path) {
  const auto found = files.find(path);
  return found == files.end() ? nullptr : &found->second;
}

bool equal_bytes(const std::string* a, const std::string* b) {
  return a == nullptr || b == nullptr ? a == b : *a == *b;
}

/// The newest commit below `head` by first parents that is in `tip_history`; empty: they have
/// nothing in common.
std::string base_of(const GitModel& git, const std::set<std::string>& tip_history,
                    std::string head) {
  while (!tip_history.contains(head)) {
    const ModelCommit& commit = git.commits.at(head);
    if (commit.parents.empty()) return {};
    head = commit.parents.front();
  }
  return head;
}

std::set<std::string> paths_of(const Files& a, const Files& b, const Files& c) {
  std::set<std::string> paths;
  for (const Files* files : {&a, &b, &c})
    for (const auto& [path, bytes] : *files) paths.insert(path);
  return paths;
}

struct ThreeWay {
  Files files;
  std::vector<std::string> conflicts;
  std::vector<std::string> united;
};

/// Both wrote above the same end: what they wrote, one after the other.
bool unite(const std::string& base, const std::string& ours, const std::string& theirs,
           std::string& to) {
  if (!ours.ends_with(base) || !theirs.ends_with(base)) return false;
  to = ours.substr(0, ours.size() - base.size()) + theirs;
  return true;
}

ThreeWay three_way(const Files& base, const Files& ours, const Files& theirs) {
  ThreeWay merged;
  for (const std::string& path : paths_of(base, ours, theirs)) {
    const std::string *b = bytes_at(base, path), *o = bytes_at(ours, path),
                      *t = bytes_at(theirs, path);
    const std::string* taken = equal_bytes(b, o) ? t : o;
    std::string united;
    if (!equal_bytes(b, o) && !equal_bytes(b, t) && !equal_bytes(o, t)) {
      if (path == kChangelog && b != nullptr && o != nullptr && t != nullptr &&
          unite(*b, *o, *t, united)) {
        merged.united.push_back(path);
        taken = &united;
      } else {
        merged.conflicts.push_back(path);
      }
    }
    if (taken != nullptr) merged.files[path] = *taken;
  }
  return merged;
}

std::vector<std::string> changed_paths(const Files& before, const Files& after) {
  std::vector<std::string> changed;
  for (const std::string& path : paths_of(before, after, {}))
    if (!equal_bytes(bytes_at(before, path), bytes_at(after, path))) changed.push_back(path);
  return changed;
}

std::string listed(const std::vector<std::string>& paths) {
  std::string text;
  for (const std::string& path : paths) text += (text.empty() ? "" : ", ") + path;
  return text;
}

/// One batch onto one line; what it makes is in `git`, a copy, and in `made`.
class BatchOfModel {
 public:
  BatchOfModel(GitModel git, const actors::swarm::SwarmPlan& plan, const kfbs::MergeFacetsT& order,
               const ModelFlaws& flaws)
      : git_(std::move(git)), plan_(plan), order_(order), flaws_(flaws) {}

  ModelBatch run() {
    ModelBatch batch;
    batch.answer.line = order_.line;
    batch.answer.number = order_.number;
    batch.answer.tip = order_.onto;
    for (const auto& head : order_.heads) {
      if (!git_.commits.contains(head->commit)) {
        batch.answer.error = "commit " + head->commit + " is not there";
        batch.answer.heads.clear();
        batch.made.clear();
        return batch;
      }
      auto to = std::make_unique<kfbs::MergedFacetT>(one(*head, batch.answer.tip));
      if (to->outcome == HeadOutcome::merged) {
        batch.answer.tip = to->merge;
        batch.made.push_back(git_.commits.at(to->merge));
      }
      batch.answer.heads.push_back(std::move(to));
    }
    return batch;
  }

 private:
  kfbs::MergedFacetT one(const kfbs::FacetHeadT& head, const std::string& tip) {
    kfbs::MergedFacetT to;
    to.facet = head.facet;
    const auto refuse = [&to](HeadOutcome outcome, std::string why) {
      to.outcome = outcome;
      to.why = std::move(why);
      return to;
    };
    if (const auto beyond = outside_scope(head); !beyond.empty() && !flaws_.ignores_scopes)
      return refuse(HeadOutcome::out_of_scope,
                    "it changes what is not in its scope: " + listed(beyond));
    const auto history = git_.history(tip);
    if (history.contains(head.commit))
      return refuse(HeadOutcome::nothing_new, "the line has its commit already");
    const ModelCommit& theirs = git_.commits.at(head.commit);
    const std::string base = base_of(git_, history, head.commit);
    ThreeWay merged =
        three_way(git_.commits.at(base).files, git_.commits.at(tip).files, theirs.files);
    if (flaws_.drops_peers) merged = {theirs.files, {}, {}};
    if (!merged.conflicts.empty()) {
      to.context = "==== " + listed(merged.conflicts);
      return refuse(HeadOutcome::conflict, "it conflicts with what was integrated meanwhile in " +
                                               listed(merged.conflicts));
    }
    to.by_driver = std::move(merged.united);
    to.merge = git_.add({std::move(merged.files),
                         {tip, head.commit},
                         "Merge facet " + head.id + " of run " + head.run + " at " +
                             std::to_string(order_.unix_seconds)});
    return to;
  }

  [[nodiscard]] std::vector<std::string> outside_scope(const kfbs::FacetHeadT& head) const {
    const std::string base = base_of(git_, git_.history(order_.onto), head.commit);
    if (base.empty()) return {"(everything: it has another history)"};
    const auto& facet = plan_.spec.facets.at(plan_.places.at(head.id));
    return actors::swarm::outside(
        changed_paths(git_.commits.at(base).files, git_.commits.at(head.commit).files), facet.scope,
        plan_.spec.shared);
  }

  GitModel git_;
  const actors::swarm::SwarmPlan& plan_;
  const kfbs::MergeFacetsT& order_;
  const ModelFlaws& flaws_;
};

}  // namespace

std::string ModelCommit::id() const {
  std::string all = message;
  for (const std::string& parent : parents) all += "\nparent " + parent;
  for (const auto& [path, bytes] : files)
    all += "\n" + std::to_string(bytes.size()) + " " + path + "\n" + bytes;
  return sha256_hex(all).substr(0, 40);
}

std::string GitModel::add(const ModelCommit& commit) {
  const std::string id = commit.id();
  commits.emplace(id, commit);
  return id;
}

std::string GitModel::branch(const std::string& name) const {
  const auto found = branches.find(name);
  return found == branches.end() ? std::string() : found->second;
}

std::set<std::string> GitModel::history(const std::string& tip) const {
  std::set<std::string> seen;
  std::vector<std::string> open{tip};
  while (!open.empty()) {
    const std::string at = std::move(open.back());
    open.pop_back();
    if (!seen.insert(at).second) continue;
    for (const std::string& parent : commits.at(at).parents) open.push_back(parent);
  }
  return seen;
}

kfbs::PlanPageT read_plan(const actors::swarm::SwarmPlan& plan, const kfbs::ReadPlanT& read) {
  kfbs::PlanPageT page;
  page.first = read.first;
  std::size_t dependents = 0;
  for (std::size_t i = read.first; i < plan.facets.size() && page.facets.size() < read.count; ++i) {
    dependents += plan.facets[i].needed_by.size();
    if (dependents > kDependentsPerPage && !page.facets.empty()) break;
    page.facets.push_back(std::make_unique<kfbs::PlanFacetT>(plan.facets[i]));
  }
  return page;
}

kfbs::LineStartedT start_line(GitModel& git, const kfbs::StartLineT& start) {
  kfbs::LineStartedT answer;
  answer.line = start.line;
  const std::string tip = git.branch(start.base_branch.empty() ? "main" : start.base_branch);
  std::string& green = git.branches[start.green_branch];
  if (green.empty()) green = tip;
  if (git.history(tip).contains(green))
    answer.begin = green;
  else
    answer.error = "branch '" + start.green_branch + "' is there already, with other work";
  return answer;
}

ModelBatch merge_facets(const GitModel& git, const actors::swarm::SwarmPlan& plan,
                        const kfbs::MergeFacetsT& order, const ModelFlaws& flaws) {
  return BatchOfModel(git, plan, order, flaws).run();
}

kfbs::GreenMovedT move_green(GitModel& git, const kfbs::MoveGreenT& order,
                             const ModelFlaws& flaws) {
  kfbs::GreenMovedT answer;
  answer.line = order.line;
  answer.number = order.number;
  std::string& green = git.branches[order.green_branch];
  if (green == order.to && !flaws.forgets_moves) return answer;  // an earlier try did it
  if (green != order.from) {
    answer.lost = true;
    answer.error = "somebody else moved branch '" + order.green_branch + "'";
    return answer;
  }
  green = order.to;
  return answer;
}

actors::swarm::GitFacts facts_of(const GitModel& git, const std::string& begin,
                                 const std::string& tip) {
  actors::swarm::GitFacts facts;
  const auto before = git.history(begin);
  for (const std::string& commit : git.history(tip))
    if (!before.contains(commit)) facts.reachable.insert(commit);
  std::string at = tip;
  for (; at != begin; at = git.commits.at(at).parents.front()) {
    const ModelCommit& commit = git.commits.at(at);
    if (commit.parents.empty()) return facts;
    actors::swarm::LineCommit line;
    line.id = at;
    if (commit.parents.size() == 2) {
      const std::string& ours = commit.parents[0];
      line.head = commit.parents[1];
      const std::string base = base_of(git, git.history(ours), line.head);
      const ThreeWay again = three_way(git.commits.at(base).files, git.commits.at(ours).files,
                                       git.commits.at(line.head).files);
      line.as_made = again.conflicts.empty() && again.files == commit.files;
    }
    facts.line.push_back(std::move(line));
  }
  facts.descends = true;
  return facts;
}

}  // namespace muster::sim
