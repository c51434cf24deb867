// The audit log of musterd: what decisions recorded gets into the chain once each, whatever happens
// in between; what the API notes gets there too; and /v1/audit.
#include <algorithm>
#include <thread>

#include "tests/unit/musterd/api_fixture.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

engine::DecidedAudit decision(engine::Sequence position, std::uint32_t ordinal = 0) {
  return {0,
          position,
          ordinal,
          {"default", "fleet", "bump"},
          Instant{1'800'000'000'000},
          "alice",
          "fleet.pause",
          "number " + std::to_string(position),
          "K1"};
}

struct Audited : ApiFixture {
  /// Until `count` entries are there; every wait is for the log's own wake or the next look.
  std::vector<Json> entries(std::size_t count) {
    for (;;) {
      const auto records = audit_log->after(0, 10'000);
      REQUIRE(records);
      if (records->size() >= count) {
        std::vector<Json> all;
        for (const auto& record : *records) all.push_back(Json::parse(record.payload));
        return all;
      }
      std::this_thread::yield();
    }
  }
  void commit() { engine.subscriber({{engine::Sequence{1}, {"default", "fleet", "bump"}, 1, {}}}); }
  AuditPlaces places() const {
    return {directory.path / "audit", directory.path / "heads", directory.path / "audit.key"};
  }
  void restart() {
    audit_log->stop();
    audit_log.reset();
    audit_log = std::move(*AuditLog::open(places()));
    audit_log->follow(engine);
  }
};

}  // namespace

TEST_CASE_METHOD(Audited, "what decisions recorded and what the API noted are in one chain") {
  engine.decided = {decision(3), decision(3, 1), decision(8)};
  audit_log->follow(engine);
  audit_log->note(
      {"bob", "token T1", "10.0.0.7:1", "POST /v1/fleets", "/v1/fleets", "201", "", "K2"});
  std::vector<Json> all = entries(4);
  CHECK(all.size() == 4);
  const auto of = [&](const std::string& name) {
    return std::count_if(all.begin(), all.end(), [&](const Json& e) { return e.at("who") == name; });
  };
  CHECK(of("alice") == 3);
  CHECK(of("bob") == 1);
  const auto pause =
      std::find_if(all.begin(), all.end(), [](const Json& e) { return e.contains("decided"); });
  CHECK(
      pause->dump() ==
      R"({"at":"2027-01-15T08:00:00.000Z","who":"alice","action":"fleet.pause","target":"default/fleet/bump",)"
      R"("outcome":"decided","detail":"number 3","correlation":"K1","decided":[0,3,0]})");
  audit_log->stop();
  const auto report = audit_log->verify();
  REQUIRE(report);
  CHECK(report->findings == std::vector<std::string>{});
  CHECK(report->newest_signed->head.number == 4);  // Signed when it stopped.
}

TEST_CASE_METHOD(
    Audited, "after a restart every decision is in the chain once, with the cursor and without") {
  engine.decided = {decision(1), decision(2)};
  audit_log->follow(engine);
  entries(2);
  engine.decided.push_back(decision(5));
  restart();
  entries(3);
  audit_log->stop();
  std::filesystem::remove(directory.path / "audit/cursor");
  engine.decided.push_back(decision(5, 1));
  restart();
  const auto all = entries(4);
  audit_log->stop();
  std::string seen;
  for (const Json& entry : all) seen += entry.at("decided").dump();
  CHECK(seen == "[0,1,0][0,2,0][0,5,0][0,5,1]");
}

TEST_CASE_METHOD(Audited, "an old cursor is caught up with from the chain") {
  engine.decided = {decision(1)};
  audit_log->follow(engine);
  entries(1);
  audit_log->stop();
  const auto cursor = read_file(directory.path / "audit/cursor", 1u << 16);
  REQUIRE(cursor);
  engine.decided.push_back(decision(2));
  restart();
  entries(2);
  audit_log->stop();
  REQUIRE(write_file_durably(directory.path / "audit/cursor", *cursor));
  engine.decided.push_back(decision(3));
  restart();
  CHECK(entries(3).size() == 3);
  audit_log->stop();
}

TEST_CASE_METHOD(Audited, "notes beyond the room for them are counted, and the count is written") {
  audit_log.reset();
  AuditLimits bounds;
  bounds.waiting = 2;
  audit_log = std::move(*AuditLog::open(places(), bounds));
  for (int i = 0; i < 5; ++i) audit_log->note({"eve", "", "", "GET /", "/", "refused", "", ""});
  audit_log->follow(engine);
  const auto all = entries(3);
  CHECK(all[2].at("action") == "audit.overloaded");
  CHECK(all[2].at("detail") == "3 notes came when there was no room");
  audit_log->stop();
}

