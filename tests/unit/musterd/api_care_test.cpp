// What operators change of the installation, and how two of them don't undo each other: revisions,
// limits, a host with what stands on it, the log's level, compaction.
#include "storage/base/files.hpp"
#include "tests/unit/musterd/api_fixture.hpp"
#include "tools/musterd/revision.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

std::string header_of(const Response& response, const std::string& name) {
  for (const auto& [key, value] : response.headers)
    if (key == name) return value;
  return "";
}

struct Installed : ApiFixture {
  Installed() {
    fleet.name = "bump";
    engine.put_index(actors::index::kFleet, "bump", "");
    put_fleet();
    engine.put_index(actors::index::kHost, "h1", "");
    host.name = "h1";
    host.slots = 4;
    engine.put_head("host", "h1", host);
  }
  void put_fleet() { engine.put_head("fleet", "bump", fleet); }
  std::string etag(const std::string& target) { return header_of(send("GET", target), "ETag"); }
  Response pause(const std::string& if_match) {
    return send("POST", "/v1/fleets/bump/pause", "{}", "", {{"If-Match", if_match}});
  }
  Response limit(const Json& body, const std::string& if_match = "") {
    std::map<std::string, std::string> headers;
    if (!if_match.empty()) headers["If-Match"] = if_match;
    return send("POST", "/v1/limits", body.dump(), "", headers);
  }

  fbs::FleetHeadT fleet;
  fbs::HostHeadT host;
};

}  // namespace

TEST_CASE("a header names a revision as tags, weak or strong, or as any") {
  CHECK(names_revision("\"abc\"", "abc"));
  CHECK(names_revision("W/\"abc\"", "abc"));
  CHECK(names_revision("\"x\" , \"abc\"", "abc"));
  CHECK(names_revision("*", "abc"));
  for (const char* other :
       {"", "abc", "\"ab\"", "\"abcd\"", "\"abc", "abc\"", "\"x\",", ",,", "W/abc"})
    CHECK(!names_revision(other, "abc"));
}

TEST_CASE_METHOD(Installed,
                 "one resource has a revision, and who has it already gets none of it again") {
  const std::string seen = etag("/v1/fleets/bump");
  REQUIRE(seen.size() == 18);
  const auto get = [&](const std::string& target, const std::string& none_match) {
    return send("GET", target, "", "", {{"If-None-Match", none_match}});
  };
  const Response same = get("/v1/fleets/bump", seen);
  CHECK(same.status == 304);
  CHECK(same.body.empty());
  CHECK(header_of(same, "ETag") == seen);
  fleet.reason = "paused by ann";
  put_fleet();
  const Response changed = get("/v1/fleets/bump", seen);
  CHECK(changed.status == 200);
  CHECK(header_of(changed, "ETag") != seen);
  // What the scheduler says of the moment is no change.
  const std::string now = etag("/v1/fleets/bump");
  queued_by_reason["bump"] = {{"hosts_full", 1}};
  CHECK(etag("/v1/fleets/bump") == now);
  CHECK(etag("/v1/hosts/h1") != "");
  CHECK(etag("/v1/limits") != "");
  CHECK(etag("/v1/fleets") == "");
  CHECK(get("/v1/fleets/none", seen).status == 404);
  CHECK(get("/v1/fleets", "*").status == 200);
}

TEST_CASE_METHOD(Installed,
                 "a run's revision changes with its attempts, a pull request's with its text") {
  fbs::RunHeadT run;
  run.fleet = "bump";
  engine.put_head("run", "0000AAAAAAAAA", run);
  engine.put_index(actors::index::kRun, "0000AAAAAAAAA", "bump\nacme/api");
  fbs::RunRowT row;
  row.run = "0000AAAAAAAAA";
  engine.put_row("fleet", "bump", "run/0000AAAAAAAAA", row);
  fbs::CreateRunT create;
  create.fleet = "bump";
  create.repository = "acme/api";
  create.url = "/srv/api";
  engine.put_row("run", "0000AAAAAAAAA", "create", create);
  const std::string before = etag("/v1/runs/0000");
  fbs::AttemptRowT attempt;
  attempt.attempt = 1;
  engine.put_row("run", "0000AAAAAAAAA", "attempt/0001", attempt);
  CHECK(before != "");
  CHECK(etag("/v1/runs/0000A") != before);
  CHECK(etag("/v1/runs/0000A") == etag("/v1/runs/0000AAAAAAAAA"));
  engine.put_head("pull", "acme/api#1", fbs::PullHeadT{});
  engine.put_text("pull", "acme/api#1", "body", "one");
  const std::string one = etag("/v1/pulls/acme%2Fapi%231");
  engine.put_text("pull", "acme/api#1", "body", "two");
  CHECK(etag("/v1/pulls/acme%2Fapi%231") != one);
}

