// One attempt on a host: from placement to what its report means.
#include <cstdio>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "actors/host/host.hpp"
#include "actors/indexes.hpp"
#include "actors/run/life.hpp"
#include "actors/run/limits.hpp"
#include "actors/run/pull_text.hpp"
#include "actors/run/retry.hpp"
#include "actors/run/usage.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors {

using fbs::FailureClass;
using fbs::RunState;

std::string attempt_key(std::uint32_t attempt) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%04u", attempt);
  return std::string("attempt/") + digits;
}

std::string run_message_key(std::uint32_t number) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%06u", number);
  return std::string("message/") + digits;
}

namespace {

std::string sandbox_id(const std::string& run, std::uint32_t attempt) {
  return run + "-" + std::to_string(attempt);
}

/// Names what it must, and within the limits of a row.
bool is_sound(const wire::CheckpointT& checkpoint) {
  const auto is_commit = [](const std::string& text) {
    return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  };
  return is_commit(checkpoint.commit) && is_commit(checkpoint.base) &&
         is_sha256_hex(checkpoint.digest);
}

/// A report within the limits of a row, whatever the host sent.
void bound_report(wire::AttemptReportT& report) {
  report.summary = bounded(report.summary, limits::kSummaryBytes);
  if (report.result_json.size() > limits::kResultBytes) {
    report.result_json.clear();
    report.warnings.push_back("result.json ignored: it is too long");
  }
  report.reason = one_line(report.reason, limits::kLineBytes);
  report.message = one_line(report.message, limits::kLineBytes);
  report.resumed = one_line(report.resumed, limits::kLineBytes);
  if (report.checkpoint && !is_sound(*report.checkpoint)) report.checkpoint.reset();
  std::erase(report.other_bases, nullptr);
  if (report.other_bases.size() > limits::kOtherBases) report.other_bases.resize(limits::kOtherBases);
  for (const auto& base : report.other_bases) {
    base->key = one_line(base->key, limits::kLineBytes);
    base->value = one_line(base->value, limits::kLineBytes);
  }
  std::erase(report.steps, nullptr);
  if (report.steps.size() > limits::kSteps)  // the last one says how it ended
    report.steps.erase(report.steps.begin(),
                       report.steps.end() - static_cast<std::ptrdiff_t>(limits::kSteps));
  std::size_t left = limits::kTailsBytes;
  for (auto step = report.steps.rbegin(); step != report.steps.rend(); ++step) {
    wire::StepReportT& s = **step;
    s.name = one_line(s.name, limits::kLineBytes);
    s.reason = one_line(s.reason, limits::kLineBytes);
    s.tail = bounded_tail(s.tail, std::min(left, limits::kTailBytes));
    left -= std::min(left, s.tail.size());
  }
  if (report.warnings.size() > limits::kWarnings) report.warnings.resize(limits::kWarnings);
  for (std::string& warning : report.warnings) warning = one_line(warning, limits::kLineBytes);
}

}  // namespace

void RunLife::on(const fbs::PlacedT& m) {
  const bool ours = on_host() && m.host == s_.host && m.session == s_.session &&
                    m.generation == s_.epoch_generation && m.attempt == s_.attempt;
  if (ours) return;
  if (s_.state != RunState::queued || m.attempt != s_.attempt + 1) {
    fbs::FreeT free;
    free.run = id();
    free.attempt = m.attempt;
    ctx_.send<Host>(m.host, free);
    return;
  }
  const fbs::CreateRunT create = created();
  s_.attempt = m.attempt;
  s_.host = m.host;
  s_.session = m.session;
  s_.epoch_generation = m.generation;
  s_.stopping = false;
  stay();
  s_.effect_tries = 0;
  s_.steered = 0;
  s_.steering = false;
  s_.head_sha.clear();
  s_.base_sha.clear();
  s_.class_ = FailureClass::none;
  s_.reason.clear();
  s_.message.clear();
  if (s_.started_unix_ms == 0) s_.started_unix_ms = now();

  fbs::AttemptRowT row;
  row.attempt = s_.attempt;
  row.host = s_.host;
  row.session = s_.session;
  row.queued_unix_ms = s_.queued_unix_ms;
  row.placed_unix_ms = now();
  put_attempt(row);
  ctx_.unindex(std::string(index::kQueued), id());
  ctx_.index(std::string(index::kPlaced), id(),
             engine::encode_table(queued_value(s_.attempt, create)));
  start_effect(create);
  enter(RunState::provisioning);
  timer(limits::kProvisioning);
}

