// /v1/swarms over a fake engine; what git says is given by the test.
#include <catch2/catch.hpp>

#include "actors/swarm/swarm_generated.h"
#include "tests/unit/musterd/api_fixture.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

const std::string kGreen(40, 'a'), kBegin(40, 'b');

struct Docs : ApiFixture {
  Docs() {
    fbs::SwarmHeadT head;
    head.name = "docs";
    head.state = fbs::SwarmState::completed_with_rejections;
    head.facets = head.loaded = 2;
    head.counts = {0, 0, 0, 0, 1, 0, 1};
    head.lines = 1;
    head.evictions = 1;
    engine.put_head("swarm", "docs", head);
    engine.put_index(actors::index::kSwarm, "docs", "");
    fbs::LineRowT line;
    line.line = std::make_unique<fbs::SwarmLineT>();
    line.line->id = "api";
    line.line->repository = "acme/api";
    line.line->url = "/srv/git/acme/api.git";
    line.state = fbs::LineState::idle;
    line.begin = kBegin;
    line.green = kGreen;
    line.pull = 4;
    engine.put_row("swarm", "docs", "line/00000", line);
    fbs::FacetRowT guide;
    guide.id = "guide";
    guide.state = fbs::FacetState::merged;
    guide.run = "0000AAAAAAAAA";
    guide.commit = "c1";
    guide.merge = kGreen;
    add(0, guide, {});
    fbs::FacetRowT index;
    index.id = "index";
    index.state = fbs::FacetState::rejected;
    index.why = "it conflicts";
    add(1, index, {0});
    fbs::RunRowT run;
    run.run = "0000AAAAAAAAA";
    run.repository = "acme/api";
    run.state = fbs::RunState::delivered;
    run.head_sha = "c1";
    run.labels_json = R"({"facet":"guide"})";
    engine.put_row("fleet", "docs", "run/0000AAAAAAAAA", run);
    fbs::CommitRowT commit;
    commit.fate = fbs::CommitFate::merged;
    commit.merge = kGreen;
    commit.run = "0000AAAAAAAAA";
    engine.put_row("swarm", "docs", "commit/c1", commit);
  }
  void add(std::uint32_t number, const fbs::FacetRowT& row,
           const std::vector<std::uint32_t>& needs) {
    const std::string digits = "0000" + std::to_string(number);
    engine.put_row("swarm", "docs", "facet/" + digits, row);
    fbs::PlanFacetT plan;
    plan.id = row.id;
    plan.needs = needs;
    engine.put_row("swarm", "docs", "plan/" + digits, plan);
  }
};

Json swarm_body(const std::string& scope = "docs/**") {
  return {
      {"spec",
       {{"name", "docs-2"},
        {"prompt", "Better\nin all ways"},
        {"repositories", Json::array({{{"id", "api"}, {"path", "api.git"}}})},
        {"agent", {{"run", "true"}}},
        {"verify", Json::array({{{"name", "t"}, {"run", "true"}}})},
        {"facets", Json::array({{{"id", "a"}, {"task", "A"}, {"scope", Json::array({scope})}}})}}},
      {"repositories", Json::array({{{"id", "api"},
                                     {"repository", "acme/api"},
                                     {"url", "/srv/git/acme/api.git"},
                                     {"canonical_url", "/srv/git/acme/api"}}})},
      {"agent_bundle", ""},
      {"author", "ann"}};
}

/// As the client resolves it.
Json resolved(Json body) {
  const auto name = parse_repository("/srv/git/acme/api.git", "/");
  body["repositories"][0]["canonical_url"] = name->canonical_url;
  body["repositories"][0]["repository"] = name->owner_name;
  return body;
}

}  // namespace

TEST_CASE_METHOD(Docs, "a swarm, the list of them, and the facets of one") {
  const Json swarm = get("/v1/swarms/docs");
  CHECK(swarm.at("state") == "completed_with_rejections");
  CHECK(swarm.at("counts").at("merged") == 1);
  CHECK(swarm.at("repositories").at(0).at("pull") == "acme/api#4");
  CHECK(get("/v1/swarms").at("swarms").size() == 1);
  CHECK(get("/v1/swarms?state=running").at("swarms").empty());
  CHECK(send("GET", "/v1/swarms?state=odd").status == 400);
  CHECK(send("GET", "/v1/swarms/nobody").status == 404);
  const Json facets = get("/v1/swarms/docs/facets").at("facets");
  REQUIRE(facets.size() == 2);
  CHECK(facets.at(0).at("run").at("state") == "delivered");
  CHECK(facets.at(1).at("needs") == Json::array({"guide"}));
  CHECK(facets.at(1).at("why") == "it conflicts");
  CHECK(get("/v1/swarms/docs/facets?state=rejected").at("facets").size() == 1);
  const Json first = get("/v1/swarms/docs/facets?limit=1");
  const std::string next = first.at("next");
  CHECK(get("/v1/swarms/docs/facets?limit=1&cursor=" + next).at("facets").at(0).at("id") ==
        "index");
}

