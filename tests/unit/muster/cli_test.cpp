// The whole command line against a server that says what the test wants.
#include "tools/muster/cli.hpp"

#include <signal.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "storage/base/ids.hpp"
#include "tests/unit/muster/fake_server.hpp"
#include "tests/unit/muster/scratch.hpp"
#include "tools/muster/client.hpp"

namespace muster::cli {
namespace {

using nlohmann::json;

struct Outcome {
  int code = 0;
  std::string out, err;
};

Outcome muster(const Scratch& s, std::vector<std::string> arguments, Look look = {},
               bool live = false) {
  std::ostringstream out, err;
  Io io{
      {out, look, live}, {err, look, live}, [] { return *parse_rfc3339("2026-11-22T12:10:00Z"); }};
  if (arguments.empty() || arguments.front() != "--nowhere")
    arguments.insert(arguments.begin(), {"--url", "unix:" + (s.path() / "s").string()});
  const int code = run_cli(arguments, io);
  return {code, s.anonymous(out.str()), s.anonymous(err.str())};
}

std::string problem(const char* code, const char* detail, const char* hint = "") {
  json document{{"type", std::string("https://muster.dev/problems/") + code},
                {"title", code},
                {"detail", detail},
                {"code", code}};
  if (*hint != '\0') document["hint"] = hint;
  return document.dump();
}

json fleet_in(const char* state, std::uint64_t delivered, std::uint64_t failed,
              std::uint64_t running) {
  return {{"name", "x"},
          {"state", state},
          {"reason", ""},
          {"author", "a"},
          {"dry_run", false},
          {"total", 2},
          {"created", 2},
          {"wave", 1},
          {"waves", 1},
          {"counts", {{"delivered", delivered}, {"failed", failed}, {"running", running}}},
          {"failed_by_class", json::object()},
          {"attempts", 2},
          {"escalated", 0},
          {"pulls", delivered},
          {"created_at", "2026-11-22T12:00:00Z"},
          {"started_at", "2026-11-22T12:00:00Z"},
          {"ended_at", nullptr},
          {"concurrency", 50},
          {"branch", "muster/x"},
          {"why_waiting", json::object()},
          {"eta_s", nullptr}};
}

TEST_CASE("an address of musterd is a host with a port, or is refused before a token goes there") {
  for (const char* fine : {"https://box:7412", "https://box.lan", "http://127.0.0.1:80/",
                           "https://[::1]:7412", "https://[fe80::1]", "unix:///run/m.sock"}) {
    INFO(fine);
    CHECK(find_endpoint("", fine, ""));
  }
  for (const char* bad :
       {"https://", "https://:7412", "https://box:", "https://box:0", "https://box:65536",
        "https://box:74x", "https://box:7412x", "https://user:secret@box", "https://box/path",
        "https://box?x=1", "https://bo x", "https://[::1", "https://::1", "https://[::1]x:1",
        "https://box:7412@evil", "ftp://box", "box:7412"}) {
    INFO(bad);
    const auto endpoint = find_endpoint("", bad, "");
    REQUIRE(!endpoint);
    CHECK(endpoint.error().code == Errc::invalid);
  }
}

TEST_CASE("the caller's trace is passed on, and nothing else that calls itself one") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(), [&](const Asked&) {
    return Reply{200, R"({"fleets": [], "next": null})"};
  });
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  for (const std::string& value : {trace, trace + "\r\nX-Other: 1", std::string("nonsense")}) {
    ::setenv("TRACEPARENT", value.c_str(), 1);
    CHECK(muster(s, {"fleet", "list"}).code == 0);
  }
  ::unsetenv("TRACEPARENT");
  CHECK(muster(s, {"fleet", "list"}).code == 0);
  std::vector<std::string> told;
  for (const Asked& asked : server.asked()) {
    CHECK_FALSE(asked.headers.contains("x-other"));
    const auto found = asked.headers.find("traceparent");
    told.push_back(found == asked.headers.end() ? "" : found->second);
  }
  CHECK(told == std::vector<std::string>{trace, "", "", ""});
}

