// From creation to the end: rows, waves, halting.
#include "actors/fleet/life.hpp"

#include <algorithm>
#include <numeric>

#include "actors/indexes.hpp"
#include "actors/swarm/swarm.hpp"

namespace muster::actors {

using fbs::FleetState;
using fbs::RunState;

void Fleet::step(State& state, const Message& message, engine::Context& ctx) {
  FleetLife life(state, ctx);
  std::visit([&](const auto& m) { life.on(m); }, message);
}

void FleetLife::on(const fbs::CreateFleetT& m) {
  if (exists()) {
    if (s_.forgetting)
      return ctx_.refuse(Errc::conflict,
                         "the old fleet " + name() + " is being removed: try again in a moment");
    if (s_.digest == m.digest) return ctx_.reply("continued");
    if (!m.swarm.empty()) ctx_.send<Swarm>(m.swarm, fbs::FleetTakenT{});
    return ctx_.refuse(Errc::conflict, "fleet " + name() + " exists with another content (" +
                                           s_.digest.substr(0, 12) + ", not " +
                                           m.digest.substr(0, 12) + "): choose another name");
  }
  if (m.swarm.empty() && (m.repositories == 0 || m.repositories > fleet::kMaxRepositories))
    return ctx_.refuse(Errc::invalid, "a fleet has 1 to " +
                                          std::to_string(fleet::kMaxRepositories) +
                                          " repositories, not " + std::to_string(m.repositories));
  const std::string bytes = engine::encode_table(m);
  if (bytes.size() > fleet::kMaxCreateBytes)
    return ctx_.refuse(Errc::invalid, "title, body and names of a fleet may take " +
                                          std::to_string(fleet::kMaxCreateBytes) + " bytes");
  if (m.policy && m.policy->escalate.size() > fleet::kMaxEscalate)
    return ctx_.refuse(Errc::invalid, "a fleet may escalate to " +
                                          std::to_string(fleet::kMaxEscalate) + " people");
  s_.name = name();
  s_.digest = m.digest;
  s_.author = m.author;
  s_.total = m.repositories;
  s_.wave_limits = fleet::wave_limits(m, m.repositories);
  s_.waves = static_cast<std::uint32_t>(s_.wave_limits.size());
  s_.created_unix_ms = ctx_.now().unix_ms;
  s_.policy = std::make_unique<fbs::RunPolicyT>(m.policy ? *m.policy : fbs::RunPolicyT{});
  s_.dry_run = s_.policy->dry_run;
  s_.timeout_ms = m.timeout_ms;
  s_.halt_permille = m.halt_permille;
  s_.halt_min_runs = m.halt_min_runs;
  const fbs::FleetHeadT zero = fleet::recount({}, s_.waves);
  s_.counts = zero.counts;
  s_.failed_by_class = zero.failed_by_class;
  s_.wave_rows = zero.wave_rows;
  s_.wave_ended = zero.wave_ended;
  set_deadline();
  ctx_.put_row("create", bytes);
  ctx_.index(std::string(index::kFleet), name(), "");
  ctx_.audit(m.author, "fleet.create", m.digest);
  s_.swarm = m.swarm;
  if (of_swarm())
    begin_for_swarm();
  else
    read_snapshot();
  ctx_.reply("created");
}

void FleetLife::set_deadline() {
  if (s_.timeout_ms <= 0) return;
  s_.policy->deadline_unix_ms = ctx_.now().unix_ms + s_.timeout_ms;
  ctx_.after<Fleet>("deadline", Duration(s_.timeout_ms), fbs::FleetTimeoutT{});
}

void FleetLife::on(const fbs::RunStatusT& m) {
  const std::string key = std::string(fleet::kRowPrefix) + m.run;
  const auto bytes = ctx_.row(key);
  if (!bytes) return;
  auto row = must_decode<fbs::RunRowT>(*bytes);
  if (m.number <= row.number) return;  // stale
  const RunState before = row.state;
  fleet::count(s_, row, -1);
  row.number = m.number;
  row.state = m.state;
  row.class_ = m.class_;
  row.reason = m.reason;
  row.message = m.message;
  row.attempt = m.attempt;
  row.host = m.host;
  row.pull = m.pull;
  row.escalated = m.escalated;
  row.head_sha = m.head_sha;
  row.pushed = m.pushed;
  row.tokens = m.tokens;
  row.cost_micros = m.cost_micros;
  row.changed_unix_ms = m.at_unix_ms;
  if (m.state == RunState::provisioning && row.started_unix_ms == 0)
    row.started_unix_ms = m.at_unix_ms;
  if (is_end(m.state) && !is_end(before)) row.ended_unix_ms = m.at_unix_ms;
  fleet::count(s_, row, 1);
  ctx_.put_row(key, engine::encode_table(row));
  // What an operator accepted can't be more than what there is: a superseded failure is none any more.
  s_.halt_base_failed = std::min(s_.halt_base_failed, in(RunState::failed));
  s_.halt_base_ended = std::min(s_.halt_base_ended, fleet::ended_for_halt(s_));
  if (is_end(m.state) && !is_end(before) && of_swarm()) tell_swarm(m);
  if (is_end(m.state)) settle();
}

/// What follows from the counters: the end, a halt, or the next wave.
void FleetLife::settle() {
  if (!exists() || ended()) return;
  if (everything_ended()) {
    complete();
  } else if (!s_.cancelling && (s_.state == FleetState::running || s_.state == FleetState::pending)) {
    if (fails_too_much()) {
      const std::uint32_t ended = fleet::ended_for_halt(s_) - s_.halt_base_ended;
      halt(std::to_string(in(RunState::failed) - s_.halt_base_failed) + " of " +
           std::to_string(ended) + " runs failed; the limit is " +
           std::to_string(s_.halt_permille / 10) + "%");
    } else {
      open_waves();
    }
  }
}

bool FleetLife::everything_ended() const {
  if (of_swarm() && !s_.closed && !s_.cancelling) return false;
  const auto rows = std::accumulate(s_.counts.begin(), s_.counts.end(), 0U);
  const auto first_end = s_.counts.begin() + static_cast<std::ptrdiff_t>(RunState::delivered);
  return all_made() && std::accumulate(first_end, s_.counts.end(), 0U) == rows;
}

void FleetLife::complete() {
  if (s_.cancelling) {
    s_.state = FleetState::cancelled;
  } else {
    const bool trouble = in(RunState::failed) + in(RunState::cancelled) > 0;
    s_.state = trouble ? FleetState::completed_with_failures : FleetState::completed;
    s_.reason.clear();
  }
  s_.ended_unix_ms = ctx_.now().unix_ms;
  ctx_.cancel("deadline");
  release();
}

bool FleetLife::fails_too_much() const {
  if (s_.halt_permille == 0 || s_.state != FleetState::running) return false;
  const std::uint64_t ended = fleet::ended_for_halt(s_) - s_.halt_base_ended;
  const std::uint64_t failed = in(RunState::failed) - s_.halt_base_failed;
  return ended >= std::max(1U, s_.halt_min_runs) && failed * 1000 >= s_.halt_permille * ended;
}

void FleetLife::halt(std::string why) { hold(FleetState::halted, std::move(why)); }

/// The next wave opens when all runs of the open ones ended.
void FleetLife::open_waves() {
  const auto open_ones_ended = [&] {
    const auto open = static_cast<std::ptrdiff_t>(s_.wave);
    return std::equal(s_.wave_ended.begin(), s_.wave_ended.begin() + open, s_.wave_rows.begin());
  };
  while (all_made() && s_.wave < s_.waves && open_ones_ended()) {
    fbs::NextPageT first;
    first.what = fbs::FanOut::open_wave;
    first.wave = s_.wave++;
    if (s_.started_unix_ms == 0) s_.started_unix_ms = ctx_.now().unix_ms;
    s_.state = FleetState::running;
    page(first);
  }
}

void FleetLife::hold(FleetState state, std::string why) {
  s_.state = state;
  s_.reason = one_line(why, 500);
  ctx_.index(std::string(index::kFleetHeld), name(), s_.reason);
}

void FleetLife::release() { ctx_.unindex(std::string(index::kFleetHeld), name()); }

/// Every run that has not ended is told; the fleet is `cancelled` once they all have.
void FleetLife::cancel(std::string why) {
  s_.cancelling = true;
  s_.snapshot_next = s_.wave_limits.back();  // no further runs are made
  s_.total = s_.created;
  hold(s_.state, std::move(why));
  fbs::NextPageT first;
  first.what = fbs::FanOut::cancel;
  first.cancels = ++s_.cancels;
  page(first);
  settle();
}

void FleetLife::on(const fbs::FleetTimeoutT&) {
  if (!exists() || ended() || s_.cancelling) return;
  if (ctx_.now().unix_ms < s_.policy->deadline_unix_ms) return;  // an older deadline's
  cancel("timed out after " + muster::to_string(Duration(s_.timeout_ms)));
}

void FleetLife::on(const fbs::EffectUnknownT&) {
  if (exists() && !ended() && !all_made()) read_snapshot();  // reading twice is reading once
}

fbs::CreateFleetT FleetLife::created() {
  return must_decode<fbs::CreateFleetT>(ctx_.row("create").value());
}

}  // namespace muster::actors
