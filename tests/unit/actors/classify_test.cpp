// The table at the head of actors/run/classify.hpp, row by row.
#include "actors/run/classify.hpp"

#include <catch2/catch.hpp>

#include "actors/common.hpp"
#include "actors/run/pull_text.hpp"
#include "actors/run/retry.hpp"

using namespace muster;
using namespace muster::actors;
using fbs::FailureClass;

namespace {

struct Fact {
  wire::Outcome outcome;
  std::string step;         ///< "": no step.
  int exit_code = 0;
  int signal = 0;
  std::string step_reason = {};
  std::string reason = {};  ///< Of the report.
};

wire::AttemptReportT report_of(const Fact& fact) {
  wire::AttemptReportT report;
  report.outcome = fact.outcome;
  report.reason = fact.reason;
  report.head_sha = std::string(40, 'a');
  report.base_sha = std::string(40, 'b');
  report.pack_digest = std::string(64, 'c');
  if (!fact.step.empty()) {
    auto step = std::make_unique<wire::StepReportT>();
    step->name = fact.step;
    step->exit_code = fact.exit_code;
    step->signal = fact.signal;
    step->reason = fact.step_reason;
    report.steps.push_back(std::move(step));
  }
  return report;
}

std::string text_of(const Verdict& v) {
  std::string text = to_string(v.state);
  if (v.cls != FailureClass::none) text += " " + to_string(v.cls);
  if (!v.reason.empty()) text += " " + v.reason;
  if (v.state == fbs::RunState::failed)
    text += v.retry == Retry::never ? " never" : v.retry == Retry::always ? " always" : " policy";
  return text;
}

}  // namespace

TEST_CASE("what each fact of an attempt means") {
  using wire::Outcome;
  const std::vector<std::pair<Fact, std::string>> table = {
      {{Outcome::changed, "verify:tests"}, "delivering"},
      {{Outcome::changed, ""}, "delivering"},
      {{Outcome::changed, "verify:tests", -1, 0, "skipped"}, "failed verification none_applied policy"},
      {{Outcome::unchanged, "agent"}, "unchanged no_change"},
      {{Outcome::step_failed, "agent", 75}, "failed infrastructure temporary policy"},
      {{Outcome::step_failed, "agent", 77}, "skipped does_not_apply"},
      {{Outcome::step_failed, "agent", 78}, "failed agent gave_up never"},
      {{Outcome::step_failed, "agent", 1}, "failed agent exit_code policy"},
      {{Outcome::step_failed, "agent", -1, 11}, "failed agent signal policy"},
      {{Outcome::step_failed, "agent", 75, 9, "timed_out"}, "failed agent timed_out policy"},
      {{Outcome::step_failed, "agent", -1, 15, "idle"}, "failed agent idle policy"},
      {{Outcome::step_failed, "agent", 137, 9, "out_of_memory"}, "failed agent out_of_memory policy"},
      {{Outcome::step_failed, "agent", 1, 0, "disk_full"}, "failed agent disk_full policy"},
      {{Outcome::step_failed, "agent", 137, 0, "log_limit"}, "failed agent log_limit policy"},
      {{Outcome::step_failed, "verify:tests", 1}, "failed verification verify_failed policy"},
      {{Outcome::step_failed, "verify:tests", 77}, "failed verification verify_failed policy"},
      {{Outcome::step_failed, "verify:tests", -1, 9, "timed_out"}, "failed verification timed_out policy"},
      {{Outcome::step_failed, "setup:1", 1}, "failed infrastructure setup_failed policy"},
      {{Outcome::step_failed, "setup:1", -1, 9, "timed_out"}, "failed infrastructure timed_out policy"},
      {{Outcome::step_failed, "", 0, 0, "", "none_applied"}, "failed verification none_applied policy"},
      {{Outcome::step_failed, ""}, "failed infrastructure bad_report policy"},
      {{Outcome::failed, "", 0, 0, "", "fetch_failed"}, "failed infrastructure fetch_failed policy"},
      {{Outcome::failed, "", 0, 0, "", "no_space"}, "failed infrastructure no_space policy"},
      {{Outcome::failed, "", 0, 0, "", "base_missing"}, "failed infrastructure base_missing never"},
      {{Outcome::failed, "", 0, 0, "", "bad_environment"},
       "failed infrastructure bad_environment never"},
      {{Outcome::failed, "", 0, 0, "", "bad_pack"}, "failed policy bad_pack never"},
      {{Outcome::failed, "", 0, 0, "", "not_allowed"}, "failed policy not_allowed never"},
      {{Outcome::failed, "", 0, 0, "", "timed_out"}, "failed agent timed_out policy"},
      {{Outcome::failed, "", 0, 0, "", "<script>"}, "failed infrastructure host_failed policy"},
      {{Outcome::failed, ""}, "failed infrastructure host_failed policy"},
      {{Outcome::cancelled, "agent"}, "cancelled cancelled"},
  };
  for (const auto& [fact, expected] : table) {
    INFO(fact.step << " exit " << fact.exit_code << " " << fact.step_reason << fact.reason);
    CHECK(text_of(classify(report_of(fact))) == expected);
  }
}

