// Transcripts of fleets and reports.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tools/muster/render/fleet_view.hpp"
#include "tools/muster/render/report_view.hpp"

namespace muster::cli {
namespace {

using nlohmann::json;

const Instant kNow = *parse_rfc3339("2026-11-22T12:10:00Z");

json fleet_document() {
  return json::parse(R"({
    "name": "libgreet-2", "state": "running", "reason": "", "author": "alice", "dry_run": false, "total": 500, "created": 500,
    "wave": 2, "waves": 3, "counts": {"delivered": 120, "unchanged": 30, "skipped": 2, "failed": 15, "running": 12, "verifying": 5,
    "queued": 25, "waiting": 291}, "failed_by_class": {"verification": 10, "agent": 5}, "attempts": 180, "escalated": 3, "pulls": 120,
    "created_at": "2026-11-22T12:00:00Z", "started_at": "2026-11-22T12:00:01Z", "ended_at": null, "concurrency": 20,
    "branch": "muster/libgreet-2", "why_waiting": {"fleet_limit": 25, "wave": 291}, "eta_s": 240})");
}

TEST_CASE("a fleet's status") {
  CHECK(fleet_status_text(fleet_document(), {}, kNow) == R"(libgreet-2  running
  [#############>..........................] 167/500 (33%)   wave 2 of 3   about 4m00s left
  delivered 120  unchanged 30  skipped 2  failed 15
  running 12  verifying 5  queued 25  waiting 291
  why runs wait: fleet_limit 25, wave 291
  failed by class: agent 5, verification 10
  180 attempts, 120 pull requests, 3 escalated, branch muster/libgreet-2, at most 20 at a time
  started by alice, running for 9m59s
)");
}

TEST_CASE("the live picture stays small and never wraps") {
  const std::vector<json> failures(
      40,
      json::parse(
          R"({"id": "7K2MABCDEFGHJ", "repository": "acme/a-repository-with-a-long-name", "state": "failed", "class": "verification",
          "reason": "tests", "message": "exit 1: \u001b[2Jexpected 2.0 but the lock file says something else entirely"})"));
  const std::string frame =
      progress_frame(fleet_document(), failures, {80, false}, Duration{83'000});
  CHECK(frame == R"(libgreet-2  running  1m23s
[########>................] 167/500 (33%)   wave 2 of 3   about 4m00s left
delivered 120  unchanged 30  skipped 2  failed 15
running 12  verifying 5  queued 25  waiting 291
why runs wait: fleet_limit 25, wave 291
last failures:
  7K2MAB  acme/a-repository-w…  failed(verification) tests  exit 1: \x1b[2Jexpe…
  7K2MAB  acme/a-repository-w…  failed(verification) tests  exit 1: \x1b[2Jexpe…
  7K2MAB  acme/a-repository-w…  failed(verification) tests  exit 1: \x1b[2Jexpe…
  7K2MAB  acme/a-repository-w…  failed(verification) tests  exit 1: \x1b[2Jexpe…
  7K2MAB  acme/a-repository-w…  failed(verification) tests  exit 1: \x1b[2Jexpe…
)");
}

TEST_CASE("progress in a pipe is one plain line") {
  CHECK(progress_line(fleet_document()) ==
        "libgreet-2: running, wave 2 of 3, 167/500 ended, delivered 120  unchanged 30  skipped 2  "
        "failed 15, running 12  verifying 5, "
        "queued 25  waiting 291");
}

TEST_CASE("when a fleet is settled, and what it exits with") {
  json fleet = fleet_document();
  CHECK_FALSE(is_settled(fleet));
  fleet["state"] = "halted";
  CHECK_FALSE(is_settled(fleet));
  fleet["counts"] = {{"failed", 2}, {"waiting", 498}};
  CHECK(is_settled(fleet));
  CHECK(exit_code_of_fleet(fleet) == 1);
  for (const auto& [state, code] :
       {std::pair{"completed", 0}, std::pair{"completed_with_failures", 1},
        std::pair{"cancelled", 1}}) {
    fleet["counts"] = {{"delivered", 500}};
    fleet["state"] = state;
    CHECK(is_settled(fleet));
    CHECK(exit_code_of_fleet(fleet) == code);
  }
  fleet["state"] = "paused";
  CHECK_FALSE(is_settled(fleet));
}

TEST_CASE("documents of any shape are shown, not trusted") {
  for (const char* text :
       {"{}", "[]", "7", R"({"counts": [], "total": "x", "name": 3, "why_waiting": "no"})"}) {
    CHECK_FALSE(fleet_status_text(json::parse(text), {}, kNow).empty());
    CHECK_FALSE(report_text(json::parse(text), {}).empty());
  }
}

json report_document() {
  json fleet = fleet_document();
  fleet["state"] = "completed_with_failures";
  fleet["ended_at"] = "2026-11-22T12:04:13Z";
  json report = json::parse(R"({
    "outcomes": {"delivered": 480, "unchanged": 5, "failed": 15},
    "failures": [{"class": "verification", "message": "tests: exit 1", "count": 10, "example": "7K2MABCDEFGHJ", "repository": "acme/api"},
                 {"class": "agent", "message": "timed_out | after <d>", "count": 5, "example": "9XYZABCDEFGHJ", "repository": "acme/web"}],
    "skipped": [{"state": "unchanged", "reason": "no_change", "message": "", "count": 4, "example": "5ABCABCDEFGHJ", "repository": "acme/db"},
                {"state": "skipped", "reason": "does_not_apply", "message": "no package.json", "count": 1, "example": "6ABCABCDEFGHJ", "repository": "acme/doc"}],
    "pulls": {"open": 479, "merged": 1, "closed": 0, "list": [{"id": "acme/api#1", "state": "open", "title": "Use libgreet 2.0"}]},
    "retried": 12, "attempts": 527, "escalated": [{"run": "7K2MABCDEFGHJ", "repository": "acme/api", "assignees": ["alice", "bob"]}],
    "phases": {"queue": {"p50_ms": 900, "p95_ms": 61000}, "agent": {"p50_ms": 1200, "p95_ms": 3000}, "total": {"p50_ms": 4000, "p95_ms": 70000}},
    "slowest": [{"run": "9XYZABCDEFGHJ", "repository": "acme/web", "ms": 83000}]})");
  report["fleet"] = fleet;
  return report;
}

TEST_CASE("a report as text") {
  CHECK(report_text(report_document(), {}) == R"(libgreet-2  completed_with_failures
500 repositories, 527 attempts, 12 retried, 4m12s

Outcomes
  STATE      RUNS  SHARE
  delivered   480  96.0%
  unchanged     5   1.0%
  failed       15   3.0%

Failures
  CLASS         RUNS  WHAT                   EXAMPLE  REPOSITORY
  verification    10  tests: exit 1          7K2MAB   acme/api
  agent            5  timed_out | after <d>  9XYZAB   acme/web

Skipped and unchanged
  STATE      RUNS  WHY                              EXAMPLE  REPOSITORY
  unchanged     4  no_change                        5ABCAB   acme/db
  skipped       1  does_not_apply: no package.json  6ABCAB   acme/doc

Pull requests: 479 open, 1 merged, 0 closed; all of them: muster pr list --fleet libgreet-2
  PULL REQUEST  STATE  TITLE
  acme/api#1    open   Use libgreet 2.0

Escalated
  RUN     REPOSITORY  TO
  7K2MAB  acme/api    alice, bob

Time per phase
  PHASE    P50    P95
  queue  900ms  1m01s
  agent   1.2s   3.0s
  total   4.0s  1m10s

Slowest
  RUN     REPOSITORY   TIME
  9XYZAB  acme/web    1m23s

Next
  muster run logs --failed 7K2MAB
  muster fleet retry libgreet-2 --failed
  muster pr diff 'acme/api#1'
  muster fleet merge libgreet-2
)");
}

TEST_CASE("shares are rounded") {
  const std::string text = report_text(
      json::parse(
          R"({"fleet": {"total": 12}, "outcomes": {"delivered": 9, "unchanged": 1, "failed": 2}})"),
      {});
  CHECK(text.find("75.0%") != std::string::npos);
  CHECK(text.find("8.3%") != std::string::npos);
  CHECK(text.find("16.7%") != std::string::npos);
}

TEST_CASE("a report as Markdown") {
  const std::string text = report_markdown(report_document());
  CHECK(text.substr(0, text.find("## Pull")) == R"(# libgreet-2: completed\_with\_failures

500 repositories, 527 attempts, 12 retried, 4m12s

## Outcomes

| STATE | RUNS | SHARE |
| --- | ---: | ---: |
| delivered | 480 | 96.0% |
| unchanged | 5 | 1.0% |
| failed | 15 | 3.0% |

## Failures

| CLASS | RUNS | WHAT | EXAMPLE | REPOSITORY |
| --- | ---: | --- | --- | --- |
| verification | 10 | tests: exit 1 | 7K2MAB | acme/api |
| agent | 5 | timed\_out \| after \<d\> | 9XYZAB | acme/web |

## Skipped and unchanged

| STATE | RUNS | WHY | EXAMPLE | REPOSITORY |
| --- | ---: | --- | --- | --- |
| unchanged | 4 | no\_change | 5ABCAB | acme/db |
| skipped | 1 | does\_not\_apply: no package.json | 6ABCAB | acme/doc |

)");
}

TEST_CASE("runs as CSV, safe for spreadsheets") {
  CHECK(
      runs_csv({json::parse(
          R"({"repository": "acme/api", "id": "7K2MABCDEFGHJ", "state": "failed", "class": "agent", "reason": "exit",
      "message": "=cmd|' /C calc'!A0, \"x\"", "attempt": 2, "host": "h", "pull": null, "escalated": true})")}) ==
      "repository,id,state,class,reason,message,attempt,host,pull,head_sha,escalated,created_at,"
      "started_at,ended_at\r\n"
      "acme/api,7K2MABCDEFGHJ,failed,agent,exit,\"'=cmd|' /C calc'!A0, "
      "\"\"x\"\"\",2,h,,,true,,,\r\n");
}

TEST_CASE("a list of fleets") {
  CHECK(fleet_table({report_document()["fleet"]}, {}, kNow) ==
        "NAME        STATE                    ENDED  TOTAL  FAILED  PULLS   TIME  AUTHOR\n"
        "libgreet-2  completed_with_failures    167    500      15    120  4m12s  alice\n");
}

}  // namespace
}  // namespace muster::cli
