// One run, told everything by hand.
#include "actors/run/run.hpp"

#include <catch2/catch.hpp>

#include "stages.hpp"

using namespace muster;
using namespace muster::actors;
using fbs::FailureClass;
using fbs::RunState;

namespace {

using RunStage = engine::testing::Stage<Run>;

fbs::CreateRunT create_run() {
  fbs::CreateRunT m;
  m.fleet = "f";
  m.repository = "acme/api";
  m.url = m.canonical_url = "/srv/acme/api";
  m.policy = std::make_unique<fbs::RunPolicyT>();
  m.policy->retry_on = {FailureClass::infrastructure, FailureClass::agent};
  m.policy->attempt_timeout_ms = 1'200'000;
  m.policy->branch = "muster/f";
  m.policy->escalate = {"alice"};
  m.policy->deadline_unix_ms = 1'700'000'000'000 + 86'400'000;
  return m;
}

fbs::PlacedT placed(std::uint32_t attempt, std::string host = "h", std::uint64_t session = 5) {
  fbs::PlacedT m;
  m.host = std::move(host);
  m.session = session;
  m.generation = 1;
  m.attempt = attempt;
  return m;
}

fbs::HostEventT event(wire::Phase phase, std::uint32_t attempt = 1, std::uint64_t session = 5) {
  fbs::HostEventT m;
  m.host = "h";
  m.epoch = std::make_unique<wire::Epoch>(1, attempt, session);
  m.event = std::make_unique<wire::RunEventT>();
  m.event->phase = phase;
  return m;
}

fbs::HostEventT finished(wire::Outcome outcome, std::string step = "", int exit_code = 0,
                         std::uint32_t attempt = 1) {
  fbs::HostEventT m = event(wire::Phase::finished, attempt);
  m.event->report = std::make_unique<wire::AttemptReportT>();
  m.event->report->outcome = outcome;
  m.event->report->base_sha = std::string(40, 'b');
  m.event->report->head_sha = std::string(40, 'a');
  m.event->report->pack_digest = std::string(64, 'c');
  if (!step.empty()) {
    m.event->report->steps.push_back(std::make_unique<wire::StepReportT>());
    m.event->report->steps.back()->name = step;
    m.event->report->steps.back()->exit_code = exit_code;
  }
  return m;
}

fbs::PushDoneT push_done(fbs::PushOutcome outcome) {
  fbs::PushDoneT m;
  m.attempt = 1;
  m.outcome = outcome;
  return m;
}

fbs::PullOpenedT pull_opened(std::uint32_t number) {
  fbs::PullOpenedT m;
  m.number = number;
  return m;
}

/// A run led to that state; `backoff` is waiting after a failed attempt.
RunStage led_to(const std::string& where, fbs::CreateRunT create = create_run()) {
  RunStage run("R");
  run.tell(create);
  if (where == "wave") return run;
  run.tell(fbs::ProceedT{});
  if (where == "repo") return run;
  run.tell(fbs::RepoGrantedT{});
  if (where == "queued") return run;
  run.tell(placed(1));
  if (where == "provisioning") return run;
  run.tell(event(wire::Phase::running));
  if (where == "running") return run;
  if (where == "backoff") run.tell(finished(wire::Outcome::step_failed, "agent", 1));
  if (where == "unchanged") run.tell(finished(wire::Outcome::unchanged));
  if (where == "failed") run.tell(finished(wire::Outcome::step_failed, "agent", 78));
  if (where == "backoff" || where == "unchanged" || where == "failed") return run;
  run.tell(event(wire::Phase::verifying));
  if (where == "verifying") return run;
  run.tell(finished(wire::Outcome::changed));
  if (where == "push") return run;
  run.tell(push_done(fbs::PushOutcome::pushed));
  if (where == "pull") return run;
  run.tell(pull_opened(7));
  return run;
}

const std::vector<std::string> kEverywhere = {"wave",    "repo",      "queued", "provisioning",
                                              "running", "verifying", "push",   "pull",
                                              "backoff", "unchanged", "failed", "delivered"};

std::string where(RunStage& run) {
  const auto& s = run.state();
  std::string text = to_string(s.state);
  if (s.class_ != FailureClass::none) text += " " + to_string(s.class_);
  if (!s.reason.empty()) text += " " + s.reason;
  return text;
}

}  // namespace

