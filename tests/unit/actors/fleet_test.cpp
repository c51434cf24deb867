// One fleet, told everything by hand.
#include "actors/fleet/fleet.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "stages.hpp"

using namespace muster;
using namespace muster::actors;
using fbs::FleetState;
using fbs::RunState;

namespace {

using FleetStage = engine::testing::Stage<Fleet>;

fbs::CreateFleetT create_fleet(std::uint32_t repositories) {
  fbs::CreateFleetT m;
  m.digest = std::string(64, 'd');
  m.spec_digest = std::string(64, 'e');
  m.repositories = repositories;
  m.timeout_ms = 3'600'000;
  m.policy = std::make_unique<fbs::RunPolicyT>();
  return m;
}

fbs::SnapshotPageT page_of(std::uint32_t first, std::uint32_t count) {
  fbs::SnapshotPageT page;
  page.first = first;
  for (std::uint32_t i = first; i < first + count; ++i) {
    page.entries.push_back(std::make_unique<fbs::SnapshotEntryT>());
    page.entries.back()->repository = "acme/r" + std::to_string(i);
    page.entries.back()->url = page.entries.back()->canonical_url = "/srv/r" + std::to_string(i);
  }
  return page;
}

FleetStage made(const fbs::CreateFleetT& create) {
  FleetStage stage("f");
  stage.tell(create);
  for (std::uint32_t i = 0; i < create.repositories; i += 100)
    stage.tell(page_of(i, std::min(100U, create.repositories - i)));
  return stage;
}

std::vector<fbs::RunRowT> rows_of(FleetStage& stage) {
  std::vector<fbs::RunRowT> rows;
  for (const auto& [key, bytes] : stage.rows().all)
    if (key.starts_with("run/")) rows.push_back(must_decode<fbs::RunRowT>(bytes));
  return rows;
}

/// The next word of a run about itself.
void says(FleetStage& stage, const fbs::RunRowT& row, RunState state,
          fbs::FailureClass cls = fbs::FailureClass::none) {
  fbs::RunStatusT status;
  status.run = row.run;
  status.number = row.number + 1;
  status.state = state;
  status.class_ = cls;
  status.attempt = 1;
  stage.tell(status);
  const auto& head = stage.state();
  CHECK(fleet::counter_differences(head, fleet::recount(rows_of(stage), head.waves)) == "");
}

void all_say(FleetStage& stage, std::uint32_t wave, RunState state,
             fbs::FailureClass cls = fbs::FailureClass::none) {
  for (const fbs::RunRowT& row : rows_of(stage))
    if (row.wave == wave && !is_end(row.state)) says(stage, row, state, cls);
}

int count_of(const std::string& text, const std::string& line) {
  int n = 0;
  for (std::size_t at = 0; (at = text.find(line, at)) != std::string::npos; at += line.size()) ++n;
  return n;
}

}  // namespace

TEST_CASE("waves are cumulative, rise, and end with everything") {
  const auto limits = [](std::vector<std::uint32_t> permille, std::vector<std::uint32_t> counts,
                         std::uint32_t total) {
    fbs::CreateFleetT create;
    create.waves = std::move(permille);
    create.wave_counts = std::move(counts);
    return fleet::wave_limits(create, total);
  };
  using Limits = std::vector<std::uint32_t>;
  CHECK(limits({0, 100, 1000}, {5, 0, 0}, 500) == Limits{5, 50, 500});
  CHECK(limits({0, 100, 1000}, {5, 0, 0}, 20) == Limits{5, 20});
  CHECK(limits({0, 100, 1000}, {5, 0, 0}, 3) == Limits{3});
  CHECK(limits({}, {}, 7) == Limits{7});
  CHECK(limits({1}, {}, 7) == Limits{1, 7});
  CHECK(fleet::wave_of({5, 50, 500}, 4) == 0);
  CHECK(fleet::wave_of({5, 50, 500}, 5) == 1);
  CHECK(fleet::wave_of({5, 50, 500}, 499) == 2);
}

