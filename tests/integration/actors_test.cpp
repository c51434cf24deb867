// What operators see of actors, over the real engine and server: a fleet that waits for a host.
#include <catch2/catch.hpp>

#include <algorithm>
#include <thread>
#include <tuple>

#include "storage/base/ids.hpp"
#include "tests/integration/waiting_fleet.hpp"

using namespace muster;
using nlohmann::json;
using tests::ApiClient;
using tests::ApiReply;
using tests::Followed;
using tests::WaitingFleet;

TEST_CASE_METHOD(WaitingFleet, "actors are listed by kind, prefix, fleet, state and age") {
  const auto count = [&](const std::string& query) {
    return get("/v1/actors?" + query).at("actors").size();
  };
  CHECK(count("") == 9);  // The fleet, four runs, four repositories.
  CHECK(count("kind=run") == 4);
  CHECK(count("kind=run&state=queued&fleet=bump") == 4);
  CHECK(count("kind=run&state=failed") == 0);
  CHECK(count("fleet=bump") == 5);
  CHECK(count("kind=repo&prefix=acme%2Fr1") == 1);
  CHECK(count("kind=run&younger_than=1h") == 4);
  CHECK(count("kind=run&older_than=1h") == 0);
  CHECK(count("min_pending=1") == 0);
  json page = get("/v1/actors?limit=4");
  std::set<std::string> seen;
  for (std::size_t pages = 0; pages < 4; ++pages) {
    for (const json& actor : page.at("actors")) CHECK(seen.insert(actor.at("id")).second);
    if (page.at("next").is_null()) break;
    page = get("/v1/actors?limit=4&cursor=" + page.at("next").get<std::string>());
  }
  CHECK(seen.size() == 9);
  CHECK(api().get("/v1/actors?kind=shoe").status == 400);
  CHECK(api().get("/v1/actors?prefix=a").status == 400);
  CHECK(api().get("/v1/actors?older_than=long").status == 400);
  CHECK(api().get("/v1/actors?cursor=AAAA").status == 400);
}

TEST_CASE_METHOD(
    WaitingFleet,
    "one actor: state decoded, mailbox, timers, effects; its journal from the beginning") {
  const std::string run = a_run();
  const json actor = get("/v1/actors/run/" + run.substr(0, 6));
  CHECK(actor.at("key") == run);
  CHECK(actor.at("state").at("state") == "queued");
  CHECK(actor.at("state").at("fleet") == "bump");
  CHECK(actor.at("activation").at("pending").at("normal") == 0);
  CHECK(actor.at("last_error").is_null());
  CHECK(actor.at("version") == actor.at("version_now"));
  CHECK(get("/v1/actors/fleet/bump").at("waits_for") == "its runs: 4 queued");
  CHECK(actor.at("placement").is_null());  // It has not stood on a host yet.
  CHECK(get("/v1/actors/run/" + run + "/rows").at("rows").at(0).at("row") == "create");

  const json journal = get("/v1/actors/run/" + run + "/journal");
  CHECK(journal.at("from_the_beginning") == true);
  CHECK(journal.at("next").is_null());
  const json& made = journal.at("consumed").back();
  CHECK(made.at("type") == "CreateRun");
  CHECK(made.at("from") == "fleet/bump");
  CHECK(made.at("message").at("fleet") == "bump");
  CHECK(made.at("sequence") == actor.at("incarnation"));

  // What made it, and what came of that.
  const json cause = get("/v1/messages/" + std::to_string(made.at("causation").get<int>()));
  CHECK(cause.at("to") == "fleet/bump");
  bool sent = false;
  for (const json& each : cause.at("step").at("sent")) sent = sent || each.at("to") == "run/" + run;
  CHECK(sent);
  CHECK(api().get("/v1/messages/99999999").status == 404);
  CHECK(api().get("/v1/messages/x").status == 400);
  CHECK(api().get("/v1/actors/run/NOBODY").status != 200);
  CHECK(api().get("/v1/actors/fleet/nobody").status == 404);
}