void RunLife::start_effect(const fbs::CreateRunT& create) {
  const std::int64_t allowed = s_.policy->attempt_timeout_ms;
  fbs::StartSandboxT start;
  start.host = s_.host;
  start.run = id();
  start.epoch = std::make_unique<wire::Epoch>(s_.epoch_generation, s_.attempt, s_.session);
  start.fleet = s_.fleet;
  start.repository = s_.repository;
  start.url = create.url;
  start.base_branch = create.base_branch;
  start.branch = s_.policy->branch;
  start.labels_json = create.labels_json;
  start.spec_digest = create.spec_digest;
  start.agent_bundle = create.agent_bundle;
  start.dry_run = s_.policy->dry_run;
  start.deadline_unix_ms =
      now() + (allowed > 0 ? allowed : limits::kDefaultAttempt.count()) +
      limits::kProvisioning.count();
  start.input_json = create.input_json;
  start.messages_json = messages_given();
  start.feedback_json = create.feedback_json;
  if (s_.attempt > 1)
    start.feedback_json =
        feedback_json(must_decode<fbs::AttemptRowT>(ctx_.row(attempt_key(s_.attempt - 1)).value()),
                      create.feedback_json);
  if (create.fork)
    start.snapshot = create.fork->snapshot;
  else
    start.checkpoint = last_checkpoint();
  const std::string key = "start/" + sandbox_id(id(), s_.attempt);
  ctx_.perform({"host", key, encode_effect(std::move(start)), limits::kStartEffect,
                unknown<Run>(key, s_.attempt)});
}

/// Where the next attempt begins: the newest of all earlier ones' checkpoints, if it shall begin with one.
std::unique_ptr<wire::CheckpointT> RunLife::last_checkpoint() {
  if (!s_.policy->resume) return nullptr;
  for (std::uint32_t attempt = s_.attempt; attempt-- > 1;) {
    const auto bytes = ctx_.row(attempt_key(attempt));
    if (!bytes) continue;
    auto row = must_decode<fbs::AttemptRowT>(*bytes);
    if (row.report && row.report->checkpoint) return std::move(row.report->checkpoint);
    if (row.checkpoint) return std::move(row.checkpoint);
    if (s_.attempt - attempt >= limits::kCheckpointsBack) break;
  }
  return nullptr;
}

/// What people said, the newest of it in the order in which they did; empty when nobody said anything.
/// What comes later goes to the sandbox by steer().
std::string RunLife::messages_given() {
  nlohmann::json all = nlohmann::json::array();
  for (const auto& [key, bytes] : ctx_.rows("message/", "message0", limits::kMessages)) {
    const auto said = must_decode<fbs::SteerRunT>(bytes);
    all.push_back({{"number", said.number},
                   {"by", said.by},
                   {"text", said.text},
                   {"at_unix_ms", said.at_unix_ms}});
    s_.steered = said.number + 1;
  }
  if (all.empty()) return {};
  if (all.size() > limits::kMessagesGiven)
    all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(limits::kMessagesGiven));
  return all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// To the sandbox at work, what it was not told yet: one order after the other, so that it comes as it was said.
void RunLife::steer() {
  if (!on_host() || s_.stopping || s_.steering) return;
  fbs::SteerSandboxT order;
  for (const auto& [key, bytes] :
       ctx_.rows(run_message_key(s_.steered), "message0", limits::kMessagesGiven)) {
    const auto said = must_decode<fbs::SteerRunT>(bytes);
    auto message = std::make_unique<wire::SteerMessageT>();
    message->number = said.number;
    message->by = said.by;
    message->text = said.text;
    message->at_unix_ms = said.at_unix_ms;
    order.messages.push_back(std::move(message));
  }
  if (order.messages.empty()) return;
  order.host = s_.host;
  order.run = id();
  order.epoch = std::make_unique<wire::Epoch>(s_.epoch_generation, s_.attempt, s_.session);
  const std::string key = "steer/" + sandbox_id(id(), s_.attempt) + "/" +
                          std::to_string(order.messages.front()->number);
  s_.steering = true;
  ctx_.perform({"host", key, encode_effect(std::move(order)), limits::kSteerEffect,
                unknown<Run>(key, s_.attempt)});
}

/// With an error this attempt hears no more of it, unless something new is said; the next one is given all.
void RunLife::on(const fbs::SteerDoneT& m) {
  if (m.attempt != s_.attempt || !s_.steering) return;
  s_.steering = false;
  if (!m.error.empty()) return;
  s_.steered = std::max(s_.steered, m.below);
  steer();
}