TEST_CASE("a fleet is made once, in pages, and opens its waves one after the other") {
  fbs::CreateFleetT create = create_fleet(150);
  create.waves = {0, 1000};
  create.wave_counts = {2, 0};
  FleetStage stage("f");
  stage.tell(create);
  CHECK(acts(stage) == "timer deadline\neffect snapshot/f/0\nindex fleet\nreply created\n");
  stage.tell(create);
  CHECK(acts(stage) == "reply continued\n");
  fbs::CreateFleetT other = create;
  other.digest = std::string(64, 'x');
  stage.tell(other);
  CHECK(acts(stage).starts_with("refuse conflict: fleet f exists with another content"));

  stage.tell(page_of(0, 100));
  CHECK(count_of(acts(stage), "run CreateRun\n") == 100);
  CHECK(count_of(acts(stage), "effect snapshot/f/100\n") == 1);
  stage.tell(page_of(0, 100));  // once more
  CHECK(acts(stage) == "");
  CHECK(stage.state().state == FleetState::pending);
  stage.tell(page_of(100, 50));
  CHECK(count_of(acts(stage), "run CreateRun\n") == 50);
  CHECK(count_of(acts(stage), "run Proceed\n") == 2);
  CHECK(stage.state().state == FleetState::running);

  all_say(stage, 0, RunState::delivered);
  CHECK(stage.state().wave == 2);
  int proceeded = count_of(acts(stage), "run Proceed\n");
  while (count_of(acts(stage), "fleet NextPage\n") == 1) {
    const auto next = Fleet::Messages::decode(stage.decision().sends.back().payload);
    stage.tell(std::get<fbs::NextPageT>(*next));
    CHECK(stage.decision().sends.size() <= fleet::kPage + 1);
    proceeded += count_of(acts(stage), "run Proceed\n");
  }
  CHECK(proceeded == 148);
  all_say(stage, 1, RunState::unchanged);
  CHECK(stage.state().state == FleetState::completed);
  CHECK(acts(stage) == "cancel deadline\nunindex fleet-held\n");
}

TEST_CASE("an older word of a run is ignored") {
  FleetStage stage = made(create_fleet(2));
  const fbs::RunRowT row = rows_of(stage)[0];
  says(stage, row, RunState::failed, fbs::FailureClass::agent);
  const std::string before = engine::encode_table(stage.state());
  says(stage, row, RunState::delivered);
  fbs::RunStatusT stranger;
  stranger.run = "NOBODY";
  stranger.number = 1;
  stage.tell(stranger);
  CHECK(engine::encode_table(stage.state()) == before);
}

TEST_CASE("too many failures halt; resuming accepts them and counts anew") {
  fbs::CreateFleetT create = create_fleet(30);
  create.halt_permille = 200;
  create.halt_min_runs = 10;
  FleetStage stage = made(create);
  const auto rows = rows_of(stage);
  for (std::size_t i = 0; i < 8; ++i) says(stage, rows[i], RunState::delivered);
  says(stage, rows[8], RunState::failed, fbs::FailureClass::agent);
  CHECK(stage.state().state == FleetState::running);
  says(stage, rows[9], RunState::failed, fbs::FailureClass::agent);
  CHECK(stage.state().state == FleetState::halted);
  CHECK(stage.state().reason == "2 of 10 runs failed; the limit is 20%");
  CHECK(acts(stage) == "index fleet-held\n");
  stage.tell(fbs::PauseFleetT{});
  CHECK(acts(stage).starts_with("refuse refused: fleet f is halted already"));
  stage.tell(fbs::ResumeFleetT{});
  CHECK(acts(stage) == "unindex fleet-held\nreply \n");
  CHECK(stage.state().state == FleetState::running);
  for (std::size_t i = 10; i < 18; ++i) says(stage, rows[i], RunState::unchanged);
  says(stage, rows[18], RunState::failed, fbs::FailureClass::agent);
  CHECK(stage.state().state == FleetState::running);
  says(stage, rows[19], RunState::failed, fbs::FailureClass::agent);
  CHECK(stage.state().state == FleetState::halted);
}

TEST_CASE("a paused fleet opens no wave until it is resumed") {
  fbs::CreateFleetT create = create_fleet(4);
  create.waves = {500, 1000};
  FleetStage stage = made(create);
  fbs::PauseFleetT pause;
  pause.by = "alice";
  pause.reason = "lunch";
  stage.tell(pause);
  CHECK(stage.state().reason == "paused by alice: lunch");
  all_say(stage, 0, RunState::delivered);
  CHECK(stage.state().wave == 1);
  stage.tell(fbs::ResumeFleetT{});
  CHECK(count_of(acts(stage), "run Proceed\n") == 2);
  all_say(stage, 1, RunState::delivered);
  stage.tell(fbs::PauseFleetT{});
  CHECK(acts(stage) == "refuse refused: fleet f has ended: completed\n");
}