TEST_CASE_METHOD(WaitingFleet,
                 "the engine tells its commits, the queue its reasons, the kinds their messages") {
  const json engine = get("/v1/engine");
  CHECK(engine.at("trouble").is_null());
  CHECK(engine.at("commits").at("commits").get<int>() > 0);
  CHECK(engine.at("commits").at("decisions").get<int>() >=
        engine.at("commits").at("batch").at("max").get<int>());
  CHECK(engine.at("commits").at("last").at(0).at("bytes").get<int>() > 0);
  CHECK(engine.at("dead_letters") == 0);
  const json& steps = engine.at("steps");
  CHECK(std::any_of(steps.begin(), steps.end(), [](const json& kind) {
    return kind.at("kind") == "run" && kind.at("steps").get<int>() >= 4 &&
           kind.at("p99_us").get<int>() > 0;
  }));
  const json queue = until("/v1/queue?fleet=bump",
                           [](const json& doc) { return doc.at("queue").at(0).at("why") != ""; });
  CHECK(queue.at("queue").at(0).at("fleet") == "bump");
  CHECK(get("/v1/queue?fleet=other").at("queue").empty());
  CHECK(get("/v1/dead-letters").at("dead_letters").empty());
  CHECK(get("/v1/kinds").at("kinds").size() == 6);
}

TEST_CASE_METHOD(WaitingFleet,
                 "the causal tree leads from the API's call to every run; states are made again") {
  const json journal = get("/v1/actors/fleet/bump/journal?limit=1000");
  const json& first = journal.at("consumed").back();
  CHECK(first.at("type") == "CreateFleet");
  CHECK(first.at("from") == "api");
  const json tree =
      get("/v1/messages/" + std::to_string(first.at("sequence").get<int>()) + "/tree");
  CHECK(tree.at("ancestors").empty());
  CHECK(tree.at("more") == false);
  std::map<std::string, int> types;
  std::set<std::string> runs;
  std::size_t place = 0;
  for (const json& message : tree.at("messages")) {
    ++types[message.at("type")];
    if (message.at("type") == "CreateRun") runs.insert(message.at("to"));
    if (place++ > 0) CHECK(message.at("parent").get<std::size_t>() < place);
  }
  CHECK(runs.size() == 4);
  CHECK(types.at("SnapshotPage") >= 1);
  CHECK(types.at("RepoGranted") == 4);
  CHECK(types.at("RunStatus") >= 4);

  const std::string run = *runs.begin();
  const json story = get("/v1/actors/" + run + "/journal").at("consumed");
  const json made = get("/v1/actors/" + run + "/states/" +
                        std::to_string(story.back().at("sequence").get<int>()));
  CHECK(made.at("state").at("state") == "waiting");
  CHECK(made.at("newest") == false);
  const json now = get("/v1/actors/" + run + "/states/999999");
  CHECK(now.at("state").at("state") == "queued");
  CHECK(now.at("same_as_kept") == true);
  CHECK(get("/v1/messages/" + std::to_string(story.front().at("sequence").get<int>()) + "/tree")
            .at("ancestors")
            .at(0)
            .at("sequence") == first.at("sequence"));
}