TEST_CASE("a problem of the server is an error, a hint and an exit code") {
  const Scratch s;
  struct Case {
    int status;
    const char* code;
    int exit;
  };
  for (const Case c : {Case{400, "invalid", 2}, Case{404, "not_found", 3}, Case{403, "refused", 4},
                       Case{409, "conflict", 5}, Case{429, "overloaded", 7},
                       Case{504, "timed_out", 124}, Case{500, "internal", 1}}) {
    FakeServer server((s.path() / "s").string(), [&](const Asked&) {
      return Reply{c.status, problem(c.code, "no \x1b[2J such thing", "try another"),
                   "application/problem+json"};
    });
    const auto done = muster(s, {"fleet", "status", "x"});
    CHECK(done.code == c.exit);
    CHECK(done.out.empty());
    CHECK(done.err == "error: no \\x1b[2J such thing\nhint: try another\n");
  }
}

TEST_CASE("hints name commands, not addresses") {
  const Scratch s;
  constexpr const char* kLists =
      "the lists (/v1/fleets, /v1/runs, /v1/pulls, /v1/hosts) say what there is";
  struct Case {
    const char* code;
    const char* detail;
    const char* said;
    const char* shown;
  };
  for (const Case c :
       {Case{"not_found", "there is no fleet x", kLists,
             "hint: muster fleet list says what there is\n"},
        Case{"not_found", "no run begins with 7K2M", kLists,
             "hint: muster run list says what there is\n"},
        Case{"not_found", "run 7K2M has no step x; there are agent", kLists, ""},
        Case{"timed_out", "no", "it may have happened: repeat it with the same key",
             "hint: it may have happened: look before you repeat it\n"},
        Case{"io", "no", "see musterd's log and GET /healthz/ready", "hint: see musterd's log\n"},
        Case{"refused", "no", "GET /v1/whoami says what the caller may do", ""},
        Case{"corrupt", "no", "run `musterd check`", "hint: run `musterd check`\n"}}) {
    FakeServer server((s.path() / "s").string(), [&](const Asked&) {
      return Reply{500, problem(c.code, c.detail, c.said), "application/problem+json"};
    });
    CHECK(muster(s, {"fleet", "status", "x"}).err ==
          "error: " + std::string(c.detail) + "\n" + c.shown);
  }
}

TEST_CASE("what is no musterd, and what is not there") {
  const Scratch s;
  {
    FakeServer server((s.path() / "s").string(), [](const Asked&) {
      return Reply{200, "<html>", "text/html"};
    });
    const auto done = muster(s, {"host", "list"});
    CHECK(done.code == 1);
    CHECK(done.err.find("error: what answers at DIR/s is not musterd") == 0);
  }
  const auto done = muster(s, {"host", "list"});
  CHECK(done.code == 6);
  CHECK(done.err ==
        "error: musterd can't be reached at DIR/s: Couldn't connect to server\n"
        "hint: start it with \"musterd --embedded-host\", or say where it is with --root DIR or "
        "MUSTER_URL\n");
  CHECK(muster(s, {"--nowhere"}).code == 2);
}

TEST_CASE("a write whose outcome is unknown is repeated under the same key") {
  const Scratch s;
  int calls = 0;
  FakeServer server((s.path() / "s").string(), [&](const Asked&) {
    ++calls;
    if (calls == 1) return Reply{0, "", "", true};
    if (calls == 2)
      return Reply{503, problem("unknown", "the disk is slow"), "application/problem+json"};
    if (calls == 3) return Reply{429, problem("overloaded", "later"), "application/problem+json"};
    return Reply{200, fleet_in("paused", 0, 0, 1).dump()};
  });
  const auto done = muster(s, {"fleet", "pause", "x", "--reason", "lunch"});
  CHECK(done.code == 0);
  const auto asked = server.asked();
  REQUIRE(asked.size() == 4);
  for (const Asked& one : asked) {
    CHECK(one.method + " " + one.path == "POST /v1/fleets/x/pause");
    CHECK(one.headers.at("idempotency-key") == asked[0].headers.at("idempotency-key"));
    CHECK(json::parse(one.body)["reason"] == "lunch");
  }
  CHECK(uuid_v7_time(asked[0].headers.at("idempotency-key")).has_value());
}

