// The actors of the artificial shapes: each counts its steps and has 200 bytes of state.
//
//   ring   a token goes from bead i to bead i + 1
//   fan    a hub sends to 500 beads, in two pages, and begins again when all have answered
//   pairs  a bead asks a random one, which replies; with `cold`, every tenth of those is one that
//   nobody
//          else talks to, so that it has to be read from disk
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "bench/durable/bench_generated.h"
#include "engine/core/kind.hpp"

namespace muster::bench {

constexpr std::size_t kBody = 200;
constexpr std::uint32_t kFan = 500;
constexpr const char* kOrg = "acme";
/// Its port counts them; nobody answers.
constexpr const char* kDonePort = "done";

/// splitmix64: the next number, from which the next, …
inline std::uint64_t next_random(std::uint64_t& seed) {
  std::uint64_t z = (seed += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// Hexadecimal digits that look random: compressible as much as most text is.
inline std::vector<std::uint8_t> body(std::uint64_t seed = 0) {
  std::vector<std::uint8_t> text(kBody);
  for (std::uint8_t& c : text)
    c = static_cast<std::uint8_t>("0123456789abcdef"[next_random(seed) % 16]);
  return text;
}

/// Tells the benchmark, once durable, that one of the parts it started has ended.
inline void report_done(engine::Context& ctx) {
  ctx.perform({kDonePort, ctx.self().key, "", Duration{3'600'000}, {}});
}

struct Bead {
  static constexpr std::string_view kName = "bead";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::BeadHeadT;
  using Messages = engine::MessageSet<fbs::BeadBodyUnionTraits, fbs::InitT, fbs::TokenT, fbs::GoT,
                                      fbs::ItemT, fbs::ReturnedT, fbs::AskT, fbs::ReplyT, fbs::LaterT>;
  using Message = Messages::Variant;

  static bool creates(const Message& m) { return std::holds_alternative<fbs::InitT>(m); }
  static void step(State& state, const Message& message, engine::Context& ctx) {
    ++state.steps;
    std::visit([&](const auto& m) { on(state, m, ctx); }, message);
  }

  /// A peer for the next question, and whether it is a cold one.
  static std::string peer(std::uint32_t spread, std::uint32_t cold, std::uint64_t& seed) {
    const std::uint64_t random = next_random(seed);
    if (cold != 0 && random % 10 == 0) return std::to_string(spread + (random >> 8) % cold);
    return std::to_string((random >> 8) % spread);
  }

 private:
  using Context = engine::Context;

  template <class To, class From>
  static To same(const From& m) {
    To to;
    to.turns = m.turns;
    to.spread = m.spread;
    to.cold = m.cold;
    to.seed = m.seed;
    to.body = m.body;
    return to;
  }

  static void on(State& state, const fbs::InitT& m, Context& ctx) {
    state.body = m.body;
    ctx.reply("made");
  }
  static void on(State&, const fbs::TokenT& m, Context& ctx) {
    if (m.hops == 0) return report_done(ctx);
    fbs::TokenT next = m;
    --next.hops;
    ctx.send<Bead>(std::to_string((std::stoul(ctx.self().key) + 1) % m.spread), next);
  }

  static void on(State& state, const fbs::GoT& m, Context& ctx) {
    constexpr std::uint32_t kPage = kFan / 2;
    if (m.from == 0) state.rounds = m.rounds;
    fbs::ItemT item;
    item.hub = ctx.self().key;
    item.body = m.body;
    const std::uint32_t base = static_cast<std::uint32_t>(std::stoul(ctx.self().key)) * kFan;
    for (std::uint32_t i = m.from; i < m.from + kPage; ++i)
      ctx.send<Bead>("of-" + std::to_string(base + i), item);
    if (m.from + kPage == kFan) return;
    fbs::GoT rest = m;
    rest.from += kPage;
    ctx.send<Bead>(ctx.self().key, rest);
  }
  static void on(State&, const fbs::ItemT& m, Context& ctx) {
    fbs::ReturnedT back;
    back.body = m.body;
    ctx.send<Bead>(m.hub, back);
  }
  static void on(State& state, const fbs::ReturnedT& m, Context& ctx) {
    if (++state.returned < kFan) return;
    state.returned = 0;
    if (--state.rounds == 0) return report_done(ctx);
    fbs::GoT again;
    again.rounds = state.rounds;
    again.body = m.body;
    ctx.send<Bead>(ctx.self().key, again);
  }

  /// Timers that nobody sees fire.
  static void on(State&, const fbs::LaterT& m, Context& ctx) {
    const Duration delay{static_cast<std::int64_t>(m.delay_ms)};
    fbs::LaterT due;
    due.body = m.body;
    for (std::uint32_t i = 0; i < m.timers; ++i) ctx.after<Bead>(std::to_string(i), delay, due);
  }

  static void on(State&, const fbs::AskT& m, Context& ctx) {
    ctx.send<Bead>(ctx.sender().key, same<fbs::ReplyT>(m));
  }
  static void on(State&, const fbs::ReplyT& m, Context& ctx) {
    if (m.turns == 0) return report_done(ctx);
    auto ask = same<fbs::AskT>(m);
    --ask.turns;
    const std::string to = peer(m.spread, m.cold, ask.seed);
    ctx.send<Bead>(to, ask);
  }
};

}  // namespace muster::bench