TEST_CASE_METHOD(WaitingFleet,
                 "an operation says what it would do, does it once, and lists what failed") {
  const std::string run = a_run();
  const json cancel = {{"action", "cancel"},
                       {"select", {{"kind", "run"}, {"state", "queued"}}},
                       {"reason", "wrong fleet"},
                       {"by", "ann"}};
  json dry = cancel;
  dry["dry_run"] = true;
  const json would = api().post("/v1/operations", dry).json();
  CHECK(would.at("possible") == 4);
  CHECK(would.at("done") == 0);
  CHECK(would.at("decides").at("messages").get<int>() >= 4);  // To the fleet, of each.
  CHECK(would.at("decides").at("effects") == 0);
  CHECK(get("/v1/actors?kind=run&state=queued").at("actors").size() == 4);

  // By age and by what waits for them, as lists are.
  for (const auto& [filter, value, possible] :
       {std::tuple{"younger_than", json("1h"), 4}, std::tuple{"older_than", json("1h"), 0},
        std::tuple{"min_pending", json(1), 0}, std::tuple{"prefix", json(run.substr(0, 6)), 1}}) {
    json narrowed = dry;
    narrowed["select"][filter] = value;
    CHECK(api().post("/v1/operations", narrowed).json().at("possible") == possible);
  }

  // A filter that is not known, or says nothing, would widen what is meant: it is refused.
  for (const auto& [filter, value, why] :
       {std::tuple{"stat", "failed", "'select.stat' is none of kind, "},
        std::tuple{"fleet", "", "'select.fleet' is empty"}}) {
    json wide = cancel;
    wide["select"] = {{"kind", "run"}, {filter, value}};
    const ApiReply refused = api().post("/v1/operations", wide);
    CHECK(refused.status == 400);
    CHECK(refused.json().at("detail").get<std::string>().starts_with(why));
  }

  const std::string key = ApiClient::new_key();
  const ApiReply did = api().post("/v1/operations", cancel, key);
  INFO(did.body);
  CHECK(did.json().at("done") == 4);
  CHECK(did.json().at("failed") == 0);
  until("/v1/actors?kind=run&state=cancelled",
        [](const json& doc) { return doc.at("actors").size() == 4; });
  const json journal = get("/v1/actors/run/" + run + "/journal").at("consumed");
  const auto said = std::find_if(journal.begin(), journal.end(),
                                 [](const json& step) { return step.at("type") == "CancelRun"; });
  REQUIRE(said != journal.end());
  CHECK(said->at("message").at("reason") == "wrong fleet");
  CHECK(said->at("message").at("by") == "ann");
  CHECK(said->at("lane") == "operator");
  CHECK(said->at("correlation") == key);

  // Who ordered what to whom, and why, beside what each run decided of it.
  const json noted = get("/v1/audit?action=operation.cancel").at("entries");
  REQUIRE(noted.size() == 1);
  CHECK(noted.at(0).at("who") == "ann");
  CHECK(noted.at(0).at("detail") == "wrong fleet");
  CHECK(noted.at(0).at("target").get<std::string>().find("run/" + run) != std::string::npos);
  CHECK(noted.at(0).at("correlation") == key);
  // What has ended would refuse it, which a dry run knows without sending anything.
  const json late = api()
                        .post("/v1/operations", {{"action", "release"},
                                                 {"reason", "x"},
                                                 {"by", "ann"},
                                                 {"dry_run", true},
                                                 {"ids", {"run/" + run}}})
                        .json();
  CHECK(late.at("possible") == 0);
  CHECK(late.at("failures").at(0).at("message").get<std::string>().find("stands on no host") !=
        std::string::npos);

  const json mixed =
      api()
          .post("/v1/operations", {{"action", "cordon"},
                                   {"reason", "x"},
                                   {"by", "ann"},
                                   {"ids", {"run/" + run, "host/nowhere", "fleet/bump"}}})
          .json();
  CHECK(mixed.at("done") == 0);
  CHECK(mixed.at("failures").size() == 3);
  CHECK(
      api().post("/v1/operations", {{"action", "cancel"}, {"reason", "x"}, {"by", "ann"}}).status ==
      400);
  CHECK(api().post("/v1/operations", {{"action", "cancel"}, {"ids", {"run/" + run}}}).status ==
        400);
  CHECK(api()
            .post("/v1/operations",
                  {{"action", "explode"}, {"reason", "x"}, {"by", "ann"}, {"ids", {"run/" + run}}})
            .status == 400);
}