TEST_CASE_METHOD(Audited, "a log that can't be written says so, keeps what waits, and goes on") {
  audit_log->follow(engine);
  const auto chain = directory.path / "audit";
  const auto away = directory.path / "away";
  std::filesystem::rename(chain, away);
  audit_log->note({"bob", "", "", "POST /v1/fleets", "", "201", "", ""});
  while (audit_log->trouble().empty()) std::this_thread::yield();
  CHECK(audit_log->trouble().find("the audit log can't be written") == 0);
  std::filesystem::rename(away, chain);
  CHECK(entries(1)[0].at("who") == "bob");
  while (!audit_log->trouble().empty()) std::this_thread::yield();
  audit_log->stop();
}

TEST_CASE_METHOD(Audited, "GET /v1/audit pages, filters and follows; only admins see it") {
  for (int i = 1; i <= 5; ++i)
    REQUIRE(audit_log->note_now({i % 2 == 0 ? "bob" : "alice", "", "", "fleet.pause",
                                 "f" + std::to_string(i), "done", "", ""}));
  const Json first = get("/v1/audit?limit=2");
  CHECK(first.at("entries").size() == 2);
  CHECK(first.at("last") == 5);
  const Json second = get("/v1/audit?limit=2&cursor=" + first.at("next").get<std::string>());
  CHECK(second.at("entries").at(0).at("number") == 3);
  CHECK(get("/v1/audit?who=bob").at("entries").size() == 2);
  CHECK(get("/v1/audit?text=f5").at("entries").at(0).at("target") == "f5");
  CHECK(get("/v1/audit?after=4").at("entries").size() == 1);
  CHECK(get("/v1/audit?since=1h").at("entries").size() == 5);
  CHECK(get("/v1/audit?since=2999-01-01T00:00:00.000Z").at("entries").empty());
  CHECK(send("GET", "/v1/audit?since=yesterday").status == 400);

  Request follow;
  follow.method = "GET";
  REQUIRE(parse_target("/v1/audit?who=alice", follow));
  follow.headers["Accept"] = "text/event-stream";
  follow.headers["Last-Event-ID"] = "3";
  REQUIRE(!api.admit(follow));
  const Response stream = api.handle(follow);
  REQUIRE(stream.stream);
  bool woken = false;
  stream.stream->on_more([&] { woken = true; });
  CHECK(stream.stream->next().bytes.find("id: 5\ndata: {\"number\":5") != std::string::npos);
  CHECK(stream.stream->next().bytes.empty());
  REQUIRE(audit_log->note_now({"alice", "", "", "fleet.resume", "f6", "done", "", ""}));
  CHECK(woken);
  CHECK(stream.stream->next().bytes.find("id: 6\n") == 0);

  who = Identity{"tess", "token T1", Role::operator_, {}, false};
  CHECK(send("GET", "/v1/audit").status == 403);
}

TEST_CASE_METHOD(Audited, "what is exported can be pruned, and the log stays sound") {
  for (int i = 1; i <= 5; ++i)
    REQUIRE(audit_log->note_now({"bob", "", "", "x", std::to_string(i), "", "", ""}));
  const Response exported = send("GET", "/v1/audit/export?upto=3");
  REQUIRE(exported.stream);
  std::string text;
  for (BodyStream::Piece piece; !piece.end; text += piece.bytes) piece = exported.stream->next();
  CHECK(std::count(text.begin(), text.end(), '\n') == 3);
  const auto prune = [&](const std::string& bytes) {
    return send(
        "POST", "/v1/audit/prune",
        R"({"upto": 3, "reason": "year's end", "export_sha256": ")" + sha256_hex(bytes) + "\"}");
  };
  CHECK(prune(text + "x").status == 409);
  const Response done = prune(text);
  INFO(done.body);
  CHECK(done.status == 200);
  CHECK(Json::parse(done.body).at("checkpoint").at("number") == 3);
  const Json report = get("/v1/audit/verify");
  CHECK(report.at("sound") == true);
  CHECK(report.at("checkpoint").at("number") == 3);
  // Both attempts were written down before anything was done.
  CHECK(report.at("last") == 7);
}
