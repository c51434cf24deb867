#include <catch2/catch.hpp>
#include <regex>

#include "actors/spec/fleet_spec.hpp"
#include "tests/unit/musterd/api_fixture.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

fbs::RunRowT row(const std::string& id, const std::string& repository, fbs::RunState state) {
  fbs::RunRowT made;
  made.run = id;
  made.repository = repository;
  made.state = state;
  return made;
}

/// Fleet "bump" with four runs, one of them in every part of its life.
struct Bump : ApiFixture {
  Bump() {
    fbs::FleetHeadT head;
    head.name = "bump";
    head.state = fbs::FleetState::running;
    head.total = 4;
    head.wave = 1;
    head.waves = 2;
    head.counts = {1, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0};
    engine.put_head("fleet", "bump", head);
    engine.put_index(actors::index::kFleet, "bump", "");
    add(row("0000AAAAAAAAA", "acme/api", fbs::RunState::delivered));
    auto failed = row("0000BBBBBBBBB", "acme/web", fbs::RunState::failed);
    failed.class_ = fbs::FailureClass::agent;
    add(failed);
    add(row("1111AAAAAAAAA", "acme/db", fbs::RunState::queued));
    auto waiting = row("2222AAAAAAAAA", "other/api", fbs::RunState::waiting);
    waiting.wave = 1;
    add(waiting);
  }
  void add(const fbs::RunRowT& r) {
    engine.put_row("fleet", "bump", "run/" + r.run, r);
    engine.put_index(actors::index::kRun, r.run, "bump\n" + r.repository);
    fbs::RunHeadT head;
    head.fleet = "bump";
    head.repository = r.repository;
    head.state = r.state;
    engine.put_head("run", r.run, head);
    fbs::CreateRunT create;
    create.fleet = "bump";
    create.repository = r.repository;
    create.url = "/srv/git/" + r.repository + ".git";
    engine.put_row("run", r.run, "create", create);
  }
  void add_attempt(const std::string& run, wire::Outcome outcome, const std::string& head_sha,
                   const std::string& pack) {
    fbs::AttemptRowT attempt;
    attempt.attempt = 1;
    attempt.report = std::make_unique<wire::AttemptReportT>();
    attempt.report->outcome = outcome;
    attempt.report->base_sha = "base";
    attempt.report->head_sha = head_sha;
    attempt.report->pack_digest = pack;
    engine.put_row("run", run, "attempt/0001", attempt);
  }
};

std::vector<std::string> ids(const Json& runs) {
  std::vector<std::string> all;
  for (const auto& run : runs) all.push_back(run.at("id"));
  return all;
}

Json code_of(const Response& response) {
  return Json::parse(response.body).at("code");
}

