// A fleet as the engine sees it, without what decides anything: the messages, rows, indexes,
// timers, effects and audit entries that one run causes in actors/, in the same order and of about
// the same sizes. 17 messages a run:
//
//   fleet ─Make→ run ─Acquire→ repo ─Granted→ run ⇒ effect "start" ⇒ Happened × 4 (from the host's
//   channel: started, running, verifying, finished) ⇒ effect "push" ⇒ Happened ⇒ effect "pull" ⇒
//   Happened ─Opened→ pull, ─Release→ repo; after every second change of state ─RunMoved→ fleet,
//   which writes the run's row.
#pragma once

#include "bench/durable/beads.hpp"

namespace muster::bench {

struct FleetShape {
  static constexpr std::string_view kName = "fleet";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::FleetHeadT;
  using Messages = engine::MessageSet<fbs::FleetBodyUnionTraits, fbs::BeginT, fbs::RunMovedT>;
  using Message = Messages::Variant;

  static bool creates(const Message& m) { return std::holds_alternative<fbs::BeginT>(m); }
  static void step(State& state, const Message& message, engine::Context& ctx);
};

/// The states that a run goes through; `Happened` names the one that was reached.
enum RunStep : std::uint16_t {
  waiting,
  queued,
  started,
  running,
  verifying,
  finished,
  pushed,
  delivered
};

struct RunShape {
  static constexpr std::string_view kName = "run";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::RunHeadT;
  using Messages = engine::MessageSet<fbs::RunBodyUnionTraits, fbs::MakeT, fbs::GrantedT,
                                      fbs::HappenedT, fbs::TimedOutT>;
  using Message = Messages::Variant;

  static bool creates(const Message& m) { return std::holds_alternative<fbs::MakeT>(m); }
  static void step(State& state, const Message& message, engine::Context& ctx);

  static engine::Payload happened(RunStep step) {
    fbs::HappenedT m;
    m.state = step;
    m.report = body();
    return Messages::encode(m);
  }
};

struct RepoShape {
  static constexpr std::string_view kName = "repo";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::RepoHeadT;
  using Messages = engine::MessageSet<fbs::RepoBodyUnionTraits, fbs::AcquireT, fbs::ReleaseT>;
  using Message = Messages::Variant;

  static bool creates(const Message&) { return true; }
  static void step(State& state, const Message& message, engine::Context& ctx) {
    state.body.resize(kBody);
    if (const auto* acquire = std::get_if<fbs::AcquireT>(&message)) {
      state.holder = acquire->run;
      ctx.send<RunShape>(acquire->run, fbs::GrantedT{});
    } else {
      state.holder.clear();
    }
  }
};

struct PullShape {
  static constexpr std::string_view kName = "pull";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::PullHeadT;
  using Messages = engine::MessageSet<fbs::PullBodyUnionTraits, fbs::OpenedT>;
  using Message = std::variant<fbs::OpenedT>;

  static bool creates(const Message&) { return true; }
  static void step(State& state, const Message& message, engine::Context& ctx) {
    state.run = std::get<fbs::OpenedT>(message).run;
    state.body = std::get<fbs::OpenedT>(message).body;
    ctx.index("pull", ctx.self().key, state.run);
  }
};

inline void FleetShape::step(State& state, const Message& message, engine::Context& ctx) {
  if (const auto* moved = std::get_if<fbs::RunMovedT>(&message)) {
    ctx.put_row("run/" + moved->run, std::string(60, static_cast<char>('a' + moved->state)));
    if (moved->state == delivered && ++state.ended == state.runs) report_done(ctx);
    return;
  }
  constexpr std::uint32_t kPage = 100;
  const auto& begin = std::get<fbs::BeginT>(message);
  state.runs = begin.runs;
  state.body = begin.body;
  fbs::MakeT make;
  make.fleet = ctx.self().key;
  make.body = begin.body;
  const std::uint32_t end = std::min(begin.runs, begin.from + kPage);
  for (std::uint32_t i = begin.from; i < end; ++i) {
    const std::string run = ctx.self().key + "-" + std::to_string(i);
    ctx.put_row("run/" + run, std::string(60, 'a'));
    ctx.send<RunShape>(run, make);
  }
  if (end == begin.runs) return;
  fbs::BeginT rest = begin;
  rest.from = end;
  ctx.send<FleetShape>(ctx.self().key, rest);
}

inline void RunShape::step(State& state, const Message& message, engine::Context& ctx) {
  const std::string& self = ctx.self().key;
  const std::string entry(80, 'i');
  const auto perform = [&](const char* port) {
    ctx.perform({port, std::string(port) + "/" + self, std::string(300, 'e'), Duration{3'600'000},
                 happened(delivered)});
  };
  const auto moved = [&] {
    fbs::RunMovedT m;
    m.run = self;
    m.state = state.state;
    ctx.send<FleetShape>(state.fleet, m);
  };
  if (const auto* make = std::get_if<fbs::MakeT>(&message)) {
    state.fleet = make->fleet;
    state.body = make->body;
    state.state = waiting;
    ctx.index("queued", self, entry);
    fbs::AcquireT acquire;
    acquire.run = self;
    ctx.send<RepoShape>(self, acquire);
  } else if (std::holds_alternative<fbs::GrantedT>(message)) {
    state.state = queued;
    ctx.unindex("queued", self);
    ctx.index("placed", self, entry);
    perform("start");
    moved();
  } else if (const auto* happened_now = std::get_if<fbs::HappenedT>(&message)) {
    state.state = happened_now->state;
    ctx.index("placed", self, entry);
    if (state.state == finished) perform("push");
    if (state.state == pushed) perform("pull");
    if (state.state == running || state.state == finished) moved();
  }
  if (state.state != delivered) {
    ctx.after<RunShape>("state", Duration{1'800'000}, fbs::TimedOutT{});
    return;
  }
  ctx.cancel("state");
  ctx.unindex("placed", self);
  fbs::OpenedT opened;
  opened.run = self;
  opened.body = state.body;
  ctx.send<PullShape>(self, opened);
  fbs::ReleaseT release;
  release.run = self;
  ctx.send<RepoShape>(self, release);
  ctx.audit("bench", "delivered", self);
  moved();
  ctx.finish();
}

}  // namespace muster::bench
