// Who may do what: the table of addresses, roles, scopes, and that every refusal is noted.
#include "tools/musterd/access.hpp"
#include "tests/unit/musterd/api_fixture.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

struct Roles : ApiFixture {
  void be(Role role, std::vector<std::string> fleets = {}) {
    who = Identity{"tess", "token T1", role, {{}, std::move(fleets)}, false};
  }
  void fleet(const std::string& name) {
    fbs::FleetHeadT head;
    head.name = name;
    engine.put_head("fleet", name, head);
    engine.put_index(actors::index::kFleet, name, "");
  }
  void run(const std::string& id, const std::string& of) {
    fbs::RunHeadT head;
    head.fleet = of;
    engine.put_head("run", id, head);
    engine.put_index(actors::index::kRun, id, of + "\nacme/api");
    fbs::RunRowT row;
    row.run = id;
    row.repository = "acme/api";
    engine.put_row("fleet", of, "run/" + id, row);
  }
};

}  // namespace

TEST_CASE_METHOD(ApiFixture, "what each address asks of its caller") {
  std::string table;
  for (const Route& route : api.router().routes()) {
    const Access access = access_of(route.method, route.pattern);
    const bool reads = route.method == "GET" || route.method == "HEAD";
    INFO(route.method << " " << route.pattern);
    // Nothing writes without being an operator, and only health and the description are for
    // anybody.
    if (!reads) CHECK(access.role >= Role::operator_);
    CHECK((access.role == Role::nobody) ==
          (route.pattern.starts_with("/healthz/") || route.pattern == "/v1/openapi.yaml"));
    if (route.pattern.find("{name}") != std::string::npos ||
        route.pattern.find("{id}") != std::string::npos)
      CHECK(access.reach != Reach::filtered);
  }
  // What is urgent is served, and nothing that moves much or takes long is.
  std::set<std::string> urgent;
  for (const Route& route : api.router().routes())
    if (is_urgent(route.method, route.pattern)) urgent.insert(route.method + " " + route.pattern);
  CHECK(urgent.size() == 22);
  for (const char* order : {"POST /v1/operations", "POST /v1/fleets/{name}/pause",
                            "POST /v1/hosts/{name}/drain", "POST /v1/limits", "GET /healthz/ready"})
    CHECK(urgent.contains(order));
  for (const char* other : {"POST /v1/fleets", "POST /v1/admin/backups", "PUT /v1/blobs/{sha256}",
                            "GET /v1/runs", "POST /v1/pulls/{id}/merge"})
    CHECK(!urgent.contains(other));

  CHECK(access_of("GET", "/v1/what-comes-later").role == Role::admin);
  CHECK(access_of("GET", "/v1/what-comes-later").reach == Reach::installation);
}

TEST_CASE_METHOD(Roles, "without an identity there are only health and the description") {
  who = tl::unexpected<Error>(Error{Errc::refused, "a token is needed here"});
  const Response refused = send("GET", "/v1/fleets");
  CHECK(refused.status == 401);
  CHECK(Json::parse(refused.body).at("type") == "https://muster.dev/problems/unauthenticated");
  CHECK(send("GET", "/v1/no-such-thing").status == 401);
  CHECK(send("GET", "/healthz/live").status == 200);
  CHECK(send("GET", "/v1/openapi.yaml").status == 200);
  REQUIRE(notes.size() == 2);
  CHECK(notes[0].action == "GET /v1/fleets");
  CHECK(notes[0].outcome == "refused");
  CHECK(notes[0].detail == "a token is needed here");
}

