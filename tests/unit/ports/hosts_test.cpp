// From the queue to a host and back, over the real engine and the real link.
#include "storage/base/packing.hpp"
#include "tests/unit/ports/hosts_house.hpp"

using namespace muster;
using namespace muster::testing;
using actors::fbs::HostState;
using actors::fbs::RunState;
using storage::Stream;
using wire::Phase;

TEST_CASE("runs go from the queue through a host to their end, with logs and blobs") {
  House house;
  const std::string script(600u << 10, 's');
  const std::string bundle = house.put(script);
  const std::string log(300u << 10, 'l');
  const auto host = house.host({}, [&](SimHost& self, const wire::StartT& start) {
    self.run_through(start, unchanged(), log);
  });
  std::vector<std::string> runs;
  for (int i = 0; i < 20; ++i) runs.push_back(house.run("r" + std::to_string(i), bundle));
  for (const auto& id : runs) REQUIRE(house.wait_run(id, RunState::unchanged));
  for (const auto& id : runs) {
    const auto row = house.attempt(id, 1);
    REQUIRE(row.host == "host-a");
    REQUIRE(row.accepted_unix_ms > 0);
    REQUIRE(row.running_unix_ms > 0);
    REQUIRE(house.wait([&] { return house.logs->end({id, 1}).value_or(0) == log.size(); }));
    REQUIRE(house.logs->read({id, 1}, 0, log.size()).value() == log);
  }
  REQUIRE(house.wait([&] { return house.host_head("host-a").used.empty(); }));
  REQUIRE(host->wait([&] { return host->acknowledged == 60; }));
  const auto lock = host->lock();
  REQUIRE(host->starts.size() == 20);
  REQUIRE(host->blobs.at(bundle) == script);
  REQUIRE(host->blob_parts.size() == 2);  // two parts, once for all runs
  REQUIRE(host->connections == 1);
  REQUIRE(house.hosts->stats().events == 60);
}

TEST_CASE("a pack is in the store before the run hears that its attempt has finished") {
  House house;
  const auto host = house.host();
  const std::string id = house.run("api");
  const auto start = host->start_of(id + "-1");
  const std::string pack(700u << 10, 'p');
  host->event(start, Phase::accepted);
  SECTION("whole") {
    host->pack(start, pack);
    host->event(start, Phase::finished,
                std::make_unique<wire::AttemptReportT>(changed(sha256_hex(pack))));
    REQUIRE(house.wait_run(id, RunState::delivered));
    REQUIRE(house.packs.get(sha256_hex(pack)).value() == pack);
    REQUIRE(host->wait([&] { return host->packs_taken.size() == 1; }));
  }
  SECTION("with other bytes than its digest says") {
    host->pack(start, pack);
    host->event(start, Phase::finished,
                std::make_unique<wire::AttemptReportT>(changed(sha256_hex("another"))));
    REQUIRE(house.wait([&] { return house.run_head(id).attempt == 2; }));
    REQUIRE(house.attempt(id, 1).reason == "pack_missing");
  }
}

