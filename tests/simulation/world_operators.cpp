// The ledger's operator: commands under keys, like calls.
#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"
#include "tests/simulation/world_people.hpp"

namespace muster::sim {

using engine::OperatorCommand;
using Action = engine::OperatorCommand::Action;
using storage::Family;

void World::next_command() {
  Scheduler& s = scheduler_;
  Operator& o = *operator_;
  o.waiting = false;
  if (o.left == 0 && o.paused.empty()) return;
  o.command = {};
  if (o.left == 0 || (!o.paused.empty() && s.chance(50))) {
    o.command.action = Action::resume;
    o.command.actor = {"sim", "account", *o.paused.begin()};
  } else if (--o.left; s.chance(40) || !draw_letter(o.command)) {
    o.command.action = Action::pause;
    const auto drawn = s.between(0, static_cast<std::int64_t>(accounts_.size()) - 1);
    o.command.actor = {"sim", "account", accounts_[static_cast<std::size_t>(drawn)]};
  }
  o.command.who = "operator";
  o.command.key = draw_key(s);
  o.command.digest = "command " + o.command.key;
  o.waiting = true;
  attempt_command();
}

/// Any letter, also one that is closed. False: there is none.
bool World::draw_letter(OperatorCommand& command) {
  std::vector<engine::LetterId> all;
  for (std::uint32_t shard = 0; shard < installation_.shards(); ++shard)
    for (const auto& [key, value] : installation_.rows(shard, Family::dead))
      all.push_back({shard, storage::get_be64(key)});
  if (all.empty()) return false;
  const auto drawn = scheduler_.between(0, static_cast<std::int64_t>(all.size()) - 1);
  command.letter = all[static_cast<std::size_t>(drawn)];
  command.action = scheduler_.chance(70) ? Action::replay : Action::discard;
  return true;
}

void World::attempt_command() {
  const std::uint64_t mine = ++operator_->attempts;
  const OperatorCommand& command = operator_->command;
  const std::uint32_t shard = command.actor.kind.empty() ? command.letter.shard
                                                         : installation_.shard_of(command.actor);
  installation_.post(shard, [this, command, mine](engine::Shard& there) {
    there.operate(command, [this, command, mine](Result<std::string> answer) {
      if (!operator_->waiting || operator_->command.key != command.key) return;
      if (is_final(answer)) {
        command_answered(answer);
      } else if (answer.error().code == Errc::overloaded && !operator_->paused.empty()) {
        end_command();  // Nothing was done. A paused receiver has room again when it is resumed.
      } else {
        retry_command(mine, scheduler_.between(50, 2'000));
      }
    });
  });
  retry_command(mine, scheduler_.between(200, 10'000));
}

void World::retry_command(std::uint64_t attempt_number, std::int64_t ms) {
  scheduler_.post_after(Duration{ms}, "people/operator", [this, attempt_number] {
    if (operator_->waiting && operator_->attempts == attempt_number) attempt_command();
  });
}

void World::end_command() {
  operator_->waiting = false;
  ++operator_->attempts;
  scheduler_.post_after(Duration{scheduler_.between(0, 3'000)}, "people/operator",
                        [this] { next_command(); });
}

void World::command_answered(const Result<std::string>& answer) {
  Operator& o = *operator_;
  const OperatorCommand& command = o.command;
  const bool of_letter = command.actor.kind.empty();
  if (of_letter && answer.has_value() == o.closed.contains(command.letter))
    throw Violation("letter " + command.letter.to_string() +
                    (answer ? " was closed twice" : " was refused: " + answer.error().message));
  if (!of_letter && !answer) throw Violation("pausing: " + answer.error().message);
  if (of_letter && answer) o.closed[command.letter] = command.action == Action::replay;
  if (command.action == Action::pause) o.paused.insert(command.actor.key);
  if (command.action == Action::resume) o.paused.erase(command.actor.key);
  end_command();
}

}  // namespace muster::sim
