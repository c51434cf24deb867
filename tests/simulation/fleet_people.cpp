// People: each wants one thing after the other, and asks again until it is answered.
#include "actors/fleet/fleet.hpp"
#include "tests/simulation/fleet_parts.hpp"

namespace muster::sim {

void FleetWorld::call(Person& person, const engine::ActorId& to, engine::Payload payload) {
  person.call = {};
  person.call.to = to;
  person.call.payload = std::move(payload);
  person.call.key = draw_key(scheduler_);
  person.call.digest = "body of " + person.call.key;
  person.call.lane = engine::Lane::operator_;
  person.waiting = true;
  attempt(person);
}

void FleetWorld::attempt(Person& person) {
  const std::uint64_t mine = ++person.attempts;
  const auto again = [this, &person, mine](std::int64_t ms) {
    scheduler_.post_after(Duration{ms}, "people/" + person.name, [this, &person, mine] {
      if (person.waiting && person.attempts == mine) attempt(person);
    });
  };
  installation_.post(installation_.shard_of(person.call.to),
                     [this, &person, again, call = person.call](engine::Shard& shard) {
                       shard.call(call, [this, &person, again, call](Result<std::string> answer) {
                         if (!person.waiting || person.call.key != call.key) return;
                         if (!is_final(answer)) {
                           again(scheduler_.between(50, 2'000));
                           return;
                         }
                         person.waiting = false;
                         ++person.attempts;
                         scheduler_.post_after(Duration{scheduler_.between(1'000, 120'000)},
                                               "people/" + person.name,
                                               [this, &person] {
                                                 if (removing_)
                                                   next_removal(person);
                                                 else
                                                   next_wish(person);
                                               });
                       });
                     });
  again(scheduler_.between(1'000, 20'000));
}

void FleetWorld::next_wish(Person& person) {
  using Messages = kinds::Fleet::Messages;
  const engine::ActorId fleet = id<kinds::Fleet>(person.fleet);
  if (!person.created) {
    person.created = true;
    kfbs::CreateFleetT create;
    create.digest = create.spec_digest = create.snapshot_digest = person.fleet;
    create.repositories = static_cast<std::uint32_t>(snapshots_.at(person.fleet).size());
    create.waves = {0, 1000};
    create.wave_counts = {3, 0};
    create.timeout_ms = 24 * 3600 * 1000;
    create.policy = std::make_unique<kfbs::RunPolicyT>();
    create.policy->retry_on = {kfbs::FailureClass::infrastructure, kfbs::FailureClass::agent};
    create.policy->attempt_timeout_ms = 20 * 60 * 1000;
    create.policy->branch = "muster/" + person.fleet;
    call(person, fleet, Messages::encode(create));
  } else if (person.paused) {  // Nobody leaves a fleet paused.
    person.paused = false;
    call(person, fleet, Messages::encode(kfbs::ResumeFleetT{}));
  } else if (person.wishes-- > 0) {
    const std::int64_t wish = scheduler_.between(1, 100);
    if (wish <= 50) {
      person.paused = true;
      call(person, fleet, Messages::encode(kfbs::PauseFleetT{}));
    } else if (wish <= 65) {
      call(person, fleet, Messages::encode(kfbs::CancelFleetT{}));
    } else {
      call(person, fleet, Messages::encode(kfbs::RetryFleetT{}));
    }
  } else {
    person.wishes = -1;
  }
}

bool FleetWorld::everybody_done() const {
  for (const auto& person : people_)
    if (person->waiting || person->paused || person->wishes >= 0) return false;
  for (const std::string& name : fleets_) {
    const auto fleet = state<kinds::Fleet>(name);
    if (!fleet || fleet->state < kfbs::FleetState::completed) return false;
  }
  return true;
}

}  // namespace muster::sim
