#include "engine/scheduler/admission.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <iostream>
#include <map>
#include <random>
#include <set>

using namespace muster;
using namespace muster::engine;

namespace {

Demand run_of(const std::string& fleet, int n, std::int64_t at = 0) {
  Demand d;
  d.run = fleet + "-" + std::to_string(n);
  d.fleet = fleet;
  d.repository = "acme/" + std::to_string(n);
  d.canonical_url = "/srv/" + std::to_string(n);
  d.queued_at = {at};
  return d;
}

Supply host_of(const std::string& name, std::uint32_t slots) {
  Supply s;
  s.host = name;
  s.session = 7;
  s.slots = slots;
  return s;
}

FleetLoad load_of(const std::string& fleet, std::uint32_t running, std::uint32_t limit = 50) {
  FleetLoad load;
  load.fleet = fleet;
  load.running = running;
  load.limit = limit;
  return load;
}

std::string text_of(const Round& round) {
  std::string text;
  for (const Proposal& p : round.proposals)
    text += p.run + "/" + std::to_string(p.attempt) + "@" + p.host + "." +
            std::to_string(p.session) + " ";
  for (const Waiting& w : round.waiting) text += w.run + ":" + std::string(to_string(w.reason)) + " ";
  return text;
}

}  // namespace

TEST_CASE("the least served fleet goes first, and a large one gets what is left") {
  std::vector<Demand> demand;
  for (int i = 0; i < 5000; ++i) demand.push_back(run_of("big", i));
  demand.push_back(run_of("small", 1, 99));
  const Round round =
      admit(demand, {load_of("big", 0, 5000), load_of("small", 0)}, {host_of("a", 2)}, {}, {});
  REQUIRE(round.proposals.size() == 2);
  CHECK(round.proposals[0].run == "big-0");  // equal shares: the older
  CHECK(round.proposals[1].run == "small-1");
  CHECK(round.waiting.size() == 4999);
}

TEST_CASE("a weight counts as so many shares") {
  std::vector<Demand> demand;
  for (int i = 0; i < 100; ++i) {
    demand.push_back(run_of("heavy", i));
    demand.push_back(run_of("light", i + 1000));
  }
  FleetLoad heavy = load_of("heavy", 0);
  heavy.weight = 3;
  const Round round = admit(demand, {heavy, load_of("light", 0)}, {host_of("a", 40)}, {}, {});
  CHECK(std::count_if(round.proposals.begin(), round.proposals.end(), [](const Proposal& p) {
          return p.run.starts_with("heavy");
        }) == 30);
}

TEST_CASE("within a fleet by priority, then age, then id") {
  std::vector<Demand> demand = {run_of("f", 1, 5), run_of("f", 2, 3), run_of("f", 3, 3),
                                run_of("f", 4, 9)};
  demand[3].priority = 1;
  CHECK(text_of(admit(demand, {}, {host_of("a", 4)}, {}, {})) ==
        "f-4/1@a.7 f-2/1@a.7 f-3/1@a.7 f-1/1@a.7 ");
}

TEST_CASE("a warm mirror first, then most free slots, then the name") {
  Supply a = host_of("a", 2), b = host_of("b", 8), c = host_of("c", 8);
  a.warm = {"/srv/1", "/srv/2"};
  CHECK(text_of(admit({run_of("f", 1)}, {}, {c, b, a}, {}, {})) == "f-1/1@a.7 ");
  CHECK(text_of(admit({run_of("f", 3)}, {}, {c, b, a}, {}, {})) == "f-3/1@b.7 ");
  a.used = 2;
  CHECK(text_of(admit({run_of("f", 1)}, {}, {c, b, a}, {}, {})) == "f-1/1@b.7 ");
}

TEST_CASE("a run goes back to the host of its last attempt only when no other has room") {
  Supply a = host_of("a", 2), b = host_of("b", 1);
  a.warm = {"/srv/1"};
  Demand again = run_of("f", 1);
  again.left = "a";
  CHECK(text_of(admit({again}, {}, {a, b}, {}, {})) == "f-1/1@b.7 ");
  b.used = 1;
  CHECK(text_of(admit({again}, {}, {a, b}, {}, {})) == "f-1/1@a.7 ");
}

