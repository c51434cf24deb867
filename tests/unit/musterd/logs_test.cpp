#include <catch2/catch.hpp>

#include "tests/unit/musterd/api_fixture.hpp"
#include "tools/musterd/log_lines.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

std::string frame(LogType type, std::uint8_t step, std::string_view bytes) {
  std::string out;
  append_log_frame(out, {type, step, Instant{1'800'000'000'000}, bytes});
  return out;
}

/// "step stream text", a line each.
std::string told(const std::string& ndjson) {
  std::string out;
  std::istringstream lines(ndjson);
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line);
    out += json.at("step").get<std::string>() + " " + json.at("stream").get<std::string>() + " " +
           json.at("text").get<std::string>() + "\n";
  }
  return out;
}

std::string add(LogLines& lines, const std::string& bytes) {
  const auto out = lines.add(bytes);
  REQUIRE(out);
  return *out;
}

struct OneRun : ApiFixture {
  static constexpr const char* kId = "7K2M7K2M7K2M7";
  OneRun() { state(fbs::RunState::running, 1); }
  void state(fbs::RunState now, std::uint32_t attempt) {
    fbs::RunHeadT head;
    head.fleet = "bump";
    head.state = now;
    head.attempt = attempt;
    engine.put_head("run", kId, head);
    engine.put_index(actors::index::kRun, kId, "bump\nacme/api");
  }
  void finish_attempt(std::uint32_t number, std::uint64_t log_bytes) {
    fbs::AttemptRowT attempt;
    attempt.attempt = number;
    attempt.finished_unix_ms = 1;
    attempt.report = std::make_unique<wire::AttemptReportT>();
    attempt.report->log_bytes = log_bytes;
    engine.put_row("run", kId, "attempt/000" + std::to_string(number), attempt);
  }
  void append(std::uint32_t attempt, const std::string& bytes) {
    std::uint64_t& end = ends[attempt];
    REQUIRE(logs.append({kId, attempt}, end, bytes));
    end += bytes.size();
  }
  std::shared_ptr<BodyStream> follow(const std::string& query) {
    const Response response = send("GET", "/v1/runs/7K2M/logs?" + query);
    INFO(response.body);
    REQUIRE(response.stream);
    response.stream->on_more([this] { ++wakes; });
    return response.stream;
  }
  std::map<std::uint32_t, std::uint64_t> ends;
  int wakes = 0;
};

}  // namespace