const char* kSpec =
    R"({"name":"bump","repositories":[{"path":"/srv/git/*.git"}],"agent":{"run":"true"}})";

Json create_body() {
  return {{"spec", Json::parse(kSpec)},
          {"repositories",
           {{{"repository", "acme/api"},
             {"url", "/srv/git/acme/api.git"},
             {"canonical_url", parse_repository("/srv/git/acme/api.git", "/")->canonical_url}}}},
          {"author", "alice"}};
}

}  // namespace

TEST_CASE_METHOD(Bump, "a fleet says why its runs wait") {
  queued_by_reason["bump"] = {{"hosts_full", 1}};
  queued_why["1111AAAAAAAAA"] = "every slot is taken";
  CHECK(get("/v1/runs/1111").at("why") == "every slot is taken");
  const Json fleet = get("/v1/fleets/bump");
  CHECK(fleet.at("why_waiting") == Json({{"hosts_full", 1}, {"wave", 1}}));
  CHECK(fleet.at("counts").at("delivered") == 1);
  CHECK(get("/v1/fleets").at("fleets").size() == 1);
  CHECK(get("/v1/fleets?state=paused").at("fleets").empty());
  CHECK(send("GET", "/v1/fleets?state=sleeping").status == 400);
  CHECK(send("GET", "/v1/fleets/none").status == 404);
}

TEST_CASE_METHOD(Bump, "runs come in pages that a cursor joins") {
  const Json first = get("/v1/fleets/bump/runs?limit=3");
  CHECK(ids(first.at("runs")) ==
        std::vector<std::string>{"0000AAAAAAAAA", "0000BBBBBBBBB", "1111AAAAAAAAA"});
  const Json second =
      get("/v1/fleets/bump/runs?limit=3&cursor=" + first.at("next").get<std::string>());
  CHECK(ids(second.at("runs")) == std::vector<std::string>{"2222AAAAAAAAA"});
  CHECK(second.at("next").is_null());
  CHECK(get("/v1/runs?fleet=bump") == get("/v1/fleets/bump/runs"));
  CHECK(get("/v1/runs").at("runs").size() == 4);
  CHECK(send("GET", "/v1/runs?cursor=*").status == 400);
  CHECK(send("GET", "/v1/runs?limit=0").status == 400);
  CHECK(send("GET", "/v1/runs?limit=1001").status == 400);
}

TEST_CASE_METHOD(Bump, "runs are filtered by state, class and repository") {
  const auto found = [&](const std::string& query) {
    return ids(get("/v1/runs?" + query).at("runs"));
  };
  CHECK(found("state=failed") == std::vector<std::string>{"0000BBBBBBBBB"});
  CHECK(found("class=agent") == std::vector<std::string>{"0000BBBBBBBBB"});
  CHECK(found("repo=*/api") == std::vector<std::string>{"0000AAAAAAAAA", "2222AAAAAAAAA"});
  CHECK(found("repo=acme/*&state=queued") == std::vector<std::string>{"1111AAAAAAAAA"});
  CHECK(send("GET", "/v1/runs?class=bad").status == 400);
}

TEST_CASE_METHOD(Bump, "lists are filtered by time and text, and status means state") {
  auto late = row("3333AAAAAAAAA", "acme/Late", fbs::RunState::queued);
  late.changed_unix_ms = wall_clock_now().unix_ms;
  late.message = "waits for a slot";
  add(late);
  const auto found = [&](const std::string& query) {
    return ids(get("/v1/runs?" + query).at("runs"));
  };
  CHECK(found("since=10m") == std::vector<std::string>{"3333AAAAAAAAA"});
  CHECK(found("since=2999-01-01T00:00:00.000Z").empty());
  CHECK(found("text=LATE") == std::vector<std::string>{"3333AAAAAAAAA"});
  CHECK(found("text=for%20a%20slot&fleet=bump") == std::vector<std::string>{"3333AAAAAAAAA"});
  CHECK(found("status=failed") == std::vector<std::string>{"0000BBBBBBBBB"});
  CHECK(send("GET", "/v1/runs?since=soon").status == 400);
  CHECK(get("/v1/fleets?text=BUM").at("fleets").size() == 1);
  CHECK(get("/v1/fleets?text=none").at("fleets").empty());
  CHECK(get("/v1/fleets?since=1s").at("fleets").empty());
}

TEST_CASE_METHOD(Bump, "hosts come in pages too, by state") {
  for (const char* name : {"a", "b", "c"}) {
    fbs::HostHeadT head;
    head.name = name;
    head.state = *name == 'b' ? fbs::HostState::cordoned : fbs::HostState::ready;
    engine.put_head("host", name, head);
    engine.put_index(actors::index::kHost, name, "");
  }
  const Json first = get("/v1/hosts?limit=2");
  CHECK(first.at("hosts").size() == 2);
  const Json second = get("/v1/hosts?limit=2&cursor=" + first.at("next").get<std::string>());
  CHECK(second.at("hosts").at(0).at("name") == "c");
  CHECK(second.at("next").is_null());
  CHECK(get("/v1/hosts?state=cordoned").at("hosts").at(0).at("name") == "b");
  CHECK(send("GET", "/v1/hosts?state=tired").status == 400);

  // One that is removed between the look at the index and the look at it.
  engine.heads.erase({"default", "host", "b"});
  engine.subscriber({{7, {"default", "host", "a"}, 1, {}}});
  CHECK(get("/v1/hosts").at("hosts").size() == 2);
  Request request;
  request.method = "GET";
  REQUIRE(parse_target("/v1/hosts", request));
  request.headers["Accept"] = "text/event-stream";
  request.headers["Last-Event-ID"] = "7";
  REQUIRE(!api.admit(request));
  const Response stream = api.handle(request);
  CHECK(stream.stream->next().bytes == ": muster\n\n");
  engine.subscriber({{8, {"default", "host", "b"}, 1, {}}});
  CHECK(stream.stream->next().bytes.find("event: left\ndata: {\"name\":\"b\"}\n\n") !=
        std::string::npos);
}

