#include "actors/ports/hosts.hpp"

#include <spdlog/spdlog.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "actors/host/host.hpp"
#include "actors/indexes.hpp"
#include "actors/ports/host_work.hpp"
#include "actors/ports/log_sink.hpp"
#include "actors/ports/pack_sink.hpp"
#include "actors/ports/placements.hpp"
#include "actors/ports/strand.hpp"
#include "actors/run/run.hpp"
#include "storage/link/protocol.hpp"

namespace muster::actors {

using storage::Session;
using storage::Stream;

Duration boot_clock_now() {
  timespec t{};
  ::clock_gettime(CLOCK_BOOTTIME, &t);
  return Duration{t.tv_sec * 1'000 + t.tv_nsec / 1'000'000};
}

namespace {

constexpr flatbuffers::uoffset_t kMaxPoolLines = 32;
constexpr std::size_t kMaxPoolText = 2'048;

std::string bounded(const flatbuffers::String* text) {
  return text == nullptr ? "" : text->str().substr(0, kMaxPoolText);
}

std::shared_ptr<const HostPool> pool_of(const wire::WarmPoolState& said) {
  auto pool = std::make_shared<HostPool>();
  pool->max = said.max();
  pool->waiting = said.waiting();
  pool->making = said.making();
  pool->hits = said.hits();
  pool->misses = said.misses();
  for (flatbuffers::uoffset_t i = 0; said.lines() != nullptr && i < std::min(said.lines()->size(), kMaxPoolLines); ++i) {
    const wire::WarmPoolLine& line = *said.lines()->Get(i);
    pool->lines.push_back({bounded(line.url()), bounded(line.branch()), bounded(line.image()), line.waiting(),
                           line.wanted(), line.hits(), line.misses()});
  }
  return pool;
}

}  // namespace

bool was_away(Duration last_look, Duration now, Duration margin) { return now - last_look > margin; }

namespace {

/// How long a host that is refused may stay on the line, so that it does not knock all the time.
constexpr Duration kRefusedFor{20'000};

}  // namespace

class Hosts::Impl {
 public:
  Impl(HostsConfig config, HostsNeeds needs)
      : config_(std::move(config)),
        needs_(std::move(needs)),
        packs_(needs_.packs),
        logs_(needs_.logs,
              [this](const std::string& host, const storage::RunLogKey& key) {
                return placements_->attempt_was_on(host, key.run, key.attempt);
              }),
        work_(needs_, [this](const std::string& host, const Sandbox& sandbox) {
          return placements_->is_placed_on(host, sandbox.first, sandbox.second);
        }) {}
  ~Impl() { stop(); }

  Result<void> start(engine::Engine& engine);
  void stop();
  void perform(const engine::PendingEffect& effect, engine::EffectDone done);

  [[nodiscard]] int port() const { return server_ ? server_->port() : 0; }
  [[nodiscard]] HostsStats stats() const;
  [[nodiscard]] std::optional<HostLease> lease(const std::string& host) const;
  [[nodiscard]] ExecPort& execs() { return execs_; }

 private:
  using Lines = std::map<std::string, HostLine>;

  // The link's threads.
  storage::SessionEvents link_events();
  void connected(std::shared_ptr<Session> session);
  void frame(Session& session, Stream stream, std::string_view bytes);
  void closed(Session& session);
  std::shared_ptr<Inflow> inflow_of(Session& session);

  // The strand.
  void load();
  void load_host(const std::string& name);
  void control(const std::shared_ptr<Inflow>& inflow, const FramePtr& bytes);
  void hello(const std::shared_ptr<Inflow>& inflow, const wire::Hello& hello, std::uint16_t protocol);
  void refuse(HostLine& line, const std::shared_ptr<Inflow>& inflow, const wire::Hello& hello,
              std::uint16_t protocol, const std::string& why);
  void try_welcome(HostLine& line);
  void welcome(HostLine& line, const fbs::HostHeadT& head);
  void heartbeat(HostLine& line, const wire::Heartbeat& beat);
  void event(HostLine& line, const FramePtr& bytes);
  void deliver(HostLine& line, const FramePtr& bytes);
  void stop_unwanted(HostLine& line, const wire::Frame& frame);
  void supersede_checkpoint(const Sandbox& sandbox, const std::string& digest, bool last);
  engine::Payload event_payload(const HostLine& line, const wire::Frame& frame);
  void pack(HostLine& line, const FramePtr& bytes);
  void gone(const std::shared_ptr<Inflow>& inflow);
  void drop(HostLine& line, const std::string& why);
  void run_effect(const engine::PendingEffect& effect, engine::EffectDone done);
  void tick();
  void check_lease(HostLine& line);
  void publish_leases();
  void tell(HostLine& line, engine::Payload payload);
  void flush_tells(HostLine& line);

  HostLine* line_of(const std::shared_ptr<Inflow>& inflow);
  Duration lease_end() const { return config_.clock() + config_.lease + config_.lease_margin; }

  const HostsConfig config_;
  const HostsNeeds needs_;
  engine::Engine* engine_ = nullptr;  // set, with placements_, before the strand sees a host
  std::optional<Placements> placements_;
  std::atomic<std::uint64_t> welcomed_{0}, lease_ends_{0}, events_{0}, events_refused_{0},
      looks_{0};

  struct Published {
    HostLease lease;
    Duration until{};
  };
  mutable std::mutex leases_mutex_;
  std::map<std::string, Published> leases_;  ///< For readers.

  std::mutex inflows_mutex_;
  std::map<Session*, std::shared_ptr<Inflow>> inflows_;

  bool loaded_ = false;
  Duration ticked_{0};
  Lines lines_;
  std::map<Sandbox, std::string> checkpoints_;  ///< Of attempts that run: the digest of the last that came.
  std::vector<std::pair<engine::PendingEffect, engine::EffectDone>> early_effects_;
  std::shared_ptr<void> subscription_;
  ExecCalls execs_;
  PackSink packs_;
  LogSinks logs_;
  HostWork work_;
  const std::shared_ptr<Strand> strand_ = std::make_shared<Strand>("hosts");
  std::unique_ptr<storage::LinkServer> server_;
};

// ---- start and stop ----

Result<void> Hosts::Impl::start(engine::Engine& engine) {
  engine_ = &engine;
  placements_.emplace(engine, config_.org);
  strand_->post([this] { load(); });
  subscription_ =
      engine.subscribe([this, strand = strand_](const std::vector<engine::Change>& changes) {
        for (const engine::Change& change : changes) {
          if (change.actor.kind != Host::kName) continue;
          strand->post([this, name = change.actor.key] {
            if (const auto found = lines_.find(name); found != lines_.end())
              try_welcome(found->second);
          });
        }
      });
  auto server = storage::LinkServer::start(config_.address, config_.tls, link_events());
  if (!server) return tl::unexpected<Error>(server.error());
  server_ = std::move(*server);
  return {};
}

void Hosts::Impl::stop() {
  subscription_.reset();
  if (server_) server_->stop();
  strand_->stop();
  packs_.stop();
  logs_.stop();
}

HostsStats Hosts::Impl::stats() const {
  return {welcomed_, lease_ends_, events_, events_refused_, looks_,
          server_ ? server_->stats() : storage::LinkStats{}};
}

/// What the engine believes of its hosts at its start: none is connected, and each gets a whole
/// lease to come.
void Hosts::Impl::load() {
  std::vector<std::string> names;
  const auto listed = engine_->list(index::kHost, "", "\xff",
                                    [&](std::string_view key, const auto&, std::string_view) {
                                      names.emplace_back(key);
                                      return true;
                                    });
  if (!listed) spdlog::error("the hosts can't be read: {}", listed.error().message);
  for (const std::string& name : names) load_host(name);
  loaded_ = true;
  ticked_ = config_.clock();
  for (auto& [effect, done] : std::exchange(early_effects_, {}))
    run_effect(effect, std::move(done));
  tick();
}

void Hosts::Impl::load_host(const std::string& name) {
  const auto head = placements_->host_head(name);
  if (!head) return;
  HostLine& line = lines_[name];
  line.name = name;
  line.session = head->session;
  line.leased = head->state != fbs::HostState::unreachable || !head->used.empty();
  line.lease_until = lease_end();
  if (head->state == fbs::HostState::unreachable) return;
  fbs::HostDisconnectedT message;
  message.session = head->session;
  tell(line, Host::Messages::encode(message));
}

// ---- the link ----

storage::SessionEvents Hosts::Impl::link_events() {
  storage::SessionEvents events;
  events.connected = [this](std::shared_ptr<Session> session) { connected(std::move(session)); };
  events.frame = [this](Session& session, Stream stream, std::string_view bytes) {
    frame(session, stream, bytes);
  };
  events.closed = [this](Session& session, const std::string& why) {
    spdlog::info("host {}: disconnected: {}", session.peer(), why);
    closed(session);
  };
  events.drained = [this](Session& session, Stream stream) {
    if (stream != Stream::control) return;
    strand_->post([this, inflow = inflow_of(session)] {
      if (HostLine* line = line_of(inflow)) work_.pump(*line);
    });
  };
  events.failed = [](const std::string& why) { spdlog::warn("link: {}", why); };
  return events;
}

void Hosts::Impl::connected(std::shared_ptr<Session> session) {
  const std::lock_guard lock(inflows_mutex_);
  Session* key = session.get();
  inflows_.emplace(key, std::make_shared<Inflow>(std::move(session)));
}

std::shared_ptr<Inflow> Hosts::Impl::inflow_of(Session& session) {
  const std::lock_guard lock(inflows_mutex_);
  const auto found = inflows_.find(&session);
  return found == inflows_.end() ? nullptr : found->second;
}

void Hosts::Impl::frame(Session& session, Stream stream, std::string_view bytes) {
  const auto inflow = inflow_of(session);
  const wire::Body body = wire::GetFrame(bytes.data())->body_type();
  const bool is_log = body == wire::Body::LogChunk;
  const bool is_exec = ExecCalls::takes(body);
  if (!inflow || (is_log || is_exec) != (stream == Stream::logs)) {
    session.close("it sent a frame on the wrong stream");
    return;
  }
  if (is_exec) return execs_.frame(session, *wire::GetFrame(bytes.data()));
  const bool is_beat = wire::GetFrame(bytes.data())->body_type() == wire::Body::Heartbeat;
  FramePtr taken = inflow->take(stream, bytes);
  if (is_log) {
    logs_.chunk(inflow->session(), std::move(taken));
  } else if (is_beat) {  // However many events wait, its lease must not.
    strand_->post_first([this, inflow, taken = std::move(taken)] { control(inflow, taken); });
  } else {
    strand_->post([this, inflow, taken = std::move(taken)] { control(inflow, taken); });
  }
}

void Hosts::Impl::closed(Session& session) {
  std::shared_ptr<Inflow> inflow;
  {
    const std::lock_guard lock(inflows_mutex_);
    auto node = inflows_.extract(&session);
    if (node) inflow = std::move(node.mapped());
  }
  if (!inflow) return;
  execs_.closed(session);
  strand_->post([this, inflow] { gone(inflow); });
}

// ---- sessions ----

HostLine* Hosts::Impl::line_of(const std::shared_ptr<Inflow>& inflow) {
  if (!inflow) return nullptr;
  const auto found = lines_.find(inflow->session()->peer());
  return found != lines_.end() && found->second.inflow == inflow ? &found->second : nullptr;
}

void Hosts::Impl::control(const std::shared_ptr<Inflow>& inflow, const FramePtr& bytes) {
  const wire::Frame& frame = *wire::GetFrame(bytes->data());
  if (const auto* greeting = frame.body_as_Hello()) {
    hello(inflow, *greeting, frame.version());
    return;
  }
  HostLine* line = line_of(inflow);
  if (!line) return;  // of a session that another one has replaced, or one that never said Hello
  if (const auto* beat = frame.body_as_Heartbeat()) {
    heartbeat(*line, *beat);
  } else if (frame.body_type() == wire::Body::RunEvent) {
    event(*line, bytes);
  } else if (frame.body_type() == wire::Body::CommitPack) {
    pack(*line, bytes);
  } else if (const auto* steered = frame.body_as_Steered()) {
    work_.steered(line->name, {frame.run() ? frame.run()->str() : "", frame.attempt()},
                  steered->below(), steered->gone());
  } else if (frame.body_type() != wire::Body::Ack) {
    inflow->session()->close("it sent what only the engine sends");
  }
}

void Hosts::Impl::hello(const std::shared_ptr<Inflow>& inflow, const wire::Hello& hello,
                        std::uint16_t protocol) {
  const std::string& name = inflow->session()->peer();
  if (hello.host()->string_view() != name) {
    inflow->session()->close("it calls itself other than its certificate does");
    return;
  }
  HostLine& line = lines_[name];
  if (line.inflow == inflow) {
    inflow->session()->close("it said Hello twice");
    return;
  }
  if (line.inflow) drop(line, "the host has connected again");
  line.name = name;
  if (const std::string why = storage::protocol_trouble("musterd", "sandboxd", protocol); !why.empty())
    return refuse(line, inflow, hello, protocol, why);
  const auto head = placements_->host_head(name);
  line.refused.clear();
  line.protocol = protocol;
  line.session = std::max(line.session, head ? head->session : 0) + 1;
  line.inflow = inflow;
  line.leased = true;
  line.lease_until = lease_end();
  line.steers = hello.steers();
  line.snapshots = hello.snapshots();

  execs_.said_hello(inflow->session(), hello.max_execs());
  wire::HelloT said;
  hello.UnPackTo(&said);
  fbs::HostConnectedT message;
  message.session = line.session;
  message.generation = engine_->generation();
  message.version = said.version;
  message.protocol = protocol;
  message.slots = said.slots;
  message.cpus_milli = said.cpus_milli;
  message.memory_bytes = said.memory_bytes;
  message.running = std::move(said.running);
  message.warm = std::move(said.warm);
  message.labels = std::move(said.labels);
  spdlog::info("host {}: connected as session {}", name, line.session);
  tell(line, Host::Messages::encode(message));
  try_welcome(line);
}

/// It is told why, and does not become this host's session. What it had goes on until its lease ends.
void Hosts::Impl::refuse(HostLine& line, const std::shared_ptr<Inflow>& inflow, const wire::Hello& hello,
                         std::uint16_t protocol, const std::string& why) {
  if (line.refused != why) {
    spdlog::warn("host {}: refused: {}", line.name, why);
    line.refused = why;
    fbs::HostRefusedT message;
    message.version = hello.version() ? hello.version()->str() : "";
    message.protocol = protocol;
    message.why = why;
    tell(line, Host::Messages::encode(message));
  }
  wire::FrameT frame;
  frame.version = storage::kLinkProtocol;
  wire::WelcomeT welcome;
  welcome.version = config_.version;
  welcome.refused = why;
  frame.body.Set(std::move(welcome));
  (void)inflow->session()->send(Stream::control, storage::encode_frame(frame));
  strand_->after(kRefusedFor, [inflow, why] { inflow->session()->close(why); });
}

/// The Welcome waits until the host actor knows of the session: what it names as placed is then the
/// truth that later placements add to.
void Hosts::Impl::try_welcome(HostLine& line) {
  if (!line.inflow || line.welcomed) return;
  const auto head = placements_->host_head(line.name);
  if (head && head->session == line.session && head->generation == engine_->generation())
    welcome(line, *head);
}

void Hosts::Impl::welcome(HostLine& line, const fbs::HostHeadT& head) {
  const std::string channel = "host/" + line.name;
  const auto mark = engine_->channel_mark(channel);
  if (!mark) return;  // tick() tries again
  const auto inflow = line.inflow;
  line.events = std::make_shared<EventChannel>(
      *engine_, strand_, channel, *mark,
      EventChannel::Owner{[inflow](std::uint64_t durable) {
                            wire::FrameT frame;
                            wire::AckT ack;
                            ack.sequence = durable;
                            frame.body.Set(std::move(ack));
                            (void)inflow->session()->send(Stream::control,
                                                          storage::encode_frame(frame));
                          },
                          [inflow](const std::string& why) {
                            inflow->session()->close("its events are not taken: " + why);
                          }});
  wire::FrameT frame;
  frame.version = storage::kLinkProtocol;
  wire::WelcomeT welcome;
  welcome.version = config_.version;
  welcome.session = line.session;
  welcome.generation = head.generation;
  welcome.lease_ms = config_.lease.count();
  welcome.heartbeat_ms = config_.heartbeat.count();
  welcome.event_mark = *mark;
  for (const auto& slot : head.used)
    welcome.placed.push_back(slot->run + "-" + std::to_string(slot->attempt));
  frame.body.Set(std::move(welcome));
  if (!inflow->session()->send(Stream::control, storage::encode_frame(frame))) return;
  line.welcomed = true;
  ++welcomed_;
  execs_.welcomed(inflow->session());
  for (const auto& slot : head.used) logs_.open(inflow->session(), {slot->run, slot->attempt});
  work_.welcomed(line);
}

void Hosts::Impl::heartbeat(HostLine& line, const wire::Heartbeat& beat) {
  if (!line.leased) return;  // it ended: the session is being closed
  line.lease_until = lease_end();
  line.pool = beat.warm_pool() == nullptr ? nullptr : pool_of(*beat.warm_pool());
  wire::FrameT frame;
  wire::RenewT renew;
  renew.heartbeat = beat.number();
  frame.body.Set(std::move(renew));
  (void)line.inflow->session()->send(Stream::control, storage::encode_frame(frame));
}

void Hosts::Impl::gone(const std::shared_ptr<Inflow>& inflow) {
  logs_.closed(inflow->session());
  if (HostLine* line = line_of(inflow)) drop(*line, "");
}

/// The connection is over; the lease still runs.
void Hosts::Impl::drop(HostLine& line, const std::string& why) {
  if (!why.empty()) line.inflow->session()->close(why);
  if (line.events) line.events->close();
  line.events.reset();
  if (line.welcomed) --welcomed_;
  line.welcomed = false;
  line.orders.clear();
  line.pool.reset();
  line.inflow.reset();
  fbs::HostDisconnectedT message;
  message.session = line.session;
  tell(line, Host::Messages::encode(message));
}

// ---- leases ----

void Hosts::Impl::tick() {
  const Duration now = config_.clock();
  const bool away = was_away(ticked_, now, config_.lease_margin);
  ticked_ = now;
  for (auto& [name, line] : lines_) {
    if (away) line.lease_until = lease_end();
    flush_tells(line);
    try_welcome(line);
    check_lease(line);
  }
  ++looks_;
  work_.expire(engine_->now());
  publish_leases();
  strand_->after(config_.tick, [this] { tick(); });
}

void Hosts::Impl::publish_leases() {
  const std::lock_guard lock(leases_mutex_);
  for (const auto& [name, line] : lines_)
    leases_[name] = {
        {line.inflow != nullptr, line.session, line.leased, Duration{0}, line.orders.size(), line.pool},
        line.lease_until};
}

std::optional<HostLease> Hosts::Impl::lease(const std::string& host) const {
  const std::lock_guard lock(leases_mutex_);
  const auto found = leases_.find(host);
  if (found == leases_.end()) return std::nullopt;
  HostLease lease = found->second.lease;
  if (lease.leased) lease.left = std::max(Duration{0}, found->second.until - config_.clock());
  return lease;
}

void Hosts::Impl::check_lease(HostLine& line) {
  if (!line.leased || config_.clock() < line.lease_until) return;
  if (line.inflow && line.inflow->held(Stream::control)) {
    line.lease_until = lease_end();  // its heartbeats wait on our side
    return;
  }
  spdlog::warn("host {}: the lease of session {} has ended", line.name, line.session);
  line.leased = false;
  line.lost_session = line.session;
  ++lease_ends_;
  if (line.inflow) drop(line, "it sent no heartbeat");
  fbs::LeaseEndedT message;
  message.session = line.session;
  tell(line, Host::Messages::encode(message));
  work_.gone(line.name);
}

/// To the host actor, in order; what the engine does not take now is offered again at the next
/// tick.
void Hosts::Impl::tell(HostLine& line, engine::Payload payload) {
  line.tells.push_back(std::move(payload));
  flush_tells(line);
}

void Hosts::Impl::flush_tells(HostLine& line) {
  while (!line.tells.empty()) {
    const auto told = engine_->tell(placements_->host_actor(line.name), line.tells.front());
    if (!told) {
      spdlog::warn("host {}: the engine does not take its news: {}", line.name,
                   told.error().message);
      return;
    }
    line.tells.pop_front();
  }
}

// ---- events and packs ----

namespace {

/// Of the checkpoint that the event brings, if its pack is there.
std::string checkpoint_digest(const wire::Frame& frame, const Blobs& packs) {
  const auto* event = frame.body_as_RunEvent();
  const auto* checkpoint = event->checkpoint();
  if (event->report() != nullptr) checkpoint = event->report()->checkpoint();
  const std::string digest = checkpoint != nullptr ? checkpoint->digest()->str() : "";
  return packs.has(digest) ? digest : "";
}

}  // namespace

void Hosts::Impl::event(HostLine& line, const FramePtr& bytes) {
  if (!line.welcomed) {
    line.inflow->session()->close("it sent events before its Welcome");
    return;
  }
  // Behind the packs that came before it.
  packs_.after(line.name, [this, inflow = line.inflow, bytes] {
    strand_->post([this, inflow, bytes] {
      if (HostLine* present = line_of(inflow)) deliver(*present, bytes);
    });
  });
}

void Hosts::Impl::deliver(HostLine& line, const FramePtr& bytes) {
  const wire::Frame& frame = *wire::GetFrame(bytes->data());
  const Sandbox sandbox{frame.run() ? frame.run()->str() : "", frame.attempt()};
  const wire::Phase phase = frame.body_as_RunEvent()->phase();
  EventChannel::Event event;
  event.number = frame.sequence();
  event.frame = bytes;
  if (placements_->is_placed_on(line.name, sandbox.first, sandbox.second)) {
    event.to = placements_->run_actor(sandbox.first);
    event.payload = event_payload(line, frame);
    event.taken = [this, host = line.name, sandbox, phase, digest = checkpoint_digest(frame, needs_.packs)] {
      ++events_;
      work_.heard(sandbox, phase);
      // Its packs so far count no longer against what one attempt may send.
      if (phase == wire::Phase::finished || phase == wire::Phase::checkpointed)
        packs_.forget(host, sandbox.first, sandbox.second);
      supersede_checkpoint(sandbox, digest, phase == wire::Phase::finished);
      // Perhaps because a blob did not arrive whole: the next Start brings them again.
      if (phase == wire::Phase::refused) lines_[host].blobs_sent.clear();
    };
    if (phase == wire::Phase::accepted)
      logs_.open(line.inflow->session(), {sandbox.first, sandbox.second});
  } else {
    // Fenced. Its number must still be consumed: as a message to the host actor that means nothing,
    // because there is no session 0.
    ++events_refused_;
    event.to = placements_->host_actor(line.name);
    event.payload = Host::Messages::encode(fbs::LeaseEndedT{});
    event.taken = [this, sandbox] { work_.heard(sandbox, wire::Phase::finished); };
    if (phase != wire::Phase::finished && phase != wire::Phase::refused) stop_unwanted(line, frame);
  }
  if (!line.events->take(std::move(event)))
    line.inflow->session()->close("its events skip a number");
}

/// Once a checkpoint is durable, nobody needs the one before. What a restart forgets is swept with what no run names.
void Hosts::Impl::supersede_checkpoint(const Sandbox& sandbox, const std::string& digest, bool last) {
  std::string& known = checkpoints_[sandbox];
  if (!digest.empty() && digest != known) {
    if (!known.empty()) (void)needs_.packs.remove(known);
    known = digest;
  }
  if (last || known.empty()) checkpoints_.erase(sandbox);
}

/// A sandbox that no run wants any more, for example of an attempt whose host was silent for too
/// long.
void Hosts::Impl::stop_unwanted(HostLine& line, const wire::Frame& frame) {
  wire::FrameT order;
  if (frame.run()) order.run = frame.run()->str();
  order.attempt = frame.attempt();
  if (frame.epoch()) order.epoch = std::make_unique<wire::Epoch>(*frame.epoch());
  wire::StopT stop;
  stop.reason = wire::StopReason::superseded;
  order.body.Set(std::move(stop));
  (void)line.inflow->session()->send(Stream::control, storage::encode_frame(order));
}

engine::Payload Hosts::Impl::event_payload(const HostLine& line, const wire::Frame& frame) {
  fbs::HostEventT message;
  message.host = line.name;
  if (frame.epoch()) message.epoch = std::make_unique<wire::Epoch>(*frame.epoch());
  message.event = std::make_unique<wire::RunEventT>();
  frame.body_as_RunEvent()->UnPackTo(message.event.get());
  wire::AttemptReportT* report = message.event->report.get();
  if (report && !report->pack_digest.empty() && !needs_.packs.has(report->pack_digest)) {
    // Without its pack there is nothing to deliver, and waiting for it would block the channel for
    // ever.
    report->outcome = wire::Outcome::failed;
    report->reason = "pack_missing";
    report->message = "the commit did not arrive whole";
    report->pack_digest.clear();
  }
  for (auto* checkpoint : {&message.event->checkpoint, report ? &report->checkpoint : nullptr})
    if (checkpoint && *checkpoint && !needs_.packs.has((*checkpoint)->digest)) checkpoint->reset();
  if (report && !report->artifacts_digest.empty() && !needs_.packs.has(report->artifacts_digest)) {
    report->warnings.emplace_back("artifacts: they did not arrive whole");
    report->artifacts.clear();
    report->artifacts_digest.clear();
    report->artifacts_bytes = 0;
  }
  return Run::Messages::encode(message);
}

void Hosts::Impl::pack(HostLine& line, const FramePtr& bytes) {
  const wire::Frame& frame = *wire::GetFrame(bytes->data());
  const std::string run = frame.run() ? frame.run()->str() : "";
  if (!line.welcomed || !placements_->is_placed_on(line.name, run, frame.attempt()))
    return;  // fenced
  packs_.part(
      line.name, bytes,
      [this, inflow = line.inflow](const std::string& digest) {
        wire::FrameT answer;
        wire::AckT ack;
        ack.digest = digest;
        answer.body.Set(std::move(ack));
        (void)inflow->session()->send(Stream::control, storage::encode_frame(answer));
      },
      [inflow = line.inflow](const std::string& why) {
        inflow->session()->close("its pack can't be taken: " + why);
      });
}

// ---- effects ----

void Hosts::Impl::perform(const engine::PendingEffect& effect, engine::EffectDone done) {
  strand_->post([this, effect, done = std::move(done)]() mutable {
    if (loaded_) {
      run_effect(effect, std::move(done));
    } else {
      early_effects_.emplace_back(effect, std::move(done));
    }
  });
}

void Hosts::Impl::run_effect(const engine::PendingEffect& effect, engine::EffectDone done) {
  work_.perform(effect, std::move(done), [this](const std::string& host) -> HostLine* {
    const auto found = lines_.find(host);
    return found != lines_.end() && found->second.leased ? &found->second : nullptr;
  });
  if (!effect.repeated) return;
  // The host may have answered before the restart, and does not say it twice.
  const std::size_t dash = effect.key.rfind('-');
  if (!effect.key.starts_with("start/") || dash == std::string::npos) return;
  const std::string run = effect.key.substr(6, dash - 6);
  const auto attempt =
      static_cast<std::uint32_t>(std::strtoul(effect.key.c_str() + dash + 1, nullptr, 10));
  const auto row = placements_->attempt_row(run, attempt);
  if (row && row->accepted_unix_ms != 0) work_.heard({run, attempt}, wire::Phase::accepted);
}

// ---- the outside ----

Hosts::Hosts(HostsConfig config, HostsNeeds needs)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(needs))) {}
Hosts::~Hosts() = default;
Result<void> Hosts::start(engine::Engine& engine) {
  return impl_->start(engine);
}
void Hosts::stop() {
  impl_->stop();
}
int Hosts::port() const {
  return impl_->port();
}
HostsStats Hosts::stats() const {
  return impl_->stats();
}
std::optional<HostLease> Hosts::lease(const std::string& host) const {
  return impl_->lease(host);
}
ExecPort& Hosts::execs() {
  return impl_->execs();
}
void Hosts::perform(const engine::PendingEffect& effect, engine::EffectDone done) {
  impl_->perform(effect, std::move(done));
}

}  // namespace muster::actors
