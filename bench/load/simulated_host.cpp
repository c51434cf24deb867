#include "bench/load/simulated_host.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "bench/load/simulated_log.hpp"
#include "storage/base/ids.hpp"

namespace muster::load {

using storage::Session;
using storage::Stream;

namespace {

constexpr std::uint64_t kLogChunk = 64u << 10;
constexpr std::size_t kPackPart = 256u << 10;
constexpr int kLogPieces = 4;  ///< A log comes in so many pieces over the agent's time.
constexpr Duration kLeaseCheck{500};
constexpr std::size_t kMaxBeatsOpen = 64;

std::string id_of(const std::string& run, std::uint32_t attempt) {
  return run + "-" + std::to_string(attempt);
}

std::string id_of(const wire::Frame& frame) {
  return id_of(frame.run() ? frame.run()->str() : "", frame.attempt());
}

std::int64_t unix_ms() {
  return wall_clock_now().unix_ms;
}

}  // namespace

SimulatedHost::SimulatedHost(HostSetup setup, actors::Strand& strand, HostsShared& shared)
    : setup_(std::move(setup)), strand_(strand), shared_(shared) {}

// ---- the caller's thread ----

void SimulatedHost::start() {
  strand_.post([this] {
    up_ = true;
    check_lease();
  });
  client_ = storage::LinkClient::start(setup_.address, setup_.tls, link_events());
}

void SimulatedHost::cut() {
  std::shared_ptr<Session> session;
  {
    const std::lock_guard lock(session_mutex_);
    session = session_;
  }
  if (session) session->close("the load test breaks the connection");
}

void SimulatedHost::lose() {
  client_.reset();
  strand_.post([this] { died(); });
}

void SimulatedHost::come_back() {
  start();
}

void SimulatedHost::stop() {
  client_.reset();
}

void SimulatedHost::read_nothing_for(Duration pause) {
  strand_.post([this, pause] {
    if (!session_ || !welcomed_) return;
    ++shared_.meters.slow_reads;
    session_->hold(Stream::control);
    session_->hold(Stream::logs);
    strand_.after(pause, [session = session_] {
      session->release(Stream::control);
      session->release(Stream::logs);
    });
  });
}

storage::SessionEvents SimulatedHost::link_events() {
  storage::SessionEvents events;
  events.connected = [this](std::shared_ptr<Session> session) {
    strand_.post([this, session = std::move(session)] { connected(session); });
  };
  events.frame = [this](Session& session, Stream, std::string_view frame) {
    strand_.post([this, from = &session, bytes = std::string(frame)] { received(from, bytes); });
  };
  events.closed = [this](Session& session, const std::string&) {
    strand_.post([this, from = &session] { closed(from); });
  };
  return events;
}

// ---- the session ----

bool SimulatedHost::send(Stream stream, wire::FrameT frame) {
  if (!session_) return false;
  frame.host = setup_.name;
  ++shared_.meters.frames_out;
  return session_->send(stream, storage::encode_frame(frame)).has_value();
}

void SimulatedHost::connected(std::shared_ptr<Session> session) {
  if (!up_) return;
  {
    const std::lock_guard lock(session_mutex_);
    session_ = std::move(session);
  }
  welcomed_ = false;
  ++shared_.meters.sessions;
  for (auto& [id, log] : logs_) log.credited = log.asked = log.last_said = false;
  wire::HelloT hello;
  hello.host = setup_.name;
  hello.version = "muster-load";
  hello.slots = setup_.slots;
  hello.cpus_milli = setup_.slots * 1'000;
  for (const auto& [id, attempt] : attempts_) hello.running.push_back(id);
  wire::FrameT frame;
  frame.body.Set(std::move(hello));
  hello_sent_ = Clock::now();
  (void)send(Stream::control, std::move(frame));
}

void SimulatedHost::closed(const Session* session) {
  if (session != session_.get()) return;
  if (welcomed_) --shared_.meters.connected;
  welcomed_ = false;
  const std::lock_guard lock(session_mutex_);
  session_.reset();
}

void SimulatedHost::received(const Session* session, const std::string& bytes) {
  if (session != session_.get()) return;
  ++shared_.meters.frames_in;
  const wire::Frame& frame = *wire::GetFrame(bytes.data());
  if (const auto* body = frame.body_as_Welcome()) {
    welcome(*body);
  } else if (const auto* start = frame.body_as_Start()) {
    wire::StartT unpacked;
    start->UnPackTo(&unpacked);
    begin(unpacked);
  } else if (const auto* order = frame.body_as_Stop()) {
    stop_attempt(id_of(frame), order->reason());
  } else if (const auto* renew = frame.body_as_Renew()) {
    renewed(renew->heartbeat());
  } else if (const auto* ack = frame.body_as_Ack()) {
    if (ack->sequence() > 0) acknowledged(ack->sequence());
  } else if (frame.body_type() == wire::Body::LogCredit) {
    credit(frame);
  }
}

void SimulatedHost::welcome(const wire::Welcome& welcome) {
  welcomed_ = true;
  ++shared_.meters.connected;
  lease_ = Duration{welcome.lease_ms()};
  heartbeat_ = Duration{std::max<std::int64_t>(welcome.heartbeat_ms(), 10)};
  leased_until_ = hello_sent_ + lease_;
  leased_ = true;
  beats_sent_.clear();
  // The engine ends what it does not name.
  std::set<std::string> placed;
  if (welcome.placed())
    for (const auto* id : *welcome.placed()) placed.insert(id->str());
  std::vector<std::string> unwanted;
  for (const auto& [id, attempt] : attempts_)
    if (!placed.contains(id)) unwanted.push_back(id);
  for (const std::string& id : unwanted) stop_attempt(id, wire::StopReason::superseded);

  const std::uint64_t mark = welcome.event_mark();
  if (mark > last_number_ || mark + spool_.size() < last_number_) {
    // Another journal than the one that took our events.
    last_number_ = mark;
    for (Event& event : spool_) event.number = ++last_number_;
  } else {
    acknowledged(mark);
  }
  for (Event& event : spool_) send_event(event);
  for (auto& [id, log] : logs_) pump_log(log);
  ++beat_turn_;
  beat();
}

// ---- the lease ----

void SimulatedHost::beat() {
  if (!session_ || !welcomed_) return;
  wire::HeartbeatT heartbeat;
  heartbeat.number = ++beats_;
  heartbeat.free_slots = setup_.slots - static_cast<std::uint32_t>(
                                            std::min<std::size_t>(attempts_.size(), setup_.slots));
  wire::FrameT frame;
  frame.body.Set(heartbeat);
  if (send(Stream::control, std::move(frame))) beats_sent_[beats_] = Clock::now();
  while (beats_sent_.size() > kMaxBeatsOpen) beats_sent_.erase(beats_sent_.begin());
  strand_.after(heartbeat_, [this, turn = beat_turn_] {
    if (turn == beat_turn_) beat();
  });
}

void SimulatedHost::renewed(std::uint64_t heartbeat) {
  const auto sent = beats_sent_.find(heartbeat);
  if (sent == beats_sent_.end()) return;
  shared_.meters.took("renew", Clock::now() - sent->second);
  leased_until_ = std::max(leased_until_, sent->second + lease_);
  leased_ = true;
  beats_sent_.erase(beats_sent_.begin(), std::next(sent));
}

void SimulatedHost::check_lease() {
  if (!up_) return;
  strand_.after(kLeaseCheck, [this, epoch = epoch_] {
    if (epoch == epoch_) check_lease();
  });
  if (!leased_ || Clock::now() < leased_until_) return;
  leased_ = false;
  ++shared_.meters.lease_losses;
  std::vector<std::string> all;
  for (const auto& [id, attempt] : attempts_) all.push_back(id);
  for (const std::string& id : all) stop_attempt(id, wire::StopReason::lease_lost);
}

/// The machine is off. Its disk keeps events and logs; what ran is gone, and that is what it will
/// say of it.
void SimulatedHost::died() {
  up_ = false;
  ++epoch_;
  ++beat_turn_;
  closed(session_.get());
  leased_ = false;
  freed_.clear();
  while (!attempts_.empty()) {
    Attempt& attempt = attempts_.begin()->second;
    wire::AttemptReportT report;
    report.outcome = wire::Outcome::failed;
    report.reason = "host_restarted";
    report.message = "the simulated host lost its power";
    end_attempt(attempt, std::move(report));
  }
}

// ---- attempts ----

void SimulatedHost::begin(const wire::StartT& start) {
  const std::string id = id_of(start.spec->run, start.spec->attempt);
  if (attempts_.contains(id)) return;  // said again after a reconnection
  for (const Event& event : spool_)
    if (event.frame.run == start.spec->run && event.frame.attempt == start.spec->attempt) return;
  ++shared_.meters.starts;
  if (!freed_.empty()) {
    shared_.meters.took("refill", Clock::now() - freed_.front());
    freed_.pop_front();
  }
  if (attempts_.size() >= setup_.slots)
    shared_.meters.error(setup_.name + " was given more than its " + std::to_string(setup_.slots) +
                         " slots");
  if (const std::string other = shared_.whereabouts.begin(start.spec->run, setup_.name);
      !other.empty())
    shared_.meters.error("run " + start.spec->run + " was started on " + setup_.name +
                         " while alive on " + other);
  ++shared_.meters.running;
  Attempt& attempt = attempts_[id];
  attempt.run = start.spec->run;
  attempt.number = start.spec->attempt;
  if (start.epoch) attempt.epoch = std::make_unique<wire::Epoch>(*start.epoch);
  attempt.plan = plan_attempt(shared_.workload, attempt.run, attempt.number);
  attempt.token = ++tokens_;
  attempt.began_unix_ms = unix_ms();
  ++shared_.meters.logs_held;
  Log& log = logs_[id];
  log.run = attempt.run;
  log.attempt = attempt.number;
  say(attempt, wire::Phase::accepted);
  step(id, attempt.token, attempt.plan.provision, &SimulatedHost::agent_begins);
}

/// After `pause`, unless the attempt is over by then.
void SimulatedHost::step(const std::string& id, std::uint64_t token, Duration pause,
                         void (SimulatedHost::*next)(Attempt&)) {
  strand_.after(pause, [this, id, token, next] {
    const auto found = attempts_.find(id);
    if (found != attempts_.end() && found->second.token == token) (this->*next)(found->second);
  });
}

void SimulatedHost::agent_begins(Attempt& attempt) {
  attempt.agent_began_unix_ms = unix_ms();
  say(attempt, wire::Phase::running);
  const std::string id = id_of(attempt.run, attempt.number);
  for (int piece = 1; piece <= kLogPieces; ++piece) {
    const std::uint64_t up_to =
        attempt.plan.log_bytes / kLogFrameBytes * static_cast<unsigned>(piece) / kLogPieces;
    strand_.after(attempt.plan.agent * piece / kLogPieces,
                  [this, id, token = attempt.token, up_to] {
                    const auto found = attempts_.find(id);
                    if (found != attempts_.end() && found->second.token == token)
                      write_log(found->second, up_to * kLogFrameBytes);
                  });
  }
  step(id, attempt.token, attempt.plan.agent, &SimulatedHost::agent_ends);
}

void SimulatedHost::agent_ends(Attempt& attempt) {
  if (attempt.plan.fate == Fate::agent_fails || attempt.plan.fate == Fate::host_fails) {
    finish(attempt);
    return;
  }
  say(attempt, wire::Phase::verifying);
  step(id_of(attempt.run, attempt.number), attempt.token, attempt.plan.verify,
       &SimulatedHost::finish);
}

void SimulatedHost::finish(Attempt& attempt) {
  std::string pack;
  wire::AttemptReportT report = report_of(attempt, pack);
  end_attempt(attempt, std::move(report), std::move(pack));
}

void SimulatedHost::add_commit(wire::AttemptReportT& report, const Attempt& attempt,
                               std::string& pack) const {
  const CommitFacts& facts = shared_.commit;
  const std::string id = id_of(attempt.run, attempt.number);
  if (facts.real) {
    const std::string who = " muster-load <muster-load@localhost> 1700000000 +0000\n";
    const GitObject commit{ObjectType::commit, "tree " + object_id(facts.tree) + "\nparent " +
                                                   facts.base_sha + "\nauthor" + who + "committer" +
                                                   who + "\nA load test\n\nMuster-Run: " + id +
                                                   "\n"};
    report.head_sha = object_id(commit);
    report.tree_sha = object_id(facts.tree);
    pack = make_pack({commit, facts.tree, facts.blob});
  } else {
    report.head_sha = std::string(40, 'd');
    report.tree_sha = std::string(40, 'e');
    Random random(seed_of(shared_.workload.seed, id));
    while (pack.size() < attempt.plan.pack_bytes) {
      const std::uint64_t eight = random.next();
      pack.append(reinterpret_cast<const char*>(&eight), sizeof eight);
    }
  }
  report.pack_digest = sha256_hex(pack);
  report.pack_bytes = pack.size();
}

wire::AttemptReportT SimulatedHost::report_of(const Attempt& attempt, std::string& pack) const {
  const auto add_step = [](wire::AttemptReportT& to, const char* name, int exit_code,
                           std::int64_t from, std::int64_t until) {
    auto step = std::make_unique<wire::StepReportT>();
    step->name = name;
    step->exit_code = exit_code;
    step->started_unix_ms = from;
    step->ended_unix_ms = until;
    if (exit_code != 0) step->tail = "simulated: it fails\n";
    to.steps.push_back(std::move(step));
  };
  wire::AttemptReportT report;
  const std::int64_t now = unix_ms();
  const std::int64_t agent_end = attempt.agent_began_unix_ms + attempt.plan.agent.count();
  const Fate fate = attempt.plan.fate;
  report.create_ms = attempt.agent_began_unix_ms - attempt.began_unix_ms;
  report.base_sha = shared_.commit.base_sha;
  if (fate == Fate::host_fails) {
    report.outcome = wire::Outcome::failed;
    report.reason = "simulated";
    report.message = "the simulated host had trouble";
    return report;
  }
  add_step(report, "agent", fate == Fate::agent_fails ? 1 : 0, attempt.agent_began_unix_ms,
           agent_end);
  report.outcome = wire::Outcome::step_failed;
  if (fate == Fate::agent_fails) return report;
  add_step(report, "verify:simulated", fate == Fate::verification_fails ? 1 : 0, agent_end, now);
  if (fate == Fate::verification_fails) return report;
  report.outcome = wire::Outcome::unchanged;
  if (fate == Fate::unchanged) return report;
  report.outcome = wire::Outcome::changed;
  add_commit(report, attempt, pack);
  report.diff = std::make_unique<wire::DiffStatT>();
  report.diff->files = report.diff->insertions = 1;
  return report;
}

void SimulatedHost::end_attempt(Attempt& attempt, wire::AttemptReportT report, std::string pack) {
  const std::string id = id_of(attempt.run, attempt.number);
  report.log_bytes = attempt.log_written;
  say(attempt, wire::Phase::finished, std::make_unique<wire::AttemptReportT>(std::move(report)),
      std::move(pack));
  ++shared_.meters.finished;
  --shared_.meters.running;
  shared_.whereabouts.end(attempt.run, setup_.name);
  if (up_) freed_.push_back(Clock::now());
  if (freed_.size() > setup_.slots) freed_.pop_front();
  attempts_.erase(id);
  end_log(id);
}

void SimulatedHost::stop_attempt(const std::string& id, wire::StopReason reason) {
  const auto found = attempts_.find(id);
  if (found == attempts_.end()) return;
  ++shared_.meters.stops;
  wire::AttemptReportT report;
  report.outcome = wire::Outcome::cancelled;
  report.reason = wire::EnumNameStopReason(reason);
  end_attempt(found->second, std::move(report));
}

// ---- events ----

void SimulatedHost::say(const Attempt& attempt, wire::Phase phase,
                        std::unique_ptr<wire::AttemptReportT> report, std::string pack) {
  wire::RunEventT body;
  body.phase = phase;
  body.at_unix_ms = unix_ms();
  body.report = std::move(report);
  Event event;
  event.number = ++last_number_;
  event.pack = std::move(pack);
  event.frame.run = attempt.run;
  event.frame.attempt = attempt.number;
  if (attempt.epoch) event.frame.epoch = std::make_unique<wire::Epoch>(*attempt.epoch);
  event.frame.body.Set(std::move(body));
  spool_.push_back(std::move(event));
  ++shared_.meters.events_held;
  if (welcomed_) send_event(spool_.back());
}

void SimulatedHost::send_event(Event& event) {
  const std::string digest =
      event.pack.empty() ? "" : event.frame.body.AsRunEvent()->report->pack_digest;
  for (std::size_t offset = 0; offset < event.pack.size(); offset += kPackPart) {
    wire::CommitPackT part;
    part.digest = digest;
    part.offset = offset;
    part.total = event.pack.size();
    const std::string_view bytes = std::string_view(event.pack).substr(offset, kPackPart);
    part.bytes.assign(bytes.begin(), bytes.end());
    wire::FrameT frame;
    frame.run = event.frame.run;
    frame.attempt = event.frame.attempt;
    if (event.frame.epoch) frame.epoch = std::make_unique<wire::Epoch>(*event.frame.epoch);
    frame.body.Set(std::move(part));
    (void)send(Stream::control, std::move(frame));
  }
  event.frame.sequence = event.number;
  event.frame.host = setup_.name;
  if (event.sent == Time{}) event.sent = Clock::now();
  ++shared_.meters.frames_out;
  // What the link does not take now ends the session, and is said again in the next one.
  if (session_) (void)session_->send(Stream::control, storage::encode_frame(event.frame));
}

void SimulatedHost::acknowledged(std::uint64_t mark) {
  const Time now = Clock::now();
  while (!spool_.empty() && spool_.front().number <= mark) {
    if (spool_.front().sent != Time{}) shared_.meters.took("ack", now - spool_.front().sent);
    ++shared_.meters.events_durable;
    --shared_.meters.events_held;
    spool_.pop_front();
  }
}

// ---- logs ----

void SimulatedHost::write_log(Attempt& attempt, std::uint64_t up_to) {
  if (up_to <= attempt.log_written) return;
  attempt.log_written = up_to;
  Log& log = logs_[id_of(attempt.run, attempt.number)];
  log.written = up_to;
  pump_log(log);
}

void SimulatedHost::end_log(const std::string& id) {
  const auto found = logs_.find(id);
  if (found == logs_.end()) return;
  found->second.ended = true;
  found->second.ended_at = Clock::now();
  pump_log(found->second);
}

void SimulatedHost::pump_log(Log& log) {
  if (!session_ || !welcomed_) return;
  const auto chunk = [&](std::uint64_t offset, std::uint64_t size, bool last) {
    wire::LogChunkT body;
    body.offset = offset;
    const std::string bytes = log_bytes(offset, size);
    body.bytes.assign(bytes.begin(), bytes.end());
    body.last = last;
    wire::FrameT frame;
    frame.run = log.run;
    frame.attempt = log.attempt;
    frame.body.Set(std::move(body));
    return send(Stream::logs, std::move(frame));
  };
  if (!log.credited) {
    if (!log.asked) log.asked = chunk(log.acknowledged, 0, false);
    return;
  }
  while (log.sent < std::min(log.up_to, log.written) && !log.last_said) {
    const std::uint64_t size = std::min({kLogChunk, log.up_to - log.sent, log.written - log.sent});
    const bool last = log.ended && log.sent + size == log.written;
    if (!chunk(log.sent, size, last)) return;
    log.sent += size;
    log.last_said = last;
  }
  if (log.ended && log.sent == log.written && !log.last_said)
    log.last_said = chunk(log.sent, 0, true);
}

void SimulatedHost::credit(const wire::Frame& frame) {
  const auto found = logs_.find(id_of(frame));
  if (found == logs_.end()) return;
  Log& log = found->second;
  const auto& body = *frame.body_as_LogCredit();
  if (body.acknowledged() > log.acknowledged) {
    shared_.meters.log_bytes += body.acknowledged() - log.acknowledged;
    log.acknowledged = body.acknowledged();
  }
  log.up_to = body.up_to();
  if (!log.credited) log.sent = log.acknowledged;  // the engine says from where to go on
  log.credited = true;
  if (log.ended && log.last_said && log.acknowledged >= log.written) {
    shared_.meters.took("log", Clock::now() - log.ended_at);
    logs_.erase(found);
    --shared_.meters.logs_held;
    return;
  }
  pump_log(log);
}

}  // namespace muster::load
