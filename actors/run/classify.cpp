#include "actors/run/classify.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "actors/common.hpp"
#include "actors/run/limits.hpp"

namespace muster::actors {

namespace {

using fbs::FailureClass;
using fbs::RunState;

constexpr int kExitTemporary = 75;
constexpr int kExitDoesNotApply = 77;
constexpr int kExitNeverRetry = 78;

Verdict failed(FailureClass cls, std::string reason, std::string message,
               Retry retry = Retry::by_policy) {
  return {RunState::failed, cls, std::move(reason), std::move(message), retry};
}

template <std::size_t N>
bool one_of(std::string_view text, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

bool is_limit(std::string_view reason) {
  return one_of(reason, std::array<std::string_view, 5>{"timed_out", "idle", "out_of_memory",
                                                        "disk_full", "log_limit"});
}

bool is_forbidden(std::string_view reason) {
  return one_of(reason, std::array<std::string_view, 4>{"bad_pack", "pack_too_large", "not_allowed",
                                                        "bad_spec"});
}

bool is_verification(const wire::StepReportT& step) { return step.name.starts_with("verify:"); }
bool is_setup(const wire::StepReportT& step) { return step.name.starts_with("setup"); }

/// A Git object id: SHA-1 or SHA-256, lower-case hexadecimal.
bool is_object_id(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// "verify:tests exited with 1", "agent timed out".
std::string how_it_ended(const wire::StepReportT& step) {
  const std::string name = one_line(step.name, 80);
  if (step.reason == "timed_out") return name + " took too long";
  if (step.reason == "idle") return name + " gave no output for too long";
  if (step.reason == "out_of_memory") return name + " ran out of memory";
  if (step.reason == "disk_full") return name + " filled its disk";
  if (step.reason == "log_limit") return name + " printed more than its log may hold";
  if (step.signal != 0) return name + " was killed by signal " + std::to_string(step.signal);
  return name + " exited with " + std::to_string(step.exit_code);
}

/// The agent's own word why it does not apply, from result.json.
std::string stated_reason(const wire::AttemptReportT& report) {
  const auto result = nlohmann::json::parse(report.result_json, nullptr, false);
  if (!result.is_object()) return {};
  const auto reason = result.find("reason");
  if (reason == result.end() || !reason->is_string()) return {};
  return one_line(reason->get<std::string>(), limits::kLineBytes);
}

Verdict of_agent(const wire::AttemptReportT& report, const wire::StepReportT& step) {
  if (is_limit(step.reason)) return failed(FailureClass::agent, step.reason, how_it_ended(step));
  if (step.signal != 0) return failed(FailureClass::agent, "signal", how_it_ended(step));
  switch (step.exit_code) {
    case kExitTemporary:
      return failed(FailureClass::infrastructure, "temporary", "the agent reported temporary trouble");
    case kExitDoesNotApply:
      return {RunState::skipped, FailureClass::none, "does_not_apply", stated_reason(report),
              Retry::never};
    case kExitNeverRetry: {
      const std::string why = stated_reason(report);
      return failed(FailureClass::agent, "gave_up", why.empty() ? "the agent gave up" : why,
                    Retry::never);
    }
    default:
      return failed(FailureClass::agent, "exit_code", how_it_ended(step));
  }
}

Verdict of_failed_step(const wire::AttemptReportT& report) {
  if (report.steps.empty() || !report.steps.back())
    return failed(FailureClass::infrastructure, "bad_report", "the host reported no failed step");
  const wire::StepReportT& step = *report.steps.back();
  const bool limit = is_limit(step.reason);
  if (is_verification(step))
    return failed(FailureClass::verification, limit ? step.reason : "verify_failed",
                  how_it_ended(step));
  if (is_setup(step))
    return failed(FailureClass::infrastructure, limit ? step.reason : "setup_failed",
                  how_it_ended(step));
  return of_agent(report, step);
}

bool none_applied(const wire::AttemptReportT& report) {
  bool any = false;
  for (const auto& step : report.steps) {
    if (!step || !is_verification(*step)) continue;
    if (step->reason != "skipped") return false;
    any = true;
  }
  return any;
}

Verdict none_applied_verdict() {
  return failed(FailureClass::verification, "none_applied",
                "no verification applied to this repository");
}

Verdict of_change(const wire::AttemptReportT& report) {
  if (none_applied(report)) return none_applied_verdict();
  if (!is_object_id(report.head_sha) || !is_object_id(report.base_sha) ||
      report.pack_digest.size() != 64 || !is_object_id(report.pack_digest))
    return failed(FailureClass::policy, "bad_pack", "the host's commit has no valid ids", Retry::never);
  return {RunState::delivering, FailureClass::none, "", "", Retry::never};
}

Verdict of_host_trouble(const wire::AttemptReportT& report) {
  const std::string reason = reason_code(report.reason, "host_failed");
  const std::string said = one_line(report.message, limits::kLineBytes);
  const std::string message = said.empty() ? "the host failed: " + reason : said;
  if (reason == "none_applied") return none_applied_verdict();
  if (is_forbidden(reason)) return failed(FailureClass::policy, reason, message, Retry::never);
  if (reason == "base_missing" || reason == "bad_environment" || reason == "no_snapshot")
    return failed(FailureClass::infrastructure, reason, message, Retry::never);
  if (is_limit(reason)) return failed(FailureClass::agent, reason, message);
  return failed(FailureClass::infrastructure, reason, message);
}

}  // namespace

Verdict classify(const wire::AttemptReportT& report) {
  switch (report.outcome) {
    case wire::Outcome::changed:
      return of_change(report);
    case wire::Outcome::unchanged:
      return {RunState::unchanged, FailureClass::none, "no_change", "", Retry::never};
    case wire::Outcome::step_failed:
      return report.reason == "none_applied" ? none_applied_verdict() : of_failed_step(report);
    case wire::Outcome::cancelled:
      return {RunState::cancelled, FailureClass::none, "cancelled", "", Retry::never};
    case wire::Outcome::failed:
      return of_host_trouble(report);
  }
  return failed(FailureClass::infrastructure, "bad_report", "the host reported an unknown outcome");
}

Verdict classify_refused(const std::string& reason) {
  const std::string code = reason_code(reason, "refused");
  if (is_forbidden(code))
    return failed(FailureClass::policy, code, "the host refused the run: " + code, Retry::never);
  const std::string said = one_line(reason, limits::kLineBytes);
  if (code == "no_snapshot")
    return failed(FailureClass::infrastructure, code, "its snapshot is gone from the host", Retry::never);
  return failed(FailureClass::infrastructure, code,
                "the host refused the run" + (said.empty() ? said : ": " + said));
}

Verdict classify_push(const fbs::PushDoneT& done, fbs::ConflictStrategy strategy) {
  const std::string said = one_line(done.message, limits::kLineBytes);
  const auto or_else = [&](const char* text) { return said.empty() ? std::string(text) : said; };
  switch (done.outcome) {
    case fbs::PushOutcome::pushed:
    case fbs::PushOutcome::already_there:
      return {RunState::delivering, FailureClass::none, "", "", Retry::never};
    case fbs::PushOutcome::branch_exists:
      if (strategy == fbs::ConflictStrategy::skip)
        return {RunState::skipped, FailureClass::none, "branch_exists",
                or_else("the branch exists already"), Retry::never};
      return failed(FailureClass::delivery, "branch_moved", or_else("the branch moved meanwhile"));
    case fbs::PushOutcome::base_moved:
      return failed(FailureClass::delivery, "base_moved", or_else("the base branch moved"),
                    Retry::always);
    case fbs::PushOutcome::rejected:
      return failed(FailureClass::delivery, "rejected", or_else("the push was rejected"));
    case fbs::PushOutcome::failed:
      break;
  }
  return failed(FailureClass::delivery, "push_failed", or_else("the push failed"));
}

bool may_retry(const Verdict& verdict, const fbs::RunPolicyT& policy, std::uint32_t attempt) {
  if (verdict.state != RunState::failed || verdict.retry == Retry::never) return false;
  if (attempt >= policy.max_attempts) return false;
  return verdict.retry == Retry::always ||
         std::find(policy.retry_on.begin(), policy.retry_on.end(), verdict.cls) !=
             policy.retry_on.end();
}

}  // namespace muster::actors