TEST_CASE("cancelling, by a person or by time, ends when the last run ended") {
  for (const bool by_time : {false, true}) {
    FleetStage stage = made(create_fleet(3));
    says(stage, rows_of(stage)[0], RunState::delivered);
    if (by_time) {
      stage.fire("deadline");
      CHECK(stage.state().reason == "timed out after 1h");
    } else {
      stage.tell(fbs::CancelFleetT{});
    }
    CHECK(count_of(acts(stage), "run CancelRun\n") == 2);
    CHECK(count_of(acts(stage), "index fleet-held\n") == 1);
    CHECK(stage.state().state == FleetState::running);
    stage.tell(fbs::RetryFleetT{});
    CHECK(acts(stage) == "refuse refused: fleet f is being cancelled\n");
    all_say(stage, 0, RunState::cancelled);
    CHECK(stage.state().state == FleetState::cancelled);
    stage.tell(fbs::CancelFleetT{});
    CHECK(acts(stage) == "reply \n");
  }
}

TEST_CASE("cancelling before every run is made makes no more of them") {
  FleetStage stage("f");
  stage.tell(create_fleet(150));
  stage.tell(page_of(0, 100));
  stage.tell(fbs::CancelFleetT{});
  stage.tell(page_of(100, 50));
  CHECK(acts(stage) == "");
  CHECK(rows_of(stage).size() == 100);
}

TEST_CASE("a retry makes a new generation of what failed and matches, and reopens the fleet") {
  FleetStage stage = made(create_fleet(4));
  const auto rows = rows_of(stage);
  says(stage, rows[0], RunState::failed, fbs::FailureClass::agent);
  says(stage, rows[1], RunState::failed, fbs::FailureClass::verification);
  says(stage, rows[2], RunState::delivered);
  says(stage, rows[3], RunState::skipped);
  CHECK(stage.state().state == FleetState::completed_with_failures);

  fbs::RetryFleetT retry;
  retry.classes = {fbs::FailureClass::delivery};
  stage.tell(retry);
  CHECK(acts(stage) ==
        "refuse refused: no failed run of fleet f to retry with that class and repository\n");
  retry.classes = {fbs::FailureClass::agent};
  retry.repository_glob = "nobody/*";
  stage.tell(retry);
  CHECK(acts(stage).starts_with("refuse refused: no failed run"));
  retry.repository_glob = rows[0].repository;
  retry.by = "ann";
  retry.reason = "the mirror is back";
  const std::string told = stage.tell(retry);
  CHECK(told.find("audit ann fleet.retry the mirror is back (only " + rows[0].repository + ")\n") !=
        std::string::npos);
  CHECK(acts(stage) == "run CreateRun\nrun Proceed\nrun Supersede\ntimer deadline\nreply \n");
  CHECK(stage.state().state == FleetState::running);
  stage.tell(retry);  // before the old run's word
  CHECK(acts(stage).starts_with("refuse refused: no failed run"));

  fbs::RunRowT old = must_decode<fbs::RunRowT>(stage.rows().all.at("run/" + rows[0].run));
  says(stage, old, RunState::superseded);
  for (const fbs::RunRowT& row : rows_of(stage))
    if (row.generation == 2) says(stage, row, RunState::delivered);
  CHECK(stage.state().state ==
        FleetState::completed_with_failures);  // the verification still failed
  stage.tell(fbs::RetryFleetT{});
  for (const fbs::RunRowT& row : rows_of(stage))
    if (row.state == RunState::failed) says(stage, row, RunState::superseded);
  for (const fbs::RunRowT& row : rows_of(stage))
    if (!is_end(row.state)) says(stage, row, RunState::delivered);
  CHECK(stage.state().state == FleetState::completed);
  CHECK(stage.state().created == 4);
  CHECK(rows_of(stage).size() == 6);
}

