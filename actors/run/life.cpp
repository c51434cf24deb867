// From creation to the queue, and every end.
#include "actors/run/life.hpp"

#include <algorithm>

#include "actors/fleet/fleet.hpp"
#include "actors/indexes.hpp"
#include "actors/repo/repo.hpp"
#include "actors/run/limits.hpp"
#include "actors/run/retry.hpp"

namespace muster::actors {

using fbs::FailureClass;
using fbs::RunState;

void Run::step(State& state, const Message& message, engine::Context& ctx) {
  RunLife life(state, ctx);
  std::visit([&](const auto& m) { life.on(m); }, message);
}

void RunLife::on(const fbs::CreateRunT& m) {
  if (!s_.fleet.empty()) return;  // made already: creating a run twice is creating it once
  s_.fleet = m.fleet;
  s_.repository = m.repository;
  s_.generation = m.generation;
  s_.wave = m.wave;
  s_.policy = std::make_unique<fbs::RunPolicyT>(m.policy ? *m.policy : fbs::RunPolicyT{});
  s_.pushed = m.branch_is_ours;
  s_.swarm = m.swarm;
  s_.created_unix_ms = now();
  s_.state = RunState::waiting;
  s_.waiting_for = "wave";
  for (const auto& message : m.messages)
    if (message) keep_message(*message);
  ctx_.put_row("create", engine::encode_table(m));
  ctx_.index(std::string(index::kRun), id(), m.fleet + "\n" + m.repository);
  wait_timer();
}

/// By way of its swarm's fleet a message has its number; a person's, to a fleet's run, gets the next one here.
void RunLife::on(const fbs::SteerRunT& m) {
  if (ctx_.sender().kind == Fleet::kName) {
    if (!s_.fleet.empty() && !is_end(s_.state)) keep_message(m);
    return;
  }
  if (s_.swarm)
    return ctx_.refuse(Errc::refused,
                       "run " + id() + " belongs to a swarm: muster swarm steer " + s_.fleet);
  if (is_end(s_.state))
    return ctx_.refuse(Errc::refused, "run " + id() + " has ended: " + to_string(s_.state));
  if (m.text.empty() || m.text.size() > limits::kMessageBytes)
    return ctx_.refuse(Errc::invalid, "a message has 1 to " + std::to_string(limits::kMessageBytes) +
                                          " bytes");
  fbs::SteerRunT said = m;
  said.number =
      static_cast<std::uint32_t>(ctx_.rows("message/", "message0", limits::kMessages).size());
  said.at_unix_ms = now();
  if (said.number >= limits::kMessages)
    return ctx_.refuse(Errc::overloaded, "run " + id() + " was told " +
                                             std::to_string(limits::kMessages) +
                                             " messages, and takes no more");
  ctx_.audit(m.by, "run.steer", one_line(m.text, limits::kLineBytes));
  keep_message(said);
  ctx_.reply("");
}

/// For the attempt at work, and for those to come: each is told all that was said before it begins.
void RunLife::keep_message(const fbs::SteerRunT& m) {
  if (m.number >= limits::kMessages) return;
  fbs::SteerRunT kept = m;
  kept.text = bounded(m.text, limits::kMessageBytes);
  kept.by = one_line(m.by, limits::kLineBytes);
  ctx_.put_row(run_message_key(m.number), engine::encode_table(kept));
  steer();
}

void RunLife::on(const fbs::ProceedT&) {
  if (!waiting_for("wave")) return;
  const fbs::CreateRunT create = created();
  s_.waiting_for = "repo";
  wait_timer();
  fbs::AcquireT acquire;
  acquire.run = id();
  acquire.fleet = s_.fleet;
  acquire.canonical_url = create.canonical_url;
  acquire.url = create.url;
  acquire.limit = s_.policy->runs_per_repo;
  ctx_.send<Repo>(s_.repository, acquire);
}

void RunLife::on(const fbs::RepoGrantedT&) {
  if (is_end(s_.state)) {  // granted while our Release was on its way; that one or this one frees the turn
    leave_repo();
    return;
  }
  if (!waiting_for("repo")) return;
  s_.repo_held = true;
  enqueue();
}

void RunLife::on(const fbs::RepoRefusedT& m) {
  if (!waiting_for("repo")) return;
  s_.class_ = FailureClass::policy;
  end(RunState::failed, reason_code(m.code, "repo_refused"), m.reason);
}

void RunLife::enqueue() {
  s_.queued_unix_ms = now();
  index_queued();
  enter(RunState::queued);
  wait_timer();
}

void RunLife::index_queued() {
  ctx_.index(std::string(index::kQueued), id(),
             engine::encode_table(queued_value(s_.attempt + 1, created())));
}

/// A failed attempt: another one after a pause, or the end.
void RunLife::attempt_over(const Verdict& verdict) {
  if (s_.cancelling) {
    end(RunState::cancelled, "cancelled", s_.message);
    return;
  }
  s_.class_ = verdict.cls;
  if (may_retry(verdict, *s_.policy, s_.attempt - s_.released)) {
    s_.reason = verdict.reason;
    s_.message = one_line(verdict.message, limits::kLineBytes);
    back_off();
  } else {
    s_.escalated = !s_.policy->escalate.empty();
    end(RunState::failed, verdict.reason, verdict.message);
  }
}

void RunLife::back_off() {
  fbs::BackoffOverT over;
  over.attempt = s_.attempt;
  ctx_.after<Run>("state", backoff(*s_.policy, id(), s_.attempt), over);
  enter(RunState::waiting, "backoff");
}

void RunLife::on(const fbs::BackoffOverT& m) {
  if (waiting_for("backoff") && m.attempt == s_.attempt) enqueue();
}

void RunLife::on(const fbs::CancelRunT& m) {
  if (s_.state == RunState::cancelled) return ctx_.reply("");
  if (is_end(s_.state))  // Nothing was decided: the audit log has the request alone.
    return ctx_.refuse(Errc::refused, "run " + id() + " has ended: " + to_string(s_.state));
  if (s_.state == RunState::delivering) {
    s_.cancelling = true;  // the push can't be taken back, but nothing is tried again
    ctx_.refuse(Errc::refused, "run " + id() + " is being delivered: too late to cancel");
  } else if (on_host()) {
    s_.message = one_line(m.reason, limits::kLineBytes);
    s_.cancelling = true;
    if (!s_.stopping) stop(wire::StopReason::cancelled);
    ctx_.reply("");
  } else {
    if (s_.state == RunState::queued) ctx_.unindex(std::string(index::kQueued), id());
    s_.class_ = FailureClass::none;
    end(RunState::cancelled, "cancelled", m.reason);
    ctx_.reply("");
  }
  if (!m.by.empty()) ctx_.audit(m.by, "run.cancel", one_line(m.reason, limits::kLineBytes));
}

/// Only what failed is superseded; anything else has its own way to an end.
void RunLife::on(const fbs::SupersedeT&) {
  if (s_.state != RunState::failed) return;
  s_.state = RunState::superseded;
  tell_fleet();
}

void RunLife::on(const fbs::StateTimeoutT& m) {
  if (m.state != s_.state || m.attempt != s_.attempt) return;
  if (held_up(m) && (on_host() || s_.state == RunState::delivering))
    return timer(Duration{m.delay_ms}, m.stage);
  if (on_host()) {
    if (m.stage == 0 && !s_.stopping) stop(wire::StopReason::timed_out);
    if (m.stage == 1) host_gone_silent();
  } else if (s_.state == RunState::delivering) {
    delivery_over({RunState::failed, FailureClass::delivery, "timed_out",
                   "the delivery took too long", Retry::by_policy});
  } else if (!is_end(s_.state)) {
    if (s_.state == RunState::queued) ctx_.unindex(std::string(index::kQueued), id());
    s_.class_ = FailureClass::none;
    end(RunState::cancelled, "deadline", "the fleet's time was over");
  }
}

/// The engine was away when this was due, or its clock jumped: so nobody could say a word to it, or had the time. The
/// host keeps the limits itself, and effects were handed out again: the backstop's whole time begins anew.
bool RunLife::held_up(const fbs::StateTimeoutT& m) const {
  return m.due_unix_ms != 0 && now() - m.due_unix_ms > limits::kHeldUp.count();
}

void RunLife::on(const fbs::EffectUnknownT& m) {
  if (m.attempt != s_.attempt) return;
  if (m.key.starts_with("start/")) {
    // Perhaps it was started: tell the host to stop it, and go on when it says so or stays silent.
    if (s_.state == RunState::provisioning && !s_.stopping && attempt_row().accepted_unix_ms == 0)
      stop(wire::StopReason::timed_out);
  } else if (m.key.starts_with("steer/")) {
    s_.steering = false;  // perhaps they are there: the host takes none twice
    steer();
  } else if (m.key.starts_with("push/") && delivering("push")) {
    if (++s_.effect_tries < limits::kPushTries) {
      push();
    } else {
      delivery_over({RunState::failed, FailureClass::delivery, "push_unknown",
                     "the push gave no answer", Retry::by_policy});
    }
  }
}

void RunLife::on(const fbs::ForgetRunT&) {
  if (!is_end(s_.state)) return;
  ctx_.unindex(std::string(index::kRun), id());
  ctx_.remove();
}

void RunLife::end(RunState state, std::string reason, std::string message) {
  s_.reason = std::move(reason);
  s_.message = one_line(message, limits::kLineBytes);
  s_.ended_unix_ms = now();
  const bool had_turn = s_.repo_held || waiting_for("repo");
  ctx_.cancel("state");
  enter(state);
  if (had_turn) leave_repo();
  ctx_.finish();
}

void RunLife::leave_repo() {
  s_.repo_held = false;
  fbs::ReleaseT release;
  release.run = id();
  ctx_.send<Repo>(s_.repository, release);
}

void RunLife::enter(RunState state, std::string waiting_for) {
  s_.waiting_for = std::move(waiting_for);
  s_.state = state;
  tell_fleet();
}

void RunLife::tell_fleet() {
  fbs::RunStatusT status;
  status.run = id();
  status.number = ++s_.status_number;
  status.state = s_.state;
  status.class_ = s_.class_;
  status.reason = s_.reason;
  status.message = s_.message;
  status.attempt = s_.attempt;
  status.host = s_.host;
  status.pull = s_.pull;
  status.escalated = s_.escalated;
  status.head_sha = s_.head_sha;
  status.at_unix_ms = now();
  status.pushed = s_.pushed;
  status.tokens = s_.tokens;
  status.cost_micros = s_.cost_micros;
  if (s_.swarm && is_end(s_.state)) tell_result(status);
  ctx_.send<Fleet>(s_.fleet, status);
}

/// What a swarm needs of a run that ended: on what it worked, and what was said last.
void RunLife::tell_result(fbs::RunStatusT& status) {
  status.base_sha = s_.base_sha;
  const auto bytes = ctx_.row(attempt_key(s_.attempt));
  if (!bytes) return;
  const auto last = must_decode<fbs::AttemptRowT>(*bytes);
  if (last.report && !last.report->steps.empty() && last.report->steps.back())
    status.output = bounded_tail(last.report->steps.back()->tail, limits::kFeedbackBytes);
  if (last.report) status.result = last.report->result_json;
  status.tried = s_.attempt - std::min(s_.released, s_.attempt);
}

void RunLife::timer(Duration delay, std::uint8_t stage) {
  fbs::StateTimeoutT timeout;
  timeout.state = s_.state;
  timeout.attempt = s_.attempt;
  timeout.stage = stage;
  timeout.due_unix_ms = now() + delay.count();
  timeout.delay_ms = delay.count();
  ctx_.after<Run>("state", delay, timeout);
}

/// Waiting ends with the fleet's time, which the fleet itself should have said before.
void RunLife::wait_timer() {
  const std::int64_t deadline = s_.policy->deadline_unix_ms;
  const Duration left = deadline == 0 ? limits::kLongestWait : Instant{deadline} - ctx_.now();
  timer(std::max(left, Duration{0}) + limits::kDeadlineMargin);
}

fbs::CreateRunT RunLife::created() {
  return must_decode<fbs::CreateRunT>(ctx_.row("create").value());
}

fbs::QueuedRunT RunLife::queued_value(std::uint32_t attempt, const fbs::CreateRunT& create) const {
  fbs::QueuedRunT value;
  value.run = id();
  value.attempt = attempt;
  value.fleet = s_.fleet;
  value.repository = s_.repository;
  value.canonical_url = create.canonical_url;
  value.priority = s_.policy->priority;
  value.queued_unix_ms = s_.queued_unix_ms;
  value.cpus_milli = s_.policy->cpus_milli;
  value.memory_bytes = s_.policy->memory_bytes;
  value.fleet_concurrency = s_.policy->concurrency;
  value.host = s_.host;
  value.moving = s_.moving;
  value.to = s_.move_to;
  value.bound = create.fork != nullptr;
  if (create.fork) value.to = create.fork->host;
  return value;
}

}  // namespace muster::actors
