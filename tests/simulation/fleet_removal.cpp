// Long after the end: what retention asks for, with crashes between any two events. In the end
// nothing is left of swarms, fleets, runs, pull requests, repositories and hosts, not even what says
// that they were; no message was stepped twice, and none found nobody.
#include "actors/fleet/fleet.hpp"
#include "actors/indexes.hpp"
#include "actors/pull/pull.hpp"
#include "actors/repo/repo.hpp"
#include "actors/swarm/swarm.hpp"
#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"
#include "tests/simulation/fleet_parts.hpp"

namespace muster::sim {

using storage::Family;

namespace {

/// What the engine had to say to a host has long been said.
constexpr Duration kHostGone{120'000};

}  // namespace

/// Hosts go for good, and the engine hears no more of them.
void FleetWorld::remove_everything() {
  removing_ = true;
  closing_ = false;
  faults_ = 0;
  for (const auto& machine : machines_) {
    machine->away = true;
    disconnect(*machine, 0, 0);
  }
  engine_task(0, 0, [this] { tick(); });
  for (const auto& person : people_) next_removal(*person);
  play();
  verify_removed();
}

void FleetWorld::next_removal(Person& person) {
  if (remove_fleet(person) || remove_rest(person) || everything_removed()) return;
  scheduler_.post_after(Duration{scheduler_.between(1'000, 60'000)}, "people/" + person.name,
                        [this, &person] { next_removal(person); });
}

/// The next of: pull requests closed, and removed; contents given up, and gone; the fleet removed, or its swarm with
/// it. False: nothing is left to ask for.
bool FleetWorld::remove_fleet(Person& person) {
  const auto head = state<kinds::Fleet>(person.fleet);
  const auto swarm = state<kinds::Swarm>(person.fleet);
  if (!head || head->forgetting || (swarm && swarm->forgetting)) return false;
  const engine::ActorId fleet = id<kinds::Fleet>(person.fleet);
  const auto pulls = index(kinds::index::kPullByFleet);
  const auto pull = pulls.lower_bound(person.fleet + '\0');
  if (pull != pulls.end() && pull->first.starts_with(person.fleet + '\0')) {
    const auto to = id<kinds::Pull>(pull->first.substr(person.fleet.size() + 1));
    const bool open = pull->second == kfbs::EnumNamePullState(kfbs::PullState::open);
    call(person, to,
         open ? kinds::Pull::Messages::encode(kfbs::ClosePullT{})
              : kinds::Pull::Messages::encode(kfbs::ForgetPullT{}));
  } else if (!head->contents_gone || head->removed_unix_ms < head->ended_unix_ms) {
    kfbs::RemoveContentsT contents;
    contents.ended_unix_ms = head->ended_unix_ms;
    contents.done = head->removed_unix_ms >= head->ended_unix_ms;
    call(person, fleet, kinds::Fleet::Messages::encode(contents));
  } else if (swarm) {
    kfbs::ForgetSwarmT forget;
    forget.ended_unix_ms = swarm->ended_unix_ms;
    forget.own_fleet = true;
    call(person, id<kinds::Swarm>(person.fleet), kinds::Swarm::Messages::encode(forget));
  } else {
    kfbs::ForgetFleetT forget;
    forget.ended_unix_ms = head->ended_unix_ms;
    call(person, fleet, kinds::Fleet::Messages::encode(forget));
  }
  return true;
}

/// A repository that nothing names any more, or a host that is gone. It may refuse: then it is asked again. One person
/// does all of it.
bool FleetWorld::remove_rest(Person& person) {
  if (&person != people_.front().get()) return false;
  for (const std::string& name : kept(kinds::Repo::kName)) {
    if (is_named(name)) continue;
    call(person, id<kinds::Repo>(name), kinds::Repo::Messages::encode(kfbs::ForgetRepoT{}));
    return true;
  }
  for (const std::string& name : kept(kinds::Host::kName)) {
    const auto host = state<kinds::Host>(name);
    const Duration unseen = installation_.clock().now() - Instant{host->changed_unix_ms};
    const auto line = lines_.find(name);
    if (host->state != kfbs::HostState::unreachable || unseen < kHostGone ||
        (line != lines_.end() && line->second.leased))
      continue;
    kfbs::ForgetHostT forget;
    forget.changed_unix_ms = host->changed_unix_ms;
    call(person, id<kinds::Host>(name), kinds::Host::Messages::encode(forget));
    return true;
  }
  return false;
}

/// The keys of the actors of a kind that have a state.
std::vector<std::string> FleetWorld::kept(std::string_view kind) const {
  std::vector<std::string> all;
  for (std::uint32_t shard = 0; shard < installation_.shards(); ++shard)
    for (const auto& [key, value] : installation_.rows(shard, Family::state)) {
      std::string_view rest = key;
      const auto actor = engine::keys::take_actor(rest);
      if (actor && actor->kind == kind && rest == "h" && !engine::is_removed(value))
        all.push_back(actor->key);
    }
  return all;
}

bool FleetWorld::is_named(const std::string& repository) const {
  for (const auto& [run, value] : index(kinds::index::kRun))
    if (value.ends_with("\n" + repository)) return true;
  const auto pulls = index(kinds::index::kPull);
  const auto first = pulls.lower_bound(repository + "#");
  return first != pulls.end() && first->first.starts_with(repository + "#");
}

bool FleetWorld::everything_removed() const {
  for (const auto& person : people_)
    if (person->waiting) return false;
  for (const auto name : {kinds::index::kSwarm, kinds::index::kFleet, kinds::index::kRun,
                          kinds::index::kPull, kinds::index::kHost})
    if (!index(name).empty()) return false;
  return kept(kinds::Repo::kName).empty();
}

void FleetWorld::verify_removed() {
  for (const auto name :
       {kinds::index::kSwarm, kinds::index::kFleet, kinds::index::kFleetHeld, kinds::index::kRun,
        kinds::index::kPull, kinds::index::kPullByFleet, kinds::index::kHost})
    if (!index(name).empty())
      throw Violation("removed, and left in the index " + std::string(name));
  for (std::uint32_t shard = 0; shard < installation_.shards(); ++shard)
    for (const auto& [key, value] : installation_.rows(shard, Family::state)) {
      std::string_view rest = key;
      const auto actor = engine::keys::take_actor(rest);
      if (actor) throw Violation("something is left of " + actor->to_string());
    }
  installation_.must_be_empty(Family::dead, "dead letters");
  installation_.must_be_empty(Family::backlog, "backlog");
  installation_.must_be_empty(Family::outbox, "outbox");
  installation_.must_be_empty(Family::effects, "effects");
}

}  // namespace muster::sim