TEST_CASE_METHOD(WaitingFleet, "a typed message is checked by its schema before it is sent") {
  const std::string path = "/v1/actors/run/" + a_run() + "/messages";
  const json message = {{"type", "CancelRun"},
                        {"message", {{"reason", "by hand"}}},
                        {"reason", "repair"},
                        {"by", "ann"}};
  json dry = message;
  dry["dry_run"] = true;
  CHECK(api().post(path, dry).json().at("message").at("reason") == "by hand");
  CHECK(get("/v1/actors?kind=run&state=queued").at("actors").size() == 4);
  json wrong = message;
  wrong["message"] = {{"raeson", "x"}};
  const ApiReply refused = api().post(path, wrong);
  CHECK(refused.status == 400);
  CHECK(refused.json().at("detail").get<std::string>().find("raeson") != std::string::npos);
  CHECK(api().post(path, message).status == 200);
  until("/v1/actors?kind=run&state=cancelled",
        [](const json& doc) { return doc.at("actors").size() == 1; });
  const json noted = get("/v1/audit?action=message.send").at("entries");
  REQUIRE(noted.size() == 1);  // Neither the dry run nor what was refused.
  CHECK(noted.at(0).at("target") == path.substr(11, path.size() - 20) + " CancelRun");
  CHECK(noted.at(0).at("detail") == "repair");
}

TEST_CASE_METHOD(WaitingFleet, "a retry's reason is in the log, with the fleet's own word") {
  const json retry = {{"action", "retry"},
                      {"ids", {"fleet/bump"}},
                      {"reason", "the mirror is back"},
                      {"by", "ann"}};
  CHECK(api().post("/v1/operations", retry).json().at("failed") == 1);  // Nothing has failed.
  CHECK(get("/v1/audit?action=operation.retry").at("entries").at(0).at("detail") ==
        "the mirror is back");
}

TEST_CASE_METHOD(WaitingFleet, "steps are followed as they come, with filters and a bound") {
  const json begin = get("/v1/steps");
  CHECK(begin.at("steps").empty());
  CHECK(begin.at("left_out") == 0);
  const std::string since = "/v1/steps?cursor=" + begin.at("next").get<std::string>();
  const std::string run = a_run();
  const json cancel = {
      {"action", "cancel"}, {"ids", {"run/" + run}}, {"reason", "to be seen"}, {"by", "ann"}};
  REQUIRE(api().post("/v1/operations", cancel).json().at("done") == 1);

  const auto told = [](const json& doc, const char* type) {
    const json& steps = doc.at("steps");
    return std::any_of(steps.begin(), steps.end(),
                       [&](const json& step) { return step.at("type") == type; });
  };
  const json seen =
      until(since + "&actor=run/" + run, [&](const json& doc) { return told(doc, "CancelRun"); });
  for (const json& step : seen.at("steps")) CHECK(step.at("actor") == "run/" + run);
  CHECK(seen.at("steps").at(0).at("message").at("reason") == "to be seen");
  const json fleet =
      until(since + "&fleet=bump", [&](const json& doc) { return told(doc, "RunStatus"); });
  CHECK(told(fleet, "CancelRun"));
  CHECK(get(since + "&fleet=other").at("steps").empty());
  CHECK(get(since + "&host=nowhere").at("steps").empty());
  CHECK(get(since + "&dead=true").at("steps").empty());
  const json one = get(since + "&limit=1");
  CHECK(one.at("steps").size() == 1);
  CHECK(one.at("left_out").get<int>() >= 1);
  const std::string after = "/v1/steps?kind=run&cursor=" + one.at("next").get<std::string>();
  CHECK(!told(get(after), "CancelRun"));
  CHECK(api().get("/v1/steps?cursor=x").status == 400);
  CHECK(api().get("/v1/steps?dead=perhaps").status == 400);
  CHECK(api().get("/v1/steps?actor=fleet/nobody").status == 404);

  const json hot = get("/v1/hot?kind=run");
  CHECK(hot.at("actors") == 4);
  CHECK(hot.at("hot").at(0).at("steps").get<int>() >= hot.at("hot").at(3).at("steps").get<int>());
  CHECK(hot.at("window_ms").get<int>() > 0);
  CHECK(get("/v1/hot?fleet=bump&limit=2").at("hot").size() == 2);
}