TEST_CASE("a commit without valid ids is a bad pack") {
  for (const char* wrong : {"", "HEAD", "--upload-pack=x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}) {
    wire::AttemptReportT report = report_of({wire::Outcome::changed, "verify:tests"});
    report.head_sha = wrong;
    CHECK(text_of(classify(report)) == "failed policy bad_pack never");
  }
}

TEST_CASE("some verification that applied is enough") {
  wire::AttemptReportT report =
      report_of({wire::Outcome::changed, "verify:npm", -1, 0, "skipped"});
  auto passed = std::make_unique<wire::StepReportT>();
  passed->name = "verify:ctest";
  passed->exit_code = 0;
  report.steps.push_back(std::move(passed));
  CHECK(text_of(classify(report)) == "delivering");
}

TEST_CASE("what each answer to a push means") {
  using fbs::ConflictStrategy;
  using fbs::PushOutcome;
  const auto text = [](PushOutcome outcome, ConflictStrategy strategy) {
    fbs::PushDoneT done;
    done.outcome = outcome;
    return text_of(classify_push(done, strategy));
  };
  CHECK(text(PushOutcome::pushed, ConflictStrategy::skip) == "delivering");
  CHECK(text(PushOutcome::already_there, ConflictStrategy::skip) == "delivering");
  CHECK(text(PushOutcome::branch_exists, ConflictStrategy::skip) == "skipped branch_exists");
  CHECK(text(PushOutcome::branch_exists, ConflictStrategy::replace) ==
        "failed delivery branch_moved policy");
  CHECK(text(PushOutcome::base_moved, ConflictStrategy::skip) == "failed delivery base_moved always");
  CHECK(text(PushOutcome::rejected, ConflictStrategy::skip) == "failed delivery rejected policy");
  CHECK(text(PushOutcome::failed, ConflictStrategy::skip) == "failed delivery push_failed policy");
}

TEST_CASE("the host's refusal") {
  CHECK(text_of(classify_refused("no_isolation")) == "failed infrastructure no_isolation policy");
  CHECK(text_of(classify_refused("not_allowed")) == "failed policy not_allowed never");
  CHECK(text_of(classify_refused("Anything Else!")) == "failed infrastructure refused policy");
}

TEST_CASE("a retry needs an attempt left, and its class named") {
  fbs::RunPolicyT policy;
  policy.max_attempts = 3;
  policy.retry_on = {FailureClass::agent};
  Verdict verdict{fbs::RunState::failed, FailureClass::agent, "", "", Retry::by_policy};
  CHECK(may_retry(verdict, policy, 1));
  CHECK(may_retry(verdict, policy, 2));
  CHECK_FALSE(may_retry(verdict, policy, 3));
  verdict.cls = FailureClass::verification;
  CHECK_FALSE(may_retry(verdict, policy, 1));
  verdict.retry = Retry::always;
  CHECK(may_retry(verdict, policy, 1));
  CHECK_FALSE(may_retry(verdict, policy, 3));
  verdict = {fbs::RunState::failed, FailureClass::agent, "", "", Retry::never};
  CHECK_FALSE(may_retry(verdict, policy, 1));
}

TEST_CASE("backoff doubles up to its cap, spread over its upper half, the same each time") {
  fbs::RunPolicyT policy;
  policy.backoff_ms = 10'000;
  policy.max_backoff_ms = 60'000;
  const auto within = [&](std::uint32_t attempt, std::int64_t low, std::int64_t high) {
    for (const char* run : {"7K2M", "A", "ZZZZZZZZZZZZZ", ""}) {
      const std::int64_t delay = backoff(policy, run, attempt).count();
      CHECK(delay >= low);
      CHECK(delay <= high);
      CHECK(delay == backoff(policy, run, attempt).count());
    }
  };
  within(1, 5'000, 10'000);
  within(2, 10'000, 20'000);
  within(3, 20'000, 40'000);
  within(4, 30'000, 60'000);
  within(4'000'000'000U, 30'000, 60'000);
  CHECK(backoff(policy, "A", 1) != backoff(policy, "B", 1));
  policy.backoff_ms = policy.max_backoff_ms = 0;
  CHECK(backoff(policy, "A", 5).count() == 0);
}

TEST_CASE("feedback is valid JSON whatever the output was, and keeps its end") {
  fbs::AttemptRowT row;
  row.attempt = 1;
  row.class_ = FailureClass::verification;
  row.reason = "verify_failed";
  row.message = "verify:tests exited with 1";
  row.report = std::make_unique<wire::AttemptReportT>(
      report_of({wire::Outcome::step_failed, "verify:tests", 1}));
  row.report->steps.back()->tail = "bad \xff byte";
  CHECK(feedback_json(row) ==
        R"({"attempt":1,"class":"verification","message":"verify:tests exited with 1",)"
        "\"output\":\"bad \xEF\xBF\xBD byte\",\"reason\":\"verify_failed\",\"step\":\"verify:tests\"}");
  row.report->steps.back()->tail = std::string(100'000, 'x') + "the end";
  const std::string long_one = feedback_json(row);
  CHECK(long_one.size() < 10'000);
  CHECK(long_one.find("the end\"") != std::string::npos);
  const std::string told = feedback_json(row, R"({"class":"integration","output":"==== a.txt"})");
  CHECK(told.find(R"("before":{"class":"integration","output":"==== a.txt"})") != std::string::npos);
}

TEST_CASE("a pull request's text is composed of intent, summary, verification and facts") {
  fbs::CreateRunT create;
  create.fleet = "libgreet-2";
  create.title = "Use libgreet 2.0";
  create.body = "> Move libgreet\n> to 2.0";  // As derive.cpp quotes an intent.
  create.author = "alice";
  create.pull_labels = {"muster"};
  wire::AttemptReportT report = report_of({wire::Outcome::changed, "verify:tests", 0});
  report.steps.back()->started_unix_ms = 1'000;
  report.steps.back()->ended_unix_ms = 3'500;
  report.summary = "Renamed <b>greet</b>.";
  report.result_json = R"({"labels": ["deps", "muster"]})";
  report.diff = std::make_unique<wire::DiffStatT>();
  report.diff->files = 2;
  report.diff->insertions = 1;
  const PullText text = compose_pull(create, report, "7K2M", 2);
  CHECK(text.title == "Use libgreet 2.0");
  CHECK(text.labels == std::vector<std::string>{"muster", "deps"});
  CHECK(text.warnings.empty());
  CHECK(text.body == R"(> Move libgreet
> to 2.0

## What was done

Renamed &lt;b>greet&lt;/b>.

## Verification

| Verification | Result | Time |
|---|---|---|
| tests | passed | 2500ms |


---
2 files changed, 1 insertion, 0 deletions. Muster fleet `libgreet-2`, run `7K2M`, attempt 2, started by alice.
)");
}

TEST_CASE("what is wrong in result.json is ignored with a warning; what is right is taken") {
  fbs::CreateRunT create;
  create.fleet = "f";
  wire::AttemptReportT report;
  report.result_json = R"({"title": "Bump\n to 2", "body": 7, "labels": ["ok", 3, ""]})";
  const PullText text = compose_pull(create, report, "R", 1);
  CHECK(text.title == "Bump  to 2");
  CHECK(text.labels == std::vector<std::string>{"ok"});
  CHECK(text.warnings.size() == 3);
  report.result_json = "[1";
  CHECK(compose_pull(create, report, "R", 1).title == "Muster: f");
  CHECK(compose_pull(create, report, "R", 1).warnings ==
        std::vector<std::string>{"result.json ignored in part: it is not a JSON object"});
}

TEST_CASE("hostile text stays bounded and forms no tag") {
  fbs::CreateRunT create;
  create.fleet = "f";
  create.body = std::string(1u << 20, '<');
  wire::AttemptReportT report = report_of({wire::Outcome::changed, "verify:a|b`<x>", 0});
  report.summary = std::string(1u << 20, '<');
  report.result_json = "{\"body\": \"" + std::string(1u << 19, '<') + "\", \"title\": \"" +
                       std::string(5000, 't') + "\"}";
  const PullText text = compose_pull(create, report, "7K2M", 1);
  CHECK(text.title.size() <= 200);
  CHECK(text.body.size() <= 60'000);
  CHECK(text.body.find('<') == std::string::npos);
  CHECK(text.body.find("run `7K2M`") != std::string::npos);
}

TEST_CASE("globs, bounded text and reason codes") {
  CHECK(glob_matches("acme/*", "acme/api"));
  CHECK(glob_matches("*", ""));
  CHECK(glob_matches("*-a?i*", "acme/legacy-api"));
  CHECK_FALSE(glob_matches("acme/*", "other/api"));
  CHECK_FALSE(glob_matches("", "x"));
  CHECK_FALSE(glob_matches("*a*a*a*a*a*a*a*a*b", std::string(20'000, 'a')));
  CHECK(bounded("äöü", 5) == "ä…");
  CHECK(bounded_tail("äöü", 5) == "…ü");
  CHECK(one_line("  a\nb\t ", 100) == "a b");
  CHECK(reason_code("fetch_failed", "x") == "fetch_failed");
  CHECK(reason_code("Fetch failed", "x") == "x");
}