TEST_CASE_METHOD(Bump, "a list is followed from where it was read, under its filters") {
  const auto follow = [&](const std::string& target, const std::string& last) {
    Request request;
    request.method = "GET";
    REQUIRE(parse_target(target, request));
    request.headers["Accept"] = "text/event-stream";
    if (!last.empty()) request.headers["Last-Event-ID"] = last;
    REQUIRE(!api.admit(request));
    return api.handle(request);
  };
  const auto commit = [&](engine::Sequence position, const std::string& kind,
                          const std::string& key) {
    engine.subscriber({{position, {"default", kind, key}, 1, {}}});
  };
  commit(7, "fleet", "bump");
  // With a position alone it is not known what the client has: what is not in the list left.
  const auto next = [](const Response& stream) {
    static const std::regex list("(^|\n)id: ([0-9]+)\\.[0-9a-f]{16}\n");
    return std::regex_replace(stream.stream->next().bytes, list, "$1id: $2\n");
  };
  const Response stream = follow("/v1/runs?state=failed", "7");
  REQUIRE(stream.content_type == "text/event-stream");
  CHECK(stream.stream->next().bytes == ": muster\n\n");
  commit(8, "run", "0000BBBBBBBBB");
  commit(9, "run", "0000AAAAAAAAA");  // Delivered: the filter takes it no longer, if it ever did.
  commit(10, "run", "0000BBBBBBBBB");
  const std::string told = next(stream);
  CHECK(told.find("event: left\ndata: {\"id\":\"0000AAAAAAAAA\"}\n\n"
                  "id: 10\nevent: changed\ndata: {\"id\":\"0000BBBBBBBBB\"") == 0);
  CHECK(stream.stream->next().bytes.empty());
  // Who lost the connection before that resumes, and misses nothing.
  CHECK(next(follow("/v1/runs?state=failed", "7")) == ": muster\n\n" + told);
  CHECK(follow("/v1/fleets", "6")
            .stream->next()
            .bytes.find("event: changed\ndata: {\"name\":\"bump\"") != std::string::npos);
  CHECK(follow("/v1/pulls", "").stream->next().bytes == ": muster\n\n");
  for (const char* wrong : {"x", "7.x", "7.0123456789abcdef0123456789abcdef0", ".ab", "-1"})
    CHECK(follow("/v1/hosts", wrong).status == 400);

  // What left is told of once, however often it changes; when it is back it is shown, and may leave
  // again.
  const auto become = [&](engine::Sequence at, fbs::RunState state) {
    auto changed = row("0000BBBBBBBBB", "acme/web", state);
    changed.class_ = fbs::FailureClass::agent;
    add(changed);
    commit(at, "run", "0000BBBBBBBBB");
  };
  const std::string left = "event: left\ndata: {\"id\":\"0000BBBBBBBBB\"}\n\n";
  become(11, fbs::RunState::superseded);
  CHECK(next(stream) == "id: 11\n" + left);
  commit(12, "run", "0000BBBBBBBBB");
  CHECK(stream.stream->next().bytes.empty());
  become(13, fbs::RunState::failed);
  CHECK(next(stream).find("id: 13\nevent: changed\n") == 0);
  become(14, fbs::RunState::superseded);
  CHECK(next(stream) == "id: 14\n" + left);
  // Of what can't be in the list nothing is said: other repositories, other fleets.
  const Response others = follow("/v1/runs?repo=other/*", "7");
  CHECK(others.stream->next().bytes == ": muster\n\n");
  become(15, fbs::RunState::failed);

  who = Identity{"tess", "token T1", Role::viewer, {{}, {"web-*"}}, false};
  CHECK(follow("/v1/runs", "7").stream->next().bytes == ": muster\n\n");
}