TEST_CASE("a run that was moved goes where it was sent, or at least not back") {
  Supply a = host_of("a", 2), b = host_of("b", 1), c = host_of("c", 9);
  Demand moved = run_of("f", 1);
  moved.left = "a";
  moved.moving = true;
  const auto round = [&](const std::vector<Supply>& hosts) {
    return text_of(admit({moved}, {}, hosts, {}, {}));
  };
  CHECK(round({a, b}) == "f-1/1@b.7 ");
  b.used = 1;
  CHECK(round({a, b}) == "f-1:no_other_host ");  // Though a has room.
  CHECK(round({a}) == "f-1:no_other_host ");
  a.used = 2;
  CHECK(round({a, b}) == "f-1:hosts_full ");
  a.used = 0;
  moved.to = "b";
  CHECK(round({a, b, c}) == "f-1:no_other_host ");  // It waits for b.
  b.used = 0;
  CHECK(round({a, b, c}) == "f-1/1@b.7 ");
  b.accepts = false;  // b takes nothing any more: anywhere but back.
  CHECK(round({a, b, c}) == "f-1/1@c.7 ");
  CHECK(round({a, b}) == "f-1:no_other_host ");
  moved.to = "gone";
  CHECK(round({a, c}) == "f-1/1@c.7 ");
  // Nobody behind it waits for it.
  Demand other = run_of("f", 2, 5);
  CHECK(text_of(admit({moved, other}, {}, {a}, {}, {})) == "f-2/1@a.7 f-1:no_other_host ");
}

TEST_CASE("a run that is bound to a host goes there or nowhere") {
  Supply a = host_of("a", 2), b = host_of("b", 1);
  Demand bound = run_of("f", 1);
  bound.bound = true;
  bound.to = "b";
  const auto round = [&](const std::vector<Supply>& hosts) {
    return text_of(admit({bound}, {}, hosts, {}, {}));
  };
  CHECK(round({a, b}) == "f-1/1@b.7 ");
  bound.left = "b";  // Also again.
  CHECK(round({a, b}) == "f-1/1@b.7 ");
  b.used = 1;
  CHECK(round({a, b}) == "f-1:bound_host ");
  b.used = 0;
  b.accepts = false;
  CHECK(round({a, b}) == "f-1:bound_host ");
  CHECK(round({b}) == "f-1:bound_host ");
  CHECK(round({a}) == "f-1:bound_host ");
  Demand other = run_of("f", 2, 5);
  CHECK(text_of(admit({bound, other}, {}, {a}, {}, {})) == "f-2/1@a.7 f-1:bound_host ");
}

TEST_CASE("every reason to wait") {
  const std::vector<Demand> one = {run_of("f", 1)};
  const auto reason = [&](const std::vector<FleetLoad>& fleets, const std::vector<Supply>& hosts,
                          const std::vector<std::pair<std::string, std::uint32_t>>& repositories = {},
                          const AdmissionLimits& limits = {}) {
    return text_of(admit(one, fleets, hosts, repositories, limits));
  };
  Supply full = host_of("a", 1), closed = host_of("b", 9), small = host_of("c", 9);
  full.used = 1;
  closed.accepts = false;
  small.cpus_milli = 500;
  FleetLoad held = load_of("f", 0);
  held.held = true;
  AdmissionLimits no_more, none_at_all;
  no_more.running_total = 3;
  none_at_all.proposals = 0;
  CHECK(reason({}, {}) == "f-1:no_host ");
  CHECK(reason({}, {closed}) == "f-1:no_host ");
  CHECK(reason({}, {full}) == "f-1:hosts_full ");
  CHECK(reason({}, {full, closed}) == "f-1:hosts_full ");
  CHECK(reason({}, {small}) == "f-1:too_large ");
  CHECK(reason({load_of("f", 50)}, {host_of("a", 1)}) == "f-1:fleet_limit ");
  CHECK(reason({held}, {host_of("a", 1)}) == "f-1:fleet_held ");
  CHECK(reason({}, {host_of("a", 1)}, {{"acme/1", 1}}) == "f-1:repository_limit ");
  CHECK(reason({load_of("other", 3)}, {host_of("a", 1)}, {}, no_more) == "f-1:total_limit ");
  CHECK(reason({}, {host_of("a", 1)}, {}, none_at_all) == "f-1:next_round ");
}