/// A server of one fleet that ends after `polls` readings in `end`.
FakeServer::Handler fleet_server(int polls, json end) {
  return [polls, end, seen = 0](const Asked& asked) mutable {
    if (asked.path == "/v1/hosts")
      return Reply{200, R"({"hosts": [{"name": "local", "state": "ready", "slots": 4}]})"};
    if (asked.method == "HEAD") return Reply{404, ""};
    if (asked.method == "PUT") return Reply{201, "{}"};
    if (asked.path == "/v1/fleets") return Reply{201, fleet_in("pending", 0, 0, 0).dump()};
    if (asked.path.ends_with("/report"))
      return Reply{200, json{{"fleet", end}, {"outcomes", end["counts"]}, {"attempts", 2}}.dump()};
    if (asked.path.find("/runs?") != std::string::npos)
      return Reply{
          200,
          R"({"runs": [{"id": "7K2MABCDEFGHJ", "repository": "acme/api", "state": "failed", "class": "agent", "message": "exit 3"}], "next": null})"};
    return Reply{200, (++seen < polls ? fleet_in("running", 0, 0, 2) : end).dump()};
  };
}

TEST_CASE("fleet run: the plan, the upload, progress, the report, the exit code") {
  const Scratch s;
  s.repository("acme/api.git");
  s.repository("acme/web.git");
  s.write("f/bump.sh", "#!/bin/sh\n", true);
  s.write("f/fleet.yaml",
          "name: x\nrepositories: [{path: ../acme/*.git}]\nagent: {run: ./bump.sh}\n");
  const std::string file = (s.path() / "f/fleet.yaml").string();
  FakeServer server((s.path() / "s").string(), fleet_server(2, fleet_in("completed", 2, 0, 0)));
  const auto done = muster(s, {"fleet", "run", file});
  CHECK(done.code == 0);
  CHECK(done.err == R"(Fleet x
  repositories  2
  waves         2; at most 50 at a time
  agent         "$MUSTER_AGENT_DIR"/bump.sh
  travels       1 file, 2.0 KiB
  verified by   nothing
  delivers      branch muster/x and a pull request
  hosts         local (4 slots)
x: running, wave 1 of 1, 0/2 ended, running 2
x: completed, wave 1 of 1, 2/2 ended, delivered 2
)");
  CHECK(done.out ==
        "\nx  completed\n2 repositories, 2 attempts\n\nOutcomes\n  STATE      RUNS   SHARE\n  "
        "delivered     2  100.0%\n\nNext\n  muster run list --fleet x\n");
  const auto asked = server.asked();
  const auto put =
      std::find_if(asked.begin(), asked.end(), [](const Asked& a) { return a.method == "PUT"; });
  const auto post =
      std::find_if(asked.begin(), asked.end(), [](const Asked& a) { return a.method == "POST"; });
  REQUIRE(put != asked.end());
  REQUIRE(post != asked.end());
  CHECK(put->path == "/v1/blobs/" + sha256_hex(put->body));
  const json body = json::parse(post->body);
  CHECK(body["agent_bundle"] == sha256_hex(put->body));
  CHECK(body["dry_run"] == false);
  CHECK(body["spec"]["delivery"]["branch"] == "muster/x");
  CHECK(
      s.anonymous(body["repositories"].dump()) ==
      R"([{"base_branch":"main","canonical_url":"DIR/acme/api.git","labels":{},"repository":"acme/api","url":"DIR/acme/api.git"},)"
      R"({"base_branch":"main","canonical_url":"DIR/acme/web.git","labels":{},"repository":"acme/web","url":"DIR/acme/web.git"}])");
}