TEST_CASE_METHOD(Bump,
                 "a stream tells what left of what its client was given, and of nothing else") {
  const auto follow = [&](const std::string& target, const std::string& last) {
    Request request;
    request.method = "GET";
    REQUIRE(parse_target(target, request));
    request.headers["Accept"] = "text/event-stream";
    request.headers["Last-Event-ID"] = last;
    REQUIRE(!api.admit(request));
    return api.handle(request);
  };
  engine::Sequence position = 7;
  const auto become = [&](const std::string& id, const std::string& repository,
                          fbs::RunState state) {
    auto changed = row(id, repository, state);
    if (state == fbs::RunState::failed) changed.class_ = fbs::FailureClass::agent;
    add(changed);
    engine.subscriber({{++position, {"default", "run", id}, 1, {}}});
  };
  const auto told = [](const Response& stream) {
    std::string names;
    const std::string bytes = stream.stream->next().bytes;
    static const std::regex event("event: ([a-z]+)\ndata: \\{(\"id\":\"([0-9A-Z]+)\")?");
    for (auto found = std::sregex_iterator(bytes.begin(), bytes.end(), event);
         found != std::sregex_iterator(); ++found)
      names += (*found)[1].str() + " " + (*found)[3].str() + "\n";
    return names;
  };
  const auto position_of = [](const Response& list) {
    for (const auto& [key, value] : list.headers)
      if (key == "Muster-Position") return value;
    return std::string();
  };
  // The list has B, which failed, and not A, which was delivered. In pages it is the same list.
  become("0000BBBBBBBBB", "acme/web", fbs::RunState::failed);
  const Response first = send("GET", "/v1/runs?state=failed&limit=1");
  const auto cursor = Json::parse(first.body).at("next");
  const std::string place = position_of(first);
  CHECK(place.size() == std::string("8.").size() + 16);
  if (!cursor.is_null()) {
    const Response second =
        send("GET", "/v1/runs?state=failed&limit=100&cursor=" + cursor.get<std::string>());
    CHECK(position_of(second).substr(2) == place.substr(2));
  }
  const Response stream = follow("/v1/runs?state=failed", place);
  CHECK(told(stream).empty());
  become("0000AAAAAAAAA", "acme/api", fbs::RunState::delivered);
  CHECK(told(stream).empty());  // It never had A.
  become("0000BBBBBBBBB", "acme/web", fbs::RunState::superseded);
  CHECK(told(stream) == "left 0000BBBBBBBBB\n");
  become("0000AAAAAAAAA", "acme/api", fbs::RunState::failed);
  CHECK(told(stream) == "changed 0000AAAAAAAAA\n");
  // Another client with the same list has its own memory of it: B left, and A came and went.
  const Response other = follow("/v1/runs?state=failed", place);
  CHECK(told(other) == "changed 0000AAAAAAAAA\nleft 0000BBBBBBBBB\n");
  become("0000AAAAAAAAA", "acme/api", fbs::RunState::superseded);
  CHECK(told(other) == "left 0000AAAAAAAAA\n");
  const Response late = follow("/v1/runs?state=failed", place);
  CHECK(told(late) == "left 0000BBBBBBBBB\n");
  // Of a list that nobody remembers everything may have been given.
  CHECK(told(follow("/v1/runs?state=failed", "8.00000000000000ff")) ==
        "left 0000AAAAAAAAA\nleft 0000BBBBBBBBB\n");
}

TEST_CASE_METHOD(Bump,
                 "a run is found by the beginning of its id, in any case, or by its repository") {
  CHECK(get("/v1/runs/1111").at("id") == "1111AAAAAAAAA");
  CHECK(get("/v1/runs/0000b").at("id") == "0000BBBBBBBBB");
  CHECK(get("/v1/runs/bump%2Facme%2Fweb").at("id") == "0000BBBBBBBBB");
  const Response several = send("GET", "/v1/runs/0000");
  CHECK(several.status == 409);
  CHECK(
      Json::parse(several.body).at("detail") ==
      "several runs begin with 0000: 0000AAAAAAAAA (bump/acme/api), 0000BBBBBBBBB (bump/acme/web)");
  CHECK(send("GET", "/v1/runs/9999").status == 404);
  CHECK(send("GET", "/v1/runs/000").status == 400);
  CHECK(send("GET", "/v1/runs/bump%2Facme%2Fnone").status == 404);
  CHECK(send("GET", "/v1/runs/none%2Facme%2Fapi").status == 404);
}

