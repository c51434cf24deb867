// What must hold while swarms work, and when they have ended.
#include <algorithm>
#include <chrono>
#include <numeric>

#include "actors/fleet/fleet.hpp"
#include "actors/indexes.hpp"
#include "actors/pull/pull.hpp"
#include "actors/repo/repo.hpp"
#include "actors/swarm/scope.hpp"
#include "tests/simulation/fleet_parts.hpp"
#include "tests/simulation/swarm_world.hpp"

namespace muster::sim {

using kfbs::CommitFate;
using kfbs::FacetState;
using kfbs::LineState;
using kfbs::RunState;
using kfbs::SwarmState;
using kinds::Swarm;
namespace swarm = muster::actors::swarm;

namespace {

/// Of a swarm's own bounds: a clock that jumps, moves of green that are waited for, deliveries.
constexpr Duration kStallSlack = std::chrono::minutes(25);
constexpr Duration kEndSlack = std::chrono::hours(3);

[[noreturn]] void broken(const std::string& name, const std::string& what) {
  throw Violation(name + ": " + what);
}

}  // namespace

// ---- while it works ----

void SwarmWorld::watch(const engine::Change& change) {
  if (change.actor.kind != Swarm::kName) return;
  const std::string& name = change.actor.key;
  const auto head = state<Swarm>(name);
  if (!head || head->name.empty() || head->forgetting) return;
  Invented& invented = swarms_.at(name);
  for (const auto& [number, line] : rows_of<kfbs::LineRowT>(change.actor, "line/"))
    watch_line(invented, name, line);
  watch_ledger(invented, name);
  watch_time(name, *head);
}

void SwarmWorld::watch_line(Invented& invented, const std::string& name,
                            const kfbs::LineRowT& line) {
  if (line.green.empty() || invented.foreign) return;
  const std::string green = git_.at(line.line->url).branch(swarm::green_branch(name));
  const bool moving = line.state == LineState::moving && green == line.tip;
  if (green != line.green && !moving)
    broken(name, "its green branch is at " + green + ", and the swarm says " + line.green);
}

/// What was said of a commit, and of a facet that is merged, stays.
void SwarmWorld::watch_ledger(Invented& invented, const std::string& name) {
  const auto commits = rows_of<kfbs::CommitRowT>(id<Swarm>(name), swarm::kCommitPrefix);
  for (const auto& [commit, fate] : invented.fates)
    if (!commits.contains(commit)) broken(name, "commit " + commit + " is gone from its ledger");
  for (const auto& [commit, row] : commits) {
    const auto [known, fresh] = invented.fates.emplace(commit, row.fate);
    const CommitFate before = std::exchange(known->second, row.fate);
    if (before != CommitFate::open && before != row.fate)
      broken(name, "the fate of commit " + commit + " was said twice");
  }
  const auto facets = rows_of<kfbs::FacetRowT>(id<Swarm>(name), swarm::kFacetPrefix);
  std::vector<kfbs::FacetRowT> all;
  for (const auto& [number, row] : facets) {
    all.push_back(row);
    if (row.state == FacetState::merged) invented.merges.emplace(row.id, row.merge);
    const auto merged = invented.merges.find(row.id);
    if (merged != invented.merges.end() &&
        (row.state != FacetState::merged || row.merge != merged->second))
      broken(name, "facet " + row.id + " was merged, and is not any more");
  }
  if (swarm::recount(all) != state<Swarm>(name)->counts) broken(name, "its counters do not agree");
}

void SwarmWorld::watch_time(const std::string& name, const kfbs::SwarmHeadT& head) {
  const bool works = head.state == SwarmState::pending || head.state == SwarmState::running;
  if (!works || head.stopping || !head.paused.empty()) return;
  const std::int64_t now = installation_.clock().now().unix_ms;
  if (now - head.progress_unix_ms > head.stall_ms + kStallSlack.count())
    broken(name, "nothing was integrated for longer than it may be, and it did not stop");
}

// ---- at the end ----

void SwarmWorld::verify_work() {
  for (const auto& [name, invented] : swarms_) verify_swarm(name, invented);
}

void SwarmWorld::verify_swarm(const std::string& name, const Invented& invented) {
  const engine::ActorId actor = id<Swarm>(name);
  const auto head = state<Swarm>(name);
  if (!head || !swarm::is_end(head->state)) broken(name, "it did not end");
  const std::int64_t most = head->deadline_unix_ms + kEndSlack.count();
  if (head->deadline_unix_ms != 0 && head->ended_unix_ms > most)
    broken(name, "it ended long after its time");
  for (const char* queue : {"free/", "in/", "held/"})
    if (!raw_rows_of(actor, queue).empty())
      broken(name, std::string("facets are left in ") + queue);
  for (const auto& [number, row] : rows_of<kfbs::FacetRowT>(actor, swarm::kFacetPrefix)) {
    if (!swarm::is_over(row.state)) broken(name, "facet " + row.id + " did not end");
    if (row.state == FacetState::rejected && row.why.empty())
      broken(name, "facet " + row.id + " was rejected for no reason");
  }
  verify_commits(name);
  for (std::uint32_t line = 0; line < head->lines; ++line) verify_line(name, invented, *head, line);
}

/// Whatever a run of a facet delivered is in the ledger.
void SwarmWorld::verify_commits(const std::string& name) {
  const auto commits = rows_of<kfbs::CommitRowT>(id<Swarm>(name), swarm::kCommitPrefix);
  for (const auto& [run, row] :
       rows_of<kfbs::RunRowT>(id<kinds::Fleet>(name), kinds::fleet::kRowPrefix))
    if (row.state == RunState::delivered && !commits.contains(row.head_sha))
      broken(name,
             "run " + row.run + " delivered commit " + row.head_sha + ", and the ledger has none");
}

/// The line's ledger against git, and its pull request.
void SwarmWorld::verify_line(const std::string& name, const Invented& invented,
                             const kfbs::SwarmHeadT& head, std::uint32_t number) {
  const engine::ActorId actor = id<Swarm>(name);
  const auto lines = rows_of<kfbs::LineRowT>(actor, "line/");
  const kfbs::LineRowT& line = lines.at(swarm::numbered("", number));
  if (line.begin.empty()) return;
  swarm::Ledger ledger;
  const auto facets = rows_of<kfbs::FacetRowT>(actor, swarm::kFacetPrefix);
  for (const auto& [commit, row] : rows_of<kfbs::CommitRowT>(actor, swarm::kCommitPrefix)) {
    const kfbs::FacetRowT& facet = facets.at(swarm::numbered("", row.facet));
    if (facet.line != number) continue;
    bool said = ledger.received(facet.id, commit).has_value();
    if (row.fate == CommitFate::merged) said = said && ledger.merged(commit, row.merge);
    if (row.fate == CommitFate::superseded) said = said && ledger.superseded(commit, row.successor);
    if (row.fate == CommitFate::rejected) said = said && ledger.rejected(commit, row.reason);
    if (!said) broken(name, "the ledger takes no such entry of commit " + commit);
  }
  const GitModel& git = git_.at(line.line->url);
  const auto facts = facts_of(git, line.begin, line.green);
  std::string findings;
  for (const swarm::Finding& finding : swarm::audit(ledger, facts))
    findings += std::string(swarm::to_string(finding.kind)) + " " + finding.commit + " " +
                finding.text + "; ";
  if (!findings.empty()) broken(name, findings);
  for (const swarm::LineCommit& commit : facts.line) {
    const auto& entry = *ledger.find(commit.head);
    const ModelCommit& before = git.commits.at(git.commits.at(commit.id).parents.front());
    const auto& scope = invented.plan.spec.facets.at(invented.plan.places.at(entry.facet)).scope;
    for (const auto& [path, bytes] : git.commits.at(commit.id).files)
      if ((!before.files.contains(path) || before.files.at(path) != bytes) &&
          !swarm::outside({path}, scope, invented.plan.spec.shared).empty())
        broken(name, "facet " + entry.facet + " changed " + path);
  }
  const bool complete =
      head.state == SwarmState::completed || head.state == SwarmState::completed_with_rejections;
  if (!complete || line.green == line.begin) return;
  const auto pull = state<kinds::Pull>(kinds::pull_key(line.line->repository, line.pull));
  if (!pull || pull->head_sha != line.green) broken(name, "no pull request has what it integrated");
  if (pulls_made_[{name, line.line->repository}] != 1)
    broken(name, "it has more than one pull request");
}

std::string SwarmWorld::unfinished_business() const {
  std::string all;
  for (const auto& [name, invented] : swarms_) {
    std::map<std::string, FacetState> ends;
    for (const auto& [number, row] : rows_of<kfbs::FacetRowT>(id<Swarm>(name), swarm::kFacetPrefix))
      ends[row.id] = row.state;
    for (const std::size_t place : invented.plan.order) {  // Each after what it needs.
      const swarm::Facet& facet = invented.plan.spec.facets[place];
      const Habit habit = invented.habits.at(facet.id);
      const bool hopeless =
          std::any_of(facet.needs.begin(), facet.needs.end(),
                      [&](const auto& need) { return ends[need] == FacetState::rejected; });
      const FacetState due = hopeless || habit == Habit::red ? FacetState::rejected
                             : habit == Habit::idle          ? FacetState::unchanged
                                                             : FacetState::merged;
      if (ends[facet.id] != due)
        all += name + ": facet " + facet.id + " is " + kfbs::EnumNameFacetState(ends[facet.id]) +
               " instead of " + kfbs::EnumNameFacetState(due) + "\n";
    }
  }
  return all;
}

}  // namespace muster::sim