TEST_CASE_METHOD(Docs,
                 "a swarm's revision changes with its head and its lines; orders may name it") {
  const auto etag = [&] {
    for (const auto& [name, value] : send("GET", "/v1/swarms/docs").headers)
      if (name == "ETag") return value;
    return std::string();
  };
  const std::string seen = etag();
  REQUIRE(!seen.empty());
  CHECK(send("GET", "/v1/swarms/docs", "", "", {{"If-None-Match", seen}}).status == 304);
  const auto pause = [&] {
    return send("POST", "/v1/swarms/docs/pause", "{}", "", {{"If-Match", seen}}).status;
  };
  CHECK(pause() == 200);
  REQUIRE(engine.calls.size() == 1);
  fbs::LineRowT line;
  line.line = std::make_unique<fbs::SwarmLineT>();
  line.line->id = "api";
  line.green = kBegin;
  engine.put_row("swarm", "docs", "line/00000", line);
  CHECK(etag() != seen);
  CHECK(pause() == 412);
  CHECK(engine.calls.size() == 1);
}

TEST_CASE_METHOD(Docs, "the ledger is what the rows, the runs and git say together") {
  line_proof = [](const actors::swarm::LineClaim& claim) -> Result<actors::swarm::LineProof> {
    CHECK(claim.green == kGreen);
    CHECK(claim.green_branch == "muster-swarm/docs/green");
    CHECK(claim.ledger.find("c1")->merge == kGreen);
    return actors::swarm::LineProof{kGreen, 1, {}};
  };
  Json ledger = get("/v1/swarms/docs/ledger");
  CHECK(ledger.at("proven") == true);
  CHECK(ledger.at("commits").at(0).at("fate") == "merged");

  SECTION("a run delivered what the ledger does not have") {
    fbs::RunRowT run;
    run.run = "1111AAAAAAAAA";
    run.state = fbs::RunState::delivered;
    run.head_sha = "c2";
    run.labels_json = R"({"facet":"index"})";
    engine.put_row("fleet", "docs", "run/1111AAAAAAAAA", run);
    ledger = get("/v1/swarms/docs/ledger");
    CHECK(ledger.at("proven") == false);
    CHECK(ledger.at("findings").at(0).at("kind") == "unaccounted");
    CHECK(ledger.at("findings").at(0).at("commit") == "c2");
  }
  SECTION("what a verification left behind is no commit of anybody's") {
    fbs::RunRowT run;
    run.run = "1111AAAAAAAAA";
    run.state = fbs::RunState::delivered;
    run.reason = "not_pushed";
    run.head_sha = "c2";
    run.labels_json = R"({"verify":"api"})";
    engine.put_row("fleet", "docs", "run/1111AAAAAAAAA", run);
    CHECK(get("/v1/swarms/docs/ledger").at("proven") == true);
  }
  SECTION("git finds something") {
    line_proof = [](const actors::swarm::LineClaim&) -> Result<actors::swarm::LineProof> {
      return actors::swarm::LineProof{
          kBegin, 0, {{actors::swarm::FindingKind::lost, "c1", "it is not there"}}};
    };
    ledger = get("/v1/swarms/docs/ledger");
    CHECK(ledger.at("proven") == false);
    CHECK(ledger.at("findings").at(0).at("kind") == "lost");
  }
  SECTION("a commit of which nothing became, at the end") {
    fbs::CommitRowT open;
    open.facet = 1;
    engine.put_row("swarm", "docs", "commit/c3", open);
    line_proof = [](const actors::swarm::LineClaim& claim) -> Result<actors::swarm::LineProof> {
      CHECK(claim.ledger.find("c3")->fate == actors::swarm::Fate::open);
      return actors::swarm::LineProof{kGreen, 1, {}};
    };
    CHECK(get("/v1/swarms/docs/ledger").at("open") == 1);
  }
}

TEST_CASE_METHOD(Docs, "results of facets become the values that the file declares") {
  Json spec = swarm_body().at("spec");
  spec["results"] = {{"schema", {{"type", "object"}, {"required", Json::array({"lines"})}}},
                     {"values",
                      {{"lines", {{"kind", "sum"}, {"from", "/lines"}}},
                       {"notes", {{"kind", "concat"}, {"from", "/lines"}}}}}};
  const std::string file = spec.dump();
  REQUIRE(blobs.put(sha256_hex(file), file));
  fbs::CreateSwarmT create;
  create.digest = create.plan_digest = sha256_hex(file);
  engine.put_row("swarm", "docs", "create", create);
  engine.put_text("swarm", "docs", "result/00000", R"({"lines": 4})");
  engine.put_text("swarm", "docs", "result/00001", R"({"words": 4})");
  const Json results = get("/v1/swarms/docs/results");
  CHECK(results.at("facets") == 2);
  CHECK(results.at("answered") == 1);
  CHECK(results.at("invalid").at(0).at("facet") == "index");
  CHECK(results.at("values").at("lines").at("value") == 4);
  CHECK(results.at("values").at("lines").at("missing") == Json::array({"index"}));
  CHECK(results.at("values").at("notes").at("error") == "facet guide: must be a list");
}