TEST_CASE_METHOD(Bump, "the newest generation answers for a repository") {
  auto again = row("3333AAAAAAAAA", "acme/web", fbs::RunState::running);
  again.generation = 2;
  add(again);
  CHECK(get("/v1/runs/bump%2Facme%2Fweb").at("id") == "3333AAAAAAAAA");
}

TEST_CASE_METHOD(Bump, "writes need a key, and it reaches the engine with the request's digest") {
  CHECK(send("POST", "/v1/fleets/bump/pause", "{}", "none").status == 400);
  CHECK(send("POST", "/v1/fleets/bump/pause", "{}", "abc").status == 400);
  CHECK(engine.calls.empty());

  const std::string key = new_uuid_v7(engine.now());
  CHECK(send("POST", "/v1/fleets/bump/pause", R"({"reason":"lunch","by":"alice"})", key).status ==
        200);
  REQUIRE(engine.calls.size() == 1);
  const engine::Call call = engine.calls[0];
  CHECK(call.to.to_string() == "default/fleet/bump");
  CHECK(call.key == key);
  CHECK(call.lane == engine::Lane::operator_);
  const auto message = engine::decode_table<fbs::PauseFleetT>(call.payload.bytes);
  REQUIRE(message);
  CHECK(message->reason == "lunch");
  CHECK(message->by == "alice");

  CHECK(send("POST", "/v1/fleets/bump/pause", R"({"reason":"tea"})", key).status == 200);
  CHECK(engine.calls[1].digest != call.digest);
}

TEST_CASE_METHOD(Bump, "what the engine refuses becomes a problem") {
  const auto answer = [&](Errc code, const char* message) {
    engine.reply = fail(code, message);
    return send("POST", "/v1/fleets/bump/cancel");
  };
  CHECK(answer(Errc::overloaded, "full").status == 429);
  CHECK(answer(Errc::unknown, "commit").status == 503);
  CHECK(answer(Errc::refused, "it has ended").status == 409);
  const Response reused =
      answer(Errc::key_reused, "this idempotency key was used for another request");
  CHECK(reused.status == 422);
  CHECK(code_of(reused) == "key_reused");
}

TEST_CASE_METHOD(Bump, "bodies are JSON objects with known keys and short texts") {
  CHECK(send("POST", "/v1/fleets/bump/pause", "[]").status == 400);
  CHECK(send("POST", "/v1/fleets/bump/pause", "{").status == 400);
  CHECK(send("POST", "/v1/fleets/bump/pause", R"({"raeson":"x"})").status == 400);
  CHECK(send("POST", "/v1/fleets/bump/pause", R"({"reason":1})").status == 400);
  CHECK(send("POST", "/v1/fleets/bump/pause", Json({{"reason", std::string(5000, 'x')}}).dump())
            .status == 400);
  CHECK(send("POST", "/v1/fleets/none/pause").status == 404);
  CHECK(engine.calls.empty());
}