TEST_CASE("a run that fits nowhere holds up nobody") {
  std::vector<Demand> demand = {run_of("f", 1, 1), run_of("f", 2, 2)};
  demand[0].memory_bytes = 2000;
  Supply host = host_of("a", 2);
  host.memory_bytes = 1000;
  CHECK(text_of(admit(demand, {}, {host}, {}, {})) == "f-2/1@a.7 f-1:too_large ");
}

namespace {

struct Scene {
  std::vector<Demand> demand;
  std::vector<FleetLoad> fleets;
  std::vector<Supply> hosts;
  std::vector<std::pair<std::string, std::uint32_t>> repositories;
  AdmissionLimits limits;
};

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(engine_() % n); }

 private:
  std::mt19937_64 engine_;
};

Scene random_scene(std::uint64_t seed) {
  Dice dice(seed);
  Scene scene;
  const int fleets = 1 + static_cast<int>(dice.below(6));
  for (int f = 0; f < fleets; ++f) {
    const std::string name = "f" + std::to_string(f);
    FleetLoad load = load_of(name, dice.below(10), dice.below(30));
    load.weight = 1 + dice.below(3);
    load.held = dice.below(8) == 0;
    if (dice.below(5) != 0) scene.fleets.push_back(load);
    for (std::uint32_t i = dice.below(60); i > 0; --i) {
      Demand d = run_of(name, static_cast<int>(i), dice.below(100));
      d.repository = "acme/" + std::to_string(dice.below(40));
      d.canonical_url = "/srv/" + d.repository;
      d.priority = static_cast<int>(dice.below(3));
      d.cpus_milli = 500 * (1 + dice.below(6));
      d.memory_bytes = 100 * dice.below(30);
      scene.demand.push_back(d);
    }
  }
  for (std::uint32_t h = dice.below(6); h > 0; --h) {
    Supply host = host_of("h" + std::to_string(h), dice.below(12));
    host.used = dice.below(host.slots + 1);
    host.cpus_milli = dice.below(4) == 0 ? 0 : 1000 * dice.below(12);
    host.memory_bytes = dice.below(4) == 0 ? 0 : 500 * dice.below(20);
    host.accepts = dice.below(5) != 0;
    host.warm = {"/srv/acme/1", "/srv/acme/2"};
    scene.hosts.push_back(host);
  }
  scene.repositories = {{"acme/1", dice.below(2)}, {"acme/2", 1}};
  scene.limits.running_total = dice.below(120);
  scene.limits.running_per_repository = 1 + dice.below(2);
  scene.limits.proposals = dice.below(40);
  return scene;
}

Round admit(const Scene& s) { return admit(s.demand, s.fleets, s.hosts, s.repositories, s.limits); }

}  // namespace

