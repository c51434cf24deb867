#include "world.hpp"

#include <algorithm>
#include <stdexcept>

#include "actors/indexes.hpp"

namespace muster::actors::model {

using fbs::RunState;

World::World(Options options)
    : options_(options), random_(options.seed), kinds_(engine::make_kinds<Run, Fleet, Repo, Pull, Host>()) {
  for (std::uint32_t i = 0; i < options_.hosts; ++i) {
    machines_.push_back({"host-" + std::to_string(i), 0, false, {}});
    connect(machines_.back());
  }
}

void World::create_fleet(const fbs::CreateFleetT& create, std::vector<fbs::SnapshotEntryT> snapshot) {
  snapshot_ = std::move(snapshot);
  post<Fleet>("api", "fleet", create);
}

engine::Reply World::deliver(const ActorId& to, const ActorId& from, const Payload& payload) {
  const engine::KindOps& kind = kinds_.at(to.kind);
  auto found = actors_.find(to);
  if (found == actors_.end()) {
    if (!kind.creates(payload).value()) throw std::logic_error("dead letter to " + to.to_string());
    found = actors_.emplace(to, Actor{kind.make_state(), {}, {}}).first;
  }
  Actor& actor = found->second;
  engine::Envelope envelope;
  envelope.from = from;
  envelope.to = to;
  envelope.payload = payload;
  const std::shared_ptr<void> before = kind.copy_state(actor.state);
  engine::Context ctx(to, envelope, now_, actor.rows);
  if (const auto done = kind.step(actor.state.get(), payload, ctx); !done)
    throw std::logic_error(done.error().message);
  const engine::Decision decision = ctx.take();
  apply(to, actor, decision);
  check_step(to, before.get());
  return decision.reply.value_or(engine::Reply{});
}

void World::apply(const ActorId& self, Actor& actor, const engine::Decision& decision) {
  actor.rows.apply(decision.rows);
  for (const auto& out : decision.sends) post(self, out.to, out.payload);
  for (const auto& timer : decision.timers) {
    actor.timers.erase(timer.name);
    if (timer.due) actor.timers.emplace(timer.name, timer);
  }
  for (const auto& effect : decision.effects) effects_.push_back({self, effect});
  for (const auto& change : decision.indexes) {
    indexes.erase({change.index, change.key});
    if (change.value) indexes[{change.index, change.key}] = *change.value;
  }
}

/// What must hold after every step.
void World::check_step(const ActorId& self, const void* before) {
  const auto must = [&](bool good, const std::string& what) {
    if (!good) throw std::logic_error(self.to_string() + ": " + what);
  };
  if (self.kind == Run::kName) {
    const auto& was = *static_cast<const fbs::RunHeadT*>(before);
    const auto& is = state<Run>(self.key);
    if (is_end(is.state) && !is_end(was.state)) ++ends_[self.key];
    must(!is_end(was.state) || is.state == was.state ||
             (was.state == RunState::failed && is.state == RunState::superseded),
         "left its end " + to_string(was.state) + " for " + to_string(is.state));
    must(actors_.at(self).timers.size() == (is_end(is.state) ? 0 : 1), "has not its one timer");
    must(indexes.contains({std::string(index::kQueued), self.key}) == (is.state == RunState::queued),
         "queued index is wrong");
    const bool placed = is.state >= RunState::provisioning && is.state <= RunState::verifying;
    must(indexes.contains({std::string(index::kPlaced), self.key}) == placed, "placed index is wrong");
    must(is.attempt - is.released <= is.policy->max_attempts, "too many attempts");
  } else if (self.kind == Repo::kName) {
    must(state<Repo>(self.key).holders.size() <= 1, "more holders than its limit");
  } else if (self.kind == Host::kName) {
    must(state<Host>(self.key).used.size() <= options_.slots, "more slots taken than it has");
  } else if (self.kind == Fleet::kName && chance(5)) {  // dear: it decodes every row
    const std::string wrong = fleet::counter_differences(
        state<Fleet>(self.key), fleet::recount(rows(self.key), state<Fleet>(self.key).waves));
    must(wrong.empty(), wrong);
  }
}

void World::run() {
  constexpr int kMostSteps = 100'000;
  for (int steps = 0; act(); ++steps)
    if (steps > kMostSteps) throw std::logic_error("it never comes to an end");
}

/// One random thing that can happen now; when nothing can, time passes to the next timer.
bool World::act() {
  if (options_.trouble && chance(2)) make_trouble();
  const std::uint32_t first = dice(4);
  for (std::uint32_t i = 0; i < 4; ++i) {
    const std::uint32_t what = (first + i) % 4;
    if (what == 0 && deliver_one()) return true;
    if (what == 1 && perform_one()) return true;
    if (what == 2 && work_one()) return true;
    if (what == 3 && propose_one()) return true;
  }
  return fire_timer();
}

bool World::deliver_one() {
  if (queues_.empty()) return false;
  const auto queue = std::next(queues_.begin(), dice(static_cast<std::uint32_t>(queues_.size())));
  const auto [from, to] = queue->first;
  const Payload payload = std::move(queue->second.front());
  queue->second.pop_front();
  if (queue->second.empty()) queues_.erase(queue);
  deliver(to, from, payload);
  return true;
}

bool World::perform_one() {
  if (effects_.empty()) return false;
  const auto at = static_cast<std::ptrdiff_t>(dice(static_cast<std::uint32_t>(effects_.size())));
  const Effect effect = effects_[static_cast<std::size_t>(at)];
  effects_.erase(effects_.begin() + at);
  // At least once: a crash between doing and its commit does it again.
  if (options_.trouble && chance(10)) execute(effect);
  const bool lost = options_.trouble && chance(5);
  const std::optional<Payload> result = lost && chance(50) ? std::nullopt : execute(effect);
  post({"", "", "effect " + effect.request.key}, effect.actor,
       lost || !result ? effect.request.on_unknown : *result);
  return true;
}

/// A sandbox goes a step further.
bool World::work_one() {
  std::vector<std::pair<Machine*, std::size_t>> live;
  for (Machine& machine : machines_)
    for (std::size_t i = 0; machine.connected && i < machine.sandboxes.size(); ++i)
      if (!machine.sandboxes[i].silent) live.emplace_back(&machine, i);
  if (live.empty()) return false;
  const auto [machine, at] = live[dice(static_cast<std::uint32_t>(live.size()))];
  Sandbox& sandbox = machine->sandboxes[at];
  if (sandbox.phase < 3 && !sandbox.stopping) {
    constexpr wire::Phase kPhases[] = {wire::Phase::accepted, wire::Phase::running,
                                       wire::Phase::verifying};
    event(*machine, sandbox, kPhases[sandbox.phase++]);
    return true;
  }
  const Sandbox done = sandbox;
  machine->sandboxes.erase(machine->sandboxes.begin() + static_cast<std::ptrdiff_t>(at));
  event(*machine, done, wire::Phase::finished, random_report(done));
  return true;
}

/// As far as the dispatcher sees; it waits for what it said last.
bool World::has_room(const Machine& machine) {
  if (queues_.contains({{"", "", "dispatcher"}, id<Host>(machine.name)})) return false;
  if (!actors_.contains(id<Host>(machine.name))) return false;
  const fbs::HostHeadT& host = state<Host>(machine.name);
  return host.state == fbs::HostState::ready && host.used.size() < host.slots;
}

/// Like the dispatcher, but careless: stale, doubled and to several hosts.
bool World::propose_one() {
  if (indexes.contains({std::string(index::kFleetHeld), "fleet"})) return false;
  auto entry = indexes.lower_bound({std::string(index::kQueued), std::string(1, "0A"[dice(2)])});
  if (entry == indexes.end() || entry->first.first != index::kQueued)
    entry = indexes.lower_bound({std::string(index::kQueued), ""});
  if (entry == indexes.end() || entry->first.first != index::kQueued) return false;
  const auto run = must_decode<fbs::QueuedRunT>(entry->second);
  bool sent = false;
  for (Machine& machine : machines_) {
    if (!machine.connected || chance(30) || !has_room(machine)) continue;
    fbs::ProposeT propose;
    propose.run = run.run;
    propose.attempt = run.attempt;
    propose.fleet = run.fleet;
    propose.repository = run.repository;
    propose.session = machine.session;
    post<Host>("dispatcher", machine.name, propose);
    sent = true;
  }
  return sent;
}

void World::make_trouble() {
  Machine& machine = machines_[dice(static_cast<std::uint32_t>(machines_.size()))];
  const std::uint32_t what = dice(100);
  if (what < 15 && machine.connected) {
    machine.connected = false;
    fbs::HostDisconnectedT gone;
    gone.session = machine.session;
    post<Host>("link", machine.name, gone);
    if (chance(50)) {  // the lease ends too: the host fences itself, and the engine counts it lost
      fbs::LeaseEndedT ended;
      ended.session = machine.session;
      post<Host>("link", machine.name, ended);
      machine.sandboxes.clear();
    }
  } else if (what < 60 && !machine.connected) {
    connect(machine);
  } else if (what < 70 && !stale_.empty()) {  // said again, much later
    const auto& [run, payload] = stale_[dice(static_cast<std::uint32_t>(stale_.size()))];
    post({"", "", "stale"}, id<Run>(run), payload);
  } else if (what < 73) {
    fbs::LeaseEndedT ended;
    ended.session = machine.session == 0 ? 0 : machine.session - 1;
    post<Host>("link", machine.name, ended);
  } else if (options_.operators && actors_.contains(id<Fleet>("fleet"))) {
    if (what < 78) post<Fleet>("api", "fleet", fbs::PauseFleetT{});
    if (what >= 78 && what < 90) post<Fleet>("api", "fleet", fbs::ResumeFleetT{});
    if (what >= 90 && what < 94) {
      const auto all = rows("fleet");
      const ActorId run = all.empty() ? ActorId{} : id<Run>(all[dice(static_cast<std::uint32_t>(all.size()))].run);
      if (actors_.contains(run)) post({"", "", "api"}, run, Run::Messages::encode(fbs::CancelRunT{}));
    }
    if (what >= 94 && what < 97) post<Fleet>("api", "fleet", fbs::RetryFleetT{});
    if (what >= 97) {
      const auto all = rows("fleet");
      const ActorId run =
          all.empty() ? ActorId{} : id<Run>(all[dice(static_cast<std::uint32_t>(all.size()))].run);
      fbs::ReleaseRunT release;
      release.move = chance(50);
      if (release.move && chance(50)) release.to = machine.name;
      if (actors_.contains(run)) post({"", "", "api"}, run, Run::Messages::encode(release));
    }
  }
}

bool World::fire_timer() {
  for (Machine& machine : machines_)  // a host that stays away for ever would only show timers
    if (!machine.connected) connect(machine);
  if (!queues_.empty()) return true;
  Actor* next = nullptr;
  ActorId owner;
  std::string name;
  for (auto& [self, actor] : actors_)
    for (const auto& [timer_name, timer] : actor.timers)
      if (next == nullptr || *timer.due < *next->timers.at(name).due) {
        next = &actor;
        owner = self;
        name = timer_name;
      }
  const bool held = indexes.contains({std::string(index::kFleetHeld), "fleet"});
  if (held && !state<Fleet>("fleet").cancelling) {  // nobody waits for the deadline of a pause
    post<Fleet>("api", "fleet", fbs::ResumeFleetT{});
    return true;
  }
  if (next == nullptr) return false;
  const engine::TimerChange timer = next->timers.at(name);
  next->timers.erase(name);
  now_ = std::max(now_, *timer.due);
  if (owner.kind == Run::kName) stale_.emplace_back(owner.key, timer.payload);
  deliver(owner, {}, timer.payload);
  return true;
}

// ---- the outside world ----

std::optional<Payload> World::execute(const Effect& effect) {
  const auto bytes = must_decode<fbs::EffectT>(effect.request.bytes);
  if (const auto* m = bytes.body.AsReadSnapshot()) return on(*m);
  if (const auto* m = bytes.body.AsStartSandbox()) return on(*m);
  if (const auto* m = bytes.body.AsStopSandbox()) return on(*m);
  if (const auto* m = bytes.body.AsPushBranch()) return on(*m);
  if (const auto* m = bytes.body.AsCreatePullRequest()) return on(*m, effect.request.key);
  throw std::logic_error("an effect that nobody executes: " + effect.request.key);
}

Payload World::on(const fbs::ReadSnapshotT& m) {
  fbs::SnapshotPageT page;
  page.first = m.first;
  if (options_.trouble && chance(5)) page.error = "the disk is slow today";
  for (std::size_t i = m.first; page.error.empty() && i < m.first + m.count && i < snapshot_.size(); ++i)
    page.entries.push_back(std::make_unique<fbs::SnapshotEntryT>(snapshot_[i]));
  return Fleet::Messages::encode(page);
}

std::optional<Payload> World::on(const fbs::StartSandboxT& m) {
  Machine& machine = *std::find_if(machines_.begin(), machines_.end(),
                                   [&](const Machine& x) { return x.name == m.host; });
  fbs::StartDoneT done;
  done.attempt = m.epoch->attempt();
  if (!machine.connected) return std::nullopt;
  const auto same = [&](const Sandbox& s) {
    return s.run == m.run && s.epoch.attempt() == m.epoch->attempt();
  };
  if (options_.trouble && chance(3)) {
    done.error = "the host has no such image";
  } else if (std::none_of(machine.sandboxes.begin(), machine.sandboxes.end(), same)) {
    machine.sandboxes.push_back({m.run, *m.epoch, 0, options_.trouble && chance(3), false});
  }
  return Run::Messages::encode(done);
}

std::optional<Payload> World::on(const fbs::StopSandboxT& m) {
  for (Machine& machine : machines_)
    for (Sandbox& sandbox : machine.sandboxes)
      if (machine.name == m.host && sandbox.run == m.run && sandbox.epoch == *m.epoch)
        sandbox.stopping = true;
  fbs::StopDoneT done;
  done.attempt = m.epoch->attempt();
  return Run::Messages::encode(done);
}

Payload World::on(const fbs::PushBranchT& m) {
  fbs::PushDoneT done;
  done.attempt = m.attempt;
  done.head_sha = m.head_sha;
  std::string& branch = branches_[{m.url, m.branch}];
  if (options_.trouble && chance(5)) {
    done.outcome = chance(50) ? fbs::PushOutcome::base_moved : fbs::PushOutcome::rejected;
  } else if (branch == m.head_sha) {
    done.outcome = fbs::PushOutcome::already_there;
  } else if (!branch.empty() && !m.replace) {
    done.outcome = fbs::PushOutcome::branch_exists;
  } else {
    branch = m.head_sha;
    done.outcome = fbs::PushOutcome::pushed;
  }
  return Run::Messages::encode(done);
}

Payload World::on(const fbs::CreatePullRequestT& m, const std::string& key) {
  fbs::PullCreatedT created;
  created.fleet = m.pull->fleet;
  const auto [number, fresh] = pull_numbers_.emplace(key, m.proposed_number);
  if (fresh) ++pulls_made_[m.repository];
  created.number = number->second;
  created.url = m.url + "#" + std::to_string(created.number);
  return Repo::Messages::encode(created);
}

void World::event(Machine& machine, const Sandbox& sandbox, wire::Phase phase,
                  std::unique_ptr<wire::AttemptReportT> report) {
  fbs::HostEventT message;
  message.host = machine.name;
  message.epoch = std::make_unique<wire::Epoch>(sandbox.epoch);
  message.event = std::make_unique<wire::RunEventT>();
  message.event->phase = phase;
  message.event->report = std::move(report);
  stale_.emplace_back(sandbox.run, Run::Messages::encode(message));
  post<Run>(machine.name, sandbox.run, message);
}

std::unique_ptr<wire::AttemptReportT> World::random_report(const Sandbox& sandbox) {
  auto report = std::make_unique<wire::AttemptReportT>();
  if (sandbox.stopping) {
    report->outcome = wire::Outcome::cancelled;
    return report;
  }
  const auto fails = [&](const char* name, int exit_code) {
    report->outcome = wire::Outcome::step_failed;
    report->steps.push_back(std::make_unique<wire::StepReportT>());
    report->steps.back()->name = name;
    report->steps.back()->exit_code = exit_code;
  };
  const std::uint32_t what = dice(100);
  if (what < 60) {
    report->outcome = wire::Outcome::changed;
    report->base_sha = std::string(40, 'b');
    report->head_sha = std::string(38, 'a') + std::to_string(10 + dice(90));
    report->pack_digest = std::string(64, 'c');
  } else if (what < 68) {
    report->outcome = wire::Outcome::unchanged;
  } else if (what < 72) {
    fails("agent", 77);
  } else if (what < 75) {
    fails("agent", 78);
  } else if (what < 83) {
    fails("agent", 1);
  } else if (what < 92) {
    fails("verify:tests", 1);
  } else {
    report->outcome = wire::Outcome::failed;
    report->reason = what < 98 ? "fetch_failed" : "bad_pack";
  }
  return report;
}

void World::connect(Machine& machine) {
  ++machine.session;
  machine.connected = true;
  fbs::HostConnectedT connected;
  connected.session = machine.session;
  connected.generation = 1;
  connected.slots = options_.slots;
  post<Host>("link", machine.name, connected);
}

// ---- the end ----

std::vector<fbs::RunRowT> World::rows(const std::string& fleet) {
  std::vector<fbs::RunRowT> result;
  const auto found = actors_.find(id<Fleet>(fleet));
  if (found == actors_.end()) return result;
  for (const auto& [key, bytes] : found->second.rows.all)
    if (key.starts_with(fleet::kRowPrefix)) result.push_back(must_decode<fbs::RunRowT>(bytes));
  return result;
}

std::map<std::string, std::uint32_t> World::counts(const std::string& fleet) {
  std::map<std::string, std::uint32_t> result;
  for (const fbs::RunRowT& row : rows(fleet)) ++result[to_string(row.state)];
  return result;
}

std::string World::problems() {
  std::string text;
  const auto problem = [&](const std::string& what) { text += what + "\n"; };
  const auto all = rows("fleet");
  for (const fbs::RunRowT& row : all) {
    const fbs::RunHeadT& run = state<Run>(row.run);
    if (!is_end(run.state)) problem("run " + row.run + " did not end: " + to_string(run.state));
    if (row.state != run.state) problem("row of " + row.run + " says " + to_string(row.state));
    if (ends_[row.run] != 1) problem("run " + row.run + " ended " + std::to_string(ends_[row.run]) + " times");
    if (run.state == RunState::delivered && run.pull == 0) problem("run " + row.run + " has no pull request");
    if (run.state == RunState::delivered && run.attempt == 0) problem(row.run + " without an attempt");
  }
  const fbs::FleetHeadT& head = state<Fleet>("fleet");
  if (head.state < fbs::FleetState::completed) problem("the fleet did not end");
  text += fleet::counter_differences(head, fleet::recount(all, head.waves));
  for (auto& [self, actor] : actors_) {
    if (!actor.timers.empty()) problem(self.to_string() + " has a timer left");
    if (self.kind == Host::kName && !state<Host>(self.key).used.empty())
      problem(self.to_string() + " has slots taken");
    if (self.kind == Repo::kName && state<Repo>(self.key).holders.size() +
                                            state<Repo>(self.key).waiting.size() > 0)
      problem(self.to_string() + " has turns left");
  }
  for (const auto& [repository, made] : pulls_made_)
    if (made > 1) problem(repository + " got " + std::to_string(made) + " pull requests");
  for (const auto& [key, value] : indexes)
    if (key.first == index::kQueued || key.first == index::kPlaced || key.first == index::kFleetHeld)
      problem("left in the index " + key.first + ": " + key.second);
  return text;
}

}  // namespace muster::actors::model
