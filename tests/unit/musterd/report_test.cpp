#include <catch2/catch.hpp>

#include "tools/musterd/report.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

fbs::RunRowT row(const std::string& id, fbs::RunState state, std::int64_t started = 0,
                 std::int64_t ended = 0) {
  fbs::RunRowT made;
  made.run = id;
  made.repository = "acme/" + id;
  made.state = state;
  made.started_unix_ms = started;
  made.ended_unix_ms = ended;
  return made;
}

fbs::RunRowT failed(const std::string& id, fbs::FailureClass failure, const std::string& reason,
                    const std::string& message) {
  fbs::RunRowT made = row(id, fbs::RunState::failed);
  made.class_ = failure;
  made.reason = reason;
  made.message = message;
  return made;
}

Json report_of(const std::vector<fbs::RunRowT>& rows,
               const std::map<std::string, std::vector<fbs::AttemptRowT>>& attempts = {},
               const std::vector<std::pair<std::string, fbs::PullHeadT>>& pulls = {}) {
  fbs::FleetHeadT fleet;
  fleet.attempts = 9;
  fleet.policy = std::make_unique<fbs::RunPolicyT>();
  fleet.policy->escalate = {"alice"};
  return make_report({fleet, rows, attempts, pulls, Json::object()});
}

}  // namespace

TEST_CASE("messages lose what differs from run to run") {
  CHECK(normalised("exit code 17 in step 3") == "exit code <n> in step <n>");
  CHECK(normalised("cannot read /srv/git/acme/api.git: no such file") ==
        "cannot read <path>: no such file");
  CHECK(normalised("src/lib/a.c:12:3: error: 'x42' undeclared") ==
        "<path>:<n>:<n>: error: 'x<n>' undeclared");
  CHECK(normalised("base 3f2a9c1e77 is missing") == "base <hash> is missing");
  CHECK(normalised("clone of https://git.acme.dev/acme/api.git, failed") ==
        "clone of <url>, failed");
  CHECK(normalised("  two   blanks\tand a tab \nsecond line") == "two blanks and a tab");
  CHECK(normalised("deadbeef decade") == "deadbeef decade");  // A hash has a digit.
  CHECK(normalised("n/a") == "n/a");
  CHECK(normalised("") == "");
  CHECK(normalised(std::string(500, 'x')).size() == 200);
}

TEST_CASE("percentiles are nearest ranks") {
  CHECK(percentile({}, 50) == 0);
  CHECK(percentile({7}, 95) == 7);
  CHECK(percentile({4, 1, 3, 2}, 50) == 2);
  CHECK(percentile({4, 1, 3, 2}, 95) == 4);
  std::vector<std::int64_t> hundred;
  for (int i = 1; i <= 100; ++i) hundred.push_back(i);
  CHECK(percentile(hundred, 50) == 50);
  CHECK(percentile(hundred, 95) == 95);
}

TEST_CASE("failures are grouped by class, reason and normalised message") {
  const Json report = report_of({
      failed("A", fbs::FailureClass::agent, "exit", "exit code 3"),
      failed("B", fbs::FailureClass::verification, "exit", "tests: 4 failed"),
      failed("C", fbs::FailureClass::verification, "exit", "tests: 17 failed"),
      failed("D", fbs::FailureClass::agent, "timed_out", ""),
      row("E", fbs::RunState::delivered),
  });
  CHECK(report.at("failures") == Json::parse(R"([
          {"class":"verification","reason":"exit","message":"tests: <n> failed","count":2,"example":"B","repository":"acme/B"},
          {"class":"agent","reason":"exit","message":"exit code <n>","count":1,"example":"A","repository":"acme/A"},
          {"class":"agent","reason":"timed_out","message":"timed_out","count":1,"example":"D","repository":"acme/D"}])"));
}

TEST_CASE("what was skipped or unchanged is grouped by its reason") {
  const auto ended = [](const char* id, fbs::RunState state, const char* reason,
                        const char* message) {
    fbs::RunRowT made = row(id, state);
    made.reason = reason;
    made.message = message;
    return made;
  };
  const Json report = report_of({
      ended("A", fbs::RunState::unchanged, "no_change", ""),
      ended("B", fbs::RunState::skipped, "does_not_apply", "no package.json below /srv/b"),
      ended("C", fbs::RunState::skipped, "does_not_apply", "no package.json below /srv/c"),
      ended("D", fbs::RunState::skipped, "branch_exists", ""),
      row("E", fbs::RunState::delivered),
  });
  CHECK(report.at("failures").empty());
  CHECK(report.at("skipped") == Json::parse(R"([
          {"state":"skipped","reason":"does_not_apply","message":"no package.json below <path>","count":2,"example":"B","repository":"acme/B"},
          {"state":"skipped","reason":"branch_exists","message":"","count":1,"example":"D","repository":"acme/D"},
          {"state":"unchanged","reason":"no_change","message":"","count":1,"example":"A","repository":"acme/A"}])"));
}