TEST_CASE("a cancelled fleet is retried, wherever in its rows the failed run stands, and nothing new is cancelled") {
  FleetStage stage = made(create_fleet(700));
  stage.tell(fbs::CancelFleetT{});
  fbs::NextPageT pending;  // of the cancel, and still under way when everything has ended
  pending.what = fbs::FanOut::cancel;
  const auto rows = rows_of(stage);
  for (std::size_t i = 0; i < rows.size(); ++i)
    says(stage, rows[i], i + 1 == rows.size() ? RunState::failed : RunState::cancelled,
         i + 1 == rows.size() ? fbs::FailureClass::agent : fbs::FailureClass::none);
  REQUIRE(stage.state().state == FleetState::cancelled);
  stage.tell(fbs::RetryFleetT{});
  CHECK(stage.state().state == FleetState::running);
  CHECK(acts(stage).find("fleet NextPage") != std::string::npos);  // it was not on the first page
  const auto next = Fleet::Messages::decode(stage.decision().sends.back().payload);
  stage.tell(pending);
  CHECK(acts(stage).empty());
  stage.tell(std::get<fbs::NextPageT>(*next));
  CHECK(acts(stage).find("run CreateRun\nrun Proceed\nrun Supersede\n") != std::string::npos);
  stage.tell(pending);
  CHECK(acts(stage).empty());
  CHECK(rows_of(stage).size() == 701);
}

TEST_CASE("the same repository twice is one run; an unreadable snapshot halts until resumed") {
  FleetStage stage("f");
  stage.tell(create_fleet(3));
  fbs::SnapshotPageT broken;
  broken.error = "gone";
  stage.tell(broken);
  CHECK(stage.state().reason == "the list of repositories can't be read: gone");
  stage.tell(fbs::ResumeFleetT{});
  CHECK(acts(stage) == "effect snapshot/f/0\nunindex fleet-held\nreply \n");
  fbs::SnapshotPageT page = page_of(0, 2);
  page.entries.push_back(std::make_unique<fbs::SnapshotEntryT>(*page.entries[0]));
  stage.tell(page);
  CHECK(rows_of(stage).size() == 2);
  CHECK(stage.state().total == 2);
  all_say(stage, 0, RunState::delivered);
  CHECK(stage.state().state == FleetState::completed);
}