TEST_CASE_METHOD(WaitingFleet,
                 "actors, the queue and dead letters are lists that can be followed") {
  const Followed actors(api(), "/v1/actors?kind=run&state=queued");
  // With its list first: only what a client was given can leave it.
  const Followed queue(api(), "/v1/queue?fleet=bump",
                       api().get("/v1/queue?fleet=bump").header("Muster-Position"));
  const Followed letters(api(), "/v1/dead-letters");
  const std::string run = a_run();
  const Followed dead(api(), "/v1/steps?kind=run&dead=true");
  const Followed journal(api(), "/v1/actors/run/" + run + "/journal");
  const Followed others(api(), "/v1/steps?kind=host");
  const json poison = {{"type", "Placed"},
                       {"message", {{"host", std::string(70'000, 'h')}, {"attempt", 1}}},
                       {"reason", "to poison it"},
                       {"by", "ann"}};
  CHECK(api().post("/v1/actors/run/" + run + "/messages", poison).status >= 400);
  const std::string letter = get("/v1/dead-letters").at("dead_letters").at(0).at("id");
  CHECK(letters.until("\"id\":\"" + letter + "\"").find("event: changed") != std::string::npos);
  CHECK(actors.until("\"id\":\"run/" + run + "\"").find("event: changed") != std::string::npos);
  for (const Followed* steps : {&dead, &journal}) {
    steps->until("\"type\":\"Placed\"");
    steps->until("\"dead\":true");
  }
  const json discard = {
      {"action", "discard"}, {"ids", {letter}}, {"reason", "of no use"}, {"by", "ann"}};
  CHECK(api().post("/v1/operations", discard).json().at("done") == 1);
  letters.until("event: left\ndata: {\"id\":\"" + letter + "\"}");

  const json cancel = {
      {"action", "cancel"}, {"ids", {"run/" + run}}, {"reason", "to be seen"}, {"by", "ann"}};
  REQUIRE(api().post("/v1/operations", cancel).json().at("done") == 1);
  actors.until("event: left\ndata: {\"id\":\"run/" + run + "\"}");
  queue.until("event: left\ndata: {\"run\":\"" + run + "\"}");
  journal.until("\"type\":\"CancelRun\"");
  CHECK(dead.until(": muster").find("CancelRun") == std::string::npos);
  CHECK(others.until(": muster").find("event: ") == std::string::npos);
  CHECK(api().get("/v1/actors?min_pending=1").status == 200);

  // Who resumes from before it all is told of the letter as it is now.
  const Followed again(api(), "/v1/dead-letters?state=discarded", "1");
  again.until("\"id\":\"" + letter + "\"");
}

TEST_CASE_METHOD(WaitingFleet,
                 "If-Match lets one of two writers through, and a repeat of the first") {
  const ApiReply seen = api().get("/v1/fleets/bump");
  const std::string tag = seen.header("ETag");
  REQUIRE(!tag.empty());
  const std::string key = ApiClient::new_key();
  const json pause = {{"reason", "first"}, {"by", "ann"}};
  const std::vector<std::string> match{"If-Match: " + tag};
  CHECK(api().post("/v1/fleets/bump/pause", pause, key, match).status == 200);
  const ApiReply late =
      api().post("/v1/fleets/bump/resume", {{"by", "bob"}}, ApiClient::new_key(), match);
  CHECK(late.status == 412);
  CHECK(late.header("ETag") != tag);
  CHECK(get("/v1/fleets/bump").at("state") == "paused");
  // Whose answer was lost repeats what it sent, and gets its answer.
  CHECK(api().post("/v1/fleets/bump/pause", pause, key, match).status == 200);
}

TEST_CASE_METHOD(WaitingFleet, "the journal is compacted and the limits hold, over a restart too") {
  const json did =
      api().post("/v1/admin/compaction", {{"reason", "to look"}, {"by", "ann"}}).json();
  CHECK(did.at("dry_run") == false);
  CHECK(did.at("bytes").get<int>() > 0);
  CHECK(get("/v1/queue").at("queue").size() == 4);
  const json limit = {{"fleet", "bump"}, {"concurrency", 1}, {"reason", "slowly"}, {"by", "ann"}};
  CHECK(api().post("/v1/limits", limit).status == 200);
  app.reset();
  auto started = musterd::App::start(config);
  REQUIRE(started);
  app = std::move(*started);
  CHECK(get("/v1/limits").at("fleets").at(0).at("concurrency") == 1);
  CHECK(get("/v1/queue").at("queue").size() == 4);
}

TEST_CASE_METHOD(WaitingFleet, "an actor in memory tells its steps and the time they take") {
  const json live = get("/v1/actors/fleet/bump").at("activation");
  CHECK(live.at("steps").get<int>() > 0);
  CHECK(live.at("steps_per_second").get<double>() > 0);
  CHECK(live.at("longest_us").get<int>() >= live.at("mean_us").get<int>());
  CHECK(!live.at("since").is_null());
  CHECK(get("/v1/engine").at("slow_steps").is_array());
}

TEST_CASE_METHOD(WaitingFleet, "a poison message is told, replayed and discarded by an operator") {
  const std::string run = "run/" + a_run();
  // A host's name that no head has room for.
  const json poison = {{"type", "Placed"},
                       {"message", {{"host", std::string(70'000, 'h')}, {"attempt", 1}}},
                       {"reason", "to poison it"},
                       {"by", "ann"}};
  CHECK(api().post("/v1/actors/" + run + "/messages", poison).status >= 400);
  const json dead = get("/v1/dead-letters").at("dead_letters");
  REQUIRE(dead.size() == 1);
  CHECK(dead.at(0).at("to") == run);
  CHECK(dead.at(0).at("type") == "Placed");
  CHECK(dead.at(0).at("state") == "open");
  CHECK(get("/v1/actors/" + run).at("last_error").at("id") == dead.at(0).at("id"));
  CHECK(get("/v1/actors/" + run).at("state").at("state") == "queued");
  CHECK(get("/v1/engine").at("dead_letters") == 1);

  const json ids = json::array({dead.at(0).at("id")});
  const json replay = {{"action", "replay"}, {"ids", ids}, {"reason", "once more"}, {"by", "ann"}};
  const std::string key = ApiClient::new_key();
  CHECK(api().post("/v1/operations", replay, key).json().at("done") == 1);
  // It fails the same way, as a letter of its own; a repeat under the key replays nothing twice.
  const json two = until("/v1/dead-letters?state=all",
                         [](const json& doc) { return doc.at("dead_letters").size() == 2; });
  CHECK(api().post("/v1/operations", replay, key).json().at("done") == 1);
  CHECK(two.at("dead_letters").at(1).at("state") == "replayed");
  CHECK(two.at("dead_letters").at(1).at("closed_by") == "ann");

  json discard = {
      {"action", "discard"}, {"select", {{"kind", "run"}}}, {"reason", "of no use"}, {"by", "ann"}};
  discard["dry_run"] = true;
  CHECK(api().post("/v1/operations", discard).json().at("possible") == 1);
  discard["dry_run"] = false;
  CHECK(api().post("/v1/operations", discard).json().at("done") == 1);
  CHECK(get("/v1/dead-letters").at("dead_letters").empty());
  CHECK(get("/v1/dead-letters?state=all").at("dead_letters").size() == 2);
  CHECK(get("/v1/actors?kind=run&state=queued").at("actors").size() == 4);
}

TEST_CASE_METHOD(WaitingFleet,
                 "an actor is paused: it takes only what operators send, and goes on") {
  const std::string run = "run/" + a_run();
  const auto order = [&](const char* action) {
    return api()
        .post("/v1/operations",
              {{"action", action}, {"ids", {run}}, {"reason", "to look"}, {"by", "ann"}})
        .json();
  };
  until("/v1/actors/" + run, [](const json& doc) { return doc.at("waits_for") != ""; });
  CHECK(order("pause").at("done") == 1);
  CHECK(get("/v1/actors/" + run).at("paused") == true);
  CHECK(get("/v1/actors/" + run).at("waits_for") == "an operator: it is paused");
  CHECK(order("resume").at("done") == 1);
  CHECK(get("/v1/actors/" + run).at("paused") == false);
  CHECK(order("passivate").at("done") == 1);
  CHECK(get("/v1/actors/" + run).at("activation").at("state") == "passive");
}
