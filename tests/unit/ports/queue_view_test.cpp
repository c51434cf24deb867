// The dispatcher's view of demand, load and supply, without an engine.
#include "actors/ports/queue_view.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <future>
#include <map>
#include <set>

#include "actors/ports/patience.hpp"
#include "actors/ports/run_limits.hpp"
#include "actors/ports/strand.hpp"

using namespace muster;
using actors::QueueView;
using actors::fbs::HostHeadT;
using actors::fbs::QueuedRunT;

namespace {

QueuedRunT entry(const std::string& fleet, const std::string& repository, std::uint32_t attempt = 1,
                 std::uint32_t concurrency = 50) {
  QueuedRunT queued;
  queued.fleet = fleet;
  queued.repository = repository;
  queued.attempt = attempt;
  queued.fleet_concurrency = concurrency;
  queued.memory_bytes = 10;
  return queued;
}

HostHeadT host(std::uint32_t slots,
               const std::vector<std::pair<std::string, std::uint32_t>>& used) {
  HostHeadT head;
  head.session = 3;
  head.slots = slots;
  for (const auto& [run, attempt] : used) {
    head.used.push_back(std::make_unique<actors::fbs::SlotT>());
    head.used.back()->run = run;
    head.used.back()->attempt = attempt;
    head.used.back()->memory_bytes = 10;
  }
  return head;
}

/// Everything that a round reads, as one text.
std::string shown(const QueueView& view) {
  std::string text = "demand";
  std::set<std::string> runs;
  for (const auto& demand : view.demand())
    runs.insert(demand.run + "-" + std::to_string(demand.attempt));
  for (const auto& run : runs) text += " " + run;
  for (const auto& fleet : view.fleets())
    text += "\nfleet " + fleet.fleet + " " + std::to_string(fleet.running) + "/" +
            std::to_string(fleet.limit) + (fleet.held ? " held" : "");
  for (const auto& supply : view.hosts())
    text += "\nhost " + supply.host + " " + std::to_string(supply.used) + "/" +
            std::to_string(supply.slots) + " memory " + std::to_string(supply.memory_used);
  for (const auto& [repository, running] : view.repositories())
    text += "\nrepository " + repository + " " + std::to_string(running);
  return text;
}

}  // namespace

TEST_CASE("a run from queued over proposed to placed and gone") {
  QueueView view;
  view.host("h", host(2, {}));
  view.queued("A", entry("f", "x/a", 1, 7));
  REQUIRE(shown(view) == "demand A-1\nfleet f 0/7\nhost h 0/2 memory 0");
  view.propose({"A", 1, "h", 3});
  REQUIRE(shown(view) == "demand\nfleet f 1/7\nhost h 1/2 memory 10\nrepository x/a 1");
  SECTION("the host takes it: counted once while both know") {
    view.host("h", host(2, {{"A", 1}}));
    REQUIRE(shown(view) == "demand\nfleet f 1/7\nhost h 1/2 memory 10\nrepository x/a 1");
    view.queued("A", std::nullopt);
    view.placed("A", entry("f", "x/a", 1, 7));
    REQUIRE(shown(view) == "demand\nfleet f 1/7\nhost h 1/2 memory 10\nrepository x/a 1");
    REQUIRE(!view.withdraw("A", 1));
    view.placed("A", std::nullopt);
    view.host("h", host(2, {}));
    REQUIRE(shown(view) == "demand\nhost h 0/2 memory 0");
  }
  SECTION("the proposal has no effect: it is demand again, with its fleet's limit") {
    REQUIRE(view.withdraw("A", 1));
    REQUIRE(shown(view) == "demand A-1\nfleet f 0/7\nhost h 0/2 memory 0");
  }
  SECTION("the run is cancelled while it is proposed") {
    view.queued("A", std::nullopt);
    REQUIRE(!view.withdraw("A", 1));
    REQUIRE(shown(view) == "demand\nhost h 0/2 memory 0");
  }
  SECTION("the same entry twice, then its next attempt") {
    view.queued("A", entry("f", "x/a", 1, 7));
    REQUIRE(shown(view) == "demand\nfleet f 1/7\nhost h 1/2 memory 10\nrepository x/a 1");
    view.queued("A", entry("f", "x/a", 2, 7));
    REQUIRE(shown(view) == "demand A-2\nfleet f 0/7\nhost h 0/2 memory 0");
    REQUIRE(!view.withdraw("A", 1));
  }
}

TEST_CASE("where a moved run may go is known, also when that changes while it is proposed") {
  QueueView view;
  view.host("h", host(2, {}));
  QueuedRunT moved = entry("f", "x/a");
  moved.host = "old";
  moved.moving = true;
  moved.to = "h";
  view.queued("A", moved);
  REQUIRE(view.find("A")->left == "old");
  REQUIRE(view.find("A")->moving);
  REQUIRE(view.find("A")->to == "h");
  view.propose({"A", 1, "h", 3});
  moved.to = "other";
  view.queued("A", moved);
  REQUIRE(view.demand().empty());  // It is proposed still.
  REQUIRE(view.withdraw("A", 1));
  REQUIRE(view.find("A")->to == "other");
}