TEST_CASE("a backstop that comes much later than it was due is set again: the engine was away, or its clock jumped") {
  const auto timeout = [](RunStage& run, RunState state, std::int64_t late_ms) {
    fbs::StateTimeoutT m;
    m.state = state;
    m.attempt = 1;
    m.delay_ms = 900'000;
    m.due_unix_ms = run.now().unix_ms - late_ms;
    return run.tell(m);
  };
  for (const auto& [where, state] :
       {std::pair("provisioning", RunState::provisioning), std::pair("running", RunState::running),
        std::pair("verifying", RunState::verifying), std::pair("pull", RunState::delivering)}) {
    INFO(where);
    RunStage late = led_to(where);
    CHECK(timeout(late, state, 600'000).find("timer state +15m ") != std::string::npos);
    CHECK(late.state().state == state);
    CHECK_FALSE(late.state().stopping);
    RunStage punctual = led_to(where);
    timeout(punctual, state, 60'000);
    CHECK((punctual.state().stopping || punctual.state().state != state));
  }
}

TEST_CASE("a run from creation to its pull request") {
  RunStage run("R");
  run.tell(create_run());
  CHECK(acts(run) == "timer state\nindex run\n");
  run.tell(fbs::ProceedT{});
  CHECK(acts(run) == "repo Acquire\ntimer state\n");
  run.tell(fbs::RepoGrantedT{});
  CHECK(acts(run) == "fleet RunStatus\ntimer state\nindex queued\n");
  run.tell(placed(1));
  CHECK(acts(run) == "fleet RunStatus\ntimer state\neffect start/R-1\nunindex queued\nindex placed\n");
  run.tell(event(wire::Phase::accepted));
  CHECK(acts(run) == "");
  run.tell(event(wire::Phase::running));
  CHECK(acts(run) == "fleet RunStatus\ntimer state\n");
  run.tell(event(wire::Phase::verifying));
  CHECK(acts(run) == "fleet RunStatus\ntimer state\n");
  run.tell(finished(wire::Outcome::changed));
  CHECK(acts(run) ==
        "host Free\nfleet RunStatus\ntimer state\neffect push/f/acme/api/R-1\nunindex placed\n");
  run.tell(push_done(fbs::PushOutcome::pushed));
  CHECK(acts(run) == "repo OpenPull\n");
  run.tell(pull_opened(7));
  CHECK(acts(run) == "fleet RunStatus\nrepo Release\ncancel state\n");
  CHECK(where(run) == "delivered");
  CHECK(run.state().pull == 7);
  CHECK(run.state().status_number == 6);
  CHECK(run.decision().finished);
}

TEST_CASE("each end of an attempt") {
  const auto after = [](const fbs::HostEventT& report, fbs::CreateRunT create = create_run()) {
    RunStage run = led_to("verifying", std::move(create));
    run.tell(report);
    return where(run) + (run.state().escalated ? " escalated" : "");
  };
  using wire::Outcome;
  CHECK(after(finished(Outcome::unchanged)) == "unchanged no_change");
  CHECK(after(finished(Outcome::step_failed, "agent", 77)) == "skipped does_not_apply");
  CHECK(after(finished(Outcome::step_failed, "agent", 78)) == "failed agent gave_up escalated");
  CHECK(after(finished(Outcome::step_failed, "agent", 75)) == "waiting infrastructure temporary");
  CHECK(after(finished(Outcome::step_failed, "agent", 1)) == "waiting agent exit_code");
  CHECK(after(finished(Outcome::step_failed, "verify:t", 1)) ==
        "failed verification verify_failed escalated");
  CHECK(after(finished(Outcome::cancelled)) == "waiting infrastructure stopped");
  CHECK(after(event(wire::Phase::refused)) == "waiting infrastructure refused");
  CHECK(after(event(wire::Phase::finished)) == "waiting infrastructure bad_report");
  fbs::CreateRunT dry = create_run(), branch = create_run(), none = create_run();
  dry.policy->dry_run = true;
  none.policy->delivery = fbs::DeliveryMode::none;
  CHECK(after(finished(Outcome::changed), dry) == "skipped dry_run");
  CHECK(after(finished(Outcome::changed), none) == "delivered not_pushed");
  branch.policy->delivery = fbs::DeliveryMode::branch;
  RunStage run = led_to("push", branch);
  run.tell(push_done(fbs::PushOutcome::already_there));
  CHECK(where(run) == "delivered");
}

TEST_CASE("each end of a delivery") {
  const auto after = [](fbs::PushOutcome outcome) {
    RunStage run = led_to("push");
    run.tell(push_done(outcome));
    return where(run);
  };
  CHECK(after(fbs::PushOutcome::branch_exists) == "skipped branch_exists");
  CHECK(after(fbs::PushOutcome::base_moved) == "waiting delivery base_moved");
  CHECK(after(fbs::PushOutcome::rejected) == "failed delivery rejected");
  RunStage run = led_to("pull");
  fbs::PullOpenedT failed;
  failed.error = "no";
  run.tell(failed);
  CHECK(where(run) == "failed delivery pull_failed");
  RunStage silent = led_to("push");
  fbs::EffectUnknownT unknown;
  unknown.key = "push/f/acme/api/R-1";
  unknown.attempt = 1;
  silent.tell(unknown);
  CHECK(acts(silent) == "effect push/f/acme/api/R-1\n");
  silent.tell(unknown);
  silent.tell(unknown);
  CHECK(where(silent) == "failed delivery push_unknown");
}

TEST_CASE("a retried attempt is told of the last one, and the last attempt is the end") {
  RunStage run = led_to("backoff");
  CHECK(run.state().waiting_for == "backoff");
  run.fire("state");
  CHECK(where(run) == "queued agent exit_code");
  run.tell(placed(2));
  const auto effect = must_decode<fbs::EffectT>(run.decision().effects.at(0).bytes);
  CHECK(effect.body.AsStartSandbox()->feedback_json.find("\"exit_code\"") != std::string::npos);
  CHECK(effect.body.AsStartSandbox()->epoch->attempt() == 2);
  run.tell(finished(wire::Outcome::step_failed, "agent", 1, 2));
  run.fire("state");
  run.tell(placed(3));
  run.tell(finished(wire::Outcome::step_failed, "agent", 1, 3));
  CHECK(where(run) == "failed agent exit_code");
  CHECK(run.state().escalated);
}

namespace {

const engine::ActorId kItsFleet{"default", "fleet", "f"};

fbs::SteerRunT said(std::uint32_t number, std::string text) {
  fbs::SteerRunT m;
  m.number = number;
  m.by = "ann";
  m.text = std::move(text);
  m.at_unix_ms = 7;
  return m;
}

/// "0:be brief 2:go on" of the order to the host.
std::string told(RunStage& run) {
  const auto effect = must_decode<fbs::EffectT>(run.decision().effects.at(0).bytes);
  std::string text;
  for (const auto& message : effect.body.AsSteerSandbox()->messages)
    text += (text.empty() ? "" : " ") + std::to_string(message->number) + ":" + message->text;
  return text;
}

fbs::SteerDoneT steer_done(std::uint32_t attempt, std::uint32_t below, std::string error = "") {
  fbs::SteerDoneT m;
  m.attempt = attempt;
  m.below = below;
  m.error = std::move(error);
  return m;
}

}  // namespace

TEST_CASE("what is said goes to the sandbox at work in order, again until it is there, and to the next attempt whole") {
  RunStage run = led_to("queued");
  run.tell(said(0, "first"), kItsFleet);
  CHECK(acts(run).empty());  // it has no sandbox yet
  run.tell(placed(1));
  const auto start = must_decode<fbs::EffectT>(run.decision().effects.at(0).bytes);
  CHECK(start.body.AsStartSandbox()->messages_json ==
        R"([{"at_unix_ms":7,"by":"ann","number":0,"text":"first"}])");
  run.tell(said(2, "second"), kItsFleet);
  CHECK(acts(run) == "effect steer/R-1/2\n");
  CHECK(told(run) == "2:second");
  run.tell(event(wire::Phase::running));
  run.tell(said(3, "third"), kItsFleet);
  run.tell(said(4, "fourth"), kItsFleet);
  CHECK(acts(run).empty());  // one order after the other
  fbs::EffectUnknownT unknown;
  unknown.key = "steer/R-1/2";
  unknown.attempt = 1;
  run.tell(unknown);
  CHECK(told(run) == "2:second 3:third 4:fourth");
  run.tell(steer_done(7, 5));  // another attempt's
  CHECK(run.state().steering);
  run.tell(steer_done(1, 4));  // the host had taken less
  CHECK(told(run) == "4:fourth");
  run.tell(steer_done(1, 5));
  CHECK(acts(run).empty());
  run.tell(steer_done(1, 5));
  CHECK(acts(run).empty());
  run.tell(said(5, "fifth"), kItsFleet);
  run.tell(steer_done(1, 0, "no such sandbox"));
  CHECK(acts(run).empty());
  CHECK(run.state().steered == 5);
  run.tell(finished(wire::Outcome::step_failed, "agent", 1));
  run.tell(said(6, "sixth"), kItsFleet);
  CHECK(acts(run).empty());
  run.fire("state");
  run.tell(placed(2));
  const auto again = must_decode<fbs::EffectT>(run.decision().effects.at(0).bytes);
  for (const char* text : {"first", "second", "third", "fourth", "fifth", "sixth"})
    CHECK(again.body.AsStartSandbox()->messages_json.find(text) != std::string::npos);
  CHECK(run.state().steered == 7);
  run.tell(said(6, "sixth"), kItsFleet);  // the same message
  CHECK(acts(run).empty());
}

TEST_CASE("a person's word to a fleet's run is numbered and dated by the run") {
  RunStage run = led_to("running");
  fbs::SteerRunT word = said(9, "mind the tests");
  run.tell(word);
  CHECK(told(run) == "0:mind the tests");
  REQUIRE(run.decision().reply);
  CHECK_FALSE(run.decision().reply->error);
  run.tell(steer_done(1, 1));
  run.tell(word);
  CHECK(told(run) == "1:mind the tests");
  const auto kept = must_decode<fbs::SteerRunT>(run.rows().row(run_message_key(1)).value());
  CHECK(kept.at_unix_ms == run.now().unix_ms);
  CHECK(kept.by == "ann");
  const auto refused = [&](const std::string& why) {
    REQUIRE(run.decision().reply);
    CHECK(run.decision().reply->error);
    CHECK(run.decision().reply->body.find(why) != std::string::npos);
  };
  word.text.clear();
  run.tell(word);
  refused("a message has 1 to 4096 bytes");
  word.text = std::string(5'000, 'x');
  run.tell(word);
  refused("a message has 1 to 4096 bytes");
  run.state().swarm = true;
  run.tell(said(0, "x"));
  refused("belongs to a swarm: muster swarm steer ");
  run = led_to("unchanged");
  run.tell(said(0, "x"));
  refused("has ended: unchanged");
}

TEST_CASE("cancelling in every state") {
  const std::map<std::string, std::string> expected = {
      {"wave", "cancelled cancelled"},     {"repo", "cancelled cancelled"},
      {"queued", "cancelled cancelled"},   {"backoff", "cancelled cancelled"},
      {"provisioning", "provisioning"},    {"running", "running"},
      {"verifying", "verifying"},          {"push", "delivering"},
      {"pull", "delivering"},              {"unchanged", "unchanged no_change"},
      {"failed", "failed agent gave_up"},  {"delivered", "delivered"}};
  for (const std::string& state : kEverywhere) {
    INFO(state);
    RunStage run = led_to(state);
    const bool over = is_end(run.state().state);
    fbs::CancelRunT cancel;
    cancel.by = "ann";
    run.tell(cancel);
    CHECK(where(run) == expected.at(state));
    CHECK(run.decision().audits.size() == (over ? 0u : 1u));  // Of what has ended nothing is decided.
    if (run.state().state < RunState::provisioning || run.state().state > RunState::verifying) continue;
    CHECK(run.decision().effects.at(0).key == "stop/R-1");
    run.tell(finished(wire::Outcome::cancelled));
    CHECK(where(run) == "cancelled cancelled");
    CHECK(acts(run) == "host Free\nfleet RunStatus\nrepo Release\ncancel state\nunindex placed\n");
  }
}

TEST_CASE("a released run leaves its host and is queued again, outside of what it may be retried") {
  fbs::ReleaseRunT release;
  release.by = "ann";
  release.reason = "the host is slow";
  for (const std::string& state : kEverywhere) {
    INFO(state);
    RunStage run = led_to(state);
    run.tell(release);
    const bool on_host = state == "provisioning" || state == "running" || state == "verifying";
    CHECK(acts(run).starts_with("refuse refused: run ") == !on_host);
    if (!on_host) continue;
    CHECK(run.state().stopping);
    run.tell(release);  // Twice is once.
    CHECK(acts(run) == "reply \n");
    run.tell(finished(wire::Outcome::cancelled));
    CHECK(where(run) == "queued");
    CHECK(run.state().released == 1);
    const auto row = must_decode<fbs::AttemptRowT>(run.rows().all.at("attempt/0001"));
    CHECK(row.reason == "released");
    CHECK(row.message == "released by ann: the host is slow");
    // The next attempt is told to start, and has all of its tries before it.
    run.tell(placed(2));
    CHECK(run.state().attempt - run.state().released == 1);
  }
  // What was ready first is delivered, what a person cancels is cancelled, and a lost host is no
  // loss.
  RunStage ready = led_to("verifying");
  ready.tell(release);
  ready.tell(finished(wire::Outcome::changed));
  CHECK(where(ready) == "delivering");
  RunStage unwanted = led_to("running");
  unwanted.tell(release);
  unwanted.tell(fbs::CancelRunT{});
  unwanted.tell(finished(wire::Outcome::cancelled));
  CHECK(where(unwanted) == "cancelled cancelled");
  RunStage lost = led_to("running");
  lost.tell(release);
  fbs::HostLostT gone;
  gone.host = "h";
  gone.session = 5;
  lost.tell(gone);
  CHECK(where(lost) == "queued");
}

TEST_CASE("a moved run is queued with where it may go, until it is placed") {
  const auto queued_as = [](RunStage& run) {
    std::string text;
    for (const auto& change : run.decision().indexes)
      if (change.index == "queued" && change.value) {
        const auto entry = must_decode<fbs::QueuedRunT>(*change.value);
        text += entry.host + (entry.moving ? " moving to '" + entry.to + "'" : "");
      }
    return text;
  };
  fbs::ReleaseRunT move;
  move.by = "ann";
  move.reason = "the host is slow";
  move.move = true;
  for (const std::string to : {"", "h2"}) {
    INFO(to);
    move.to = to;
    RunStage run = led_to("running");
    run.tell(move);
    CHECK(run.decision().audits.at(0).action == "run.move");
    run.tell(finished(wire::Outcome::cancelled));
    CHECK(where(run) == "queued");
    CHECK(queued_as(run) == "h moving to '" + to + "'");
    const auto row = must_decode<fbs::AttemptRowT>(run.rows().all.at("attempt/0001"));
    CHECK(row.reason == "moved");
    CHECK(row.message == "moved by ann" + (to.empty() ? "" : " to " + to) + ": the host is slow");
    // Where it goes may be changed while it waits for that; the same word again changes nothing.
    run.tell(move);
    CHECK(acts(run) == "reply \n");
    move.to = "h3";
    run.tell(move);
    CHECK(queued_as(run) == "h moving to 'h3'");
    CHECK(acts(run) == "index queued\nreply \n");
    fbs::ReleaseRunT anywhere;
    anywhere.by = "ann";
    run.tell(anywhere);
    CHECK(queued_as(run) == "h");
    run.tell(anywhere);
    CHECK(acts(run).starts_with("refuse refused: run R is queued"));
    run.tell(placed(2, "h3"));
    CHECK(run.state().moving == false);
    CHECK(run.state().released == 1);
  }
  RunStage stays = led_to("running");
  move.to = "h";
  stays.tell(move);
  CHECK(acts(stays) == "refuse refused: run R is on host h already\n");
  CHECK_FALSE(stays.state().stopping);
  // What was ready first is delivered, and nothing of the move is left.
  RunStage ready = led_to("verifying");
  move.to = "h2";
  ready.tell(move);
  ready.tell(finished(wire::Outcome::changed));
  CHECK(where(ready) == "delivering");
  CHECK(ready.state().moving == false);
  CHECK(ready.state().move_to.empty());
}

TEST_CASE("a fork begins with its snapshot, each time, on the host that has it") {
  fbs::CreateRunT create = create_run();
  create.policy->resume = true;
  create.fork = std::make_unique<fbs::ForkT>();
  create.fork->run = "O";
  create.fork->snapshot = "snap-0011223344556677";
  create.fork->host = "h";
  RunStage run = led_to("repo", create);
  run.tell(fbs::RepoGrantedT{});
  const auto queued = must_decode<fbs::QueuedRunT>(run.decision().indexes.at(0).value.value());
  CHECK(queued.bound);
  CHECK(queued.to == "h");
  run.tell(placed(1));
  const auto started = [](RunStage& stage) {
    auto effect = must_decode<fbs::EffectT>(stage.decision().effects.at(0).bytes);
    return effect.body.AsStartSandbox() != nullptr ? *effect.body.AsStartSandbox() : fbs::StartSandboxT{};
  };
  CHECK(started(run).snapshot == "snap-0011223344556677");
  run.tell(event(wire::Phase::running));
  fbs::ReleaseRunT move;
  move.by = "ann";
  move.to = "h2";
  run.tell(move);
  CHECK(acts(run) == "refuse refused: run R is a fork, and its snapshot lies on host h only\n");
  auto failed = finished(wire::Outcome::step_failed, "agent", 1);
  failed.event->report->checkpoint = std::make_unique<wire::CheckpointT>();
  failed.event->report->checkpoint->commit = failed.event->report->checkpoint->base = std::string(40, 'a');
  failed.event->report->checkpoint->digest = std::string(64, 'c');
  run.tell(failed);
  fbs::BackoffOverT over;
  over.attempt = 1;
  run.tell(over);
  run.tell(placed(2));
  CHECK(started(run).snapshot == "snap-0011223344556677");
  CHECK_FALSE(started(run).checkpoint);
  auto gone = event(wire::Phase::refused, 2);
  gone.event->reason = "no_snapshot";
  run.tell(gone);
  CHECK(where(run) == "failed infrastructure no_snapshot");
}

TEST_CASE("each timer that fires leads on") {
  const auto after = [](const std::string& state, int times) {
    RunStage run = led_to(state);
    for (int i = 0; i < times; ++i) run.fire("state");
    return where(run);
  };
  CHECK(after("wave", 1) == "cancelled deadline");
  CHECK(after("repo", 1) == "cancelled deadline");
  CHECK(after("queued", 1) == "cancelled deadline");
  CHECK(after("provisioning", 1) == "provisioning");  // told to stop
  CHECK(after("provisioning", 2) == "waiting infrastructure no_report");
  CHECK(after("running", 2) == "waiting infrastructure no_report");
  CHECK(after("verifying", 2) == "waiting infrastructure no_report");
  CHECK(after("push", 1) == "failed delivery timed_out");
  CHECK(after("pull", 1) == "failed delivery timed_out");
  CHECK(after("backoff", 1) == "queued agent exit_code");
}

TEST_CASE("what is stale, doubled or foreign changes nothing, in every state") {
  for (const std::string& state : kEverywhere) {
    RunStage run = led_to(state);
    const auto unmoved = [&](const char* what, const auto& message) {
      INFO(state << " " << what);
      const std::string before = engine::encode_table(run.state());
      run.tell(message);
      CHECK(engine::encode_table(run.state()) == before);
      CHECK(run.timers().size() == (is_end(run.state().state) ? 0U : 1U));
      CHECK(run.decision().effects.empty());
      CHECK(run.decision().indexes.empty());
    };
    unmoved("created twice", create_run());
    fbs::HostEventT foreign = finished(wire::Outcome::changed);
    foreign.host = "other";
    unmoved("another host's report", foreign);
    unmoved("an older session's report", event(wire::Phase::finished, 1, 4));
    unmoved("another attempt's report", finished(wire::Outcome::changed, "", 0, 2));
    fbs::HostEventT generation = finished(wire::Outcome::changed);
    generation.epoch = std::make_unique<wire::Epoch>(0, 1, 5);
    unmoved("another installation's report", generation);
    fbs::HostEventT empty;
    empty.host = "h";
    unmoved("an event of nothing", empty);
    fbs::HostLostT lost;
    lost.host = "h";
    lost.session = 4;
    unmoved("an older session lost", lost);
    fbs::StateTimeoutT timeout;
    timeout.state = RunState::queued;
    timeout.attempt = 9;
    unmoved("an older timer", timeout);
    fbs::BackoffOverT over;
    over.attempt = 9;
    unmoved("an older backoff", over);
    fbs::StartDoneT start;
    start.attempt = 9;
    start.error = "no";
    unmoved("another attempt's start", start);
    fbs::PushDoneT push = push_done(fbs::PushOutcome::rejected);
    push.attempt = 9;
    unmoved("another attempt's push", push);
    unmoved("a stop that is done", fbs::StopDoneT{});
    unmoved("an unknown of old", fbs::EffectUnknownT{});
    unmoved("a placement that is not wanted", placed(9));
    CHECK(acts(run) == "host Free\n");
    if (state != "wave") unmoved("proceeding twice", fbs::ProceedT{});
    if (state != "repo") unmoved("granted twice", fbs::RepoGrantedT{});
    if (state != "repo") unmoved("refused late", fbs::RepoRefusedT{});
    if (state != "pull") unmoved("a pull request of old", pull_opened(3));
    if (state != "failed") unmoved("superseded too early", fbs::SupersedeT{});
  }
}

TEST_CASE("a lost host means another attempt, whatever the policy retries") {
  fbs::CreateRunT create = create_run();
  create.policy->retry_on.clear();
  for (const char* state : {"provisioning", "running", "verifying"}) {
    RunStage run = led_to(state, create);
    fbs::HostLostT lost;
    lost.host = "h";
    lost.session = 5;
    run.tell(lost);
    CHECK(where(run) == "waiting infrastructure host_lost");
    CHECK(acts(run) == "fleet RunStatus\ntimer state\nunindex placed\n");
  }
}

TEST_CASE("a start that may have happened is stopped; one that the host refused is over") {
  RunStage run = led_to("provisioning");
  fbs::EffectUnknownT unknown;
  unknown.key = "start/R-1";
  unknown.attempt = 1;
  run.tell(unknown);
  CHECK(acts(run) == "timer state\neffect stop/R-1\n");
  RunStage accepted = led_to("provisioning");
  accepted.tell(event(wire::Phase::accepted));
  accepted.tell(unknown);
  CHECK(acts(accepted) == "");
  RunStage refused = led_to("provisioning");
  fbs::StartDoneT done;
  done.attempt = 1;
  done.error = "no such image";
  refused.tell(done);
  CHECK(where(refused) == "waiting infrastructure start_failed");
}

TEST_CASE("a failed run is superseded; a name that is taken fails it") {
  RunStage failed = led_to("failed");
  failed.tell(fbs::SupersedeT{});
  CHECK(failed.state().state == RunState::superseded);
  CHECK(acts(failed) == "fleet RunStatus\n");
  RunStage taken = led_to("repo");
  fbs::RepoRefusedT refused;
  refused.code = "name_taken";
  refused.reason = "acme/api is /a already";
  taken.tell(refused);
  CHECK(where(taken) == "failed policy name_taken");
}

TEST_CASE("a run is removed with its fleet, once it has ended") {
  for (const std::string& place : kEverywhere) {
    INFO(place);
    RunStage run = led_to(place);
    const bool ended = is_end(run.state().state);
    run.tell(fbs::ForgetRunT{});
    CHECK(run.decision().removed == ended);
    CHECK(acts(run) == (ended ? "unindex run\n" : ""));
  }
}

TEST_CASE("an enormous report is kept within a row's limits") {
  RunStage run = led_to("verifying");
  fbs::HostEventT report = finished(wire::Outcome::step_failed, "agent", 1);
  report.event->report->summary = std::string(400'000, 's');
  report.event->report->result_json = std::string(200'000, 'r');
  for (int i = 0; i < 500; ++i) {
    report.event->report->warnings.push_back(std::string(2'000, 'w'));
    report.event->report->steps.push_back(std::make_unique<wire::StepReportT>());
    report.event->report->steps.back()->name = "verify:" + std::to_string(i);
    report.event->report->steps.back()->tail = std::string(20'000, 't');
  }
  run.tell(report);
  CHECK(run.rows().all.at(attempt_key(1)).size() < 500'000);
  CHECK(where(run) == "failed verification verify_failed");
}
