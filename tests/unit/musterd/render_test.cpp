#include <catch2/catch.hpp>

#include "tools/musterd/render.hpp"

using namespace muster;
using namespace muster::musterd;

TEST_CASE("a fleet, whole") {
  fbs::FleetHeadT head;
  head.name = "bump";
  head.state = fbs::FleetState::running;
  head.author = "alice";
  head.total = 10;
  head.created = 10;
  head.wave = 1;
  head.waves = 3;
  head.counts = {5, 1, 0, 0, 0, 0, 3, 0, 0, 1, 0, 0};
  head.failed_by_class = {0, 0, 1};
  head.attempts = 6;
  head.created_unix_ms = 1'800'000'000'000;
  head.started_unix_ms = 1'800'000'000'000;
  head.policy = std::make_unique<fbs::RunPolicyT>();
  head.policy->concurrency = 20;
  head.policy->branch = "muster/bump";
  CHECK(
      to_text(fleet_json(head, {{"wave", 5}}, Instant{1'800'000'010'000})) ==
      R"({"name":"bump","state":"running","reason":"","author":"alice","dry_run":false,"total":10,)"
      R"("created":10,"wave":1,"waves":3,"counts":{"waiting":5,"queued":1,"provisioning":0,"running":0,)"
      R"("verifying":0,"delivering":0,"delivered":3,"unchanged":0,"skipped":0,"failed":1,"cancelled":0,)"
      R"("superseded":0},"failed_by_class":{"infrastructure":0,"agent":1,"verification":0,"delivery":0,)"
      R"("policy":0},"attempts":6,"escalated":0,"pulls":0,"used":{"tokens":0,"cost_usd":0.0},)"
      R"("created_at":"2027-01-15T08:00:00.000Z",)"
      R"("started_at":"2027-01-15T08:00:00.000Z","ended_at":null,"concurrency":20,)"
      R"("branch":"muster/bump","why_waiting":{"wave":5},"eta_s":15})"
      "\n");
}

TEST_CASE("an ETA needs a pace") {
  fbs::FleetHeadT head;
  head.state = fbs::FleetState::running;
  head.total = 4;
  head.started_unix_ms = 1000;
  head.counts = {4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  CHECK(eta_json(head, Instant{5000}).is_null());
  head.counts = {3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
  CHECK(eta_json(head, Instant{5000}) == 12);
  head.counts[11] = 7;  // Superseded runs are nobody's progress.
  CHECK(eta_json(head, Instant{5000}) == 12);
  head.state = fbs::FleetState::paused;
  CHECK(eta_json(head, Instant{5000}).is_null());
}

TEST_CASE("what a waiting run waits for, by its row") {
  fbs::FleetHeadT fleet;
  fleet.state = fbs::FleetState::running;
  fleet.wave = 1;
  fbs::RunRowT row;
  row.wave = 1;
  CHECK(waits_for(row, fleet) == "wave");
  row.wave = 0;
  CHECK(waits_for(row, fleet) == "repo");
  row.attempt = 1;
  CHECK(waits_for(row, fleet) == "backoff");
  fleet.state = fbs::FleetState::halted;
  CHECK(waits_for(row, fleet) == "pause");
}

TEST_CASE("why a run waits, in words") {
  fbs::FleetHeadT fleet;
  fleet.state = fbs::FleetState::paused;
  fleet.reason = "lunch";
  fleet.waves = 3;
  fbs::RunHeadT run;
  run.wave = 1;
  const auto waiting = [&](const char* what) {
    run.state = fbs::RunState::waiting;
    run.waiting_for = what;
    return why_text(run, fleet, "");
  };
  CHECK(waiting("wave") == "the fleet is paused: lunch");
  fleet.state = fbs::FleetState::running;
  CHECK(waiting("wave") == "its wave (2 of 3) is not open yet");
  CHECK(waiting("backoff") == "it pauses before attempt 1");
  CHECK(waiting("repo") == "other runs have their turn in this repository");
  run.state = fbs::RunState::queued;
  CHECK(why_text(run, fleet, "every slot is taken") == "every slot is taken");
  CHECK(why_text(run, fleet, "") == "the scheduler's next round takes it up");
  run.state = fbs::RunState::running;
  CHECK(why_text(run, fleet, "").empty());
}

TEST_CASE("a run that waits in a paused fleet waits for the pause") {
  RunWhole run;
  run.head.state = fbs::RunState::waiting;
  run.head.waiting_for = "wave";
  fbs::FleetHeadT fleet;
  fleet.state = fbs::FleetState::paused;
  CHECK(run_json(run, fleet, "").at("waiting_for") == "pause");
  fleet.state = fbs::FleetState::running;
  CHECK(run_json(run, fleet, "").at("waiting_for") == "wave");
}

TEST_CASE("a run shows every attempt with its facts") {
  RunWhole run;
  run.id = "7K2M7K2M7K2M7";
  run.head.fleet = "bump";
  run.head.state = fbs::RunState::failed;
  run.head.class_ = fbs::FailureClass::verification;
  run.head.attempt = 2;
  run.row.run = run.id;
  run.row.repository = "acme/api";
  run.row.state = fbs::RunState::running;  // The fleet has not heard yet.
  fbs::AttemptRowT lost;
  lost.attempt = 1;
  lost.finished_unix_ms = 5;
  fbs::AttemptRowT told;
  told.attempt = 2;
  told.report = std::make_unique<wire::AttemptReportT>();
  told.report->outcome = wire::Outcome::step_failed;
  told.report->peak_memory_bytes = 42;
  told.report->steps.push_back(std::make_unique<wire::StepReportT>());
  told.report->steps[0]->name = "verify:tests";
  told.report->steps[0]->exit_code = 1;
  run.attempts.push_back(lost);
  run.attempts.push_back(told);
  const Json json = run_json(run, {}, "");
  CHECK(json.at("state") == "failed");
  CHECK(json.at("class") == "verification");
  CHECK(json.at("attempts").at(0).at("outcome") == "lost");
  CHECK(json.at("attempts").at(0).at("diff") ==
        Json({{"files", 0}, {"insertions", 0}, {"deletions", 0}}));
  CHECK(json.at("attempts").at(1).at("outcome") == "step_failed");
  CHECK(json.at("attempts").at(1).at("peak_memory_bytes") == 42);
  CHECK(json.at("attempts").at(1).at("steps").at(0).at("name") == "verify:tests");
}

TEST_CASE("a pull request bears its body only where asked") {
  fbs::PullHeadT head;
  head.number = 3;
  head.labels = {"deps"};
  const std::string body = "text";
  CHECK(!pull_json("acme/api#3", head, nullptr).contains("body"));
  const Json json = pull_json("acme/api#3", head, &body);
  CHECK(json.at("body") == "text");
  CHECK(json.at("labels") == Json({"deps"}));
  CHECK(json.at("state") == "open");
}

TEST_CASE("a host shows what runs on it") {
  fbs::HostHeadT head;
  head.name = "h1";
  head.used.push_back(std::make_unique<fbs::SlotT>());
  head.used[0]->run = "7K2M";
  head.used[0]->attempt = 2;
  head.labels.push_back(std::make_unique<wire::KeyValueT>());
  head.labels[0]->key = "zone";
  head.labels[0]->value = "a";
  const Json json = host_json(head);
  CHECK(json.at("used") == 1);
  CHECK(json.at("running").at(0) == Json({{"run", "7K2M"}, {"attempt", 2}, {"fleet", ""}}));
  CHECK(json.at("labels") == Json({{"zone", "a"}}));
  CHECK(json.at("connected_at").is_null());
}