void RunLife::stop(wire::StopReason reason) {
  fbs::StopSandboxT request;
  request.host = s_.host;
  request.run = id();
  request.epoch = std::make_unique<wire::Epoch>(s_.epoch_generation, s_.attempt, s_.session);
  request.reason = reason;
  const std::string key = "stop/" + sandbox_id(id(), s_.attempt);
  ctx_.perform({"host", key, encode_effect(std::move(request)), limits::kStopEffect,
                unknown<Run>(key, s_.attempt)});
  s_.stopping = true;
  timer(limits::kStop, 1);
}

void RunLife::on(const fbs::StartDoneT& m) {
  if (m.error.empty() || m.attempt != s_.attempt || s_.state != RunState::provisioning) return;
  leave_host(true);
  judge({RunState::failed, FailureClass::infrastructure, "start_failed", m.error, Retry::by_policy});
}

/// Nothing: the report says when the sandbox is gone, or the timer that nobody will say it.
void RunLife::on(const fbs::StopDoneT&) {}

/// The host was told to stop and neither reported nor lost its lease.
void RunLife::host_gone_silent() {
  leave_host(true);
  judge({RunState::failed, FailureClass::infrastructure, "no_report",
         "the host gave no report of the attempt", Retry::by_policy});
}

void RunLife::on(const fbs::HostLostT& m) {
  if (!on_host() || m.host != s_.host || m.session != s_.session) return;
  leave_host(false);
  judge({RunState::failed, FailureClass::infrastructure, "host_lost",
         "the host was lost: " + s_.host, Retry::always});
}

void RunLife::on(const fbs::HostEventT& m) {
  if (!on_host() || !m.event || !m.epoch || m.host != s_.host) return;
  if (m.epoch->generation() != s_.epoch_generation || m.epoch->session() != s_.session ||
      m.epoch->attempt() != s_.attempt)
    return;  // fenced
  const Duration allowed = s_.policy->attempt_timeout_ms > 0 ? Duration(s_.policy->attempt_timeout_ms)
                                                             : limits::kDefaultAttempt;
  fbs::AttemptRowT row = attempt_row();
  switch (m.event->phase) {
    case wire::Phase::accepted:
      if (row.accepted_unix_ms == 0) row.accepted_unix_ms = now();
      put_attempt(row);
      break;
    case wire::Phase::running:
      if (s_.state != RunState::provisioning) break;
      row.running_unix_ms = now();
      put_attempt(row);
      enter(RunState::running);
      timer(s_.stopping ? limits::kStop : allowed + limits::kAttemptMargin, s_.stopping ? 1 : 0);
      break;
    case wire::Phase::verifying:
      if (s_.state == RunState::verifying) break;
      row.verifying_unix_ms = now();
      put_attempt(row);
      enter(RunState::verifying);
      timer(s_.stopping ? limits::kStop : allowed + limits::kAttemptMargin, s_.stopping ? 1 : 0);
      break;
    case wire::Phase::checkpointed:
      if (!m.event->checkpoint || !is_sound(*m.event->checkpoint)) break;
      row.checkpoint = std::make_unique<wire::CheckpointT>(*m.event->checkpoint);
      put_attempt(row);
      break;
    case wire::Phase::finished:
      finished(m);
      break;
    case wire::Phase::refused:
      leave_host(true);
      judge(classify_refused(m.event->reason));
      break;
  }
}

void RunLife::finished(const fbs::HostEventT& m) {
  wire::AttemptReportT report = m.event->report ? *m.event->report : wire::AttemptReportT{};
  if (!m.event->report) {
    report.outcome = wire::Outcome::failed;
    report.reason = "bad_report";
  }
  bound_report(report);
  const Usage used = usage_in(report.result_json);
  s_.tokens += used.tokens;
  s_.cost_micros += used.cost_micros;
  Verdict verdict = classify(report);
  if (verdict.state == RunState::cancelled && !s_.cancelling)  // our backstop or the host's own fence
    verdict = {RunState::failed, FailureClass::infrastructure, "stopped",
               "the attempt was stopped before its end", Retry::by_policy};
  if (verdict.state == RunState::delivering)
    for (std::string& warning : compose_pull(created(), report, id(), s_.attempt).warnings)
      report.warnings.push_back(std::move(warning));

  s_.head_sha = verdict.state == RunState::delivering ? report.head_sha : "";
  s_.base_sha = one_line(report.base_sha, 64);
  fbs::AttemptRowT row = attempt_row();
  row.finished_unix_ms = now();
  row.report = std::make_unique<wire::AttemptReportT>(std::move(report));
  put_attempt(row);
  leave_host(true);
  judge(verdict);
}