TEST_CASE("a sandboxd one protocol apart works; two apart is refused, says the host, and why") {
  using storage::kLinkProtocol;
  House house;
  SECTION("one apart") {
    for (const int apart : {-1, 1}) {
      const auto host = house.host({.name = "host-" + std::to_string(apart + 2), .slots = 1,
                                    .protocol = static_cast<std::uint16_t>(kLinkProtocol + apart)},
                                   [](SimHost& self, const wire::StartT& start) { self.run_through(start, unchanged(), "x"); });
      REQUIRE(host->wait([&] { return host->welcomes.size() == 1; }));
      REQUIRE(host->welcomes[0].refused.empty());
      REQUIRE(house.wait_run(house.run("r" + std::to_string(apart + 1)), RunState::unchanged));
      const auto head = house.host_head("host-" + std::to_string(apart + 2));
      REQUIRE(head.protocol == static_cast<std::uint32_t>(kLinkProtocol + apart));
      REQUIRE(head.refused.empty());
      host->stop();
      REQUIRE(house.wait([&] { return house.host_head(head.name).state == HostState::unreachable; }));
    }
  }
  SECTION("two apart") {
    for (const int apart : {-2, 2}) {
      const std::string older = apart < 0 ? "sandboxd" : "musterd";
      const auto host = house.host({.name = "host-a", .protocol = static_cast<std::uint16_t>(kLinkProtocol + apart)});
      REQUIRE(host->wait([&] { return host->welcomes.size() == 1; }));
      REQUIRE(host->welcomes[0].refused.ends_with("upgrade " + older));
      REQUIRE(house.wait([&] { return house.host_head("host-a").refused.ends_with("upgrade " + older); }));
      const auto head = house.host_head("host-a");
      REQUIRE(head.state == HostState::unreachable);
      REQUIRE(head.session == 0);
      REQUIRE(head.version == "simulated");
      host->stop();
    }
    // After the upgrade it is a host as any other.
    const auto host = house.host();
    REQUIRE(host->wait([&] { return host->welcomes.size() == 1; }));
    REQUIRE(house.host_head("host-a").refused.empty());
    REQUIRE(house.host_head("host-a").state == HostState::ready);
    REQUIRE(house.host_head("host-a").protocol == kLinkProtocol);
  }
  SECTION("an older one is given nothing that it does not know") {
    house.other_repositories = true;
    const auto host = house.host({.protocol = storage::kOtherRepositoriesProtocol - 1});
    const std::string id = house.run("api");
    REQUIRE(house.wait([&] { return house.run_head(id).attempt >= 1 && house.attempt(id, 1).reason == "start_failed"; }));
    REQUIRE(house.attempt(id, 1).message.ends_with("knows only one repository in a workspace: upgrade it"));
    const auto lock = host->lock();
    REQUIRE(host->starts.empty());
  }
}

