// The engine's end of the link, as actors/ports/hosts has it: sessions, leases, events through channels, orders.
#include "actors/fleet/fleet.hpp"
#include "actors/indexes.hpp"
#include "engine/core/keys.hpp"
#include "tests/simulation/fleet_parts.hpp"

namespace muster::sim {

using storage::Family;

namespace {

engine::ActorId channel_home(const std::string& channel) { return {"muster", "channel", channel}; }

}  // namespace

/// After a start every known host is told disconnected, and has one whole lease to come back.
void FleetWorld::load_lines() {
  for (const auto& [name, value] : index(kinds::index::kHost)) {
    const auto head = state<kinds::Host>(name);
    if (!head) continue;
    Line& line = lines_[name];
    line.name = name;
    line.session = head->session;
    line.leased = head->state != kfbs::HostState::unreachable || !head->used.empty();
    line.lease_until = scheduler_.now() + lease_ + kLeaseMargin;
    if (head->state == kfbs::HostState::unreachable) continue;
    kfbs::HostDisconnectedT gone;
    gone.session = head->session;
    tell(id<kinds::Host>(name), kinds::Host::Messages::encode(gone));
  }
}

void FleetWorld::hello(const std::string& host, std::uint64_t connection) {
  Line& line = lines_[host];
  if (line.connection != 0) drop(line);
  const auto head = state<kinds::Host>(host);
  line.name = host;
  line.session = std::max(line.session, head ? head->session : 0) + 1;
  line.connection = connection;
  line.leased = true;
  line.lease_until = scheduler_.now() + lease_ + kLeaseMargin;
  kfbs::HostConnectedT connected;
  connected.session = line.session;
  connected.generation = 1;
  for (const auto& machine : machines_)
    if (machine->name == host) connected.slots = machine->slots;
  tell(id<kinds::Host>(host), kinds::Host::Messages::encode(connected));
}

/// When the host actor knows of the session, durably.
void FleetWorld::try_welcome(Line& line) {
  if (line.connection == 0 || line.welcomed) return;
  const auto head = state<kinds::Host>(line.name);
  if (!head || head->session != line.session) return;
  const std::string channel = "host/" + line.name;
  const auto& marks = installation_.rows(installation_.shard_of(channel_home(channel)), Family::dedup);
  const auto mark = marks.find(engine::keys::channel(channel));
  line.mark = mark == marks.end() ? 0 : storage::get_be64(mark->second);
  line.welcomed = true;
  std::set<SandboxId> placed;
  for (const auto& slot : head->used) placed.insert({slot->run, slot->attempt});
  to_machine(line.name, line.connection,
             [this, session = line.session, mark_now = line.mark, placed](Machine& machine) {
               welcomed(machine, session, mark_now, placed);
             });
  for (const auto& [sandbox, waiting] : std::map(starts_)) {
    if (waiting.host != line.name) continue;
    if (is_placed(line.name, sandbox)) {
      send_order(line, waiting, true);
    } else {
      finish_start(sandbox, "the attempt was given up");
    }
  }
  for (const auto& [sandbox, waiting] : stops_)
    if (waiting.host == line.name) send_order(line, waiting, false);
}

void FleetWorld::heartbeat(const std::string& host, std::uint64_t connection, std::uint64_t number) {
  Line& line = lines_[host];
  if (line.connection != connection || !line.leased) return;
  line.lease_until = scheduler_.now() + lease_ + kLeaseMargin;
  to_machine(host, connection, [this, number](Machine& machine) { renewed(machine, number); });
}

// ---- events ----

void FleetWorld::event(const std::string& host, std::uint64_t connection, Event event) {
  Line& line = lines_[host];
  if (line.connection != connection || !line.welcomed) return;
  const std::uint64_t newest = line.events.empty() ? line.mark : line.events.back().number;
  if (event.number <= newest) return;
  if (event.number != newest + 1) throw Violation("a host's events skip a number");
  line.events.push_back(std::move(event));
  take_events(line);
}

bool FleetWorld::is_placed(const std::string& host, const SandboxId& sandbox) const {
  const auto run = state<kinds::Run>(sandbox.first);
  return run && kinds::is_on_host(run->state) && run->host == host && run->attempt == sandbox.second;
}

/// One at a time, each until the engine has it.
void FleetWorld::take_events(Line& line) {
  if (line.taking || line.events.empty()) return;
  line.taking = true;
  const Event event = line.events.front();
  const bool placed = is_placed(line.name, {event.run, event.epoch.attempt()});
  engine::ChannelMessage message;
  message.channel = "host/" + line.name;
  message.number = event.number;
  if (placed || sabotage_ == Sabotage::epoch_unchecked) {
    kfbs::HostEventT said;
    said.host = line.name;
    said.epoch = std::make_unique<wire::Epoch>(event.epoch);
    said.event = std::make_unique<wire::RunEventT>();
    said.event->phase = event.phase;
    if (event.report) said.event->report = std::make_unique<wire::AttemptReportT>(*event.report);
    message.to = id<kinds::Run>(event.run);
    message.payload = kinds::Run::Messages::encode(said);
  } else {  // Fenced; its number is consumed by a message that means nothing.
    message.to = id<kinds::Host>(line.name);
    message.payload = kinds::Host::Messages::encode(kfbs::LeaseEndedT{});
    if (event.phase != wire::Phase::finished)
      to_machine(line.name, line.connection,
                 [this, sandbox = SandboxId{event.run, event.epoch.attempt()}](Machine& machine) {
                   end(machine, sandbox);
                 });
  }
  const auto again = [this, &line, connection = line.connection] {
    if (line.connection != connection) return;
    line.taking = false;
    take_events(line);
  };
  const std::uint32_t home = installation_.shard_of(channel_home(message.channel));
  installation_.post(home, [this, &line, event, message, again,
                            connection = line.connection](engine::Shard& shard) {
    shard.deliver(message, [this, &line, event, again, connection](Result<void> taken) {
      if (line.connection != connection) return;
      if (taken) {
        event_taken(line, event);
      } else if (taken.error().code == Errc::conflict) {
        throw Violation("channel: " + taken.error().message);
      } else {
        engine_task(50, 500, again);
      }
    });
  });
  engine_task(5'000, 10'000, [this, &line, event, again] {  // The answer may be lost with a commit.
    if (line.taking && !line.events.empty() && line.events.front().number == event.number) again();
  });
}

void FleetWorld::event_taken(Line& line, const Event& event) {
  if (line.events.empty() || line.events.front().number != event.number) return;
  line.events.pop_front();
  line.mark = event.number;
  line.taking = false;
  const SandboxId sandbox{event.run, event.epoch.attempt()};
  finish_start(sandbox, "");
  if (event.phase == wire::Phase::finished) finish_stop(sandbox);
  to_machine(line.name, line.connection, [number = event.number](Machine& machine) {
    while (!machine.spool.empty() && machine.spool.front().number <= number)
      machine.spool.pop_front();
  });
  engine_task(0, 0, [this, &line] { take_events(line); });
}

// ---- losing a host ----

void FleetWorld::line_broke(const std::string& host, std::uint64_t connection) {
  Line& line = lines_[host];
  if (line.connection == connection) drop(line);
}

/// The connection is over; the lease still runs.
void FleetWorld::drop(Line& line) {
  line.connection = 0;
  line.welcomed = false;
  line.taking = false;
  line.events.clear();
  kfbs::HostDisconnectedT gone;
  gone.session = line.session;
  tell(id<kinds::Host>(line.name), kinds::Host::Messages::encode(gone));
}

void FleetWorld::tick() {
  const Instant now = scheduler_.now();
  for (auto& [name, line] : lines_) {
    try_welcome(line);
    if (!line.leased || now < line.lease_until) continue;
    line.leased = false;
    line.lost_session = line.session;
    ++lease_ends_;
    if (line.connection != 0) drop(line);
    kfbs::LeaseEndedT ended;
    ended.session = line.session;
    tell(id<kinds::Host>(name), kinds::Host::Messages::encode(ended));
    for (auto& [sandbox, waiting] : std::map(starts_))
      if (waiting.host == name) finish_start(sandbox, "host " + name + " was lost");
    for (auto& [sandbox, waiting] : std::map(stops_))
      if (waiting.host == name) finish_stop(sandbox);
  }
  if (!closing_) engine_task(kTick.count(), kTick.count(), [this] { tick(); });
}

// ---- orders ----

void FleetWorld::start_effect(Waiting waiting) {
  const SandboxId sandbox{waiting.run, waiting.epoch.attempt()};
  const auto found = lines_.find(waiting.host);
  const bool lost = found == lines_.end() ||
                    waiting.epoch.session() <= found->second.lost_session ||
                    !is_placed(waiting.host, sandbox);
  const auto [place, fresh] = starts_.insert_or_assign(sandbox, std::move(waiting));
  if (lost) {
    finish_start(sandbox, "the host is gone");
  } else if (found->second.welcomed) {
    send_order(found->second, place->second, true);
  }
}

void FleetWorld::stop_effect(Waiting waiting) {
  const SandboxId sandbox{waiting.run, waiting.epoch.attempt()};
  const auto found = lines_.find(waiting.host);
  const auto [place, fresh] = stops_.insert_or_assign(sandbox, std::move(waiting));
  if (found == lines_.end()) {
    finish_stop(sandbox);
  } else if (found->second.welcomed) {
    send_order(found->second, place->second, false);
  }
}

void FleetWorld::send_order(Line& line, const Waiting& waiting, bool start) {
  to_machine(line.name, line.connection,
             [this, run = waiting.run, epoch = waiting.epoch, start](Machine& machine) {
               if (start) {
                 begin(machine, run, epoch);
               } else {
                 end(machine, {run, epoch.attempt()});
               }
             });
}

void FleetWorld::finish_start(const SandboxId& sandbox, const std::string& error) {
  auto node = starts_.extract(sandbox);
  if (!node) return;
  kfbs::StartDoneT done;
  done.attempt = sandbox.second;
  done.error = error;
  installation_.post(node.mapped().shard, [effect = node.mapped().effect,
                                           payload = kinds::Run::Messages::encode(done)](
                                              engine::Shard& shard) { shard.effect_done(effect, payload); });
}

void FleetWorld::finish_stop(const SandboxId& sandbox) {
  auto node = stops_.extract(sandbox);
  if (!node) return;
  kfbs::StopDoneT done;
  done.attempt = sandbox.second;
  installation_.post(node.mapped().shard, [effect = node.mapped().effect,
                                           payload = kinds::Run::Messages::encode(done)](
                                              engine::Shard& shard) { shard.effect_done(effect, payload); });
}

/// A host that has it says so; now and then nobody answers, and it comes again. What was said before never comes after it.
void FleetWorld::steer_effect(std::uint32_t shard, const engine::PendingEffect& effect,
                              const kfbs::SteerSandboxT& order) {
  if (scheduler_.chance(10)) return;
  const SandboxId sandbox{order.run, order.epoch->attempt()};
  kfbs::SteerDoneT done;
  done.attempt = sandbox.second;
  if (!is_placed(order.host, sandbox)) {
    done.error = "the attempt is over";
  } else {
    for (std::size_t i = 1; i < order.messages.size(); ++i)
      if (order.messages[i]->number <= order.messages[i - 1]->number)
        throw Violation("messages to " + order.run + " are out of order");
    done.below = order.messages.back()->number + 1;
  }
  installation_.post(shard, [effect, payload = kinds::Run::Messages::encode(done)](engine::Shard& s) {
    s.effect_done(effect, payload);
  });
}

/// Over the connection, late but in order; never when it has ended meanwhile.
void FleetWorld::to_machine(const std::string& host, std::uint64_t connection,
                            std::function<void(Machine&)> what) {
  Line& line = lines_[host];
  line.last_sent = std::max(line.last_sent, scheduler_.now() + Duration{scheduler_.between(1, 200)});
  for (const auto& machine : machines_) {
    if (machine->name != host) continue;
    scheduler_.post_after(line.last_sent - scheduler_.now(), "host/" + host,
                          [there = machine.get(), connection, what = std::move(what)] {
                            if (there->connection == connection) what(*there);
                          });
  }
}

}  // namespace muster::sim
