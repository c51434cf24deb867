// The outside world as the engine asks it: snapshots, branches, pull requests; and the dispatcher.
#include "actors/fleet/fleet.hpp"
#include "actors/indexes.hpp"
#include "actors/repo/repo.hpp"
#include "tests/simulation/fleet_parts.hpp"

namespace muster::sim {

// ---- the forge ----

/// Done some time, answered some time later: a crash in between leaves it done and unanswered.
void FleetWorld::forge(std::uint32_t shard, const engine::PendingEffect& effect,
                       const std::function<engine::Payload()>& act) {
  engine_task(1, 3'000, [this, shard, effect, act] {
    const engine::Payload result = act();
    if (options_.faults && scheduler_.chance(3)) return;  // Never answered: the deadline speaks.
    engine_task(1, 2'000, [this, shard, effect, result] {
      installation_.post(shard, [effect, result](engine::Shard& there) {
        there.effect_done(effect, result);
      });
    });
  });
}

engine::Payload FleetWorld::read_snapshot(const kfbs::ReadSnapshotT& m) {
  kfbs::SnapshotPageT page;
  page.first = m.first;
  const auto& all = snapshots_.at(m.digest);
  for (std::size_t i = m.first; i < m.first + m.count && i < all.size(); ++i) {
    page.entries.push_back(std::make_unique<kfbs::SnapshotEntryT>());
    page.entries.back()->repository = all[i];
    page.entries.back()->url = page.entries.back()->canonical_url = "/srv/git/" + all[i];
  }
  return kinds::Fleet::Messages::encode(page);
}

std::string& FleetWorld::branch_for(const kfbs::PushBranchT& m) {
  return branches_[m.url + " " + m.branch];
}

engine::Payload FleetWorld::push(const kfbs::PushBranchT& m) {
  kfbs::PushDoneT done;
  done.attempt = m.attempt;
  done.head_sha = m.head_sha;
  std::string& branch = branch_for(m);
  if (branch == m.head_sha) {
    done.outcome = kfbs::PushOutcome::already_there;
  } else if (!branch.empty() && !m.replace) {
    done.outcome = kfbs::PushOutcome::branch_exists;
  } else {
    branch = m.head_sha;
    done.outcome = kfbs::PushOutcome::pushed;
  }
  return kinds::Run::Messages::encode(done);
}

engine::Payload FleetWorld::open_pull(const kfbs::CreatePullRequestT& m, const std::string& key) {
  const std::string seen_as =
      sabotage_ == Sabotage::effect_not_looked_up ? key + "#" + std::to_string(pulls_.size()) : key;
  const auto [number, fresh] = pulls_.emplace(seen_as, m.proposed_number);
  if (fresh && ++pulls_made_[{m.pull->fleet, m.repository}] > 1)
    throw Violation(m.repository + " got a second pull request from " + m.pull->fleet);
  kfbs::PullCreatedT created;
  created.fleet = m.pull->fleet;
  created.number = number->second;
  created.url = m.url + "#" + std::to_string(created.number);
  return kinds::Repo::Messages::encode(created);
}

// ---- the dispatcher: real admission over what is committed, anew each round ----

void FleetWorld::dispatch() {
  if (closing_) return;
  view_.clear();
  for (const auto& [fleet, why] : index(kinds::index::kFleetHeld)) view_.held(fleet, true);
  for (const auto& [run, entry] : index(kinds::index::kPlaced))
    view_.placed(run, kinds::must_decode<kfbs::QueuedRunT>(entry));
  const auto queued = index(kinds::index::kQueued);
  for (const auto& [run, entry] : queued)
    view_.queued(run, kinds::must_decode<kfbs::QueuedRunT>(entry));
  for (const auto& [name, nothing] : index(kinds::index::kHost))
    if (const auto host = state<kinds::Host>(name)) view_.host(name, *host);
  engine::AdmissionLimits limits;
  limits.running_per_repository = UINT32_MAX;
  const auto round = engine::admit(view_.demand(), view_.fleets(), view_.hosts(),
                                   view_.repositories(), limits);
  for (const engine::Proposal& proposal : round.proposals) {
    const auto run = kinds::must_decode<kfbs::QueuedRunT>(queued.at(proposal.run));
    kfbs::ProposeT propose;
    propose.run = run.run;
    propose.attempt = proposal.attempt;
    propose.fleet = run.fleet;
    propose.repository = run.repository;
    propose.session = proposal.session;
    // Careless: what it says may be lost, or come after the next round has said it again.
    const engine::ActorId host = id<kinds::Host>(proposal.host);
    installation_.post_after(Duration{scheduler_.between(0, 3'000)}, installation_.shard_of(host),
                             [host, payload = kinds::Host::Messages::encode(propose)](
                                 engine::Shard& shard) {
                               shard.tell(host, payload, engine::Lane::normal,
                                          [](const Result<void>&) {});
                             });
  }
  engine_task(500, 2'000, [this] { dispatch(); });
}

}  // namespace muster::sim
