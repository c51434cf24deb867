// The fleet of a swarm: its runs come one by one, and their ends go to the swarm.
#include "actors/fleet/life.hpp"
#include "actors/run/run.hpp"
#include "actors/swarm/swarm.hpp"

namespace muster::actors {

using fbs::FleetState;
using fbs::RunState;

/// One wave that is open from the beginning, and no repository but those of the runs to come.
void FleetLife::begin_for_swarm() {
  s_.wave = 1;
  s_.state = FleetState::running;
  s_.started_unix_ms = ctx_.now().unix_ms;
}

void FleetLife::on(const fbs::AddRunT& m) {
  if (!exists() || !of_swarm() || !m.create) return;
  const std::string key = std::string(fleet::kRowPrefix) + m.run;
  if (ctx_.row(key)) return;
  if (ended() || s_.cancelling) {
    s_.state = FleetState::running;
    s_.cancelling = false;
    s_.reason.clear();
    s_.ended_unix_ms = 0;
    release();
  }
  s_.closed = false;
  fbs::RunRowT row;
  row.run = m.run;
  row.repository = m.create->repository;
  row.url = m.create->url;
  row.canonical_url = m.create->canonical_url;
  row.base_branch = m.create->base_branch;
  row.labels_json = m.create->labels_json;
  row.cancels = s_.cancels;
  row.created_unix_ms = row.changed_unix_ms = ctx_.now().unix_ms;
  fleet::count(s_, row, 1);
  s_.total = s_.created;
  ctx_.put_row(key, engine::encode_table(row));
  ctx_.send<Run>(m.run, *m.create);
  proceed(m.run);
}

void FleetLife::on(const fbs::CloseFleetT&) {
  if (!exists() || !of_swarm()) return;
  s_.closed = true;
  settle();
}

void FleetLife::on(const fbs::TellRunT& m) {
  if (!exists() || !of_swarm() || !m.message) return;
  const auto row = ctx_.row(std::string(fleet::kRowPrefix) + m.run);
  if (row && !is_end(must_decode<fbs::RunRowT>(*row).state)) ctx_.send<Run>(m.run, *m.message);
}

void FleetLife::tell_swarm(const fbs::RunStatusT& m) {
  fbs::SwarmRunEndedT ended;
  ended.run = m.run;
  ended.state = m.state;
  ended.class_ = m.class_;
  ended.reason = m.reason;
  ended.message = m.message;
  ended.head_sha = m.head_sha;
  ended.base_sha = m.base_sha;
  ended.output = m.output;
  ended.result = m.result;
  ended.tokens = m.tokens;
  ended.cost_micros = m.cost_micros;
  ended.attempts = m.tried;
  ctx_.send<Swarm>(s_.swarm, ended);
}

/// True, with a refusal, when somebody else than its swarm asks that of a swarm's fleet.
bool FleetLife::only_for_swarm(const char* what) {
  if (!of_swarm() || ctx_.sender().kind == Swarm::kName) return false;
  ctx_.refuse(Errc::refused,
              "fleet " + name() + " belongs to a swarm: muster swarm " + what + " " + name());
  return true;
}

}  // namespace muster::actors
