// The kind of the ledger workload. Its rows are the evidence: each may be written once.
#pragma once

#include <stdexcept>

#include "engine/core/kind.hpp"
#include "tests/simulation/ledger_generated.h"

namespace muster::sim {

struct Account {
  static constexpr std::string_view kName = "account";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::AccountHeadT;
  using Messages =
      engine::MessageSet<fbs::AccountBodyUnionTraits, fbs::OpenT, fbs::TransferT, fbs::DepositT,
                         fbs::DueT, fbs::AnsweredT, fbs::NoteT>;
  using Message = Messages::Variant;

  static bool creates(const Message& m) { return std::holds_alternative<fbs::OpenT>(m); }

  static void step(State& state, const Message& message, engine::Context& ctx) {
    std::visit([&](const auto& m) { on(state, m, ctx); }, message);
  }

 private:
  using Context = engine::Context;

  /// Marks that something happened; a second time is wrong.
  static void once(State& state, Context& ctx, const std::string& row) {
    if (ctx.row(row)) state.wrong += ctx.self().key + ": " + row + " twice; ";
    ctx.put_row(row, "1");
  }

  static std::uint64_t number(Context& ctx, const std::string& row) {
    const auto value = ctx.row(row);
    return value ? std::stoull(*value) : 0;
  }

  /// Numbers of one sender come one after the other.
  static void in_order(State& state, Context& ctx, const std::string& row, std::uint64_t got) {
    const std::uint64_t expected = number(ctx, row) + 1;
    if (got != expected)
      state.wrong += ctx.self().key + ": " + row + " number " + std::to_string(got) +
                     " instead of " + std::to_string(expected) + "; ";
    ctx.put_row(row, std::to_string(got));
  }

  static void on(State& state, const fbs::OpenT& m, Context& ctx) {
    once(state, ctx, "open");
    state.balance = m.balance;
    ctx.index("account", ctx.self().key, std::to_string(state.balance));
    ctx.reply("opened");
  }

  static void on(State& state, const fbs::TransferT& m, Context& ctx) {
    if (m.amount > state.balance) {
      ctx.refuse(Errc::refused, "not enough");
      return;
    }
    const std::string id = std::to_string(m.id);
    once(state, ctx, "out/" + id);
    state.balance -= m.amount;
    ++state.paid;
    if (m.poison) throw std::runtime_error("poison");

    fbs::DepositT deposit;
    deposit.id = m.id;
    deposit.amount = m.amount;
    deposit.number = number(ctx, "to/" + m.to) + 1;
    ctx.put_row("to/" + m.to, std::to_string(deposit.number));
    ctx.send<Account>(m.to, deposit);
    if (m.timer_ms > 0) {
      ++state.timers_set;
      fbs::DueT due;
      due.id = m.id;
      ctx.after<Account>("due/" + id, Duration{m.timer_ms}, due);
    }
    if (m.ask) {
      ++state.asked;
      fbs::AnsweredT unknown;
      unknown.id = m.id;
      unknown.unknown = true;
      ctx.perform({"bank", "ask/" + id, ctx.self().key, Duration{20'000},
                   Messages::encode(unknown)});
    }
    ctx.index("account", ctx.self().key, std::to_string(state.balance));
    ctx.audit("client", "transfer", id);
    ctx.reply("paid " + id);
  }

  static void on(State& state, const fbs::DepositT& m, Context& ctx) {
    once(state, ctx, "in/" + std::to_string(m.id));
    in_order(state, ctx, "from/" + ctx.sender().key, m.number);
    state.balance += m.amount;
    ++state.received;
    ctx.index("account", ctx.self().key, std::to_string(state.balance));
  }

  static void on(State& state, const fbs::DueT& m, Context& ctx) {
    once(state, ctx, "due/" + std::to_string(m.id));
    ++state.timers_fired;
  }

  static void on(State& state, const fbs::AnsweredT& m, Context& ctx) {
    once(state, ctx, "ask/" + std::to_string(m.id));
    ++state.answered;
  }

  static void on(State& state, const fbs::NoteT& m, Context& ctx) {
    in_order(state, ctx, "note/" + m.channel, m.number);
    ++state.notes;
  }
};

}  // namespace muster::sim
