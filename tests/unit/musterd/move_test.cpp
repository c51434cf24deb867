// Moving a run: what is said before anything is done, and what the run is told.
#include "tests/unit/musterd/api_fixture.hpp"
#include "tools/musterd/move_room.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

const char* const kRunId = "1111AAAAAAAAA";

/// A run on host h1; h2 has two slots, h3 is cordoned, h4 too small, h5 full.
struct Hosts : ApiFixture {
  Hosts() {
    run.fleet = "bump";
    run.repository = "acme/api";
    run.state = fbs::RunState::running;
    run.host = "h1";
    run.policy = std::make_unique<fbs::RunPolicyT>();
    run.policy->cpus_milli = 1000;
    put_run();
    engine.put_index(actors::index::kRun, kRunId, "bump\nacme/api");
    put_host("h1", 4, fbs::HostState::ready);
    put_host("h2", 2, fbs::HostState::ready);
    put_host("h3", 4, fbs::HostState::cordoned);
    put_host("h4", 4, fbs::HostState::ready, 500);
    put_host("h5", 1, fbs::HostState::ready, 0, 1);
  }
  void put_run() { engine.put_head("run", kRunId, run); }
  void put_host(const std::string& name, std::uint32_t slots, fbs::HostState state,
                std::uint32_t cpus = 0, std::uint32_t used = 0) {
    fbs::HostHeadT head;
    head.name = name;
    head.slots = slots;
    head.state = state;
    head.cpus_milli = cpus;
    for (std::uint32_t n = 0; n < used; ++n) head.used.push_back(std::make_unique<fbs::SlotT>());
    engine.put_head("host", name, head);
    engine.put_index(actors::index::kHost, name, "");
  }
  Response move(const Json& body, const std::map<std::string, std::string>& headers = {}) {
    return send("POST", "/v1/runs/1111/move", body.dump(), "", headers);
  }
  std::string why_not(const Json& body) {
    const Response response = move(body);
    const Json problem = Json::parse(response.body);
    return std::to_string(response.status) + " " + problem.value("detail", "");
  }

  fbs::RunHeadT run;
};

}  // namespace

TEST_CASE_METHOD(Hosts, "a run is told where its next attempt begins") {
  const Response moved = move({{"to", "h2"}, {"reason", "slow"}, {"by", "ann"}});
  INFO(moved.body);
  REQUIRE(moved.status == 200);
  CHECK(Json::parse(moved.body) == Json({{"run", kRunId},
                                         {"from", "h1"},
                                         {"to", "h2"},
                                         {"hosts_with_room", {"h2"}},
                                         {"dry_run", false}}));
  REQUIRE(engine.calls.size() == 1);
  CHECK(engine.calls[0].lane == engine::Lane::operator_);
  const auto message = engine::decode_table<fbs::ReleaseRunT>(engine.calls[0].payload.bytes);
  REQUIRE(message);
  CHECK(message->move);
  CHECK(message->to == "h2");
  CHECK(message->by == "ann");
  CHECK(message->reason == "slow");

  const Response anywhere = move(Json::object());
  REQUIRE(anywhere.status == 200);
  CHECK(Json::parse(anywhere.body).at("to").is_null());
  CHECK(engine.calls.size() == 2);
  CHECK(notes.back().action == "POST /v1/runs/{id}/move");
}

TEST_CASE_METHOD(Hosts, "a move that can't be is refused at once, and a dry run does nothing") {
  CHECK(why_not({{"to", "h9"}}) == "404 there is no host h9");
  CHECK(why_not({{"to", "h3"}}) ==
        "409 host h3 is cordoned; run 1111AAAAAAAAA stays where it is");
  CHECK(why_not({{"to", "h4"}}) ==
        "409 host h4 is too small; run 1111AAAAAAAAA stays where it is");
  CHECK(why_not({{"to", "h5"}}) ==
        "409 host h5 is full: 1 of 1 slots are taken; run 1111AAAAAAAAA stays where it is");
  CHECK(why_not({{"to", 5}}) == "400 'to' must be text");
  const Response would = move({{"to", "h2"}, {"dry_run", true}});
  CHECK(would.status == 200);
  CHECK(Json::parse(would.body).at("dry_run") == true);
  CHECK(engine.calls.empty());

  put_host("h2", 2, fbs::HostState::draining);
  put_host("h5", 0, fbs::HostState::ready);
  CHECK(why_not(Json::object()) ==
        "409 no other host takes run 1111AAAAAAAAA: h2 is draining, h3 is cordoned, h4 is too "
        "small, h5 is too small");
  CHECK(engine.calls.empty());
  // What was told already is not judged again: the run has the word.
  CHECK(move({{"to", "h1"}}).status == 200);
  run.state = fbs::RunState::queued;
  run.moving = true;
  run.move_to = "h3";
  put_run();
  CHECK(move({{"to", "h3"}}).status == 200);
  CHECK(engine.calls.size() == 2);
  CHECK(send("POST", "/v1/runs/9999/move").status == 404);
}

TEST_CASE_METHOD(Hosts, "who saw another run than there is moves nothing") {
  CHECK(move({{"to", "h2"}}, {{"If-Match", "\"0123456789abcdef\""}}).status == 412);
  CHECK(engine.calls.empty());
  who = Identity{"tess", "token T1", Role::viewer, {}, false};
  CHECK(move({{"to", "h2"}}).status == 403);
  who = Identity{"tess", "token T1", Role::operator_, {}, false};
  CHECK(move({{"to", "h2"}}).status == 200);
}

TEST_CASE_METHOD(Hosts, "of many that move to one host those are taken that it has room for") {
  const View view(engine);
  auto room = MoveRoom::read(view);
  REQUIRE(room);
  CHECK(room->take("A", run, "h2"));
  CHECK(room->others_with_room(run) == std::vector<std::string>{"h2"});
  CHECK(room->take("B", run, "h2"));
  const auto third = room->take("C", run, "h2");
  REQUIRE_FALSE(third);
  CHECK(third.error().message == "host h2 is full: 2 of 2 slots are taken; run C stays where it is");
  CHECK(room->others_with_room(run).empty());
  CHECK(room->take("C", run, ""));  // It waits for the first that has room.
}