TEST_CASE("a dry run's document holds the diffs") {
  const Scratch s;
  s.repository("acme/api.git");
  const auto fleet = fleet_server(1, fleet_in("completed", 0, 0, 0));
  FakeServer server((s.path() / "s").string(), [fleet](const Asked& asked) mutable {
    if (asked.path.find("/runs?state=skipped") != std::string::npos)
      return Reply{
          200,
          R"({"runs": [{"id": "A", "repository": "acme/api", "state": "skipped", "reason": "dry_run"},
                       {"id": "B", "repository": "acme/web", "state": "skipped", "reason": "branch_exists"}], "next": null})"};
    if (asked.path == "/v1/runs/A/diff") return Reply{200, "+a\n", "text/x-diff"};
    return fleet(asked);
  });
  const auto done = muster(s, {"--json", "fleet", "run", "-R", (s.path() / "acme/api.git").string(),
                               "-B", "b", "-m", "M", "--dry-run", "--", "true"});
  INFO(done.err);
  CHECK(done.code == 0);
  const json document = json::parse(done.out);
  CHECK(document["fleet"]["state"] == "completed");
  CHECK(document["diffs"] ==
        json::parse(R"([{"repository": "acme/api", "run": "A", "diff": "+a\n"}])"));
}

TEST_CASE("a fleet with failures exits 1; --json prints the report's document") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(),
                    fleet_server(1, fleet_in("completed_with_failures", 1, 1, 0)));
  const auto done = muster(s, {"--json", "fleet", "retry", "x", "--failed"});
  CHECK(done.code == 1);
  CHECK(json::parse(done.out)["fleet"]["state"] == "completed_with_failures");
}

TEST_CASE("a host of another release is listed with what to upgrade") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(), [](const Asked&) {
    return Reply{200, R"({"hosts": [{"name": "old", "state": "unreachable", "slots": 0, "used": 0, "version": "0.1.0",
                          "refused": "sandboxd speaks protocol 1: upgrade sandboxd"}, {"name": "new", "state": "ready"}]})"};
  });
  const auto done = muster(s, {"host", "list"});
  CHECK(done.code == 0);
  CHECK(done.out.ends_with("\nold is refused: sandboxd speaks protocol 1: upgrade sandboxd\n"));
}

TEST_CASE("run cp: one of the two is in a run, and what is here must be right before anything is asked for") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(), [](const Asked&) { return Reply{500, "{}"}; });
  for (const auto& [from, to, code] :
       {std::tuple{"a", "b", 2}, {"r:a", "r:b", 2}, {"./r:a", "/x:b", 2}, {"none", "r:b", 3}, {"r:a", "no/such/place", 3}})
    CHECK(muster(s, {"run", "cp", from, to}).code == code);
}

TEST_CASE("on a terminal progress is redrawn in place") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(),
                    fleet_server(2, fleet_in("completed_with_failures", 1, 1, 0)));
  const auto done = muster(s, {"fleet", "status", "x", "--watch"}, {80, false}, true);
  CHECK(done.code == 1);
  CHECK(done.err.find("\x1b[4A\r") != std::string::npos);
  CHECK(done.err.find("7K2MAB  acme/api  failed(agent)  exit 3\x1b[K\n\x1b[J") !=
        std::string::npos);
}

TEST_CASE("--timeout and Ctrl-C leave the fleet alone and say how to come back") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(), fleet_server(1'000'000, {}));
  const auto late = muster(s, {"fleet", "status", "x", "--watch", "--timeout", "1ms"});
  CHECK(late.code == 124);
  CHECK(late.err.find("The time is over; the fleet goes on. Watch it again: muster --url "
                      "unix:DIR/s fleet status x --watch\n") != std::string::npos);
}

