// Machines: they dial the engine, count their lease from when they sent what was acknowledged, freeze their sandboxes
// with its end until the engine says which go on, and repeat each event until it is acknowledged. They survive crashes
// of the engine.
#include "sandboxd/lease.hpp"
#include "tests/simulation/fleet_parts.hpp"

namespace muster::sim {

// ---- the connection ----

/// Late, in order, and lost when nobody is there.
void FleetWorld::to_engine(Machine& machine, std::function<void()> what) {
  machine.last_sent =
      std::max(machine.last_sent, scheduler_.now() + Duration{scheduler_.between(1, 200)});
  scheduler_.post_after(machine.last_sent - scheduler_.now(), "engine/link", std::move(what));
}

void FleetWorld::connect(Machine& machine) {
  if (machine.away || machine.connection != 0) return;
  const auto again = [this, &machine](std::int64_t ms) {
    scheduler_.post_after(Duration{ms}, "host/" + machine.name,
                          [this, &machine] { connect(machine); });
  };
  if (!installation_.up()) {
    if (!closing_) again(scheduler_.between(500, 5'000));
    return;
  }
  machine.connection = ++connections_;
  machine.welcomed = false;
  machine.hello_sent = scheduler_.now();
  machine.beats.clear();
  to_engine(machine, [this, name = machine.name, connection = machine.connection] {
    hello(name, connection);
  });
}

/// Both sides may notice, or the engine only when heartbeats stay away.
void FleetWorld::disconnect(Machine& machine, std::int64_t low_ms, std::int64_t high_ms) {
  const std::uint64_t connection = std::exchange(machine.connection, 0);
  machine.welcomed = false;
  if (connection != 0 && scheduler_.chance(60))
    to_engine(machine,
              [this, name = machine.name, connection] { line_broke(name, connection); });
  scheduler_.post_after(Duration{scheduler_.between(low_ms, high_ms)}, "host/" + machine.name,
                        [this, &machine] { connect(machine); });
}

void FleetWorld::welcomed(Machine& machine, std::uint64_t /*session*/, std::uint64_t mark,
                          const std::set<SandboxId>& placed) {
  check_machine(machine);
  machine.lease_until = machine.hello_sent + lease_;
  while (!machine.spool.empty() && machine.spool.front().number <= mark) machine.spool.pop_front();
  std::vector<SandboxId> unwanted;
  for (const auto& [sandbox, what] : machine.sandboxes)
    if (!placed.contains(sandbox)) unwanted.push_back(sandbox);
  for (const SandboxId& sandbox : unwanted) end(machine, sandbox);
  for (const auto& [sandbox, what] : machine.sandboxes) work(machine, sandbox);
  machine.welcomed = true;
  send_events(machine);
  beat(machine, machine.connection);
}

void FleetWorld::beat(Machine& machine, std::uint64_t connection) {
  if (machine.connection != connection || closing_) return;
  const std::uint64_t number = machine.beats.empty() ? 1 : machine.beats.rbegin()->first + 1;
  machine.beats[number] = scheduler_.now();
  to_engine(machine, [this, name = machine.name, connection, number] {
    heartbeat(name, connection, number);
  });
  scheduler_.post_after(kHeartbeat, "host/" + machine.name,
                        [this, &machine, connection] { beat(machine, connection); });
}

void FleetWorld::renewed(Machine& machine, std::uint64_t number) {
  const auto found = machine.beats.find(number);
  if (found == machine.beats.end()) return;
  const bool was = frozen(machine);
  machine.lease_until = std::max(machine.lease_until, found->second + lease_);
  if (!was || frozen(machine)) return;
  for (const auto& [sandbox, what] : machine.sandboxes) work(machine, sandbox);
}

/// Nothing runs on after the lease: the engine may give it to somebody else.
bool FleetWorld::frozen(const Machine& machine) const {
  return scheduler_.now() >= machine.lease_until;
}

void FleetWorld::check_machine(Machine& machine) {
  constexpr Duration kLongestAlone{sandbox::Lease::kLongestAloneMs};
  if (scheduler_.now() >= machine.lease_until + kLongestAlone) kill_all(machine, "lease_lost");
}

void FleetWorld::kill_all(Machine& machine, const std::string& reason) {
  for (const auto& [sandbox, what] : std::exchange(machine.sandboxes, {})) {
    ++sandboxes_lost_;
    auto report = std::make_shared<wire::AttemptReportT>();
    report->outcome = wire::Outcome::failed;
    report->reason = reason;
    say(machine, sandbox.first, what.epoch, wire::Phase::finished, std::move(report));
  }
}

// ---- sandboxes ----

void FleetWorld::begin(Machine& machine, const std::string& run, wire::Epoch epoch) {
  const SandboxId sandbox{run, epoch.attempt()};
  const auto finished = machine.finished.find(sandbox);
  if (finished != machine.finished.end() || machine.sandboxes.contains(sandbox)) {
    say(machine, run, epoch, wire::Phase::accepted);  // Said again: the engine may have missed it.
    if (finished != machine.finished.end())
      say(machine, run, epoch, wire::Phase::finished, finished->second.report);
    return;
  }
  auto& [attempt, host] = accepted_[run];
  if (epoch.attempt() < attempt || (epoch.attempt() == attempt && host != machine.name))
    throw Violation("run " + run + ": attempt " + std::to_string(epoch.attempt()) + " on " +
                    machine.name + " after attempt " + std::to_string(attempt) + " on " + host);
  for (const auto& other : machines_) {
    if (frozen(*other)) continue;
    for (const auto& [id, what] : other->sandboxes)
      if (id.first == run)
        throw Violation("run " + run + " runs on " + other->name + " and on " + machine.name);
  }
  attempt = epoch.attempt();
  host = machine.name;
  machine.sandboxes[sandbox] = {epoch, 0, options_.faults && scheduler_.chance(3)};
  if (machine.sandboxes.size() > machine.slots)
    throw Violation(machine.name + " has more sandboxes than slots");
  sandbox_begun(sandbox);
  work(machine, sandbox);
}

/// Told to stop: one that is silent goes without a word.
void FleetWorld::end(Machine& machine, const SandboxId& sandbox) {
  const auto node = machine.sandboxes.extract(sandbox);
  if (!node) return;
  auto report = std::make_shared<wire::AttemptReportT>();
  report->outcome = wire::Outcome::cancelled;
  if (!node.mapped().silent)
    say(machine, sandbox.first, node.mapped().epoch, wire::Phase::finished, std::move(report));
}

/// A sandbox goes a step further, some time.
void FleetWorld::work(Machine& machine, const SandboxId& sandbox) {
  const auto pause = scheduler_.between(200, scheduler_.chance(20) ? 60'000 : 6'000);
  const auto found = machine.sandboxes.find(sandbox);
  scheduler_.post_after(
      Duration{pause}, "host/" + machine.name,
      [this, &machine, sandbox, phase = found->second.phase] {
        check_machine(machine);
        if (frozen(machine)) return;  // Whoever lets it go on works on.
        const auto at = machine.sandboxes.find(sandbox);
        if (at == machine.sandboxes.end() || at->second.phase != phase || at->second.silent ||
            machine.away)
          return;
        const wire::Epoch epoch = at->second.epoch;
        constexpr wire::Phase kPhases[] = {wire::Phase::accepted, wire::Phase::running,
                                           wire::Phase::verifying};
        if (phase < 3) {
          ++at->second.phase;
          say(machine, sandbox.first, epoch, kPhases[phase]);
          work(machine, sandbox);
          return;
        }
        machine.sandboxes.erase(at);
        say(machine, sandbox.first, epoch, wire::Phase::finished, draw_report(sandbox));
      });
}

/// Switched off: its sandboxes are gone. What it had accepted it reports as failed when it comes back.
void FleetWorld::lose(Machine& machine) {
  machine.away = true;
  disconnect(machine, 0, 0);
  kill_all(machine, "host_restarted");
  scheduler_.post_after(Duration{scheduler_.between(5'000, 600'000)}, "host/" + machine.name,
                        [this, &machine] {
                          machine.away = false;
                          connect(machine);
                        });
}

// ---- events ----

void FleetWorld::say(Machine& machine, const std::string& run, wire::Epoch epoch, wire::Phase phase,
                     std::shared_ptr<wire::AttemptReportT> report) {
  Event event{machine.next_number++, run, epoch, phase, std::move(report)};
  if (phase == wire::Phase::finished) machine.finished[{run, epoch.attempt()}] = event;
  machine.spool.push_back(event);
  if (!machine.welcomed) return;
  to_engine(machine, [this, name = machine.name, connection = machine.connection, event] {
    this->event(name, connection, event);
  });
}

/// Everything that is not acknowledged, again.
void FleetWorld::send_events(Machine& machine) {
  for (const Event& each : machine.spool)
    to_engine(machine, [this, name = machine.name, connection = machine.connection, each] {
      event(name, connection, each);
    });
}

void fail_step(wire::AttemptReportT& report, const char* name, int exit_code, const char* tail) {
  report.outcome = wire::Outcome::step_failed;
  report.steps.push_back(std::make_unique<wire::StepReportT>());
  report.steps.back()->name = name;
  report.steps.back()->exit_code = exit_code;
  report.steps.back()->tail = tail;
}

std::shared_ptr<wire::AttemptReportT> FleetWorld::draw_report(const SandboxId& sandbox) {
  auto report = std::make_shared<wire::AttemptReportT>();
  const std::int64_t what = options_.interrupted() ? 1 : scheduler_.between(1, 100);
  if (what <= 65) {
    report->outcome = wire::Outcome::changed;
    report->base_sha = std::string(40, 'b');
    report->head_sha = made_by(sandbox);
    report->pack_digest = std::string(64, 'c');
  } else if (what <= 75) {
    report->outcome = wire::Outcome::unchanged;
  } else if (what <= 80) {
    fail_step(*report, "agent", 77, "");
  } else if (what <= 88) {
    fail_step(*report, "agent", 1, "");
  } else if (what <= 95) {
    fail_step(*report, "verify:tests", 1, "");
  } else {
    report->outcome = wire::Outcome::failed;
    report->reason = "fetch_failed";
  }
  return report;
}

}  // namespace muster::sim