TEST_CASE_METHOD(Roles, "a viewer reads, an operator writes, and both are written down") {
  fleet("bump");
  be(Role::viewer);
  CHECK(send("GET", "/v1/fleets").status == 200);
  CHECK(notes.empty());
  const Response refused = send("POST", "/v1/fleets/bump/pause");
  CHECK(refused.status == 403);
  CHECK(Json::parse(refused.body).at("detail") == "tess is viewer, and this needs operator");
  CHECK(engine.calls.empty());
  be(Role::operator_);
  CHECK(send("POST", "/v1/fleets/bump/pause", R"({"by": "somebody else"})").status == 200);
  REQUIRE(engine.calls.size() == 1);
  const auto pause = engine::decode_table<fbs::PauseFleetT>(engine.calls[0].payload.bytes);
  REQUIRE(pause);
  CHECK(pause->by == "tess");
  REQUIRE(notes.size() == 2);
  CHECK(notes[1].action == "POST /v1/fleets/{name}/pause");
  CHECK(notes[1].outcome == "200");
  CHECK(notes[1].who == "tess");
  CHECK(!notes[1].correlation.empty());
}

TEST_CASE_METHOD(Roles, "outside a token's fleets there is nothing") {
  fleet("web-1");
  fleet("db-1");
  run("AAAAAAAAAAAAA", "web-1");
  run("BBBBBBBBBBBBB", "db-1");
  be(Role::operator_, {"web-*"});
  CHECK(get("/v1/fleets").at("fleets").size() == 1);
  CHECK(get("/v1/runs").at("runs").size() == 1);
  CHECK(send("GET", "/v1/fleets/web-1").status == 200);
  const Response other = send("GET", "/v1/fleets/db-1");
  const Response none = send("GET", "/v1/fleets/none");
  CHECK(other.status == 404);
  CHECK(Json::parse(other.body).at("detail") == "there is no fleet db-1");
  CHECK(none.status == 404);
  CHECK(send("POST", "/v1/runs/BBBBBBBBBBBBB/cancel").status == 404);
  CHECK(send("GET", "/v1/runs?fleet=db-1").status == 404);
  CHECK(engine.calls.empty());
  CHECK(send("GET", "/v1/hosts").status == 403);
  CHECK(get("/v1/whoami").at("fleets") == Json({"web-*"}));
  CHECK(std::count_if(notes.begin(), notes.end(),
                      [](const AuditNote& note) { return note.outcome == "refused"; }) == 4);
  // What is hidden and what is not there can't be told apart.
  const auto detail = [&](const std::string& target) {
    const Response answer = send("GET", target);
    CHECK(answer.status == 404);
    return Json::parse(answer.body).at("detail").get<std::string>();
  };
  CHECK(detail("/v1/fleets/none") == "there is no fleet none");
  for (const char* list : {"/v1/runs?fleet=", "/v1/pulls?fleet="}) {
    CHECK(detail(std::string(list) + "db-1") == "there is no fleet db-1");
    CHECK(detail(std::string(list) + "web-9") == "there is no fleet web-9");
  }
  run("BBBBCCCCCCCCC", "db-1");
  CHECK(send("GET", "/v1/runs/bbbb").status == 409);
  CHECK(send("GET", "/v1/runs/bbbb").body.find("db-1") == std::string::npos);
  CHECK(detail("/v1/runs/bbbbb") == "no run begins with BBBBB");
  CHECK(detail("/v1/runs/cccc") == "no run begins with CCCC");
  CHECK(detail("/v1/runs/db-1%2Facme%2Fapi") == "there is no fleet db-1");
  CHECK(detail("/v1/runs/db-9%2Facme%2Fapi") == "there is no fleet db-9");
}

TEST_CASE_METHOD(Roles, "another organisation's token sees nothing of this one") {
  fleet("web-1");
  who = Identity{"tess", "token T1", Role::viewer, {{"elsewhere"}, {}}, false};
  CHECK(send("GET", "/v1/fleets").status == 404);
  who->scope.orgs = {"default"};
  CHECK(send("GET", "/v1/fleets").status == 200);
}

TEST_CASE_METHOD(Roles, "a stream ends with its caller's token") {
  be(Role::viewer);
  const Response response = send("GET", "/v1/events");
  REQUIRE(response.stream);
  CHECK(!response.stream->next().end);
  who = tl::unexpected<Error>(Error{Errc::refused, "revoked"});
  CHECK(response.stream->next().end);
}