TEST_CASE("a checkpoint is kept with its attempt, replaces the one before, and begins the next attempt elsewhere") {
  House house;
  const std::string id = house.run("api", "", 50, true);
  const auto checkpoint_of = [](const std::string& pack, char commit) {
    wire::CheckpointT checkpoint;
    checkpoint.commit = std::string(40, commit);
    checkpoint.base = std::string(40, 'a');
    checkpoint.digest = sha256_hex(pack);
    checkpoint.bytes = pack.size();
    return checkpoint;
  };
  const std::string one(700u << 10, '1'), two(600u << 10, '2');
  auto a = house.host({.name = "host-a"});
  const auto start = a->start_of(id + "-1");
  REQUIRE(!start.spec->resume);
  a->event(start, Phase::accepted);
  a->event(start, Phase::running);
  a->pack(start, one);
  a->checkpoint(start, checkpoint_of(one, 'b'));
  REQUIRE(house.wait([&] { return house.attempt(id, 1).checkpoint != nullptr; }));
  REQUIRE(house.attempt(id, 1).checkpoint->commit == std::string(40, 'b'));
  a->pack(start, two);
  a->checkpoint(start, checkpoint_of(two, 'c'));
  REQUIRE(house.wait([&] { return house.attempt(id, 1).checkpoint->commit == std::string(40, 'c'); }));
  REQUIRE(house.wait([&] { return !house.packs.has(sha256_hex(one)); }));
  // One whose pack never came is not believed.
  a->checkpoint(start, checkpoint_of("nothing", 'd'));
  REQUIRE(a->wait([&] { return a->acknowledged == 5; }));
  REQUIRE(house.attempt(id, 1).checkpoint->commit == std::string(40, 'c'));
  house.restart();
  REQUIRE(a->wait([&] { return a->welcomes.size() == 2; }));
  SECTION("its host dies") { a.reset(); house.pass(60'000); }
  SECTION("it fails with a last one") {
    wire::AttemptReportT report;
    report.outcome = wire::Outcome::failed;
    report.reason = "runtime_failed";
    const std::string last = "the last one";
    a->pack(start, last);
    report.checkpoint = std::make_unique<wire::CheckpointT>(checkpoint_of(last, 'e'));
    a->event(start, Phase::finished, std::make_unique<wire::AttemptReportT>(std::move(report)));
    REQUIRE(house.wait([&] { return house.attempt(id, 1).report != nullptr; }));
    REQUIRE(house.attempt(id, 1).report->checkpoint->commit == std::string(40, 'e'));
    a.reset();
    house.pass(60'000);
  }
  const auto b = house.host({.name = "host-b"});
  REQUIRE(b->wait([&] { return !b->starts.empty(); }));
  const auto next = b->start_of(b->starts.front());
  REQUIRE(next.spec->resume);
  const std::string digest = next.spec->resume->digest;
  const auto lock = b->lock();
  REQUIRE(sha256_hex(b->blobs.at(digest)) == digest);
}

TEST_CASE("a host that calls itself otherwise is sent away") {
  House house;
  SimHostOptions options;
  options.hello_name = "host-b";
  const auto host = house.host(options);
  REQUIRE(host->wait([&] { return host->connections >= 2; }));
  const auto lock = host->lock();
  REQUIRE(host->welcomes.empty());
  REQUIRE(house.host_head("host-a").session == 0);
  REQUIRE(house.host_head("host-b").session == 0);
}

TEST_CASE("what a host says of another's run is refused, and its numbers go on") {
  House house;
  const auto a = house.host({.name = "host-a", .slots = 1});
  const std::string mine = house.run("one");
  const auto start = a->start_of(mine + "-1");
  a->event(start, Phase::accepted);
  a->event(start, Phase::running);
  REQUIRE(house.wait_run(mine, RunState::running));

  const auto b = house.host({.name = "host-b"});
  REQUIRE(b->wait([&] { return b->welcomes.size() == 1; }));
  const std::string pack = "a pack";
  b->pack(start, pack);
  b->log(start, "not yours");
  b->event(start, Phase::running);
  b->event(start, Phase::finished, std::make_unique<wire::AttemptReportT>(unchanged()));
  REQUIRE(b->wait([&] { return b->acknowledged == 2; }));
  REQUIRE(b->wait([&] { return b->stops.size() == 1; }));  // it runs what nobody wants
  REQUIRE(house.hosts->stats().events_refused == 2);
  REQUIRE(house.run_head(mine).state == RunState::running);
  REQUIRE(!house.packs.has(sha256_hex(pack)));
  REQUIRE(!house.logs->end({mine, 1}));
  REQUIRE(house.host_head("host-b").session == 1);
  REQUIRE(house.host_head("host-b").state == HostState::ready);
}

TEST_CASE("events that come twice count once; numbers that skip end the session") {
  House house;
  const auto host = house.host();
  const std::string id = house.run("api");
  const auto start = host->start_of(id + "-1");
  host->event(start, Phase::accepted);
  REQUIRE(host->wait([&] { return host->acknowledged == 1; }));
  const auto repeat = [&](std::uint64_t number, Phase phase) {
    wire::FrameT frame;
    frame.run = id;
    frame.attempt = 1;
    frame.epoch = std::make_unique<wire::Epoch>(*start.epoch);
    frame.sequence = number;
    wire::RunEventT event;
    event.phase = phase;
    frame.body.Set(std::move(event));
    REQUIRE(host->send(Stream::control, frame));
  };
  repeat(1, Phase::running);  // not the first 1: dropped
  host->event(start, Phase::running);
  REQUIRE(house.wait_run(id, RunState::running));
  REQUIRE(house.wait([&] { return house.hosts->stats().events == 2; }));
  repeat(4, Phase::verifying);
  REQUIRE(host->wait([&] { return host->welcomes.size() == 2; }));
  REQUIRE(host->welcomes[1].event_mark == 2);
  REQUIRE(house.run_head(id).state == RunState::running);
}

TEST_CASE("an event under a stale epoch changes nothing") {
  House house;
  const auto host = house.host();
  const std::string id = house.run("api");
  auto start = host->start_of(id + "-1");
  host->event(start, Phase::accepted);
  const wire::Epoch good = *start.epoch;
  start.epoch =
      std::make_unique<wire::Epoch>(good.generation(), good.attempt(), good.session() + 1);
  host->event(start, Phase::running);
  start.epoch =
      std::make_unique<wire::Epoch>(good.generation() + 1, good.attempt(), good.session());
  host->event(start, Phase::finished, std::make_unique<wire::AttemptReportT>(unchanged()));
  REQUIRE(host->wait([&] { return host->acknowledged == 3; }));
  REQUIRE(house.run_head(id).state == RunState::provisioning);
  start.epoch = std::make_unique<wire::Epoch>(good);
  host->event(start, Phase::running);
  REQUIRE(house.wait_run(id, RunState::running));
}

TEST_CASE("a reconnection within the lease loses nothing") {
  House house;
  const auto host = house.host();
  const std::string id = house.run("api");
  const auto start = host->start_of(id + "-1");
  host->event(start, Phase::accepted);
  REQUIRE(host->wait([&] { return host->acknowledged == 1; }));
  host->disconnect();
  REQUIRE(host->wait([&] { return host->ends.size() == 1; }));
  host->event(start, Phase::running);  // while nobody listens
  host->event(start, Phase::finished, std::make_unique<wire::AttemptReportT>(unchanged()));
  REQUIRE(house.wait_run(id, RunState::unchanged));
  const auto lock = host->lock();
  REQUIRE(host->welcomes.size() == 2);
  REQUIRE(host->welcomes[1].session == 2);
  REQUIRE(host->welcomes[1].placed == std::vector<std::string>{id + "-1"});
  REQUIRE(host->starts == std::vector<std::string>{id + "-1"});
  REQUIRE(house.run_head(id).attempt == 1);
  REQUIRE(house.hosts->stats().lease_ends == 0);
}

TEST_CASE("a Start that was not answered comes again with the next session") {
  House house;
  const auto host = house.host();
  const std::string id = house.run("api");
  host->start_of(id + "-1");
  host->disconnect();
  REQUIRE(host->wait([&] { return host->starts.size() == 2; }));
  const auto start = host->start_of(id + "-1");
  REQUIRE(start.epoch->session() == 1);  // of the placement
  host->event(start, Phase::accepted);
  host->event(start, Phase::running);
  REQUIRE(house.wait_run(id, RunState::running));
}

TEST_CASE("when the lease ends the run is placed elsewhere, and the old host is fenced") {
  House house;
  auto a = house.host({.name = "host-a", .slots = 1});
  const std::string id = house.run("api");
  const auto start = a->start_of(id + "-1");
  a->event(start, Phase::accepted);
  a->event(start, Phase::running);
  REQUIRE(house.wait_run(id, RunState::running));
  a->stop();
  REQUIRE(house.wait([&] { return house.host_head("host-a").state == HostState::unreachable; }));
  REQUIRE(house.run_head(id).attempt == 1);  // unreachable, not gone

  const auto b = house.host({.name = "host-b"});
  REQUIRE(b->wait([&] { return b->renewed > 0; }));
  // Both leases end by the clock, but only b's heartbeats renew one.
  house.pass(30'000);
  const std::uint64_t renewed = b->renewed;
  REQUIRE(b->wait([&] { return b->renewed > renewed + 1; }));
  house.pass(6'000);
  const auto second = b->start_of(id + "-2");
  b->event(second, Phase::accepted);
  b->event(second, Phase::running);
  REQUIRE(house.wait_run(id, RunState::running));
  REQUIRE(house.attempt(id, 1).reason == "host_lost");
  REQUIRE(house.hosts->stats().lease_ends == 1);

  // The old host comes back and goes on with what it had: nobody believes it, and it is told to
  // stop.
  a = house.host({.name = "host-a", .slots = 1});
  REQUIRE(a->wait([&] { return a->welcomes.size() == 1; }));
  REQUIRE(a->welcomes[0].placed.empty());
  REQUIRE(a->welcomes[0].event_mark == 2);
  a->event(start, Phase::verifying);
  REQUIRE(a->wait([&] { return a->stops.size() == 1; }));
  REQUIRE(house.run_head(id).state == RunState::running);
  REQUIRE(house.run_head(id).host == "host-b");
}

TEST_CASE("a host that is connected but sends no heartbeat loses its lease") {
  House house;
  const auto host = house.host({.heartbeats = false});
  REQUIRE(host->wait([&] { return host->welcomes.size() == 1; }));
  REQUIRE(house.wait([&] {
    const auto lease = house.hosts->lease("host-a");
    return lease && lease->connected && lease->leased && lease->session == 1 &&
           lease->left == Duration{35'000};
  }));
  REQUIRE(!house.hosts->lease("nobody"));
  house.pass(36'000);
  REQUIRE(host->wait([&] { return host->welcomes.size() == 2; }));
  REQUIRE(house.hosts->stats().lease_ends == 1);
  REQUIRE(house.wait([&] { return house.hosts->lease("host-a")->session == 2; }));
  REQUIRE(house.host_head("host-a").session == 2);
}

TEST_CASE("a host's warm pool is known while it is connected, bounded in what it says") {
  House house;
  auto said = std::make_shared<wire::WarmPoolStateT>();
  said->max = 8;
  said->waiting = 2;
  said->making = 1;
  said->hits = 31;
  said->misses = 9;
  for (int i = 0; i < 40; ++i) {
    said->lines.push_back(std::make_unique<wire::WarmPoolLineT>());
    auto& line = *said->lines.back();
    line.url = "/srv/" + std::to_string(i) + std::string(3'000, 'x');
    line.branch = "main";
    line.image = "env:node";
    line.wanted = 1;
    line.hits = 5;
  }
  auto host = house.host({.name = "host-a", .warm_pool = said});
  const auto pool = [&] {
    const auto lease = house.hosts->lease("host-a");
    return lease ? lease->pool : nullptr;
  };
  REQUIRE(house.wait([&] { return pool() != nullptr; }));
  const auto known = pool();
  CHECK(known->max == 8);
  CHECK(known->waiting == 2);
  CHECK(known->making == 1);
  CHECK(known->hits == 31);
  CHECK(known->misses == 9);
  REQUIRE(known->lines.size() == 32);
  CHECK(known->lines[31].url.substr(0, 8) == "/srv/31x");
  CHECK(known->lines[31].url.size() == 2'048);
  CHECK(known->lines[31].branch == "main");
  CHECK(known->lines[31].image == "env:node");
  CHECK(known->lines[31].wanted == 1);
  CHECK(known->lines[31].hits == 5);
  host.reset();
  REQUIRE(house.wait([&] { return pool() == nullptr; }));

  const auto without = house.host({.name = "host-b"});
  REQUIRE(without->wait([&] { return without->renewed > 0; }));
  REQUIRE(house.wait([&] { return house.hosts->lease("host-b").has_value(); }));
  CHECK(house.hosts->lease("host-b")->pool == nullptr);
}

TEST_CASE("an engine that slept gives every host a whole lease") {
  House house;
  const auto host = house.host({.heartbeats = false});
  REQUIRE(host->wait([&] { return host->welcomes.size() == 1; }));
  house.pass(30'000);
  house.clock += 600'000;  // the machine slept
  house.pass(1);           // it has looked
  house.pass(34'000);
  REQUIRE(house.hosts->stats().lease_ends == 0);
  house.pass(2'000);
  REQUIRE(host->wait([&] { return host->welcomes.size() == 2; }));
  REQUIRE(house.hosts->stats().lease_ends == 1);
}

TEST_CASE("a look at the leases that comes much later than the last one was held up") {
  using actors::was_away;
  const Duration margin{5'000}, last{1'000'000};
  REQUIRE_FALSE(was_away(last, last + Duration{250}, margin));
  REQUIRE_FALSE(was_away(last, last + margin, margin));
  REQUIRE(was_away(last, last + Duration{5'001}, margin));
  REQUIRE(was_away(last, last + Duration{600'000}, margin));
}

TEST_CASE("after a restart of the engine sessions go on, and leases begin whole") {
  House house;
  const auto host = house.host();
  const std::string id = house.run("api");
  const std::string other = house.run("web");
  const auto start = host->start_of(id + "-1");
  host->start_of(other + "-1");  // not answered before the restart
  host->event(start, Phase::accepted);
  host->event(start, Phase::running);
  REQUIRE(house.wait_run(id, RunState::running));
  house.close();
  house.clock += 300'000;  // however long it was away
  host->event(start, Phase::verifying);
  house.open();
  REQUIRE(host->wait([&] { return host->welcomes.size() == 2; }));
  REQUIRE(host->welcomes[1].session == 2);
  REQUIRE(host->welcomes[1].event_mark == 2);
  REQUIRE(house.wait_run(id, RunState::verifying));
  // The pending effect of the other is asked for again.
  REQUIRE(host->wait(
      [&] { return std::count(host->starts.begin(), host->starts.end(), other + "-1") == 2; }));
  REQUIRE(std::count(host->starts.begin(), host->starts.end(), id + "-1") == 1);
  const auto again = host->start_of(other + "-1");
  host->run_through(again, unchanged(), "");
  host->event(start, Phase::finished, std::make_unique<wire::AttemptReportT>(unchanged()));
  REQUIRE(house.wait_run(id, RunState::unchanged));
  REQUIRE(house.wait_run(other, RunState::unchanged));
  REQUIRE(house.hosts->stats().lease_ends == 0);
}

TEST_CASE("after a restart a host that stays away loses its runs when a whole lease has passed") {
  House house;
  auto host = house.host();
  const std::string id = house.run("api");
  const auto start = host->start_of(id + "-1");
  host->event(start, Phase::accepted);
  host->event(start, Phase::running);
  REQUIRE(house.wait_run(id, RunState::running));
  host->stop();
  house.restart();
  // Another host's Welcome shows that the leases have begun.
  const auto other = house.host({.name = "host-b", .slots = 0});
  REQUIRE(other->wait([&] { return other->welcomes.size() == 1; }));
  REQUIRE(house.host_head("host-a").state == HostState::unreachable);
  house.pass(34'000);
  REQUIRE(house.run_head(id).state == RunState::running);
  house.pass(2'000);
  REQUIRE(house.wait_run(id, RunState::queued));
  REQUIRE(house.attempt(id, 1).reason == "host_lost");
}

TEST_CASE("a cancelled run's sandbox is stopped, also when the host was away") {
  House house;
  const auto host = house.host();
  const std::string id = house.run("api");
  const auto start = host->start_of(id + "-1");
  host->event(start, Phase::accepted);
  host->event(start, Phase::running);
  REQUIRE(house.wait_run(id, RunState::running));
  house.tell_run(id, actors::fbs::CancelRunT{});
  REQUIRE(host->wait([&] { return host->stops.size() == 1; }));
  host->disconnect();
  REQUIRE(host->wait([&] { return host->stops.size() == 2; }));
  REQUIRE(host->stops[1] == std::pair{id + "-1", wire::StopReason::cancelled});
  auto report = std::make_unique<wire::AttemptReportT>();
  report->outcome = wire::Outcome::cancelled;
  host->event(start, Phase::finished, std::move(report));
  REQUIRE(house.wait_run(id, RunState::cancelled));
}

TEST_CASE("what people say reaches the host of a running sandbox, again until it is there") {
  House house;
  const auto say = [&](const std::string& id, std::uint32_t number, const std::string& text) {
    actors::fbs::SteerRunT said;
    said.number = number;
    said.text = text;
    house.tell_run(id, said);
  };
  const auto answer = [](SimHost& host, const std::string& id, std::uint32_t below, bool gone) {
    wire::FrameT frame;
    frame.run = id;
    frame.attempt = 1;
    wire::SteeredT steered;
    steered.below = below;
    steered.gone = gone;
    frame.body.Set(steered);
    REQUIRE(host.send(storage::Stream::control, frame));
  };
  SECTION("in order, also over a lost session and a restart of the engine") {
    const auto host = house.host();
    const std::string id = house.run("api");
    const auto start = host->start_of(id + "-1");
    say(id, 0, "first");
    REQUIRE(host->wait([&] { return host->steered.size() == 1; }));
    host->event(start, Phase::accepted);
    host->event(start, Phase::running);
    REQUIRE(house.wait_run(id, RunState::running));
    host->disconnect();  // before it answered
    REQUIRE(host->wait([&] { return host->steered.size() == 2; }));
    say(id, 1, "second");
    say(id, 2, "third");
    house.restart();
    REQUIRE(host->wait([&] { return host->steered.size() == 3; }));
    REQUIRE(host->steered[2] == id + "-1 0 first");
    REQUIRE(house.run_head(id).steering);
    answer(*host, id, 1, false);
    REQUIRE(host->wait([&] { return host->steered.size() == 5; }));
    REQUIRE(host->steered[3] == id + "-1 1 second");
    REQUIRE(host->steered[4] == id + "-1 2 third");
    answer(*host, "0000000000000", 9, false);  // of a sandbox that is none of its
    answer(*host, id, 3, false);
    REQUIRE(house.wait([&] { return house.run_head(id).steered == 3; }));
    REQUIRE_FALSE(house.run_head(id).steering);
  }
  SECTION("not where the sandbox is gone, nor on a host that can't") {
    const bool knows = GENERATE(true, false);
    const auto host = house.host({.steers = knows});
    const std::string id = house.run("api");
    const auto start = host->start_of(id + "-1");
    host->event(start, Phase::accepted);
    host->event(start, Phase::running);
    REQUIRE(house.wait_run(id, RunState::running));
    say(id, 0, "first");
    if (knows) {
      REQUIRE(host->wait([&] { return host->steered.size() == 1; }));
      answer(*host, id, 0, true);
    }
    REQUIRE(house.wait([&] {
      const auto row = house.engine->row({"default", "run", id}, actors::run_message_key(0));
      return row && *row && !house.run_head(id).steering;
    }));
    REQUIRE(house.run_head(id).steered == 0);
    REQUIRE(host->steered.size() == (knows ? 1U : 0U));
    host->event(start, Phase::finished, std::make_unique<wire::AttemptReportT>(unchanged()));
    REQUIRE(house.wait_run(id, RunState::unchanged));
  }
}

TEST_CASE("logs are bounded by credit, and a full one does not stop its sandbox") {
  House house(100u << 10);
  const auto host = house.host();
  const std::string id = house.run("api");
  const auto start = host->start_of(id + "-1");
  host->event(start, Phase::accepted);
  REQUIRE(host->wait([&] { return host->credits.contains(id + "-1"); }));
  REQUIRE(host->credits[id + "-1"].acknowledged == 0);
  SECTION("more than the store keeps") {
    const std::string log(500u << 10, 'x');
    host->log(start, log);
    REQUIRE(host->wait([&] { return host->credits[id + "-1"].acknowledged == log.size(); }));
    REQUIRE(house.logs->end({id, 1}).value() <= (100u << 10));
    REQUIRE(host->ends.empty());
  }
  SECTION("more than it has credit for") {
    wire::LogChunkT chunk;
    chunk.offset = host->credits[id + "-1"].up_to - 1;
    chunk.bytes = {1, 2};
    wire::FrameT frame;
    frame.run = id;
    frame.attempt = 1;
    frame.body.Set(std::move(chunk));
    REQUIRE(host->send(Stream::logs, frame));
    REQUIRE(host->wait([&] { return host->ends.size() == 1; }));
  }
  SECTION("a log that was taken whole is known after a reconnection") {
    host->log(start, "first");
    REQUIRE(host->wait([&] { return host->credits[id + "-1"].acknowledged == 5; }));
    REQUIRE(host->credits[id + "-1"].up_to == 5);
    host->disconnect();
    REQUIRE(host->wait([&] { return host->credits[id + "-1"].up_to > 5; }));
    REQUIRE(host->credits[id + "-1"].acknowledged == 5);
    REQUIRE(house.logs->read({id, 1}, 0, 100).value() == "first");
  }
}

TEST_CASE("a log comes packed or plain, and is read plain; a part that is not what it says ends the session") {
  House house(4u << 20);
  const bool packs = GENERATE(true, false);
  const auto host =
      house.host({.protocol = static_cast<std::uint16_t>(storage::kPackedLogsProtocol - (packs ? 0 : 1))});
  const std::string id = house.run("api");
  const auto start = host->start_of(id + "-1");
  host->event(start, Phase::accepted);
  REQUIRE(host->wait([&] { return host->credits.contains(id + "-1"); }));
  SECTION("a whole log") {
    std::string log;
    for (int i = 0; log.size() < (3u << 20); ++i) log += "line " + std::to_string(i) + "\n";
    host->log(start, log);
    REQUIRE(host->wait([&] { return host->credits[id + "-1"].acknowledged == log.size(); }));
    std::string stored;
    while (stored.size() < log.size()) {
      const auto part = house.logs->read({id, 1}, stored.size(), 1u << 20);
      REQUIRE(part);
      REQUIRE_FALSE(part->empty());
      stored += *part;
    }
    REQUIRE((stored == log));
  }
  SECTION("hostile parts") {
    const std::string plain(100'000, 'x');
    std::string frame(pack(plain).value());
    std::uint64_t length = plain.size();
    SECTION("of another length") { ++length; }
    SECTION("of more than one may hold") {  // so says its header then
      frame.replace(5, 4, "\xff\xff\xff\xff");
      length = 0xffff'ffff;
    }
    SECTION("of which a byte is another") { frame.back() = static_cast<char>(frame.back() ^ 1); }
    SECTION("of which the end is missing") { frame.resize(frame.size() / 2); }
    SECTION("that is none") { frame = plain; }
    SECTION("that is empty") { frame.clear(); }
    wire::LogChunkT chunk;
    chunk.bytes.assign(frame.begin(), frame.end());
    wire::FrameT carrier;
    carrier.run = id;
    carrier.attempt = 1;
    carrier.sequence = length;
    carrier.body.Set(std::move(chunk));
    REQUIRE(host->send(Stream::logs, carrier));
    REQUIRE(host->wait([&] { return host->ends.size() == 1; }));
    REQUIRE(house.logs->end({id, 1}).value_or(0) == 0);
  }
}

TEST_CASE("who waits can say why, and nothing is placed beyond what a host holds") {
  House house;
  const std::string first = house.run("r0");
  REQUIRE(house.wait([&] {
    return house.dispatcher->why(first) == actors::explain(engine::WaitReason::no_host);
  }));
  const auto host = house.host({.slots = 2});
  std::vector<std::string> runs{first};
  for (int i = 1; i < 5; ++i) runs.push_back(house.run("r" + std::to_string(i)));
  REQUIRE(host->wait([&] { return host->starts.size() == 2; }));
  REQUIRE(house.wait([&] {
    return house.dispatcher->waiting("f") ==
           std::map<std::string, std::uint64_t>{{"hosts_full", 3}};
  }));
  REQUIRE(house.host_head("host-a").used.size() == 2);
  for (int done = 0; done < 5; ++done) {
    REQUIRE(host->wait([&] { return host->starts.size() > static_cast<std::size_t>(done); }));
    std::string sandbox;
    {
      const auto lock = host->lock();
      sandbox = host->starts[static_cast<std::size_t>(done)];
    }
    host->run_through(host->start_of(sandbox), unchanged(), "");
  }
  for (const auto& id : runs) REQUIRE(house.wait_run(id, RunState::unchanged));
  REQUIRE(house.wait([&] { return house.dispatcher->waiting("f").empty(); }));
  REQUIRE(house.dispatcher->why(first).empty());
  REQUIRE(house.dispatcher->stats().proposals == 5);
}

TEST_CASE("a fleet's concurrency and a restart of the engine bound placements alike") {
  House house;
  const auto host = house.host({.slots = 8});
  std::vector<std::string> runs;
  for (int i = 0; i < 6; ++i) runs.push_back(house.run("r" + std::to_string(i), "", 2));
  REQUIRE(host->wait([&] { return host->starts.size() == 2; }));
  house.restart();
  REQUIRE(house.wait([&] {
    return house.dispatcher->waiting("f") ==
           std::map<std::string, std::uint64_t>{{"fleet_limit", 4}};
  }));
  REQUIRE(house.host_head("host-a").used.size() == 2);
}