TEST_CASE("superseded runs count nowhere") {
  auto old = failed("A", fbs::FailureClass::agent, "exit", "x");
  old.state = fbs::RunState::superseded;
  old.attempt = 3;
  const Json report = report_of({old, row("B", fbs::RunState::delivered)});
  CHECK(report.at("failures").empty());
  CHECK(report.at("retried") == 0);
  CHECK(report.at("outcomes").at("delivered") == 1);
  CHECK(!report.at("outcomes").contains("superseded"));
}

TEST_CASE("time goes to phases, over all attempts") {
  fbs::AttemptRowT attempt;
  attempt.queued_unix_ms = 1000;
  attempt.placed_unix_ms = 1500;
  attempt.accepted_unix_ms = 1600;
  attempt.running_unix_ms = 2000;
  attempt.verifying_unix_ms = 5000;
  attempt.finished_unix_ms = 6000;
  attempt.delivered_unix_ms = 6250;
  attempt.report = std::make_unique<wire::AttemptReportT>();
  attempt.report->fetch_ms = 70;
  attempt.report->create_ms = 30;
  fbs::AttemptRowT dead;  // Never got past its host's acceptance.
  dead.queued_unix_ms = 100;
  dead.placed_unix_ms = 200;
  std::map<std::string, std::vector<fbs::AttemptRowT>> attempts;
  attempts["A"] = {dead, attempt};
  auto run = row("A", fbs::RunState::delivered, 1500, 6250);
  run.attempt = 2;
  const Json report = report_of({run}, attempts);
  const auto phase = [&](const char* name) { return report.at("phases").at(name); };
  CHECK(phase("queue") == Json({{"p50_ms", 100}, {"p95_ms", 500}}));
  CHECK(phase("fetch") == Json({{"p50_ms", 70}, {"p95_ms", 70}}));
  CHECK(phase("create") == Json({{"p50_ms", 30}, {"p95_ms", 30}}));
  CHECK(phase("agent") == Json({{"p50_ms", 3000}, {"p95_ms", 3000}}));
  CHECK(phase("verify") == Json({{"p50_ms", 1000}, {"p95_ms", 1000}}));
  CHECK(phase("deliver") == Json({{"p50_ms", 250}, {"p95_ms", 250}}));
  CHECK(phase("total") == Json({{"p50_ms", 4750}, {"p95_ms", 4750}}));
  CHECK(report.at("retried") == 1);
  CHECK(report.at("attempts") == 9);
}

TEST_CASE("the slowest ten, slowest first") {
  std::vector<fbs::RunRowT> rows;
  for (int i = 1; i <= 12; ++i)
    rows.push_back(row("R" + std::to_string(i), fbs::RunState::delivered, 1000, 1000 + i * 10));
  rows.push_back(row("never", fbs::RunState::waiting));
  const Json slowest = report_of(rows).at("slowest");
  REQUIRE(slowest.size() == 10);
  CHECK(slowest.at(0) == Json({{"run", "R12"}, {"repository", "acme/R12"}, {"ms", 120}}));
  CHECK(slowest.at(9).at("ms") == 30);
}

TEST_CASE("escalated runs and pull requests") {
  auto run = failed("A", fbs::FailureClass::agent, "exit", "x");
  run.escalated = true;
  std::vector<std::pair<std::string, fbs::PullHeadT>> pulls(2);
  pulls[0].first = "acme/A#1";
  pulls[1].first = "acme/B#1";
  pulls[1].second.state = fbs::PullState::merged;
  const Json report = report_of({run}, {}, pulls);
  CHECK(report.at("escalated") ==
        Json::parse(R"([{"run":"A","repository":"acme/A","assignees":["alice"]}])"));
  CHECK(report.at("pulls").at("open") == 1);
  CHECK(report.at("pulls").at("merged") == 1);
  CHECK(report.at("pulls").at("list").size() == 2);
}
