// Transcripts of runs, pull requests, hosts and logs.
#include "tools/muster/render/run_view.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tools/muster/commands/log_printer.hpp"

namespace muster::cli {
namespace {

using nlohmann::json;

const Instant kViewed = *parse_rfc3339("2026-11-22T12:10:00Z");

TEST_CASE("a run's story") {
  std::string tail;
  for (int i = 1; i <= 30; ++i) tail += "line " + std::to_string(i) + "\\n";
  const json run = json::parse(R"({
    "id": "7K2MABCDEFGHJ", "fleet": "libgreet-2", "repository": "acme/api", "url": "/srv/git/acme/api.git", "state": "failed",
    "class": "verification", "reason": "tests", "message": "tests: exit 1", "attempt": 2, "host": "local", "pull": 0, "wave": 0,
    "escalated": true, "head_sha": "", "base_sha": "0123456789abcdef0123456789abcdef01234567", "created_at": "2026-11-22T12:00:00Z",
    "started_at": "2026-11-22T12:00:02Z", "ended_at": "2026-11-22T12:05:00Z",
    "attempts": [
      {"attempt": 1, "host": "local", "class": "infrastructure", "reason": "out_of_memory", "message": "the agent was killed",
       "queued_at": "2026-11-22T12:00:00.000Z", "placed_at": "2026-11-22T12:00:02.000Z", "accepted_at": "2026-11-22T12:00:02.100Z",
       "running_at": "2026-11-22T12:00:03.000Z", "finished_at": "2026-11-22T12:00:09.000Z", "peak_memory_bytes": 2147483648, "cpu_ms": 4200,
       "log_bytes": 2048, "mirror_hit": false, "fetch_ms": 700, "create_ms": 160, "prebuild": "none", "warm_sandbox": "miss", "base_sha": "0123456789abcdef0123456789abcdef01234567", "head_sha": "",
       "steps": [{"name": "agent", "exit_code": -1, "signal": 9, "reason": "out_of_memory", "started_at": "2026-11-22T12:00:03Z",
                  "ended_at": "2026-11-22T12:00:08Z", "tail": "allocating\u001b[2J"}], "warnings": ["result.json is not valid"]},
      {"attempt": 2, "host": "local", "outcome": "step_failed", "queued_at": "2026-11-22T12:00:20.000Z",
       "steps": [{"name": "agent", "exit_code": 0, "signal": 0, "reason": "", "started_at": "2026-11-22T12:00:23Z", "ended_at": "2026-11-22T12:00:25Z", "tail": "fine"},
                 {"name": "verify:lint", "exit_code": -1, "signal": 0, "reason": "skipped", "tail": ""},
                 {"name": "verify:tests", "exit_code": 1, "signal": 0, "reason": "", "started_at": "2026-11-22T12:00:25Z", "ended_at": "2026-11-22T12:00:26Z", "tail": ")" +
                               tail + R"("}]}]})");
  std::string lines;
  for (int i = 11; i <= 30; ++i) lines += "      | line " + std::to_string(i) + "\n";
  CHECK(run_text(run, {}, kViewed) ==
        R"(7K2MABCDEFGHJ  acme/api  failed(verification) tests (escalated)
  tests: exit 1
  fleet     libgreet-2, wave 1
  from      /srv/git/acme/api.git
  host      local
  base      0123456789abcdef0123456789abcdef01234567
  time      4m58s, ended 5m00s ago

Attempt 1 on local: infrastructure out_of_memory
    the agent was killed
    queued    2026-11-22T12:00:00.000Z
    placed    2026-11-22T12:00:02.000Z   +2.0s
    accepted  2026-11-22T12:00:02.100Z  +100ms
    running   2026-11-22T12:00:03.000Z  +900ms
    finished  2026-11-22T12:00:09.000Z   +6.0s
    agent            out_of_memory, signal 9  5.0s
      | allocating\x1b[2J
    peak memory 2.0 GiB, cpu 4.2s, log 2.0 KiB, base 0123456789ab, cold fetch 700ms, create 160ms, warm pool miss
    warning: result.json is not valid

Attempt 2 on local: step_failed
    queued  2026-11-22T12:00:20.000Z
    agent            exit 0  2.0s
    verify:lint      skipped
    verify:tests     exit 1  1.0s
)" + lines + R"(
Next
  muster run logs 7K2MAB --failed
  muster fleet retry libgreet-2 --failed --repo acme/api
)");
}

TEST_CASE("a step that was cut off did run") {
  const json run = json::parse(
      R"({"id": "7K2MABCDEFGHJ", "state": "failed", "attempts": [{"attempt": 1, "steps": [
      {"name": "agent", "exit_code": -1, "signal": 0, "reason": "", "started_at": "2026-11-22T12:00:03.000Z", "ended_at": "2026-11-22T12:00:03.981Z"},
      {"name": "verify:a", "exit_code": -1, "signal": 0, "reason": "", "started_at": null, "ended_at": null}]}]})");
  const std::string text = run_text(run, {}, kViewed);
  CHECK(text.find("    agent            cut off  981ms\n    verify:a         did not run\n") !=
        std::string::npos);
}