TEST_CASE("never over a limit, every run answered once, the same answer again") {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    INFO("seed " << seed);
    const Scene scene = random_scene(seed);
    const Round round = admit(scene);
    REQUIRE(text_of(round) == text_of(admit(scene)));

    std::map<std::string, const Demand*> demand;
    for (const Demand& d : scene.demand) demand[d.run] = &d;
    std::set<std::string> answered;
    std::map<std::string, std::uint32_t> per_fleet, per_repository, slots;
    std::map<std::string, std::uint64_t> cpus, memory;
    std::uint32_t total = 0;
    for (const FleetLoad& f : scene.fleets) per_fleet[f.fleet] = f.running;
    for (const FleetLoad& f : scene.fleets) total += f.running;
    for (const auto& [repository, n] : scene.repositories) per_repository[repository] = n;
    for (const Proposal& p : round.proposals) {
      REQUIRE(answered.insert(p.run).second);
      const Demand& d = *demand.at(p.run);
      ++per_fleet[d.fleet];
      REQUIRE(++per_repository[d.repository] <= scene.limits.running_per_repository);
      REQUIRE(++total <= scene.limits.running_total);
      ++slots[p.host];
      cpus[p.host] += d.cpus_milli;
      memory[p.host] += d.memory_bytes;
    }
    REQUIRE(round.proposals.size() <= scene.limits.proposals);
    for (const Waiting& w : round.waiting) {
      REQUIRE(answered.insert(w.run).second);
      REQUIRE(w.reason != WaitReason::none);
    }
    REQUIRE(answered.size() == demand.size());
    for (const FleetLoad& f : scene.fleets) {
      if (per_fleet[f.fleet] == f.running) continue;
      REQUIRE(per_fleet[f.fleet] <= f.limit);
      REQUIRE_FALSE(f.held);
    }
    for (const Supply& h : scene.hosts) {
      if (slots[h.host] == 0) continue;
      REQUIRE(h.accepts);
      REQUIRE(h.used + slots[h.host] <= h.slots);
      if (h.cpus_milli != 0) REQUIRE(h.cpus_used + cpus[h.host] <= h.cpus_milli);
      if (h.memory_bytes != 0) REQUIRE(h.memory_used + memory[h.host] <= h.memory_bytes);
    }
  }
}

TEST_CASE("over many rounds every run is placed, and a fleet of one in its first") {
  std::vector<Demand> demand;
  for (int i = 0; i < 5000; ++i) demand.push_back(run_of("big", i));
  std::uint32_t big_running = 0;
  int rounds = 0;
  for (; !demand.empty(); ++rounds) {
    REQUIRE(rounds < 1000);
    if (rounds == 5) demand.push_back(run_of("one", 9999, 1'000'000));
    const Round round = admit(demand, {load_of("big", big_running, 5000)}, {host_of("a", 10)}, {}, {});
    REQUIRE(round.proposals.size() == 10);
    if (rounds == 5) CHECK(round.proposals[0].run == "one-9999");
    std::set<std::string> placed;
    for (const Proposal& p : round.proposals) placed.insert(p.run);
    std::erase_if(demand, [&](const Demand& d) { return placed.contains(d.run); });
    big_running = 5;  // some are always still at work when the next round comes
    if (demand.size() < 10) break;
  }
  CHECK(rounds > 100);
}

// Not a timed assertion: prints what a round costs. Run it with [.measure].
TEST_CASE("the cost of a round", "[.measure]") {
  std::vector<Demand> demand;
  for (int f = 0; f < 10; ++f)
    for (int i = 0; i < 500; ++i) demand.push_back(run_of("f" + std::to_string(f), f * 500 + i, i));
  std::vector<Supply> hosts;
  for (int h = 0; h < 50; ++h) {
    Supply host = host_of("h" + std::to_string(h), 16);
    for (int i = 0; i < 500; ++i) host.warm.push_back("/srv/" + std::to_string(i * 10 + h % 10));
    std::sort(host.warm.begin(), host.warm.end());
    host.cpus_milli = 64'000;
    hosts.push_back(host);
  }
  std::vector<Supply> full = hosts;
  for (Supply& host : full) host.used = host.slots;
  const auto measure = [&](const char* what, const std::vector<Supply>& supply) {
    const auto begin = std::chrono::steady_clock::now();
    std::size_t placed = 0;
    for (int i = 0; i < 20; ++i) placed += admit(demand, {}, supply, {}, {}).proposals.size();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    std::cout << what << ": " << took.count() / 20 << " ms a round, " << placed / 20 << " placed\n";
  };
  measure("5,000 runs, 50 hosts with room", hosts);
  measure("5,000 runs, 50 full hosts", full);
}
