// Long after the end: what retention asks for, with crashes between any two events. In the end
// nothing is left of fleets, runs and pull requests, not even what says that they were; no message
// was stepped twice, and none found nobody.
#include "actors/fleet/fleet.hpp"
#include "actors/indexes.hpp"
#include "actors/pull/pull.hpp"
#include "actors/repo/repo.hpp"
#include "engine/core/keys.hpp"
#include "tests/simulation/fleet_parts.hpp"

namespace muster::sim {

using storage::Family;

void FleetWorld::remove_everything() {
  removing_ = true;
  closing_ = false;
  faults_ = 0;
  for (const auto& person : people_) next_removal(*person);
  play();
  verify_removed();
}

/// The next of: pull requests closed, and removed; contents given up, and gone; the fleet removed.
void FleetWorld::next_removal(Person& person) {
  const engine::ActorId fleet = id<kinds::Fleet>(person.fleet);
  const auto head = state<kinds::Fleet>(person.fleet);
  if (!head || head->forgetting) return;
  const auto pulls = index(kinds::index::kPullByFleet);
  const auto pull = pulls.lower_bound(person.fleet + '\0');
  if (pull != pulls.end() && pull->first.starts_with(person.fleet + '\0')) {
    const auto to = id<kinds::Pull>(pull->first.substr(person.fleet.size() + 1));
    const bool open = pull->second == kfbs::EnumNamePullState(kfbs::PullState::open);
    call(person, to,
         open ? kinds::Pull::Messages::encode(kfbs::ClosePullT{})
              : kinds::Pull::Messages::encode(kfbs::ForgetPullT{}));
    return;
  }
  if (head->contents_gone && head->removed_unix_ms >= head->ended_unix_ms) {
    kfbs::ForgetFleetT forget;
    forget.ended_unix_ms = head->ended_unix_ms;
    call(person, fleet, kinds::Fleet::Messages::encode(forget));
  } else {
    kfbs::RemoveContentsT contents;
    contents.ended_unix_ms = head->ended_unix_ms;
    contents.done = head->removed_unix_ms >= head->ended_unix_ms;
    call(person, fleet, kinds::Fleet::Messages::encode(contents));
  }
}

bool FleetWorld::everything_removed() const {
  for (const auto& person : people_)
    if (person->waiting) return false;
  for (const auto name : {kinds::index::kFleet, kinds::index::kRun, kinds::index::kPull})
    if (!index(name).empty()) return false;
  return true;
}

void FleetWorld::verify_removed() {
  for (const auto name : {kinds::index::kFleet, kinds::index::kFleetHeld, kinds::index::kRun,
                          kinds::index::kPull, kinds::index::kPullByFleet})
    if (!index(name).empty())
      throw Violation("removed, and left in the index " + std::string(name));
  for (std::uint32_t shard = 0; shard < installation_.shards(); ++shard)
    for (const auto& [key, value] : installation_.rows(shard, Family::state)) {
      std::string_view rest = key;
      const auto actor = engine::keys::take_actor(rest);
      if (actor && actor->kind != kinds::Repo::kName && actor->kind != kinds::Host::kName)
        throw Violation("something is left of " + actor->to_string());
    }
  installation_.must_be_empty(Family::dead, "dead letters");
  installation_.must_be_empty(Family::backlog, "backlog");
  installation_.must_be_empty(Family::outbox, "outbox");
  installation_.must_be_empty(Family::effects, "effects");
}

}  // namespace muster::sim