TEST_CASE("a run that waits says why") {
  const json run = json::parse(
      R"({"id": "7K2MABCDEFGHJ", "fleet": "f", "repository": "acme/api", "url": "u", "state": "queued", "wave": 1,
    "why": "the fleet's limit of 20 is reached", "attempts": []})");
  CHECK(run_text(run, {}, kViewed) == R"(7K2MABCDEFGHJ  acme/api  queued
  fleet     f, wave 2
  from      u
  waits     because the fleet's limit of 20 is reached

Next
  muster run logs 7K2MAB
)");
}

TEST_CASE("lists of runs, pull requests and hosts") {
  CHECK(
      run_table(
          {json::parse(
              R"({"id": "7K2MABCDEFGHJ", "repository": "acme/api", "fleet": "f", "state": "delivered", "attempt": 1, "host": "local",
      "pull": 3, "started_at": "2026-11-22T12:00:00Z", "ended_at": "2026-11-22T12:00:04Z", "message": ""})")},
          {}, kViewed) ==
      "RUN     REPOSITORY  FLEET  STATE      ATTEMPT  HOST   PULL  TIME  MESSAGE\n"
      "7K2MAB  acme/api    f      delivered        1  local    #3  4.0s\n");
  const json pull = json::parse(
      R"({"id": "acme/api#3", "number": 3, "repository": "acme/api", "url": "/srv/git/acme/api.git", "state": "open", "fleet": "f",
      "run": "7K2MABCDEFGHJ", "title": "Use libgreet 2.0", "body": "> Move\u0007\n", "branch": "muster/f", "base_branch": "main", "head_sha": "abc",
      "draft": true, "labels": ["auto"], "author": "alice", "diff": {"files": 1, "insertions": 2, "deletions": 1}, "problem": "the base branch is checked out",
      "created_at": "2026-11-22T12:00:00Z"})");
  CHECK(pull_table({pull}, {}, kViewed) ==
        "PULL REQUEST  STATE         TITLE             BRANCH    CHANGES     AGE\n"
        "acme/api#3    open (draft)  Use libgreet 2.0  muster/f    +2 -1  10m00s\n");
  CHECK(pull_text(pull, {}, kViewed) == R"(acme/api#3  open (draft)
Use libgreet 2.0
  merges    muster/f into main
  url       /srv/git/acme/api.git
  run       7K2MAB of fleet f
  author    alice
  changes   1 file, +2 -1
  head      abc
  labels    auto
  opened    10m00s ago
  problem   the base branch is checked out

> Move\x07
)");
  CHECK(
      host_table(
          {json::parse(
              R"({"name": "local", "state": "ready", "slots": 4, "used": 1, "cpus_milli": 2500, "memory_bytes": 8589934592,
      "labels": {"zone": "a"}, "warm": 12, "version": "0.1.0", "connected_at": "2026-11-22T12:00:00Z"})")},
          {}, kViewed) ==
      "HOST   STATE  SLOTS  CPUS   MEMORY  WARM  VERSION   CONNECTED  LABELS\n"
      "local  ready    1/4   2.5  8.0 GiB    12  0.1.0    10m00s ago  zone=a\n");
  CHECK(
      host_table(
          {json::parse(R"({"name": "a", "state": "ready", "slots": 4, "cpus_milli": 2000, "version": "0.1.0",
      "connected_at": "2026-11-22T12:00:00Z", "warm_pool": {"max": 8, "waiting": 2, "making": 0, "hits": 31, "misses": 9}})"),
           json::parse(R"({"name": "b", "state": "ready", "slots": 4, "cpus_milli": 2000, "version": "0.1.0",
      "connected_at": "2026-11-22T12:00:00Z", "warm_pool": null})")},
          {}, kViewed) ==
      "HOST  STATE  SLOTS  CPUS  MEMORY  WARM  POOL   HITS  VERSION   CONNECTED  LABELS\n"
      "a     ready    0/4     2     0 B     0   2/8  31/40  0.1.0    10m00s ago\n"
      "b     ready    0/4     2     0 B     0     -      -  0.1.0    10m00s ago\n");
}

