#include <catch2/catch.hpp>

#include "actors/fleet/fleet.hpp"
#include "actors/swarm/swarm.hpp"
#include "tests/unit/musterd/fake_engine.hpp"
#include "tools/musterd/check.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

/// A fleet of two runs that agrees with itself.
struct TwoRuns {
  TwoRuns() {
    put("AAAA", fbs::RunState::delivered);
    put("BBBB", fbs::RunState::running);
    recount();
    engine.put_index(actors::index::kFleet, "bump", "");
  }
  void put(const std::string& id, fbs::RunState state) {
    fbs::RunRowT row;
    row.run = id;
    row.repository = "acme/" + id;
    row.number = 3;
    row.state = state;
    row.attempt = 1;
    rows[id] = row;
    engine.put_row("fleet", "bump", "run/" + id, row);
    fbs::RunHeadT run;
    run.fleet = "bump";
    run.repository = row.repository;
    run.status_number = 3;
    run.state = state;
    run.attempt = 1;
    engine.put_head("run", id, run);
  }
  void recount() {
    std::vector<fbs::RunRowT> all;
    for (const auto& [id, row] : rows) all.push_back(row);
    head = actors::fleet::recount(all, 1);
    head.name = "bump";
    engine.put_head("fleet", "bump", head);
  }
  std::vector<std::string> differences() {
    const auto result = check_fleets(View(engine));
    REQUIRE(result);
    return result->differences;
  }
  FakeEngine engine;
  std::map<std::string, fbs::RunRowT> rows;
  fbs::FleetHeadT head;
};

}  // namespace

TEST_CASE_METHOD(TwoRuns, "what agrees has no differences") {
  const auto result = check_fleets(View(engine));
  REQUIRE(result);
  CHECK(result->fleets == 1);
  CHECK(result->runs == 2);
  CHECK(result->differences.empty());
}

TEST_CASE_METHOD(TwoRuns, "a wrong counter is named") {
  head.attempts = 7;
  engine.put_head("fleet", "bump", head);
  CHECK(differences() == std::vector<std::string>{"fleet bump: attempts says 7, is 2"});
}

TEST_CASE_METHOD(TwoRuns, "a row that its run contradicts is named") {
  fbs::RunHeadT run;
  run.fleet = "bump";
  run.repository = "acme/BBBB";
  run.status_number = 3;
  run.state = fbs::RunState::failed;
  run.class_ = fbs::FailureClass::agent;
  run.attempt = 1;
  engine.put_head("run", "BBBB", run);
  CHECK(
      differences() ==
      std::vector<std::string>{
          "fleet bump, run BBBB (acme/BBBB): state: the row says 'running', the run says 'failed'",
          "fleet bump, run BBBB (acme/BBBB): class: the row says 'none', the run says 'agent'"});
  // While the status is on its way the row may be behind, but never ahead.
  run.status_number = 4;
  engine.put_head("run", "BBBB", run);
  CHECK(differences().empty());
  run.status_number = 2;
  engine.put_head("run", "BBBB", run);
  CHECK(differences() ==
        std::vector<std::string>{"fleet bump, run BBBB (acme/BBBB): the row took status 3, "
                                 "the run has sent 2"});
}

TEST_CASE_METHOD(TwoRuns, "a run that was and is no more is named") {
  engine.heads.erase({"default", "run", "AAAA"});
  CHECK(differences() ==
        std::vector<std::string>{"fleet bump, run AAAA (acme/AAAA): there is no such run"});
}

TEST_CASE_METHOD(TwoRuns, "a swarm is recounted from its facets, and when it has ended every commit has a fate") {
  fbs::SwarmHeadT swarm;
  swarm.name = "docs";
  swarm.loaded = 2;
  swarm.counts.resize(static_cast<std::size_t>(fbs::FacetState::MAX) + 1);
  swarm.counts[static_cast<std::size_t>(fbs::FacetState::merged)] = 1;
  swarm.counts[static_cast<std::size_t>(fbs::FacetState::working)] = 1;
  swarm.extra_agents = 1;
  engine.put_head("swarm", "docs", swarm);
  engine.put_index(actors::index::kSwarm, "docs", "");
  fbs::FacetRowT facet;
  facet.id = "guide";
  facet.state = fbs::FacetState::merged;
  engine.put_row("swarm", "docs", "facet/00000", facet);
  facet.id = "index";
  facet.state = fbs::FacetState::working;
  facet.candidates.push_back(std::make_unique<fbs::CandidateT>());
  facet.candidates.push_back(std::make_unique<fbs::CandidateT>());
  engine.put_row("swarm", "docs", "facet/00001", facet);
  fbs::CommitRowT open;
  open.facet = 1;
  engine.put_row("swarm", "docs", "commit/c1", open);
  CHECK(differences().empty());
  swarm.counts[static_cast<std::size_t>(fbs::FacetState::merged)] = 2;
  swarm.owners = 1;
  swarm.state = fbs::SwarmState::completed;
  engine.put_head("swarm", "docs", swarm);
  open.facet = 7;
  engine.put_row("swarm", "docs", "commit/c2", open);
  CHECK(differences() ==
        std::vector<std::string>{"swarm docs: merged says 2, is 1", "swarm docs: owners says 1, is 0",
                                 "swarm docs: it has ended, and commit c1 has no fate",
                                 "swarm docs: it has ended, and commit c2 has no fate",
                                 "swarm docs: commit c2 is of a facet that is not there"});
}