TEST_CASE_METHOD(OneRun,
                 "a step that the fleet's file does not have is refused with those it has") {
  fbs::CreateFleetT create;
  const std::string spec =
      R"({"name":"bump","repositories":[{"path":"/srv/git/*.git"}],"agent":{"run":"true"},)"
      R"("environment":{"setup":["make"]},"verify":[{"name":"tests","run":"make test"}]})";
  create.spec_digest = sha256_hex(spec);
  REQUIRE(blobs.put(create.spec_digest, spec));
  engine.put_row("fleet", "bump", "create", create);
  for (const char* step : {"agent", "verify:tests", "verify", "setup:1", "checkout"})
    CHECK(send("GET", std::string("/v1/runs/7K2M/logs?step=") + step).status == 200);
  const Response refused = send("GET", "/v1/runs/7K2M/logs?step=nostep");
  CHECK(refused.status == 404);
  CHECK(Json::parse(refused.body).at("detail") ==
        "run 7K2M7K2M7K2M7 has no step nostep; there are checkout, setup:1, agent, verify:tests, "
        "commit");
}

TEST_CASE_METHOD(OneRun, "the log of a run whose contents were removed says so, with the date") {
  fbs::RunHeadT head;
  head.fleet = "bump";
  head.state = fbs::RunState::unchanged;
  head.attempt = 1;
  head.ended_unix_ms = 1'795'000'000'000;
  engine.put_head("run", kId, head);
  finish_attempt(1, 0);
  fbs::FleetHeadT fleet;
  fleet.name = "bump";
  engine.put_head("fleet", "bump", fleet);
  CHECK(send("GET", "/v1/runs/7K2M/logs").status == 200);
  fleet.removed_unix_ms = 1'800'000'000'000;
  engine.put_head("fleet", "bump", fleet);
  const Response gone = send("GET", "/v1/runs/7K2M/logs");
  CHECK(gone.status == 404);
  CHECK(
      Json::parse(gone.body).at("detail") ==
      "the logs of run 7K2M7K2M7K2M7 were removed on 2027-01-15, long after fleet bump had ended");
  // One of a retry that ended later has its log still.
  head.ended_unix_ms = fleet.removed_unix_ms + 1;
  engine.put_head("run", kId, head);
  CHECK(send("GET", "/v1/runs/7K2M/logs").status == 200);
}

TEST_CASE_METHOD(OneRun, "an environment brings setup steps of its own, which may be asked for") {
  fbs::CreateFleetT create;
  const std::string spec =
      R"({"name":"bump","repositories":[{"path":"/srv/git/*.git"}],"agent":{"run":"true"},)"
      R"("environment":{"image":"devcontainer"}})";
  create.spec_digest = sha256_hex(spec);
  REQUIRE(blobs.put(create.spec_digest, spec));
  engine.put_row("fleet", "bump", "create", create);
  for (const char* step : {"agent", "setup:onCreateCommand", "setup"})
    CHECK(send("GET", std::string("/v1/runs/7K2M/logs?step=") + step).status == 200);
  CHECK(send("GET", "/v1/runs/7K2M/logs?step=setups").status == 404);
}

TEST_CASE("frames become lines, whatever pieces they come in") {
  const std::string stream =
      frame(LogType::step_begin, 0, "agent") + frame(LogType::out, 0, "one\ntw") +
      frame(LogType::err, 0, "warning\r\n") + frame(LogType::out, 0, "o\nlast") +
      frame(LogType::step_end, 0, R"({"exit_code":0})") + frame(LogType::note, 0, "teardown");
  const std::string expected =
      "agent event begin\nagent stdout one\nagent stderr warning\nagent stdout two\n"
      "agent stdout last\nagent event {\"exit_code\":0}\nagent note teardown\n";
  LogLines whole(1, 0, {}, "");
  CHECK(told(add(whole, stream)) == expected);
  CHECK(whole.offset() == stream.size());

  LogLines bytewise(1, 0, {}, "");
  std::string out;
  for (const char c : stream) out += add(bytewise, std::string(1, c));
  CHECK(told(out) == expected);
}

TEST_CASE("a step that only ends is known by its end") {
  LogLines lines(1, 0, {"agent"}, "");
  const std::string end = R"({"name":"checkout","exit_code":0})";
  CHECK(told(add(lines, frame(LogType::step_end, 254, end))) == "checkout event " + end + "\n");
  CHECK(told(add(lines, frame(LogType::step_end, 0, "no JSON"))) == "agent event no JSON\n");
}

TEST_CASE("a line tells where it began and where to go on") {
  const std::string first = frame(LogType::out, 0, "a\nb");
  LogLines lines(3, 100, {"agent"}, "");
  const Json line = Json::parse(add(lines, first));
  CHECK(line == Json({{"offset", 100},
                      {"next", 100 + first.size()},
                      {"attempt", 3},
                      {"at", "2027-01-15T08:00:00.000Z"},
                      {"step", "agent"},
                      {"stream", "stdout"},
                      {"text", "a"}}));
  CHECK(told(lines.flush()) == "agent stdout b\n");
  CHECK(lines.flush().empty());
}

TEST_CASE("only the wanted steps are told") {
  const std::string stream = frame(LogType::out, 0, "setup\n") + frame(LogType::out, 1, "agent\n") +
                             frame(LogType::out, 2, "tests\n") + frame(LogType::out, 3, "lint\n");
  const std::vector<std::string> names{"setup:1", "agent", "verify:tests", "verify:lint"};
  const auto only = [&](const std::string& step) {
    LogLines lines(1, 0, names, step);
    return told(add(lines, stream));
  };
  CHECK(only("agent") == "agent stdout agent\n");
  CHECK(only("verify") == "verify:tests stdout tests\nverify:lint stdout lint\n");
  CHECK(only("verify:lint") == "verify:lint stdout lint\n");
  CHECK(only("setup") == "setup:1 stdout setup\n");
}

TEST_CASE("a line without an end is broken at 64 KiB, and bytes that are no text are replaced") {
  LogLines lines(1, 0, {"agent"}, "");
  std::string out;
  for (int i = 0; i < 3; ++i) out += add(lines, frame(LogType::out, 0, std::string(60'000, 'x')));
  std::istringstream told_lines(out);
  std::string line;
  REQUIRE(std::getline(told_lines, line));
  CHECK(Json::parse(line).at("text").get<std::string>().size() == 64u << 10);
  LogLines bad(1, 0, {"agent"}, "");
  CHECK(told(add(bad, frame(LogType::out, 0, "\xff\n"))) == "agent stdout \xef\xbf\xbd\n");
}

TEST_CASE("garbage is an error, not a loop") {
  LogLines lines(1, 0, {}, "");
  CHECK(lines.add(std::string(100, '\x7f')).error().code == Errc::corrupt);
}

TEST_CASE_METHOD(OneRun, "without follow a log is what there is now") {
  append(1, frame(LogType::out, 0, "one\nhalf"));
  const auto stream = follow("");
  const auto first = stream->next();
  CHECK(told(first.bytes) == "0 stdout one\n");
  const auto last = stream->next();
  CHECK(told(last.bytes) == "0 stdout half\n");
  CHECK(last.end);
  CHECK(send("GET", "/v1/runs/7K2M/logs?attempt=2").status == 404);
  CHECK(send("GET", "/v1/runs/7K2M/logs?attempt=x").status == 400);
  CHECK(send("GET", "/v1/runs/7K2M/logs?follow=maybe").status == 400);
}

TEST_CASE_METHOD(OneRun,
                 "follow waits for bytes, goes on with the next attempt, and ends with the run") {
  const auto stream = follow("follow=true");
  CHECK(stream->next().bytes.empty());
  append(1, frame(LogType::out, 0, "one\n"));
  CHECK(wakes == 1);
  CHECK(told(stream->next().bytes) == "0 stdout one\n");
  // The attempt ends, with its last bytes still on their way.
  const std::string rest = frame(LogType::out, 0, "two\n");
  finish_attempt(1, ends[1] + rest.size());
  state(fbs::RunState::queued, 1);
  engine.subscriber({{1, {"default", "run", kId}, 1, {}}});
  CHECK(wakes == 2);
  CHECK(!stream->next().end);
  append(1, rest);
  CHECK(told(stream->next().bytes) == "0 stdout two\n");
  CHECK(!stream->next().end);

  state(fbs::RunState::running, 2);
  append(2, frame(LogType::out, 0, "again\n"));
  const auto again = stream->next();
  CHECK(Json::parse(again.bytes).at("attempt") == 2);
  finish_attempt(2, ends[2]);
  state(fbs::RunState::delivered, 2);
  CHECK(stream->next().end);
}

TEST_CASE_METHOD(OneRun, "bytes that were announced and never come are given up") {
  finish_attempt(1, 1000);
  state(fbs::RunState::failed, 1);
  const auto stream = follow("follow=true");
  CHECK(!stream->next().end);
  engine.clock = engine.clock + Duration{60'000};
  CHECK(stream->next().end);
}

TEST_CASE_METHOD(OneRun, "an offset goes on where a line said") {
  append(1, frame(LogType::out, 0, "one\n"));
  const std::uint64_t next = ends[1];
  append(1, frame(LogType::out, 0, "two\n"));
  CHECK(told(follow("offset=" + std::to_string(next))->next().bytes) == "0 stdout two\n");
}

TEST_CASE_METHOD(OneRun,
                 "as events a log is resumed after the last line that arrived, over attempts") {
  const auto as_events = [&](const std::string& last) {
    Request request;
    request.method = "GET";
    REQUIRE(parse_target("/v1/runs/7K2M/logs", request));
    request.headers["Accept"] = "text/event-stream";
    if (!last.empty()) request.headers["Last-Event-ID"] = last;
    REQUIRE(!api.admit(request));
    return api.handle(request);
  };
  append(1, frame(LogType::out, 0, "one\n"));
  const std::string after_one = "1-" + std::to_string(ends[1]);
  append(1, frame(LogType::out, 0, "two\n"));
  const std::string first = as_events("").stream->next().bytes;
  CHECK(first.find(": muster log\n\nid: " + after_one + "\ndata: {") == 0);
  CHECK(first.find("\"text\":\"two\"") != std::string::npos);

  const Response resumed = as_events(after_one);
  CHECK(resumed.content_type == "text/event-stream");
  const std::string second = resumed.stream->next().bytes;
  CHECK(second.find("\"text\":\"one\"") == std::string::npos);
  CHECK(second.find("\"text\":\"two\"") != std::string::npos);
  finish_attempt(1, ends[1]);
  state(fbs::RunState::running, 2);
  append(2, frame(LogType::out, 0, "again\n"));
  CHECK(resumed.stream->next().bytes.find("id: 2-" + std::to_string(ends[2]) + "\n") == 0);
  finish_attempt(2, ends[2]);
  state(fbs::RunState::delivered, 2);
  const auto end = resumed.stream->next();
  CHECK(end.bytes == "event: end\ndata: {}\n\n");
  CHECK(end.end);
  for (const char* wrong : {"7", "x-1", "1-", "0-5"}) CHECK(as_events(wrong).status == 400);
}