TEST_CASE("Ctrl-C detaches") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(), [](const Asked&) {
    ::kill(::getpid(), SIGINT);
    return Reply{200, fleet_in("running", 0, 0, 2).dump()};
  });
  const auto gone = muster(s, {"fleet", "status", "x", "--watch"});
  CHECK(gone.code == 130);
  CHECK(gone.err.find("Detached; the fleet goes on. Watch it again: muster --url unix:DIR/s fleet "
                      "status x --watch\n") != std::string::npos);
}

TEST_CASE("waiting outlives a musterd that is away for a while") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(), [calls = 0](const Asked&) mutable {
    if (++calls == 2) return Reply{0, "", "", true};
    return Reply{
        200, fleet_in(calls < 3 ? "running" : "completed", calls < 3 ? 0 : 2, 0, calls < 3 ? 2 : 0)
                 .dump()};
  });
  const auto done = muster(s, {"fleet", "status", "x", "--watch"});
  CHECK(done.code == 0);
  CHECK(done.err.find("waiting for it to come back\n") != std::string::npos);
}

TEST_CASE("a wrong fleet file starts nothing and asks nothing") {
  const Scratch s;
  s.write("fleet.yaml", "name: x\n");
  FakeServer server((s.path() / "s").string(), [](const Asked&) { return Reply{}; });
  const auto done = muster(s, {"--json", "fleet", "run", (s.path() / "fleet.yaml").string()});
  CHECK(done.code == 2);
  CHECK(json::parse(done.out)["problems"].size() == 2);
  CHECK(done.err.find("2 problems; nothing was started\n") != std::string::npos);
  CHECK(server.asked().empty());
}

TEST_CASE("merging every pull request of a fleet reports each") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(), [](const Asked& asked) {
    if (asked.path.starts_with("/v1/pulls?"))
      return Reply{
          200,
          R"({"pulls": [{"id": "acme/api#1", "state": "open"}, {"id": "acme/web#1", "state": "open"}], "next": null})"};
    if (asked.path == "/v1/pulls/acme%2Fapi%231/merge")
      return Reply{200, R"({"id": "acme/api#1", "state": "open", "busy": "merge"})"};
    if (asked.path == "/v1/pulls/acme%2Fapi%231")
      return Reply{200, R"({"id": "acme/api#1", "state": "merged", "busy": ""})"};
    return Reply{
        200,
        R"({"id": "acme/web#1", "state": "open", "busy": "", "problem": "the base branch is checked out"})"};
  });
  const auto done = muster(s, {"fleet", "merge", "x", "--repo", "acme/*"});
  CHECK(done.code == 1);
  CHECK(done.out == "acme/api#1: merged\nacme/web#1: not merged: the base branch is checked out\n");
  CHECK(done.err == "1 of 2 open pull requests merged\n");
  CHECK(server.asked()[0].path == "/v1/pulls?fleet=x&repo=acme%2F%2A&state=open&limit=500");
}

TEST_CASE("lists page through; logs go to one file per repository") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(), [](const Asked& asked) {
    if (asked.path.find("/logs") != std::string::npos)
      return Reply{
          200,
          R"({"offset": 0, "at": "2026-11-22T12:00:00.000Z", "step": "agent", "stream": "stdout", "text": "hello"})"
          "\n",
          "application/x-ndjson"};
    if (asked.path.find("cursor=c%2F1") != std::string::npos)
      return Reply{200,
                   R"({"runs": [{"id": "B", "repository": "../evil", "attempt": 1},
                       {"id": "C", "repository": "acme/api", "attempt": 1, "state": "superseded"}], "next": null})"};
    return Reply{
        200, R"({"runs": [{"id": "A", "repository": "acme/api", "attempt": 2}], "next": "c/1"})"};
  });
  const auto done = muster(s, {"fleet", "logs", "x", "--output", (s.path() / "out").string()});
  CHECK(done.out == "Wrote 2 logs to DIR/out\n");
  CHECK(done.code == 0);
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(s.path() / "out"))
    files.insert(entry.path().filename().string());
  CHECK(files == std::set<std::string>{"_..__evil.log", "acme__api.log"});
  std::ifstream log(s.path() / "out/acme__api.log");
  CHECK(std::string(std::istreambuf_iterator<char>(log), {}) ==
        "2026-11-22T12:00:00.000Z --- agent\n2026-11-22T12:00:00.000Z hello\n");
}