TEST_CASE_METHOD(Installed,
                 "a write with If-Match is let through only as long as nobody else wrote") {
  const std::string seen = etag("/v1/fleets/bump");
  CHECK(pause(seen).status == 200);
  CHECK(pause("*").status == 200);
  CHECK(pause("\"other\", " + seen).status == 200);
  CHECK(engine.calls.size() == 3);
  fleet.reason = "changed by somebody";
  put_fleet();
  const Response late = pause(seen);
  CHECK(late.status == 412);
  CHECK(header_of(late, "ETag") == etag("/v1/fleets/bump"));
  CHECK(Json::parse(late.body).at("type") == "https://muster.dev/problems/precondition-failed");
  CHECK(Json::parse(late.body).at("code") == "conflict");
  CHECK(engine.calls.size() == 3);
  CHECK(pause(header_of(late, "ETag")).status == 200);
  CHECK(send("POST", "/v1/hosts/h1/drain", "{}", "", {{"If-Match", "\"x\""}}).status == 412);
  CHECK(send("POST", "/v1/fleets/none/pause", "{}", "", {{"If-Match", "\"x\""}}).status == 404);
  CHECK(send("POST", "/v1/fleets", "{}", "", {{"If-Match", "\"x\""}}).status == 400);
}

TEST_CASE_METHOD(Installed, "limits are changed at once, for good, with a reason and a dry run") {
  Json first = get("/v1/limits");
  CHECK(first.at("running_total") == 10'000);
  CHECK(first.at("fleets").empty());
  Json change = {{"fleet", "bump"},
                 {"concurrency", 7},
                 {"weight", 3},
                 {"reason", "let it go first"},
                 {"dry_run", true}};
  const Json would = Json::parse(limit(change).body);
  CHECK(would.at("changes") ==
        Json({"fleet bump: concurrency 7, weight 3; was concurrency as its file says, weight 1"}));
  CHECK(get("/v1/limits") == first);
  CHECK(audit_log->head()->number == 0);
  change["dry_run"] = false;
  CHECK(limit(change).status == 200);
  CHECK(applied.fleets.at("bump").concurrency == 7);
  CHECK(applied.fleets.at("bump").weight == 3);
  CHECK(limit({{"running_total", 5}, {"reason", "small machines"}, {"by", "ann"}}).status == 200);
  CHECK(applied.total == 5);

  const auto entries = audit_log->after(0, 10);
  REQUIRE(entries);
  REQUIRE(entries->size() == 2);
  const Json entry = Json::parse(entries->at(1).payload);
  CHECK(entry.at("action") == "limits.change");
  CHECK(entry.at("who") == "ann");
  CHECK(entry.at("target") == "running in all: 5, was 10000");
  CHECK(entry.at("detail") == "small machines");

  // After a restart it is as it was.
  actors::RunLimits again;
  const auto reopened = LimitsStore::open(directory.path / "limits.json",
                                          [&](const actors::RunLimits& set) { again = set; });
  REQUIRE(reopened);
  CHECK(again == applied);
  CHECK((*reopened)->state().revision == get("/v1/limits").at("revision"));

  CHECK(limit({{"fleet", "bump"}, {"clear", true}, {"reason", "done"}}).status == 200);
  CHECK(applied.fleets.empty());
}

TEST_CASE_METHOD(Installed, "of two who saw the same limits one is refused; nonsense is too") {
  const std::string seen = etag("/v1/limits");
  CHECK(limit({{"running_total", 5}, {"reason", "x"}}, seen).status == 200);
  CHECK(limit({{"running_total", 6}, {"reason", "x"}}, seen).status == 412);
  CHECK(applied.total == 5);
  for (const Json& wrong :
       {Json{{"running_total", 5}}, Json{{"reason", "x"}},
        Json{{"running_total", 0}, {"reason", "x"}}, Json{{"running_total", -1}, {"reason", "x"}},
        Json{{"running_total", "5"}, {"reason", "x"}}, Json{{"weight", 2}, {"reason", "x"}},
        Json{{"fleet", "bump"}, {"reason", "x"}},
        Json{{"fleet", "bump"}, {"weight", 1'001}, {"reason", "x"}},
        Json{{"fleet", "bump"}, {"weight", 2}, {"clear", true}, {"reason", "x"}},
        Json{{"fleet", "bump"}, {"weight", 4'294'967'297}, {"reason", "x"}},
        Json{{"fleet", std::string(64, 'f')}, {"weight", 2}, {"reason", "x"}}}) {
    INFO(wrong.dump());
    CHECK(limit(wrong).status == 400);
  }
  CHECK(applied.total == 5);
  who = Identity{"tess", "token T1", Role::operator_, {}, false};
  CHECK(limit({{"running_total", 6}, {"reason", "x"}}).status == 403);
  CHECK(send("GET", "/v1/limits").status == 200);
}

TEST_CASE_METHOD(Installed,
                 "a file of limits that is broken stops the start, and says where it lies") {
  const auto file = directory.path / "broken.json";
  for (const char* text :
       {"", "[]", "{\"running_total\": 5}", "{\"running_total\": 5, \"fleets\": 3}"}) {
    REQUIRE(write_file_durably(file, text));
    const auto opened = LimitsStore::open(file, [](const actors::RunLimits&) {});
    REQUIRE(!opened);
    CHECK(opened.error().code == Errc::corrupt);
    CHECK(opened.error().message.find("broken.json") != std::string::npos);
  }
}

TEST_CASE_METHOD(Installed, "a host tells its lease, its sandboxes and what it is warm for") {
  host.used.push_back(std::make_unique<fbs::SlotT>());
  host.used.back()->run = "0000AAAAAAAAA";
  host.used.back()->attempt = 2;
  host.used.back()->fleet = "bump";
  host.used.back()->since_unix_ms = engine.now().unix_ms - 5'000;
  host.warm = {"/srv/api"};
  engine.put_head("host", "h1", host);
  Json told = get("/v1/hosts/h1");
  CHECK(told.at("lease").is_null());
  CHECK(told.at("sandboxes").at(0).at("id") == "0000AAAAAAAAA-2");
  CHECK(told.at("sandboxes").at(0).at("held_ms") == 5'000);
  CHECK(told.at("warm_repositories") == Json({"/srv/api"}));
  leases["h1"] = {true, 7, true, Duration{24'000}, 1};
  told = get("/v1/hosts/h1");
  CHECK(told.at("lease").dump() ==
        R"({"connected":true,"session":7,"holds":true,"ends_in_ms":24000,"orders_waiting":1})");
  CHECK(told.at("warm_pool").is_null());
  CHECK(told.at("warm_lines") == Json::array());
  auto pool = std::make_shared<actors::HostPool>();
  *pool = {8, 2, 1, 31, 9, {{"/srv/api", "main", "host", 2, 3, 31, 9}}};
  leases["h1"].pool = pool;
  const std::string counts = R"({"max":8,"waiting":2,"making":1,"hits":31,"misses":9})";
  told = get("/v1/hosts/h1");
  CHECK(told.at("warm_pool") == Json::parse(counts));
  CHECK(told.at("warm_lines") ==
        Json::parse(R"([{"url": "/srv/api", "branch": "main", "image": "host", "waiting": 2, "wanted": 3,
                         "hits": 31, "misses": 9}])"));
  CHECK(get("/v1/hosts").at("hosts").at(0).at("warm_pool") == Json::parse(counts));
  CHECK(send("GET", "/metrics").body.find("muster_warm_sandboxes{what=\"waiting\"} 2\n") !=
        std::string::npos);
  CHECK(send("GET", "/v1/hosts/h9").status == 404);
}

TEST_CASE_METHOD(Installed,
                 "care of the installation has a dry run, and is written down before it is done") {
  const auto order = [&](const char* what, Json body) {
    body["reason"] = "to look";
    return send("POST", std::string("/v1/admin/") + what, body.dump());
  };
  CHECK(order("log-level", {{"level", "debug"}, {"dry_run", true}}).status == 200);
  CHECK(order("compaction", {{"dry_run", true}}).status == 200);
  CHECK(order("backups", {{"directory", "/nowhere"}, {"dry_run", true}}).status == 200);
  CHECK(log_level.empty());
  CHECK(compactions == 0);
  CHECK(audit_log->head()->number == 0);
  CHECK(order("log-level", {{"level", "debug"}}).status == 200);
  CHECK(order("log-level", {{"level", "loud"}}).status == 400);
  CHECK(order("compaction", Json::object()).status == 200);
  CHECK(log_level == "debug");
  CHECK(compactions == 1);
  const auto entries = audit_log->after(0, 10);
  REQUIRE(entries->size() == 2);
  CHECK(Json::parse(entries->at(1).payload).at("action") == "journal.compact");
  CHECK(Json::parse(entries->at(1).payload).at("detail") == "to look");
}