TEST_CASE_METHOD(Docs, "a swarm is made of its file and its repositories") {
  fbs::SwarmHeadT made;
  made.name = "docs-2";
  engine.put_head("swarm", "docs-2", made);  // what the engine would have after its answer
  engine.reply = "created";
  const Response response = send("POST", "/v1/swarms", resolved(swarm_body()).dump());
  INFO(response.body);
  REQUIRE(response.status == 201);
  REQUIRE(engine.calls.size() == 1);
  CHECK(engine.calls[0].to.to_string() == "default/swarm/docs-2");
  const auto create = engine::decode_table<fbs::CreateSwarmT>(engine.calls[0].payload.bytes);
  REQUIRE(create);
  CHECK(create->facets == 1);
  CHECK(create->title == "Better");
  CHECK(create->lines[0]->checks);
  CHECK(blobs.has(create->plan_digest));
}

TEST_CASE_METHOD(Docs, "what is wrong with a swarm is said, and nothing is made") {
  const auto refused = [&](const Json& body, int status, const std::string& why) {
    const Response response = send("POST", "/v1/swarms", body.dump());
    INFO(response.body);
    CHECK(response.status == status);
    CHECK(Json::parse(response.body).at("detail").get<std::string>().find(why) !=
          std::string::npos);
  };
  refused(resolved(swarm_body("/abs")), 400, "/facets/0/scope/0");
  Json body = resolved(swarm_body());
  body["repositories"][0]["id"] = "other";
  refused(body, 400, "repositories[0]");
  body = resolved(swarm_body());
  body["repositories"][0] = {
      {"id", "api"},
      {"repository", "acme/api"},
      {"url", "https://git.acme.dev/acme/api.git"},
      {"canonical_url", parse_repository("https://git.acme.dev/acme/api.git", "/")->canonical_url}};
  refused(body, 400, "must be paths on musterd's machine");
  body = resolved(swarm_body());
  body["agent_bundle"] = std::string(64, 'e');
  refused(body, 400, "is not here");
  fbs::FleetHeadT fleet;
  fleet.name = "docs-2";
  engine.put_head("fleet", "docs-2", fleet);
  refused(resolved(swarm_body()), 409, "a fleet is called docs-2 already");
  CHECK(engine.calls.empty());
}

TEST_CASE_METHOD(Docs, "one facet is told with what was asked and all of its trouble") {
  Json spec = swarm_body().at("spec");
  spec["facets"][1] = {{"id", "index"}, {"task", "Link it"}, {"scope", Json::array({"index.md"})}};
  const std::string file = spec.dump();
  REQUIRE(blobs.put(sha256_hex(file), file));
  fbs::CreateSwarmT create;
  create.digest = create.plan_digest = sha256_hex(file);
  engine.put_row("swarm", "docs", "create", create);
  engine.put_text("swarm", "docs", "feedback/00001", R"({"reason": "conflict", "output": "<<<<<<< a"})");
  const Json facet = get("/v1/swarms/docs/facets/index");
  CHECK(facet.at("state") == "rejected");
  CHECK(facet.at("needs") == Json::array({"guide"}));
  CHECK(facet.at("task") == "Link it");
  CHECK(facet.at("scope") == Json::array({"index.md"}));
  CHECK(facet.at("attempts") == 3);
  CHECK(facet.at("trouble").at("output") == "<<<<<<< a");
  CHECK(get("/v1/swarms/docs/facets/guide").at("trouble").is_null());
  CHECK(send("GET", "/v1/swarms/docs/facets/nobody").status == 404);
}

TEST_CASE_METHOD(Docs, "orders to a swarm bear who and why") {
  CHECK(send("POST", "/v1/swarms/docs/cancel", R"({"reason": "enough", "by": "ann"})").status ==
        200);
  const auto cancel = engine::decode_table<fbs::CancelSwarmT>(engine.calls.at(0).payload.bytes);
  CHECK(cancel->reason == "enough");
  CHECK(cancel->by == "ann");
  for (const char* verb : {"retry", "pause", "resume", "drain"})
    CHECK(send("POST", "/v1/swarms/docs/" + std::string(verb), "{}").status == 200);
  REQUIRE(engine.calls.size() == 5);
  CHECK(engine.calls[4].payload.type == static_cast<std::uint16_t>(fbs::SwarmBody::DrainSwarm));
  CHECK(send("POST", "/v1/swarms/nobody/retry", "{}").status == 404);
}