TEST_CASE(
    "run logs --failed asks for the step that failed; --tail and -f join without a gap or a "
    "repeat") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(), [](const Asked& asked) {
    const auto line = [](int next, const char* text) {
      return json{
                 {"offset", next - 10},    {"next", next},       {"at", "2026-11-22T12:00:00.000Z"},
                 {"step", "verify:tests"}, {"stream", "stdout"}, {"text", text}}
                 .dump() +
             "\n";
    };
    if (asked.path.find("/logs") == std::string::npos)
      return Reply{
          200,
          R"({"id": "A", "state": "running", "attempts": [{"attempt": 1, "steps": [{"name": "agent", "exit_code": 0},
                            {"name": "verify:tests", "exit_code": 1}]}]})"};
    if (asked.path.find("offset=30") != std::string::npos)
      return Reply{200, line(40, "three"), "application/x-ndjson"};
    return Reply{200, line(10, "zero") + line(20, "one") + line(30, "two"), "application/x-ndjson"};
  });
  const auto done = muster(s, {"run", "logs", "x/acme/api", "--failed", "--tail", "2", "-f"});
  CHECK(done.out == "one\ntwo\nthree\n");
  CHECK(server.asked()[1].path == "/v1/runs/x%2Facme%2Fapi/logs?step=verify%3Atests");
  CHECK(server.asked()[2].path ==
        "/v1/runs/x%2Facme%2Fapi/logs?step=verify%3Atests&offset=30&follow=true");
}

TEST_CASE("--tail and --since hold for --json, too") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(), [](const Asked&) {
    std::string lines;
    for (const char* at : {"11:00", "12:01", "12:02", "12:03"})
      lines += json{{"at", std::string("2026-11-22T") + at + ":00.000Z"},
                    {"step", "agent"},
                    {"stream", "stdout"},
                    {"text", at}}
                   .dump() +
               "\n";
    return Reply{200, lines, "application/x-ndjson"};
  });
  const auto texts = [&](std::vector<std::string> options) {
    options.insert(options.begin(), {"--json", "run", "logs", "A"});
    std::istringstream lines(muster(s, options).out);
    std::string all;
    for (std::string line; std::getline(lines, line);)
      all += json::parse(line)["text"].get<std::string>() + " ";
    return all;
  };
  CHECK(texts({}) == "11:00 12:01 12:02 12:03 ");
  CHECK(texts({"--tail", "1"}) == "12:03 ");
  CHECK(texts({"--since", "15m"}) == "12:01 12:02 12:03 ");
  CHECK(texts({"--since", "15m", "--tail", "2"}) == "12:02 12:03 ");
}

TEST_CASE("a run without a diff says why") {
  const Scratch s;
  json run{{"id", "7K2MABCDEFGHJ"}, {"repository", "acme/api"}};
  FakeServer server((s.path() / "s").string(), [&](const Asked& asked) {
    if (asked.path.ends_with("/diff")) return Reply{200, "", "text/x-diff"};
    return Reply{200, run.dump()};
  });
  run["state"] = "unchanged";
  auto done = muster(s, {"run", "diff", "7K2M"});
  CHECK(done.code == 0);
  CHECK(done.out.empty());
  CHECK(done.err == "run 7K2MAB of acme/api: no diff, the agent changed nothing\n");
  run["state"] = "skipped";
  run["reason"] = "does_not_apply";
  CHECK(muster(s, {"run", "diff", "7K2M"}).err ==
        "run 7K2MAB of acme/api: no diff, it was skipped: does_not_apply\n");
  run["state"] = "failed";
  run["message"] = "exit 1";
  run["attempts"] = json::parse(R"([{"steps": [{"name": "agent", "exit_code": 0},
                                               {"name": "verify:tests", "exit_code": 1}]}])");
  done = muster(s, {"--json", "run", "diff", "7K2M"});
  CHECK(done.code == 3);
  CHECK(done.out.empty());
  CHECK(done.err ==
        "error: run 7K2MAB of acme/api failed at verify:tests: exit 1; a failed attempt's change "
        "is not kept, so there is no diff\n"
        "hint: muster --url unix:DIR/s run logs 7K2MAB says what happened\n");
}

