// A counter: the smallest kind that uses everything a step may do. An example for whoever writes
// one.
#pragma once

#include <stdexcept>
#include <variant>

#include "engine/core/kind.hpp"
#include "tests/unit/engine/counter_generated.h"

namespace muster::test {

struct Counter {
  static constexpr std::string_view kName = "counter";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::CounterHeadT;
  using Messages =
      engine::MessageSet<fbs::CounterBodyUnionTraits, fbs::OpenT, fbs::AddT, fbs::AddLaterT,
                         fbs::ForgetT, fbs::DueT, fbs::LookupT, fbs::AnswerT, fbs::PassT,
                         fbs::FailT, fbs::FillT, fbs::CloseT, fbs::DepartT>;
  using Message = Messages::Variant;

  static bool creates(const Message& m) { return std::holds_alternative<fbs::OpenT>(m); }

  static void step(State& state, const Message& message, engine::Context& ctx) {
    ++state.steps;
    std::visit([&](const auto& m) { on(state, m, ctx); }, message);
  }

 private:
  using Context = engine::Context;

  static void add(State& state, std::int64_t amount, Context& ctx) {
    if (state.limit != 0 && state.total + amount > state.limit) {
      ctx.refuse(Errc::refused, "over the limit");
      return;
    }
    state.total += amount;
    state.log += std::to_string(amount) + " ";
    ctx.put_row("total", std::to_string(state.total));
    ctx.index("counter", ctx.self().key, std::to_string(state.total));
    ctx.reply(std::to_string(state.total));
  }

  static void on(State& state, const fbs::OpenT& m, Context& ctx) {
    state.limit = m.limit;
    ctx.index("counter", ctx.self().key, "0");
    ctx.audit("test", "create", ctx.self().key);
    ctx.reply("created");
  }
  static void on(State& state, const fbs::AddT& m, Context& ctx) { add(state, m.amount, ctx); }
  static void on(State&, const fbs::AddLaterT& m, Context& ctx) {
    fbs::DueT due;
    due.amount = m.amount;
    ctx.after<Counter>("later", Duration{m.delay_ms}, due);
  }
  static void on(State&, const fbs::ForgetT&, Context& ctx) { ctx.cancel("later"); }
  static void on(State& state, const fbs::DueT& m, Context& ctx) { add(state, m.amount, ctx); }
  static void on(State&, const fbs::LookupT& m, Context& ctx) {
    fbs::AnswerT unknown;
    unknown.key = m.key;
    unknown.error = "unknown";
    ctx.perform({"oracle", m.key, "ask", Duration{60'000}, Messages::encode(unknown)});
  }
  static void on(State& state, const fbs::AnswerT& m, Context& ctx) {
    if (m.error.empty()) {
      add(state, m.amount, ctx);
    } else {
      state.log += m.error + " ";
    }
  }
  static void on(State& state, const fbs::PassT& m, Context& ctx) {
    state.total -= m.amount;
    fbs::AddT add_there;
    add_there.amount = m.amount;
    ctx.send<Counter>(m.to, add_there);
    ctx.reply("passed");
  }
  static void on(State& state, const fbs::FailT& m, Context&) {
    state.total = -1;  // The throw undoes it.
    throw std::runtime_error(m.why);
  }
  static void on(State&, const fbs::FillT& m, Context& ctx) {
    for (std::uint32_t i = 0; i < m.rows; ++i)
      ctx.put_row("fill/" + std::to_string(i), std::string(m.bytes, 'x'));
  }
  static void on(State&, const fbs::CloseT&, Context& ctx) {
    ctx.unindex("counter", ctx.self().key);
    ctx.finish();
  }
  static void on(State&, const fbs::DepartT&, Context& ctx) {
    ctx.unindex("counter", ctx.self().key);
    ctx.remove();
    ctx.reply("gone");
  }
};

}  // namespace muster::test