TEST_CASE_METHOD(Bump, "retry takes classes and a glob") {
  CHECK(
      send(
          "POST", "/v1/fleets/bump/retry",
          R"({"classes":["agent","verification"],"repository":"acme/*","reason":"the mirror is back","by":"bob"})")
          .status == 200);
  const auto message = engine::decode_table<fbs::RetryFleetT>(engine.calls.at(0).payload.bytes);
  REQUIRE(message);
  CHECK(message->classes == std::vector{fbs::FailureClass::agent, fbs::FailureClass::verification});
  CHECK(message->repository_glob == "acme/*");
  CHECK(message->reason == "the mirror is back");
  CHECK(send("POST", "/v1/fleets/bump/retry", R"({"classes":["none"]})").status == 400);
}

TEST_CASE_METHOD(Bump, "a diff comes from the pack while it is here, else from the forge") {
  add_attempt("0000AAAAAAAAA", wire::Outcome::changed, "head", "");
  CHECK(send("GET", "/v1/runs/0000A/diff").body == "diff of /srv/git/acme/api.git base..head\n");
  const std::string digest = sha256_hex("a pack");
  REQUIRE(packs.put(digest, "a pack"));
  add_attempt("0000AAAAAAAAA", wire::Outcome::changed, "head", digest);
  const Response diff = send("GET", "/v1/runs/0000A/diff");
  CHECK(diff.content_type == "text/x-diff");
  CHECK(diff.body == "pack base..head\n");
  CHECK(send("GET", "/v1/runs/1111/diff").status == 404);  // Still queued.
  CHECK(send("GET", "/v1/runs/0000B/diff").body.empty());  // Ended without a change.
}

TEST_CASE_METHOD(Bump, "a report is made of rows, attempts and pull requests") {
  const Json report = get("/v1/fleets/bump/report");
  CHECK(report.at("outcomes").at("failed") == 1);
  CHECK(report.at("failures").at(0).at("example") == "0000BBBBBBBBB");
}

TEST_CASE_METHOD(ApiFixture, "pull requests are listed, shown and ordered about") {
  for (const char* id : {"acme/api#1", "acme/web#7"}) {
    fbs::PullHeadT head;
    head.repository = std::string(id).substr(0, 8);
    head.title = id;
    if (head.repository == "acme/web") head.fleet = "bump";
    head.repository_url = "/srv/git/x.git";
    head.base_sha = "b";
    head.head_sha = "h";
    engine.put_head("pull", id, head);
    engine.put_text("pull", id, "body", "the text");
    engine.put_index(actors::index::kPull, id, "bump\nopen");
  }
  engine.put_index(actors::index::kPullByFleet, std::string("bump\0acme/web#7", 15), "open");
  fbs::FleetHeadT fleet;
  fleet.name = "bump";
  engine.put_head("fleet", "bump", fleet);
  CHECK(get("/v1/pulls").at("pulls").size() == 2);
  const Response nowhere = send("GET", "/v1/pulls?fleet=nope");
  CHECK(nowhere.status == 404);
  CHECK(Json::parse(nowhere.body).at("detail") == "there is no fleet nope");
  CHECK(ids(get("/v1/pulls?fleet=bump").at("pulls")) == std::vector<std::string>{"acme/web#7"});
  CHECK(ids(get("/v1/pulls?repo=acme/api").at("pulls")) == std::vector<std::string>{"acme/api#1"});
  CHECK(get("/v1/pulls?state=merged").at("pulls").empty());
  CHECK(get("/v1/pulls/acme%2Fapi%231").at("body") == "the text");
  CHECK(send("GET", "/v1/pulls/acme%2Fapi%231/diff").body == "diff of /srv/git/x.git b..h\n");
  CHECK(send("POST", "/v1/pulls/acme%2Fapi%231/merge", R"({"by":"alice"})").status == 200);
  engine.reply = "accepted";
  CHECK(engine.calls.at(0).to.key == "acme/api#1");
  CHECK(send("POST", "/v1/pulls/acme%2Fapi%231/close", R"({"delete_branch":true})").status == 202);
  const auto close = engine::decode_table<fbs::ClosePullT>(engine.calls.at(1).payload.bytes);
  REQUIRE(close);
  CHECK(close->delete_branch);
  CHECK(send("POST", "/v1/pulls/acme%2Fapi%239/merge").status == 404);
}

TEST_CASE_METHOD(ApiFixture, "hosts are listed and cordoned") {
  fbs::HostHeadT head;
  head.name = "h1";
  head.slots = 4;
  engine.put_head("host", "h1", head);
  engine.put_index(actors::index::kHost, "h1", "");
  CHECK(get("/v1/hosts").at("hosts").at(0).at("slots") == 4);
  CHECK(send("POST", "/v1/hosts/h1/drain").status == 200);
  CHECK(send("POST", "/v1/hosts/h2/drain").status == 404);
}

TEST_CASE_METHOD(ApiFixture, "a fleet is made with its blobs in place") {
  fbs::FleetHeadT head;
  head.name = "bump";
  send("POST", "/v1/fleets", create_body().dump());
  REQUIRE(engine.calls.size() == 1);
  const auto message = engine::decode_table<fbs::CreateFleetT>(engine.calls[0].payload.bytes);
  REQUIRE(message);
  CHECK(message->repositories == 1);
  CHECK(message->author == "alice");
  CHECK(actors::parse_fleet(*blobs.get(message->spec_digest))->name == "bump");
  const Json snapshot = Json::parse(*blobs.get(message->snapshot_digest));
  CHECK(snapshot.at("repository") == "acme/api");

  // Once it is there, the same continues …
  engine.put_head("fleet", "bump", head);
  engine.put_row("fleet", "bump", "create", *message);
  engine.reply = "continued";
  CHECK(send("POST", "/v1/fleets", create_body().dump()).status == 200);
  CHECK(engine.calls.size() == 2);
  // … and another one is refused with what differs, before the engine hears of it.
  Json other = create_body();
  other["spec"]["agent"]["run"] = "false";
  other["repositories"][0] = {
      {"repository", "acme/web"},
      {"url", "/srv/git/acme/web.git"},
      {"canonical_url", parse_repository("/srv/git/acme/web.git", "/")->canonical_url}};
  const Response refused = send("POST", "/v1/fleets", other.dump());
  CHECK(refused.status == 409);
  const auto detail = Json::parse(refused.body).at("detail").get<std::string>();
  INFO(detail);
  CHECK(detail.find("agent.run") != std::string::npos);
  CHECK(detail.find("repositories: 1 more: " +
                    parse_repository("/srv/git/acme/web.git", "/")->canonical_url) !=
        std::string::npos);
  CHECK(engine.calls.size() == 2);
}

TEST_CASE_METHOD(ApiFixture, "a fleet whose bundle was not uploaded is refused") {
  Json body = create_body();
  body["agent_bundle"] = sha256_hex("tar");
  CHECK(send("POST", "/v1/fleets", body.dump()).status == 400);
  CHECK(send("PUT", "/v1/blobs/" + sha256_hex("tar"), "tar").status == 201);
  CHECK(send("PUT", "/v1/blobs/" + sha256_hex("tar"), "tar").status == 200);
  CHECK(send("HEAD", "/v1/blobs/" + sha256_hex("tar")).status == 200);
  CHECK(send("HEAD", "/v1/blobs/" + sha256_hex("rat")).status == 404);
  CHECK(send("PUT", "/v1/blobs/" + sha256_hex("rat"), "tar").status == 400);
  CHECK(send("PUT", "/v1/blobs/rat", "rat").status == 400);
  send("POST", "/v1/fleets", body.dump());
  CHECK(engine.calls.size() == 1);
}

TEST_CASE_METHOD(ApiFixture, "health, metrics and unknown addresses") {
  CHECK(get("/healthz/live").at("status") == "live");
  CHECK(get("/healthz/ready").at("status") == "ready");
  not_ready = {"the journal is closed"};
  const Response unready = send("GET", "/healthz/ready");
  CHECK(unready.status == 503);
  CHECK(Json::parse(unready.body).at("why").at(0) == "the journal is closed");

  CHECK(send("GET", "/v1/nothing").status == 404);
  const Response method = send("PUT", "/v1/fleets");
  CHECK(method.status == 405);
  CHECK(method.headers.at(0) == std::pair<std::string, std::string>{"Allow", "POST, GET"});

  engine.in_trouble = "disk full";
  const std::string text = send("GET", "/metrics").body;
  INFO(text);
  CHECK(
      text.find(
          "muster_http_requests_total{method=\"GET\",route=\"/healthz/ready\",status=\"503\"} 1") !=
      std::string::npos);
  CHECK(text.find("muster_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1") !=
        std::string::npos);
  CHECK(text.find("muster_engine_trouble 1") != std::string::npos);
  CHECK(text.find("muster_http_connections 3") != std::string::npos);
  CHECK(text.find("muster_runs{state=\"queued\"} 0") != std::string::npos);
  CHECK(text.find("muster_build_info{version=\"") != std::string::npos);
}