/// It is queued again once the attempt has ended, however that ends; only a commit that was made in
/// the meantime is delivered.
void RunLife::on(const fbs::ReleaseRunT& m) {
  const bool move = m.move || !m.to.empty();
  const std::string to = one_line(m.to, limits::kLineBytes);
  const bool waits_for_move = s_.state == RunState::queued && s_.moving;
  if (!on_host() && !waits_for_move)
    return ctx_.refuse(Errc::refused,
                       "run " + id() + " is " + to_string(s_.state) + ": it stands on no host");
  if (s_.cancelling) return ctx_.refuse(Errc::refused, "run " + id() + " is being cancelled");
  if (const fbs::CreateRunT create = created(); move && create.fork)
    return ctx_.refuse(Errc::refused, "run " + id() + " is a fork, and its snapshot lies on host " +
                                          create.fork->host + " only");
  if (s_.released >= limits::kMostReleased)
    return ctx_.refuse(Errc::refused, "run " + id() + " was released " +
                                          std::to_string(s_.released) + " times: cancel it");
  if (move && to == s_.host)
    return ctx_.refuse(Errc::refused, "run " + id() + " is on host " + to +
                                          (waits_for_move ? " no more: it is moved away" : " already"));
  ctx_.reply("");
  const bool said_already = s_.moving == move && s_.move_to == to;
  if ((s_.releasing || waits_for_move) && said_already) return;
  s_.moving = move;
  s_.move_to = to;
  const std::string where = to.empty() ? "" : "to " + to + ": ";
  ctx_.audit(m.by, move ? "run.move" : "run.release",
             one_line(where + m.reason, limits::kLineBytes));
  if (waits_for_move) return index_queued();  // Only where it goes is another.
  s_.releasing = true;
  s_.message = one_line(std::string(move ? "moved" : "released") + " by " + m.by +
                            (to.empty() ? "" : " to " + to) + ": " + m.reason,
                        limits::kLineBytes);
  if (!s_.stopping) stop(wire::StopReason::cancelled);
}

/// The attempt is over on the host; `verdict` says how.
void RunLife::judge(Verdict verdict) {
  const bool released =
      std::exchange(s_.releasing, false) && !s_.cancelling && verdict.state == RunState::failed;
  if (released)
    verdict = {RunState::failed, FailureClass::infrastructure, s_.moving ? "moved" : "released",
               s_.message, Retry::always};
  if (!released) stay();
  note(verdict);
  if (released) {
    ++s_.released;
    s_.message.clear();
    enqueue();
  } else if (verdict.state == RunState::failed) {
    attempt_over(verdict);
  } else if (s_.cancelling) {
    end(RunState::cancelled, "cancelled", s_.message);
  } else if (verdict.state != RunState::delivering) {
    end(verdict.state, verdict.reason, verdict.message);
  } else if (s_.policy->dry_run) {
    end(RunState::skipped, "dry_run", "");
  } else {
    deliver();
  }
}

/// Into the attempt's row.
void RunLife::note(const Verdict& verdict) {
  fbs::AttemptRowT row = attempt_row();
  row.class_ = verdict.cls;
  row.reason = verdict.reason;
  row.message = one_line(verdict.message, limits::kLineBytes);
  put_attempt(row);
}

/// Nobody moves it now: where the next attempt begins is the scheduler's choice again.
void RunLife::stay() {
  s_.moving = false;
  s_.move_to.clear();
}

void RunLife::leave_host(bool free_slot) {
  ctx_.unindex(std::string(index::kPlaced), id());
  s_.stopping = false;
  if (!free_slot) return;  // the host actor has taken it back already
  fbs::FreeT free;
  free.run = id();
  free.attempt = s_.attempt;
  ctx_.send<Host>(s_.host, free);
}

fbs::AttemptRowT RunLife::attempt_row() {
  return must_decode<fbs::AttemptRowT>(ctx_.row(attempt_key(s_.attempt)).value());
}

void RunLife::put_attempt(const fbs::AttemptRowT& row) {
  ctx_.put_row(attempt_key(row.attempt), engine::encode_table(row));
}

}  // namespace muster::actors
