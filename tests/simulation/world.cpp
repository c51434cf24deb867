// The ledger's run, the bank, and the look at the disks when all is done.
#include "tests/simulation/world.hpp"

#include <array>

#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"
#include "tests/simulation/world_people.hpp"

namespace muster::sim {

using storage::Family;

namespace {

constexpr std::uint64_t kMaxSteps = 400'000;

std::size_t draw_shards(Scheduler& scheduler) {
  constexpr std::array<std::size_t, 3> kShards{1, 3, 4};
  return kShards[static_cast<std::size_t>(scheduler.between(0, 2))];
}

}  // namespace

World::World(std::uint64_t seed, Sabotage sabotage)
    : scheduler_(seed),
      installation_(scheduler_, engine::make_kinds<Account>(), draw_limits(scheduler_),
                    draw_shards(scheduler_), sabotage, *this),
      operator_(std::make_unique<Operator>()) {}

World::~World() = default;

/// The bank does a thing once per key: a repeat looks it up first.
void World::perform(std::uint32_t shard, const engine::PendingEffect& effect) {
  Scheduler& s = scheduler_;
  if (!bank_.insert(effect.key).second && !effect.repeated)
    throw Violation("effect " + effect.key + " was handed out twice without saying so");
  if (s.chance(10)) return;  // No answer: the deadline speaks.
  fbs::AnsweredT answer;
  answer.id = std::stoull(effect.key.substr(effect.key.find('/') + 1));
  const engine::Payload result = Account::Messages::encode(answer);
  const std::int64_t copies = s.chance(20) ? 2 : 1;
  for (std::int64_t i = 0; i < copies; ++i)
    installation_.post_after(
        Duration{s.between(0, s.chance(10) ? 40'000 : 2'000)}, shard,
        [effect, result](engine::Shard& there) { there.effect_done(effect, result); });
}

void World::run() {
  const std::int64_t accounts = scheduler_.between(2, 7);
  for (std::int64_t i = 0; i < accounts; ++i) accounts_.push_back("a" + std::to_string(i));
  installation_.start();
  start_people();
  for (int faults = 0; scheduler_.step();) {
    if (scheduler_.steps() > kMaxSteps) throw Violation("it does not come to an end");
    if (faults >= most_faults_ || --until_fault_ > 0) continue;
    if (everybody_done() && scheduler_.chance(90)) continue;  // Mostly let it come to rest.
    ++faults;
    // Counted in events, so that a fault falls between any two of them, not only where time stands still.
    until_fault_ = scheduler_.between(1, scheduler_.chance(30) ? 8 : 150);
    installation_.fault();
  }
  if (!everybody_done()) throw Violation("a client waits for ever");
  verify();
}

// ---- the end ----

void World::verify_account(const std::string& key, std::int64_t& sum) {
  const engine::ActorId id = account_id(key);
  const auto& disk = installation_.rows(installation_.shard_of(id), Family::state);
  const auto head = disk.find(engine::keys::head(id));
  if (head == disk.end()) throw Violation("account " + key + " is lost");
  const auto state = engine::decode_table<fbs::AccountHeadT>(*engine::state_in_head(head->second));
  if (!state->wrong.empty()) throw Violation(state->wrong);
  sum += state->balance;

  const auto evidence = [&](const std::string& prefix) {
    const std::string lower = engine::keys::row(id, prefix);
    return static_cast<std::uint64_t>(
        std::distance(disk.lower_bound(lower), disk.lower_bound(storage::prefix_end(lower))));
  };
  const auto equal = [&](const char* what, std::uint64_t a, std::uint64_t b) {
    if (a != b)
      throw Violation(key + ": " + what + ": " + std::to_string(a) + " and " + std::to_string(b));
  };
  equal("paid", state->paid, evidence("out/"));
  equal("received", state->received, evidence("in/"));
  equal("timers fired", state->timers_fired, evidence("due/"));
  equal("timers set and fired", state->timers_set, state->timers_fired);
  equal("answers", state->answered, evidence("ask/"));
  equal("asked and answered", state->asked, state->answered);
  const auto& index = installation_.rows(installation_.shard_of(id), Family::index);
  const auto entry = index.find(engine::keys::index("account", key, id));
  if (entry == index.end() || entry->second != std::to_string(state->balance))
    throw Violation(key + ": its index entry does not tell its balance");
}

std::size_t World::audits(std::string_view action) const {
  std::size_t n = 0;
  for (std::uint32_t shard = 0; shard < installation_.shards(); ++shard)
    for (const auto& [key, value] : installation_.rows(shard, Family::audit))
      if (engine::decode_record<engine::fbs::AuditRecordT>(value)->action == action) ++n;
  return n;
}

/// Each is there once, and closed as its operator was told, with what replays parked again beside them.
void World::verify_letters() {
  std::size_t first_time = 0;
  std::map<engine::LetterId, bool> closed;
  for (std::uint32_t shard = 0; shard < installation_.shards(); ++shard) {
    std::set<engine::Sequence> replays;
    for (const auto& [key, value] : installation_.rows(shard, Family::dead)) {
      const engine::LetterId id{shard, storage::get_be64(key)};
      const auto record = engine::decode_record<engine::fbs::DeadRecordT>(value);
      if (!replays.contains(id.sequence)) ++first_time;
      const bool replayed = record->state == engine::fbs::LetterState::replayed;
      if (record->state != engine::fbs::LetterState::open) closed[id] = replayed;
      if (replayed) replays.insert(record->replayed_as);
    }
  }
  if (first_time != dead_expected_)
    throw Violation(std::to_string(first_time) + " dead letters instead of " +
                    std::to_string(dead_expected_));
  if (closed != operator_->closed) throw Violation("letters are not closed as the operator was told");
  if (audits("replay") + audits("discard") != closed.size())
    throw Violation("audit entries and closed letters differ");
}

void World::verify() {
  std::int64_t sum = 0;
  for (const std::string& key : accounts_) verify_account(key, sum);
  if (sum != total_)
    throw Violation("the sum is " + std::to_string(sum) + " instead of " + std::to_string(total_));

  std::size_t applied = 0;
  for (const auto& client : clients_)
    for (const Client::Paid& paid : client->paid) {
      const auto there = [&](const std::string& key, const std::string& row) {
        return installation_.rows(installation_.shard_of(account_id(key)), Family::state)
            .contains(engine::keys::row(account_id(key), row + std::to_string(paid.id)));
      };
      applied += paid.applied ? 1 : 0;
      if (there(paid.from, "out/") != paid.applied || there(paid.to, "in/") != paid.applied)
        throw Violation("transfer " + std::to_string(paid.id) + " was answered as " +
                        (paid.applied ? "paid" : "not paid") + " and the disk says otherwise");
    }
  if (audits("transfer") != applied) throw Violation("audit entries and transfers differ");
  verify_letters();
  installation_.must_be_empty(Family::effects, "effects");
  installation_.must_be_empty(Family::timers, "timers");
  installation_.must_be_empty(Family::backlog, "backlog");
  installation_.must_be_empty(Family::outbox, "outbox");
}

}  // namespace muster::sim
