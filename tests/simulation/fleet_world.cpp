// The installation, its faults, and the look at the disks when all is done.
#include "tests/simulation/fleet_world.hpp"

#include "actors/fleet/fleet.hpp"
#include "actors/indexes.hpp"
#include "actors/pull/pull.hpp"
#include "actors/repo/repo.hpp"
#include "actors/swarm/swarm.hpp"
#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"
#include "tests/simulation/fleet_parts.hpp"

namespace muster::sim {

using kfbs::RunState;
using storage::Family;

namespace {

constexpr std::uint64_t kMaxFleetSteps = 2'000'000;

engine::ShardLimits limits_of(Scheduler& s) {
  engine::ShardLimits limits = draw_limits(s);
  // The kinds' states are larger than the ledger's.
  limits.bytes_in_flight = static_cast<std::size_t>(s.between(100'000, 1'000'000));
  limits.pending_per_actor = static_cast<std::size_t>(s.between(20, 200));
  limits.active_actors = static_cast<std::size_t>(s.between(4, 60));
  limits.archive_after = Duration{s.between(1, 120'000)};
  limits.archive_rows = static_cast<std::size_t>(s.between(0, 8));
  return limits;
}

/// A kind whose step sees another message, or another state, than it should.
template <class K, class M, class F>
void tamper(engine::Kinds& kinds, F&& change) {
  auto& step = kinds.at(std::string(K::kName)).step;
  step = [inner = step, change](void* state, const engine::Payload& payload, engine::Context& ctx) {
    if (payload.type != K::Messages::template number<M>) return inner(state, payload, ctx);
    auto message = engine::decode_table<M>(payload.bytes).value();
    auto restore = change(*static_cast<typename K::State*>(state), message, ctx);
    const auto done = inner(state, K::Messages::encode(message), ctx);
    restore(*static_cast<typename K::State*>(state));
    return done;
  };
}

}  // namespace

FleetWorld::FleetWorld(std::uint64_t seed, Sabotage sabotage, FleetOptions options)
    : sabotage_(sabotage),
      options_(options),
      scheduler_(seed),
      installation_(scheduler_, sabotaged(sabotage), limits_of(scheduler_),
                    scheduler_.chance(50) ? 1 : 3, sabotage, *this) {}

FleetWorld::~FleetWorld() = default;

namespace {

constexpr auto keep = [](kfbs::SwarmHeadT&) {};

void sabotage_swarms(engine::Kinds& kinds, Sabotage sabotage) {
  using kinds::Swarm;
  if (sabotage == Sabotage::red_made_green)
    tamper<Swarm, kfbs::SwarmRunEndedT>(kinds, [](auto&, kfbs::SwarmRunEndedT& m, auto& ctx) {
      const auto use = ctx.row("run/" + m.run);
      if (use && kinds::must_decode<kfbs::RunUseT>(*use).check) m.state = RunState::unchanged;
      return keep;
    });
  if (sabotage == Sabotage::result_untold)
    tamper<Swarm, kfbs::SwarmRunEndedT>(kinds, [](auto&, kfbs::SwarmRunEndedT& m, auto&) {
      if (m.state == RunState::delivered && m.run.front() < '8') m.run = "?";
      return keep;
    });
  if (sabotage == Sabotage::move_not_awaited)
    tamper<Swarm, kfbs::GreenMovedT>(kinds, [](kfbs::SwarmHeadT& swarm, auto& m, auto&) {
      if (swarm.stopping) m.lost = true;
      return keep;
    });
}

}  // namespace

engine::Kinds FleetWorld::sabotaged(Sabotage sabotage) {
  auto kinds = engine::make_kinds<kinds::Run, kinds::Fleet, kinds::Repo, kinds::Pull, kinds::Host,
                                  kinds::Swarm>();
  if (sabotage == Sabotage::epoch_unchecked)
    tamper<kinds::Run, kfbs::HostEventT>(kinds, [](kfbs::RunHeadT& run, kfbs::HostEventT& said, auto&) {
      said.host = run.host;
      *said.epoch = wire::Epoch(run.epoch_generation, run.attempt, run.session);
      return [](kfbs::RunHeadT&) {};
    });
  if (sabotage == Sabotage::slots_unchecked)
    tamper<kinds::Host, kfbs::ProposeT>(kinds, [](kfbs::HostHeadT& host, kfbs::ProposeT&, auto&) {
      return [slots = std::exchange(host.slots, 1'000)](kfbs::HostHeadT& after) { after.slots = slots; };
    });
  sabotage_swarms(kinds, sabotage);
  return kinds;
}

// ---- reading what is committed ----

std::map<std::string, std::string> FleetWorld::index(std::string_view name) const {
  std::map<std::string, std::string> entries;
  const auto [lower, upper] = engine::keys::index_range(name, "", "");
  for (std::uint32_t shard = 0; shard < installation_.shards(); ++shard) {
    const auto& rows = installation_.rows(shard, Family::index);
    for (auto at = rows.lower_bound(lower); at != rows.end() && at->first < upper; ++at)
      entries[engine::keys::parse_index(at->first)->key] = at->second;
  }
  return entries;
}

std::map<std::string, std::string> FleetWorld::raw_rows_of(const engine::ActorId& actor,
                                                           std::string_view prefix) const {
  std::map<std::string, std::string> all;
  const auto [lower, upper] = engine::keys::rows(actor, prefix, "");
  const auto& rows = installation_.rows(installation_.shard_of(actor), Family::state);
  for (auto at = rows.lower_bound(lower); at != rows.end() && at->first < upper; ++at) {
    const std::string name(engine::keys::row_name(at->first, actor));
    if (!name.starts_with(prefix)) break;
    all[name.substr(prefix.size())] = at->second;
  }
  return all;
}

// ---- the engine's process ----

void FleetWorld::engine_task(std::int64_t low_ms, std::int64_t high_ms, std::function<void()> task) {
  scheduler_.post_after(Duration{scheduler_.between(low_ms, high_ms)}, "engine/port", std::move(task));
}

void FleetWorld::tell(const engine::ActorId& to, engine::Payload payload) {
  installation_.post(installation_.shard_of(to), [this, to, payload](engine::Shard& shard) {
    shard.tell(to, payload, engine::Lane::normal, [this, to, payload](const Result<void>& taken) {
      if (!taken) engine_task(250, 250, [this, to, payload] { tell(to, payload); });
    });
  });
}

void FleetWorld::start() {
  installation_.start();
  lines_.clear();
  starts_.clear();
  stops_.clear();
  view_.clear();
  process_began();
  engine_task(0, 0, [this] {
    load_lines();
    tick();
    dispatch();
  });
}

void FleetWorld::stop() {
  installation_.stop();
  for (const auto& machine : machines_)
    if (machine->connection != 0) disconnect(*machine, 100, 4'000);
}

void FleetWorld::fault() {
  Machine& machine = *machines_[static_cast<std::size_t>(
      scheduler_.between(0, static_cast<std::int64_t>(machines_.size()) - 1))];
  const std::int64_t draw = scheduler_.between(1, 100);
  if (draw <= 30) {
    stop();
    const Duration jump{scheduler_.chance(20) ? scheduler_.between(-600'000, 600'000) : 0};
    installation_.clock().offset += jump;
    installation_.tell_story("crash, clock " + muster::to_string(jump));
    start();
  } else if (draw <= 50) {
    installation_.fail_commit();
  } else if (draw <= 75) {
    installation_.tell_story(machine.name + " loses its connection");
    disconnect(machine, 100, 20'000);
  } else if (draw <= 90) {
    installation_.tell_story(machine.name + " loses its connection for long");
    disconnect(machine, 30'000, 200'000);
  } else if (!machine.away) {
    installation_.tell_story(machine.name + " is switched off");
    lose(machine);
  }
}

bool FleetWorld::anything_runs() const {
  for (const auto& machine : machines_)
    if (!machine->sandboxes.empty()) return true;
  return false;
}

/// The engine is away for long, or comes back with another time.
void FleetWorld::once_in_the_middle() {
  interrupted_ = true;
  stop();
  installation_.clock().offset += options_.jump;
  scheduler_.post_after(options_.downtime, "world", [this] { start(); });
}

void FleetWorld::perform(std::uint32_t shard, const engine::PendingEffect& effect) {
  const auto asked = kinds::must_decode<kfbs::EffectT>(effect.bytes);
  if (const auto* read = asked.body.AsReadSnapshot()) {
    forge(shard, effect, [this, m = *read] { return read_snapshot(m); });
  } else if (const auto* begun = asked.body.AsStartSandbox()) {
    sandbox_ordered(*begun);
    engine_task(0, 0, [this, waiting = Waiting{shard, effect, begun->host, begun->run, *begun->epoch}] {
      start_effect(waiting);
    });
  } else if (const auto* ended = asked.body.AsStopSandbox()) {
    engine_task(0, 0, [this, waiting = Waiting{shard, effect, ended->host, ended->run, *ended->epoch}] {
      stop_effect(waiting);
    });
  } else if (const auto* said = asked.body.AsSteerSandbox()) {
    engine_task(0, 0, [this, shard, effect, m = *said] { steer_effect(shard, effect, m); });
  } else if (const auto* pushed = asked.body.AsPushBranch()) {
    forge(shard, effect, [this, m = *pushed] { return push(m); });
  } else if (const auto* opened = asked.body.AsCreatePullRequest()) {
    const auto m = std::make_shared<kfbs::CreatePullRequestT>(*opened);
    forge(shard, effect, [this, m, key = effect.key] { return open_pull(*m, key); });
  } else {
    perform_other(shard, effect, asked);
  }
}

void FleetWorld::perform_other(std::uint32_t /*shard*/, const engine::PendingEffect& effect,
                               const kfbs::EffectT& /*asked*/) {
  throw Violation("an effect that nobody carries out: " + effect.key);
}

/// Says which attempt made it.
std::string FleetWorld::made_by(const SandboxId& sandbox) const {
  return std::string(38, 'a') + std::to_string(10 + sandbox.second);
}

/// Runs are watched: each ends once, and what is delivered comes from its last attempt.
void FleetWorld::changed(std::uint32_t /*shard*/, const std::vector<engine::Change>& changes) {
  for (const engine::Change& change : changes) {
    if (change.actor.kind == kinds::Run::kName) run_changed(change.actor.key);
    if (change.actor.kind != kinds::Host::kName) continue;
    const auto host = state<kinds::Host>(change.actor.key);
    if (host && host->used.size() > host->slots)
      throw Violation(change.actor.key + " has more slots taken than it has");
  }
  for (const engine::Change& change : changes) watch(change);
}

void FleetWorld::run_changed(const std::string& run) {
  const auto head = state<kinds::Run>(run);
  if (!head) return;
  const auto last = last_state_.emplace(run, RunState::waiting).first;
  const RunState before = std::exchange(last->second, head->state);
  if (kinds::is_end(before) && head->state != before &&
      !(before == RunState::failed && head->state == RunState::superseded))
    throw Violation("run " + run + " left its end " + kinds::to_string(before) + " for " +
                    kinds::to_string(head->state));
  if (!kinds::is_end(before) && kinds::is_end(head->state)) {
    ++ends_[run];
    if (!closing_) run_ended(run);  // Else it is the look at the end that found it.
  }
  if (head->state == RunState::delivered && head->head_sha != made_by({run, head->attempt}))
    throw Violation("run " + run + " delivered what another attempt made");
}

// ---- the run of it all ----

void FleetWorld::invent() {
  Scheduler& s = scheduler_;
  const std::int64_t repositories = s.between(3, 12);
  const std::int64_t fleets = s.between(1, 2);
  for (std::int64_t i = 0; i < fleets; ++i) {
    const std::string name = "fleet" + std::to_string(i);
    fleets_.push_back(name);
    for (std::int64_t r = 0; r < repositories; ++r)
      snapshots_[name].push_back("acme/r" + std::to_string(r));
    people_.push_back(std::make_unique<Person>());
    people_.back()->name = people_.back()->fleet = name;
    people_.back()->wishes = options_.faults ? static_cast<int>(s.between(0, 3)) : 0;
  }
}

void FleetWorld::run() {
  Scheduler& s = scheduler_;
  lease_ = options_.lease;
  invent();
  for (std::int64_t i = s.between(1, 3); i > 0; --i) {
    machines_.push_back(std::make_unique<Machine>());
    machines_.back()->name = "host-" + std::to_string(i);
    machines_.back()->slots = static_cast<std::uint32_t>(s.between(1, 3));
  }
  start();
  for (const auto& machine : machines_) connect(*machine);
  for (const auto& person : people_) next_wish(*person);
  play();
  verify();
  if (sabotage_ == Sabotage::none && options_.removal) remove_everything();
}

/// Until nothing moves.
void FleetWorld::play() {
  Scheduler& s = scheduler_;
  std::int64_t until_fault = s.between(1, 400);
  while (scheduler_.step()) {
    if (scheduler_.steps() > kMaxFleetSteps) throw Violation("it does not come to an end");
    if (!closing_ && scheduler_.steps() % 64 == 0)
      closing_ = installation_.up() && (removing_ ? everything_removed() : everybody_done());
    if (!interrupted_ && options_.interrupted() && anything_runs() && s.chance(5)) once_in_the_middle();
    if (!options_.faults || closing_ || faults_ >= options_.most_faults || --until_fault > 0) continue;
    if (!installation_.up()) continue;
    ++faults_;
    until_fault = s.between(1, s.chance(20) ? 10 : 700);
    fault();
  }
}

// ---- the end ----

void FleetWorld::verify_fleet(const std::string& name) {
  const engine::ActorId fleet = id<kinds::Fleet>(name);
  const auto head = state<kinds::Fleet>(name);
  if (!head || head->state < kfbs::FleetState::completed) throw Violation(name + " did not end");
  std::vector<kfbs::RunRowT> all;
  for (const auto& [run, row] : rows_of<kfbs::RunRowT>(fleet, kinds::fleet::kRowPrefix))
    all.push_back(row);
  std::set<std::string> repositories;
  for (const kfbs::RunRowT& row : all) {
    repositories.insert(row.repository);  // A retry makes another run of it.
    run_changed(row.run);  // A commit that was not known to have happened shows no change.
    const auto run = state<kinds::Run>(row.run);
    if (!run || !kinds::is_end(run->state)) throw Violation("run " + row.run + " did not end");
    if (run->state != row.state) throw Violation("the row of " + row.run + " tells another end");
    if (ends_[row.run] != 1)
      throw Violation("run " + row.run + " ended " + std::to_string(ends_[row.run]) + " times");
    if (run->state == RunState::delivered && run->pull == 0 && head->swarm.empty())
      throw Violation("run " + row.run + " has no pull request");
  }
  if (head->state != kfbs::FleetState::cancelled && head->swarm.empty() &&
      repositories.size() != snapshots_.at(name).size())
    throw Violation(name + " has runs in " + std::to_string(repositories.size()) + " repositories");
  const std::string wrong =
      kinds::fleet::counter_differences(*head, kinds::fleet::recount(all, head->waves));
  if (!wrong.empty()) throw Violation(name + ": " + wrong);
}

void FleetWorld::verify() {
  for (const std::string& name : fleets_) verify_fleet(name);
  verify_work();
  for (const auto& machine : machines_) {
    const auto host = state<kinds::Host>(machine->name);
    if (!host || host->used.empty()) continue;
    const auto& slot = *host->used.front();
    throw Violation(machine->name + " has slots taken at the end, one by attempt " +
                    std::to_string(slot.attempt) + " of " + slot.run);
  }
  for (const auto name : {kinds::index::kQueued, kinds::index::kPlaced})
    if (!index(name).empty()) throw Violation("runs left in the index " + std::string(name));
  installation_.must_be_empty(Family::dead, "dead letters");
  installation_.must_be_empty(Family::backlog, "backlog");
  installation_.must_be_empty(Family::outbox, "outbox");
  installation_.must_be_empty(Family::effects, "effects");
}

std::uint32_t FleetWorld::most_attempts() const {
  std::uint32_t most = 0;
  for (const auto& [run, where] : accepted_) most = std::max(most, where.first);
  return most;
}

std::size_t FleetWorld::delivered() const {
  std::size_t n = 0;
  for (const auto& [run, state] : last_state_) n += state == RunState::delivered ? 1 : 0;
  return n;
}

}  // namespace muster::sim