TEST_CASE("a file that can't be written is named as it was asked for") {
  const Scratch s;
  CHECK(muster(s, {"fleet", "init", (s.path() / "none/x.yaml").string()}).err ==
        "error: create DIR/none/x.yaml: No such file or directory\n");
}

TEST_CASE("completion scripts ask for names") {
  const Scratch s;
  {
    FakeServer server((s.path() / "s").string(), [](const Asked& asked) {
      if (asked.path == "/v1/fleets?limit=200")
        return Reply{
            200, R"json({"fleets": [{"name": "a-1"}, {"name": "$(rm x)"}, {"name": "b"}]})json"};
      return Reply{404, problem("not_found", "no")};
    });
    CHECK(muster(s, {"names", "fleet"}).out == "a-1\nb\n");
    const auto none = muster(s, {"names", "run"});
    CHECK(none.code == 1);
    CHECK(none.out + none.err == "");
  }
  CHECK(muster(s, {"names", "fleet"}).err.empty());
  CHECK(muster(s, {"names", "secrets"}).code == 2);
  CHECK(muster(s, {"--help"}).out.find("names") == std::string::npos);
}

TEST_CASE("host show: one host as a page, or as it came") {
  const Scratch s;
  FakeServer server((s.path() / "s").string(), [](const Asked& asked) {
    if (asked.path != "/v1/hosts/rack%2F1")
      return Reply{404, problem("not_found", "no host nobody"), "application/problem+json"};
    return Reply{200, R"({"name": "rack/1", "state": "ready", "slots": 4, "used": 1, "lease": null,
      "warm_pool": {"max": 8, "waiting": 2, "making": 0, "hits": 1, "misses": 0}})"};
  });
  const auto page = muster(s, {"host", "show", "rack/1"});
  CHECK(page.code == 0);
  CHECK(page.out ==
        "rack/1  ready\n"
        "  lease      not heard of since musterd started\n"
        "  slots      1 of 4 taken\n"
        "  warm pool  2 of 8 wait; 1 of 1 attempt got one\n");
  CHECK(json::parse(muster(s, {"--json", "host", "show", "rack/1"}).out)["warm_pool"]["max"] == 8);
  CHECK(muster(s, {"host", "show", "nobody"}).code == 3);
}

TEST_CASE("usage") {
  const Scratch s;
  CHECK(muster(s, {"fleet", "stauts"}).err ==
        "error: there is no command \"muster fleet stauts\"\nhint: did you mean \"muster fleet "
        "status\"?\n");
  CHECK(muster(s, {"fleet", "status"}).code == 2);
  CHECK(muster(s, {"run", "list", "--state", "sleeping"}).code == 2);
  CHECK(muster(s, {"host", "list", "--", "x"}).code == 2);
  for (const std::string count : {"--tail", "--attempt"}) {
    CHECK(muster(s, {"run", "logs", "A", count, "-1"}).code == 2);
    CHECK(muster(s, {"run", "logs", "A", count + "=-1"}).code == 2);
  }
  const auto limited = muster(s, {"run", "list", "--limit=-1"});
  CHECK(limited.code == 2);
  CHECK(limited.err.find("error: --limit: -1 is no whole number from 0\n") == 0);
  CHECK(muster(s, {"version"}).out == "muster 0.1.0\n");
  CHECK(
      muster(s, {"fleet", "run", "--help"}).out.find("Usage: muster fleet run [OPTIONS] [FILE]") !=
      std::string::npos);
}

}  // namespace
}  // namespace muster::cli