TEST_CASE("entries that come twice count once, in any order with their removal") {
  QueueView view;
  for (int i = 0; i < 2; ++i) {
    view.queued("A", entry("f", "x/a"));
    view.placed("B", entry("f", "x/b"));
  }
  REQUIRE(shown(view) == "demand A-1\nfleet f 1/50\nrepository x/b 1");
  for (int i = 0; i < 2; ++i) {
    view.queued("A", std::nullopt);
    view.placed("B", std::nullopt);
  }
  REQUIRE(shown(view) == "demand");
}

TEST_CASE("a held fleet stays known until it is released") {
  QueueView view;
  view.held("f", true);
  view.queued("A", entry("f", "x/a"));
  view.queued("A", std::nullopt);
  REQUIRE(shown(view) == "demand\nfleet f 0/50 held");
  view.held("f", false);
  REQUIRE(shown(view) == "demand");
}

TEST_CASE("5,000 queued runs are each proposed once, never beyond a host's slots") {
  constexpr std::size_t kRuns = 5'000;
  constexpr std::uint32_t kSlots = 64;
  QueueView view;
  for (std::size_t i = 0; i < kRuns; ++i)
    view.queued("R" + std::to_string(i),
                entry("f" + std::to_string(i % 3), "x/" + std::to_string(i), 1, 1'000));
  std::set<std::string> seen;
  std::vector<std::pair<std::string, std::uint32_t>> used;
  while (!view.demand().empty()) {
    view.host("h", host(kSlots, used));
    const auto round = engine::admit(view.demand(), view.fleets(), view.hosts(),
                                     view.repositories(), {.running_per_repository = UINT32_MAX});
    REQUIRE(!round.proposals.empty());
    for (const auto& proposal : round.proposals) {
      REQUIRE(seen.insert(proposal.run).second);
      const auto queued = *view.find(proposal.run);
      view.propose(proposal);
      view.queued(proposal.run, std::nullopt);
      view.placed(proposal.run, entry(queued.fleet, queued.repository));
      used.emplace_back(proposal.run, 1);
    }
    REQUIRE(used.size() <= kSlots);
    for (const auto& [run, attempt] : used) view.placed(run, std::nullopt);
    used.clear();
  }
  REQUIRE(seen.size() == kRuns);
  REQUIRE(view.repositories().empty());
}

TEST_CASE("an operator's limits and weights stand over what fleets ask for") {
  QueueView view;
  for (int i = 0; i < 20; ++i) {
    view.queued("A" + std::to_string(i), entry("a", "acme/a" + std::to_string(i)));
    view.queued("B" + std::to_string(i), entry("b", "acme/b" + std::to_string(i), 1, 3));
  }
  view.host("h", host(12, {}));
  const auto proposed = [&](const actors::RunLimits& limits) {
    auto fleets = view.fleets();
    actors::apply(limits, fleets);
    engine::AdmissionLimits admission;
    admission.running_total = limits.total;
    std::map<char, int> counts;
    for (const auto& proposal :
         engine::admit(view.demand(), fleets, view.hosts(), view.repositories(), admission)
             .proposals)
      ++counts[proposal.run.front()];
    return std::to_string(counts['A']) + " and " + std::to_string(counts['B']);
  };
  actors::RunLimits limits;
  CHECK(proposed(limits) == "9 and 3");  // As b's file says.
  limits.fleets["b"] = {10, 1};
  CHECK(proposed(limits) == "6 and 6");
  limits.fleets["b"] = {10, 3};
  CHECK(proposed(limits) == "3 and 9");
  limits.fleets["a"] = {1, 1};
  CHECK(proposed(limits) == "1 and 10");
  limits.fleets["nobody"] = {1, 1};
  limits.total = 4;
  CHECK(proposed(limits) == "1 and 3");
}

TEST_CASE("what is asked again waits for as long as answers take, within bounds") {
  actors::Patience patience(Duration{1'000}, Duration{10'000});
  actors::Patience::Time now{};
  const auto answer = [&](int took_ms) {
    patience.asked("R", now);
    now += std::chrono::milliseconds(took_ms);
    patience.answered("R", now);
    patience.answered("R", now);  // Told twice.
  };
  CHECK(patience.asked("S", now) == Duration{1'000});
  patience.in_vain("S");
  CHECK(patience.asked("S", now) == Duration{2'000});
  patience.answered("S", now);
  CHECK(patience.asked("S", now) == Duration{1'000});
  answer(1'000);
  CHECK(patience.asked("S", now) == Duration{2'500});
  for (int i = 0; i < 20; ++i) answer(60'000);
  CHECK(patience.asked("S", now) == Duration{10'000});
  for (int i = 0; i < 20; ++i) patience.in_vain("S");
  CHECK(patience.asked("S", now) == Duration{10'000});
  for (int i = 0; i < 20; ++i) answer(5);
  CHECK(patience.asked("S", now) == Duration{1'000});
}

TEST_CASE("a strand takes first what was posted so, each kind in its order") {
  std::promise<void> begun, go;
  std::string order;
  std::promise<void> done;
  actors::Strand strand("test");
  strand.post([&] {
    begun.set_value();
    go.get_future().wait();
  });
  begun.get_future().wait();
  strand.post([&] { order += "a"; });
  strand.post_first([&] { order += "1"; });
  strand.post([&] {
    order += "b";
    done.set_value();
  });
  strand.post_first([&] { order += "2"; });
  go.set_value();
  done.get_future().wait();
  CHECK(order == "12ab");
}