TEST_CASE("long texts make smaller pages, never a decision that is too large") {
  fbs::CreateFleetT create = create_fleet(100);
  create.body = std::string(60'000, 'b');
  FleetStage stage("f");
  stage.tell(create);
  for (std::uint32_t first = 0; first < 100; first = stage.state().snapshot_next) {
    const std::string told = stage.tell(page_of(first, 100 - first));
    REQUIRE_FALSE(told.starts_with("throws"));
    REQUIRE(stage.state().snapshot_next > first);
  }
  CHECK(rows_of(stage).size() == 100);
  create.body = std::string(70'000, 'b');
  FleetStage refused("g");
  refused.tell(create);
  CHECK(acts(refused).starts_with("refuse invalid: title, body and names"));
  refused.tell(fbs::PauseFleetT{});
  CHECK(acts(refused) == "refuse not_found: no fleet g\n");
}

namespace {

fbs::AddRunT add_run(const std::string& run) {
  fbs::AddRunT add;
  add.run = run;
  add.create = std::make_unique<fbs::CreateRunT>();
  add.create->fleet = "f";
  add.create->repository = "acme/api";
  add.create->url = "/srv/api";
  return add;
}

FleetStage of_swarm() {
  fbs::CreateFleetT create = create_fleet(0);
  create.timeout_ms = 0;
  create.swarm = "f";
  FleetStage stage("f");
  stage.tell(create);
  return stage;
}

const engine::ActorId kSwarm{"default", "swarm", "f"};

}  // namespace

TEST_CASE("a swarm's fleet takes runs one by one, tells their ends, and ends when it is closed") {
  FleetStage stage = of_swarm();
  CHECK(acts(stage) == "index fleet\nreply created\n");
  CHECK(stage.state().state == FleetState::running);
  stage.tell(add_run("R1"), kSwarm);
  CHECK(acts(stage) == "run CreateRun\nrun Proceed\n");
  stage.tell(add_run("R1"), kSwarm);
  CHECK(acts(stage).empty());
  says(stage, rows_of(stage)[0], RunState::running);
  CHECK(acts(stage).empty());
  says(stage, rows_of(stage)[0], RunState::delivered);
  CHECK(acts(stage) == "swarm SwarmRunEnded\n");
  CHECK(stage.state().state == FleetState::running);
  stage.tell(fbs::CloseFleetT{}, kSwarm);
  CHECK(stage.state().state == FleetState::completed);
  stage.tell(add_run("R2"), kSwarm);
  CHECK(stage.state().state == FleetState::running);
  CHECK(stage.state().total == 2);
  CHECK(fleet::counter_differences(stage.state(), fleet::recount(rows_of(stage), 1)).empty());
}

TEST_CASE("only its swarm pauses and cancels a swarm's fleet") {
  FleetStage stage = of_swarm();
  stage.tell(add_run("R1"), kSwarm);
  stage.tell(fbs::CancelFleetT{});
  CHECK(acts(stage) == "refuse refused: fleet f belongs to a swarm: muster swarm cancel f\n");
  stage.tell(fbs::RetryFleetT{});
  CHECK(acts(stage) == "refuse refused: fleet f belongs to a swarm: muster swarm retry f\n");
  stage.tell(fbs::PauseFleetT{});
  CHECK(acts(stage) == "refuse refused: fleet f belongs to a swarm: muster swarm pause f\n");
  stage.tell(fbs::PauseFleetT{}, kSwarm);
  CHECK(stage.state().state == FleetState::paused);
  stage.tell(fbs::CancelFleetT{}, kSwarm);
  CHECK(acts(stage).find("run CancelRun\n") != std::string::npos);
  says(stage, rows_of(stage)[0], RunState::cancelled);
  CHECK(acts(stage).starts_with("swarm SwarmRunEnded\n"));
  CHECK(stage.state().state == FleetState::cancelled);
}

TEST_CASE("a swarm that goes on while its fleet pages through a cancel keeps what is new, and nothing that is old") {
  FleetStage stage = of_swarm();
  constexpr int kRuns = 350;  // of which a page tells a hundred
  for (int i = 0; i < kRuns; ++i) stage.tell(add_run("R" + std::to_string(1000 + i)), kSwarm);
  std::set<std::string> told;
  std::vector<fbs::NextPageT> pages;
  const auto take = [&](const engine::Decision& decision) {
    for (const auto& out : decision.sends) {
      if (out.to.kind == "run" && engine::describe_payload<Run>(out.payload).starts_with("CancelRun"))
        CHECK(told.insert(out.to.key).second);
      if (out.to.kind == "fleet")
        pages.push_back(std::get<fbs::NextPageT>(*actors::Fleet::Messages::decode(out.payload)));
    }
  };
  stage.tell(fbs::CancelFleetT{}, kSwarm);
  take(stage.decision());
  REQUIRE(pages.size() == 1);
  for (const char* run : {"R1199x", "R0000"}) stage.tell(add_run(run), kSwarm);  // in later pages, and before them
  CHECK(stage.state().state == FleetState::running);
  while (!pages.empty()) {
    const fbs::NextPageT page = pages.back();
    pages.pop_back();
    stage.tell(page);
    take(stage.decision());
  }
  CHECK(told.size() == kRuns);
  CHECK_FALSE(told.contains("R1199x"));
  CHECK_FALSE(told.contains("R0000"));
  // Cancelled once more, all that is left is meant.
  stage.tell(fbs::CancelFleetT{}, kSwarm);
  told.clear();
  take(stage.decision());
  CHECK(told.contains("R0000"));
}

TEST_CASE("a swarm whose name a fleet has is told so") {
  FleetStage stage = made(create_fleet(1));
  fbs::CreateFleetT other = create_fleet(0);
  other.digest = std::string(64, 'x');
  other.swarm = "f";
  stage.tell(other, kSwarm);
  CHECK(acts(stage).starts_with("swarm FleetTaken\nrefuse conflict: fleet f exists"));
}

namespace {

fbs::RemoveContentsT contents(FleetStage& stage, bool done) {
  fbs::RemoveContentsT m;
  m.ended_unix_ms = stage.state().ended_unix_ms;
  m.done = done;
  return m;
}

fbs::ForgetFleetT forget(FleetStage& stage) {
  fbs::ForgetFleetT m;
  m.ended_unix_ms = stage.state().ended_unix_ms;
  return m;
}

}  // namespace

TEST_CASE(
    "long after its end a fleet gives its contents up, and then it goes with its runs, page by "
    "page") {
  FleetStage stage = made(create_fleet(150));
  stage.tell(contents(stage, false));
  CHECK(acts(stage) == "refuse refused: fleet f has not ended at that time\n");
  all_say(stage, 0, RunState::delivered);
  stage.tell(forget(stage));
  CHECK(acts(stage) == "refuse refused: fleet f still has its contents\n");
  stage.tell(contents(stage, true));
  CHECK(acts(stage) == "refuse refused: the contents of fleet f were not given up\n");
  stage.advance(Duration{1'000});
  stage.tell(contents(stage, false));
  CHECK(acts(stage) == "reply \n");
  const std::int64_t given_up = stage.state().removed_unix_ms;
  CHECK(given_up == stage.now().unix_ms);
  stage.advance(Duration{1'000});
  stage.tell(contents(stage, false));  // Once more, after a crash in between.
  CHECK(stage.state().removed_unix_ms == given_up);
  CHECK_FALSE(stage.state().contents_gone);
  stage.tell(contents(stage, true));
  CHECK(stage.state().contents_gone);

  stage.tell(forget(stage));
  CHECK(acts(stage).ends_with("unindex fleet\nreply \n"));
  int forgotten = count_of(acts(stage), "run ForgetRun\n");
  while (count_of(acts(stage), "fleet NextPage\n") == 1) {
    CHECK_FALSE(stage.decision().removed);
    const auto next = Fleet::Messages::decode(stage.decision().sends.back().payload);
    stage.tell(create_fleet(150));
    CHECK(acts(stage).starts_with("refuse conflict: the old fleet f is being removed"));
    stage.tell(fbs::RetryFleetT{});
    CHECK(acts(stage).starts_with("refuse not_found"));
    stage.tell(std::get<fbs::NextPageT>(*next));
    CHECK(stage.decision().sends.size() <= fleet::kPage + 1);
    forgotten += count_of(acts(stage), "run ForgetRun\n");
  }
  CHECK(forgotten == 150);
  CHECK(stage.decision().removed);
  CHECK(rows_of(stage).empty());
  CHECK(fleet::counter_differences(stage.state(), fleet::recount({}, stage.state().waves)) == "");
}

TEST_CASE("what a retry brings is not given up with what was before it") {
  FleetStage stage = made(create_fleet(2));
  all_say(stage, 0, RunState::failed, fbs::FailureClass::agent);
  const auto old = contents(stage, false);
  stage.advance(Duration{1'000});
  stage.tell(old);
  stage.tell(fbs::RetryFleetT{});
  auto late = old;
  late.done = true;
  stage.tell(late);
  CHECK(acts(stage) == "refuse refused: fleet f has not ended at that time\n");
  stage.advance(Duration{1'000});
  for (const auto& row : rows_of(stage))
    if (row.generation == 1) says(stage, row, RunState::superseded);
  all_say(stage, 0, RunState::unchanged);
  REQUIRE(stage.state().state == FleetState::completed);
  CHECK(stage.state().removed_unix_ms < stage.state().ended_unix_ms);
  stage.tell(contents(stage, true));
  CHECK(acts(stage) == "refuse refused: the contents of fleet f were not given up\n");
  stage.tell(contents(stage, false));
  stage.tell(contents(stage, true));
  CHECK(stage.state().contents_gone);
}

TEST_CASE("the fleet of a swarm goes at its swarm's word, and says when it is gone, or why not") {
  FleetStage stage = of_swarm();
  stage.tell(add_run("R1"), kSwarm);
  const auto answer = [&] {
    const auto said = Swarm::Messages::decode(stage.decision().sends.back().payload);
    return std::get<fbs::FleetForgottenT>(*said).kept;
  };
  stage.tell(fbs::ForgetFleetT{}, kSwarm);
  CHECK(answer() == "fleet f has not ended, or still has its contents");
  says(stage, rows_of(stage)[0], RunState::delivered);
  stage.tell(fbs::CloseFleetT{}, kSwarm);
  stage.tell(fbs::ForgetFleetT{}, kSwarm);
  CHECK(answer() == "fleet f has not ended, or still has its contents");
  stage.advance(Duration{1'000});
  stage.tell(contents(stage, false));
  stage.tell(contents(stage, true));
  stage.tell(forget(stage));
  CHECK(acts(stage) == "refuse refused: fleet f belongs to a swarm\n");
  stage.tell(fbs::ForgetFleetT{}, {"default", "swarm", "other"});
  CHECK(answer().empty());
  CHECK_FALSE(stage.decision().removed);  // There is nothing of the other's here.

  stage.tell(fbs::ForgetFleetT{}, kSwarm);
  CHECK(acts(stage) == "run ForgetRun\nswarm FleetForgotten\nunindex fleet\nreply \n");
  CHECK(answer().empty());
  CHECK(stage.decision().removed);
}
