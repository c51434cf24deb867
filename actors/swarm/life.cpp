// From creation to the end: the plan, what people ask, stopping, and what follows from a step.
#include "actors/swarm/life.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "actors/fleet/fleet.hpp"
#include "actors/indexes.hpp"

namespace muster::actors {

using fbs::FacetState;
using fbs::LineState;
using fbs::SwarmState;

namespace {

constexpr std::uint32_t kPlanPage = 100;
constexpr Duration kPlanEffect = std::chrono::minutes(1);
/// A pull request that nobody answers for holds up the end so long.
constexpr Duration kDelivering = std::chrono::hours(1);
/// Of a CreateSwarm, beside its lines' names.
constexpr std::size_t kMaxCreateSwarmBytes = 64u << 10;

std::string because(const std::string& what, const std::string& by, const std::string& reason) {
  std::string text = what;
  if (!by.empty()) text += " by " + by;
  if (!reason.empty()) text += ": " + reason;
  return one_line(text, swarm::kWhyBytes);
}

}  // namespace

void Swarm::step(State& state, const Message& message, engine::Context& ctx) {
  SwarmLife life(state, ctx);
  if (life.goes(message)) return;
  std::visit([&](const auto& m) { life.on(m); }, message);
  life.go_on();
}

void SwarmLife::on(const fbs::CreateSwarmT& m) {
  if (exists()) {
    if (s_.digest == m.digest) return ctx_.reply("continued");
    return ctx_.refuse(Errc::conflict, "swarm " + name() + " exists with another content (" +
                                           s_.digest.substr(0, 12) + ", not " +
                                           m.digest.substr(0, 12) + "): choose another name");
  }
  if (m.facets == 0 || m.lines.empty() || m.lines.size() > swarm::kMaxLines)
    return ctx_.refuse(Errc::invalid, "a swarm has facets, and 1 to " +
                                          std::to_string(swarm::kMaxLines) + " repositories");
  const std::string bytes = engine::encode_table(m);
  if (bytes.size() > kMaxCreateSwarmBytes)
    return ctx_.refuse(Errc::invalid, "the names and addresses of a swarm may take " +
                                          std::to_string(kMaxCreateSwarmBytes) + " bytes");
  s_.name = name();
  s_.digest = m.digest;
  s_.author = m.author;
  s_.title = one_line(m.title, swarm::kWhyBytes);
  s_.facets = m.facets;
  s_.counts.resize(static_cast<std::size_t>(FacetState::MAX) + 1);
  s_.lines = static_cast<std::uint32_t>(m.lines.size());
  s_.agents = std::clamp(m.agents, 1U, swarm::kMaxAgents);
  s_.conflicts = m.conflicts;
  s_.batch = std::clamp(m.batch, 1U, swarm::kMaxBatch);
  s_.stall_ms = std::max<std::int64_t>(m.stall_ms, 1);
  s_.timeout_ms = m.timeout_ms;
  s_.converge_answers = m.converge_answers;
  s_.converge_quorum = m.converge_quorum;
  s_.resolves = m.resolves;
  s_.most_evictions = m.most_evictions;
  s_.most_tokens = m.most_tokens;
  s_.most_cost_micros = m.most_cost_micros;
  s_.created_unix_ms = now();
  ctx_.put_row("create", bytes);
  ctx_.index(std::string(index::kSwarm), name(), "");
  ctx_.audit(m.author, "swarm.create", m.digest);

  fbs::CreateFleetT fleet;
  fleet.digest = m.digest;
  fleet.spec_digest = m.plan_digest;
  fleet.snapshot_digest = m.plan_digest;
  fleet.agent_bundle = m.agent_bundle;
  fleet.policy = std::make_unique<fbs::RunPolicyT>(policy());
  fleet.policy->cpus_milli = m.cpus_milli;
  fleet.policy->memory_bytes = m.memory_bytes;
  fleet.title = s_.title;
  fleet.author = m.author;
  fleet.swarm = name();
  ctx_.send<Fleet>(name(), fleet);
  for (std::uint32_t i = 0; i < s_.lines; ++i) {
    fbs::LineRowT& row = lines_[i];
    row.line = std::make_unique<fbs::SwarmLineT>(*m.lines[i]);
    start_line(i);
  }
  set_timers();
  if (m.converge_after_ms > 0) {
    s_.converge_at_unix_ms = now() + m.converge_after_ms;
    ctx_.after<Swarm>("converge", Duration(m.converge_after_ms), fbs::SwarmTickT{});
  }
  read_plan();
  ctx_.reply("created");
}

fbs::CreateSwarmT SwarmLife::created() {
  return must_decode<fbs::CreateSwarmT>(ctx_.row("create").value());
}

/// The whole time, and the time without progress, begin now.
void SwarmLife::set_timers() {
  s_.progress_unix_ms = now();
  s_.deadline_unix_ms = s_.timeout_ms > 0 ? now() + s_.timeout_ms : 0;
  ctx_.after<Swarm>("stall", Duration(s_.stall_ms), fbs::SwarmTickT{});
  if (s_.timeout_ms > 0) ctx_.after<Swarm>("deadline", Duration(s_.timeout_ms), fbs::SwarmTickT{});
}

void SwarmLife::progress() {
  s_.progress_unix_ms = now();
  const Duration quiet = s_.state == SwarmState::delivering ? kDelivering : Duration(s_.stall_ms);
  ctx_.after<Swarm>("stall", quiet, fbs::SwarmTickT{});
}

void SwarmLife::read_plan() {
  fbs::ReadPlanT read;
  read.digest = created().plan_digest;
  read.first = s_.loaded;
  read.count = std::min(kPlanPage, s_.facets - s_.loaded);
  const std::string key = "plan/" + name() + "/" + std::to_string(s_.loaded);
  ctx_.perform({"swarm", key, encode_effect(std::move(read)), kPlanEffect, unknown<Swarm>(key)});
}

void SwarmLife::on(const fbs::PlanPageT& m) {
  if (!exists() || ended() || s_.stopping || s_.loaded >= s_.facets || m.first != s_.loaded) return;
  if (!m.error.empty() || m.facets.empty())
    return stop("the plan can't be read: " + (m.error.empty() ? "it ends too early" : m.error));
  for (const auto& entry : m.facets) {
    if (!entry || s_.loaded >= s_.facets) break;
    const std::uint32_t number = s_.loaded++;
    ctx_.put_row(swarm::numbered("plan/", number), engine::encode_table(*entry));
    fbs::FacetRowT row;
    row.id = entry->id;
    row.line = entry->line;
    row.planner = entry->planner;
    row.open_needs = static_cast<std::uint32_t>(entry->needs.size());
    ++s_.counts[static_cast<std::size_t>(FacetState::waiting)];
    move(number, row, FacetState::waiting);
  }
  if (s_.loaded < s_.facets) read_plan();
}

void SwarmLife::on(const fbs::FleetTakenT&) {
  if (exists() && !ended())
    stop("a fleet is called " + name() + " already: choose another name for the swarm");
}

bool SwarmLife::gone() {
  if (!exists()) ctx_.refuse(Errc::not_found, "no swarm " + name());
  return !exists();
}

void SwarmLife::on(const fbs::CancelSwarmT& m) {
  if (gone()) return;
  if (ended() && s_.state != SwarmState::cancelled)
    return ctx_.refuse(Errc::refused, "swarm " + name() + " has ended: " +
                                          std::string(fbs::EnumNameSwarmState(s_.state)));
  if (s_.state == SwarmState::delivering)
    return ctx_.refuse(Errc::refused,
                       "swarm " + name() + " is being delivered: too late to cancel");
  ctx_.reply("");
  if (ended() || s_.stopping) return;
  ctx_.audit(m.by, "swarm.cancel", one_line(m.reason, swarm::kWhyBytes));
  s_.cancelled = true;
  stop(because("cancelled", m.by, m.reason));
}

/// True, with a refusal, when nothing is left to hold or to drain.
bool SwarmLife::too_late() {
  if (gone()) return true;
  const bool late = ended() || s_.stopping || s_.state == SwarmState::delivering;
  if (late) ctx_.refuse(Errc::refused, "swarm " + name() + " has ended, or is about to");
  return late;
}

void SwarmLife::on(const fbs::PauseSwarmT& m) {
  if (too_late()) return;
  ctx_.reply("");
  if (!s_.paused.empty()) return;
  ctx_.audit(m.by, "swarm.pause", one_line(m.reason, swarm::kWhyBytes));
  s_.paused = because("paused", m.by, m.reason);
  fbs::PauseFleetT pause;
  pause.reason = "its swarm is " + s_.paused;
  ctx_.send<Fleet>(name(), pause);
}

void SwarmLife::on(const fbs::ResumeSwarmT& m) {
  if (too_late()) return;
  ctx_.reply("");
  if (s_.paused.empty()) return;
  ctx_.audit(m.by, "swarm.resume", one_line(m.reason, swarm::kWhyBytes));
  resume();
}

/// A pause is no stall: the time without progress begins anew.
void SwarmLife::resume() {
  if (s_.paused.empty()) return;
  s_.paused.clear();
  ctx_.send<Fleet>(name(), fbs::ResumeFleetT{});
  progress();
}

void SwarmLife::on(const fbs::DrainSwarmT& m) {
  if (too_late()) return;
  ctx_.reply("");
  if (!s_.draining.empty()) return;
  ctx_.audit(m.by, "swarm.drain", one_line(m.reason, swarm::kWhyBytes));
  s_.draining = because("drained", m.by, m.reason);
  resume();
}

/// No facet is under way, and some never began. A planner that only waits for its parts is not
/// under way.
bool SwarmLife::drained() const {
  return !s_.draining.empty() && s_.state == SwarmState::running && in(FacetState::waiting) > 0 &&
         in(FacetState::working) + in(FacetState::handed_in) + in(FacetState::trying) == s_.owners;
}

/// What was rejected waits again, with all its tries before it; and now all of it is wanted.
void SwarmLife::on(const fbs::RetrySwarmT& m) {
  if (gone()) return;
  if (!ended())
    return ctx_.refuse(Errc::refused, "swarm " + name() + " has not ended: nothing to retry yet");
  if (in(FacetState::rejected) == 0 && s_.loaded == s_.facets && s_.reduce_error.empty())
    return ctx_.refuse(Errc::refused, "no facet of swarm " + name() + " was rejected");
  ctx_.audit(m.by, "swarm.retry", one_line(m.reason, swarm::kWhyBytes));
  s_.state = SwarmState::pending;
  s_.reason.clear();
  s_.stopping = s_.cancelled = s_.converged = s_.reduced = false;
  s_.converge_answers = s_.converge_quorum = 0;
  s_.converge_at_unix_ms = 0;
  s_.reduce_run.clear();
  s_.reduce_error.clear();
  ctx_.erase_row(std::string(swarm::kReduced));
  s_.adopting = 0;  // what was being adopted is planned again
  ++s_.adoptions;
  if (!s_.paused.empty()) ctx_.send<Fleet>(name(), fbs::ResumeFleetT{});
  s_.paused.clear();
  s_.draining.clear();
  s_.retrying = true;
  s_.retry_from = 0;
  s_.ended_unix_ms = 0;
  set_timers();
  for (std::uint32_t i = 0; i < s_.lines; ++i) {
    fbs::LineRowT& row = line(i);
    row.pull_asked = false;
    row.pull_error.clear();
    touched_.insert(i);
    if (row.green.empty() && row.state != LineState::starting) start_line(i);
  }
  if (s_.loaded < s_.facets) read_plan();
  ctx_.reply("");
}

void SwarmLife::on(const fbs::SwarmTickT&) {
  if (!exists() || ended()) return;
  if (s_.state == SwarmState::delivering) {
    if (now() - s_.progress_unix_ms < kDelivering.count())
      return ctx_.after<Swarm>("stall", kDelivering, fbs::SwarmTickT{});
    s_.reason = "the pull requests were not opened in time";
    return end(SwarmState::stopped);
  }
  if (s_.converge_at_unix_ms != 0 && now() >= s_.converge_at_unix_ms)
    enough_ = "its time to converge has come";
  const std::int64_t idle = now() - s_.progress_unix_ms;
  if (s_.deadline_unix_ms != 0 && now() >= s_.deadline_unix_ms)
    return stop("timed out after " + muster::to_string(Duration(s_.timeout_ms)));
  if (idle >= s_.stall_ms && s_.paused.empty())
    return stop("nothing was integrated for " + muster::to_string(Duration(s_.stall_ms)));
  const std::int64_t left = s_.paused.empty() ? s_.stall_ms - idle : s_.stall_ms;
  ctx_.after<Swarm>("stall", Duration(left), fbs::SwarmTickT{});
}

void SwarmLife::on(const fbs::EffectUnknownT& m) {
  if (!exists() || ended()) return;
  if (m.key.starts_with("plan/")) {
    if (!s_.stopping && s_.loaded < s_.facets) read_plan();  // reading twice is reading once
    return;
  }
  if (m.key.starts_with("adopt/")) {
    if (!s_.stopping && m.key.ends_with("/" + std::to_string(s_.adoptions))) {
      s_.adopting = 0;
      adopt_next();
    }
    return;
  }
  if (m.key.starts_with("candidates/")) {
    const auto bytes = ctx_.row("run/" + m.key.substr(m.key.rfind('/') + 1));
    if (bytes && !s_.stopping) ask_judge_of(must_decode<fbs::RunUseT>(*bytes).facet);
    return;
  }
  for (std::uint32_t i = 0; i < s_.lines; ++i) {
    const fbs::LineRowT& row = line(i);
    const std::string number = std::to_string(row.number);
    const bool ours =
        (row.state == LineState::starting && m.key == line_key(i, "start")) ||
        (row.state == LineState::merging && m.key == line_key(i, "merge/" + number)) ||
        (row.state == LineState::moving && m.key == line_key(i, "green/" + number));
    if (ours) return try_again(i, "git gave no answer");
  }
}

void SwarmLife::on(const fbs::ContinueSwarmT&) {
  s_.continuing = false;
}

/// Ends all work. A move of green that is under way is waited for: git may have done it already.
void SwarmLife::stop(const std::string& why) {
  if (s_.stopping || ended()) return;
  s_.stopping = true;
  s_.paused.clear();
  s_.draining.clear();
  s_.stop_from = 0;
  s_.retrying = false;
  s_.reason = one_line(why, swarm::kWhyBytes);
  release_lines();
  fbs::CancelFleetT cancel;
  cancel.reason = "its swarm ends: " + s_.reason;
  ctx_.send<Fleet>(name(), cancel);
}

bool SwarmLife::everything_over() {
  const std::uint32_t over =
      in(FacetState::merged) + in(FacetState::unchanged) + in(FacetState::rejected);
  if (over != s_.loaded || (s_.loaded != s_.facets && !s_.stopping) || s_.retrying) return false;
  if (s_.lines_starting != 0) return false;
  for (std::uint32_t i = 0; i < s_.lines; ++i)
    if (line(i).state != LineState::idle) return false;
  return true;
}

/// A limit of the whole swarm that was passed, in words.
std::string SwarmLife::limit_passed() {
  if (s_.most_evictions != 0 && s_.evictions > s_.most_evictions)
    return "more than " + std::to_string(s_.most_evictions) + " times facets were sent back";
  if (s_.most_tokens != 0 && s_.tokens > s_.most_tokens)
    return "its runs say that they used " + std::to_string(s_.tokens) + " tokens, and " +
           std::to_string(s_.most_tokens) + " are allowed";
  if (s_.most_cost_micros != 0 && s_.cost_micros > s_.most_cost_micros)
    return "its runs say that they cost more than the " +
           std::to_string(s_.most_cost_micros / 1'000'000) + "." +
           std::to_string(s_.most_cost_micros / 10'000 % 100 + 100).substr(1) +
           " dollars that are allowed";
  return {};
}

void SwarmLife::go_on() {
  if (!exists()) return;
  if (!ended() && s_.state != SwarmState::delivering) {
    if (!enough_.empty()) converge(enough_);
    if (!s_.stopping)
      if (const std::string passed = limit_passed(); !passed.empty()) stop(passed);
    if (drained()) stop(std::string(s_.draining));
    if (s_.stopping) stop_page();
    if (s_.retrying) retry_page();
    tell_dependents();
    settle_planners();
    tell_runs();
    const bool ready = s_.loaded == s_.facets && s_.lines_starting == 0;
    if (s_.state == SwarmState::pending && ready && !s_.stopping) {
      s_.state = SwarmState::running;
      if (s_.started_unix_ms == 0) s_.started_unix_ms = now();
    }
    if (s_.state == SwarmState::running && !s_.stopping) {
      for (const std::uint32_t number : std::set<std::uint32_t>(hungry_)) feed(number);
      if (s_.paused.empty() && s_.draining.empty()) give_work();
    }
    if (everything_over() && !reducing()) deliver();
  }
  save_lines();
  if (more_ && !s_.continuing) {
    s_.continuing = true;
    ctx_.send<Swarm>(name(), fbs::ContinueSwarmT{});
  }
}

void SwarmLife::end(SwarmState state) {
  s_.state = state;
  s_.stopping = s_.retrying = false;
  s_.ended_unix_ms = now();
  s_.pulls_asked = 0;
  ctx_.cancel("stall");
  ctx_.cancel("deadline");
  if (s_.converge_at_unix_ms != 0) ctx_.cancel("converge");
  ctx_.send<Fleet>(name(), fbs::CloseFleetT{});
}

}  // namespace muster::actors