TEST_CASE("a patch is byte for byte in a pipe, safe and coloured on a terminal") {
  const std::string patch = "diff --git a/f b/f\n@@ -1 +1 @@\n-a\x1b[2J\n+b\n";
  CHECK(diff_text(patch, {}) == patch);
  CHECK(diff_text(patch, {80, false}) == "diff --git a/f b/f\n@@ -1 +1 @@\n-a\\x1b[2J\n+b\n");
  CHECK(diff_text("+b\n", {80, true}) == "\x1b[32m+b\x1b[0m\n");
}

std::string printed(const LogOptions& options, const std::vector<json>& records) {
  std::ostringstream out;
  LogPrinter printer(out, options);
  for (const json& record : records) printer.line(record);
  printer.finish();
  return out.str();
}

TEST_CASE("a log: steps are marked, tails kept, control characters shown on a terminal") {
  const auto record = [](const char* at, const char* step, const char* stream, const char* text) {
    return json{{"at", at}, {"attempt", 1}, {"step", step}, {"stream", stream}, {"text", text}};
  };
  std::vector<json> records{
      record("2026-11-22T12:00:00.000Z", "agent", "event", "begin"),
      record("2026-11-22T12:00:01.000Z", "agent", "stdout", "one"),
      record("2026-11-22T12:00:02.000Z", "agent", "stdout", "two\x1b[31m!\x1b[0m\x1b[2J"),
      record("2026-11-22T12:00:02.000Z", "agent", "event",
             R"({"exit_code": 0, "reason": "", "started_ms": 1000, "ended_ms": 2500})"),
      record("2026-11-22T12:00:03.000Z", "verify:t", "stderr", "three"),
      record("2026-11-22T12:00:03.000Z", "verify:t", "event",
             R"({"exit_code": 143, "signal": 15, "reason": "timed_out"})"),
      record("2026-11-22T12:00:04.000Z", "", "note", "frozen")};
  LogOptions options;
  CHECK(printed(options, records) ==
        "--- agent begins\none\ntwo\x1b[31m!\x1b[0m\x1b[2J\n--- agent ended with exit 0 after "
        "1.5s\n--- verify:t\nthree\n"
        "--- verify:t ended by signal 15, timed_out\n--- note: frozen\n");
  CHECK(printed(
            options,
            {record("", "verify:t", "event",
                    R"({"exit_code": -1, "reason": "skipped", "started_ms": 5, "ended_ms": 5})"),
             record(
                 "", "agent", "event",
                 R"({"exit_code": -1, "reason": "timed_out", "started_ms": 5, "ended_ms": 6})")}) ==
        "--- verify:t skipped\n--- agent ended, timed_out after 1ms\n");
  options.timestamps = true;
  options.since = *parse_rfc3339("2026-11-22T12:00:04Z");
  CHECK(printed(options, records) == "2026-11-22T12:00:04.000Z --- note: frozen\n");
  LogOptions tail;
  tail.tail = 2;
  CHECK(printed(tail, records) == "--- verify:t ended by signal 15, timed_out\n--- note: frozen\n");
  LogOptions terminal;
  terminal.terminal = true;
  terminal.look = {80, false};
  CHECK(printed(terminal, {records[2]}) == "--- agent\ntwo\\x1b[31m!\\x1b[0m\\x1b[2J\n");
  terminal.look.colour = true;
  CHECK(printed(terminal, {records[2]}) ==
        "\x1b[1m--- agent\x1b[0m\x1b[0m\ntwo\x1b[31m!\x1b[0m\\x1b[2J\x1b[0m\n");
  records[1]["attempt"] = 2;
  CHECK(printed({}, {records[1]}) == "--- agent (attempt 2)\none\n");
}

}  // namespace
}  // namespace muster::cli
