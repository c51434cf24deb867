// Commands beside the step of a running sandbox: what they get, what bounds them, what ends them.
#include <signal.h>

#include "tests/integration/exec_fixture.hpp"
#include "tests/integration/sandbox_daemon.hpp"

namespace muster::sandbox::test {

TEST_CASE(
    "a command gets its words, variables, directory and input; its streams and exit code come "
    "back") {
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes);
  auto request = request_for(
      sandbox, "cat; pwd; echo $COLOUR $REPOSITORY $MUSTER_STEP; echo trouble >&2; exit 7");
  request.env = {{"COLOUR", "blue green"}};
  request.workdir = "lib";
  Command command(sandboxes, request);
  command.send("first\n", false);
  command.send("second\n", true);
  CHECK(command.end() == "7");
  CHECK(command.out == "first\nsecond\n/work/lib\nblue green acme/api exec\n");
  CHECK(command.err == "trouble\n");

  request.argv = {"/nowhere/at-all", "x"};
  Command missing(sandboxes, request);
  CHECK(missing.end() == "127");
  CHECK(missing.err == "muster: /nowhere/at-all: No such file or directory\n");
  request.workdir = "no-such-directory";
  Command lost(sandboxes, request);
  CHECK(lost.end() == "126");
  CHECK(lost.err == "muster: no-such-directory: No such file or directory\n");

  request = request_for(sandbox, "pwd; sed -n 's/^$/nothing/p'");
  Command empty(sandboxes, request);
  empty.send("", true);
  CHECK(empty.end() == "0");
  CHECK(empty.out == "/work\n");
  sandbox.finish();
  CHECK(brief(sandbox.report) == "unchanged agent=0");
}

TEST_CASE("a command is as confined as the step beside it") {
  const char* kFacts =
      "grep -E '^(Uid|Gid|Cap|NoNewPrivs|Seccomp:)' /proc/self/status; "
      "for n in pid mnt net ipc uts user cgroup; do readlink /proc/self/ns/$n; done; "
      "cat /proc/self/cgroup; ulimit -n; ulimit -c; ulimit -f; ls /proc/self/fd | wc -l; ";
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes, "(" + std::string(kFacts) + ") > $MUSTER_OUTPUT/facts; ");
  const auto facts = read_file(sandbox.output() / "facts");
  REQUIRE(facts);
  Command command(sandboxes, request_for(sandbox, kFacts));
  CHECK(command.end() == "0");
  CHECK(command.out == *facts);
  CHECK(command.out.find("CapBnd:\t0000000000000000") != std::string::npos);
}

TEST_CASE("a terminal: its size, its keys, its end") {
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes);
  auto request =
      request_for(sandbox, "tty; stty size; echo $TERM; read x; stty size; echo got $x; sleep 100");
  request.tty = true;
  request.columns = 101;
  request.rows = 31;
  Command command(sandboxes, request);
  command.wait([&] { return command.out.find("xterm\r\n") != std::string::npos; });
  CHECK(command.out.starts_with("/dev/pts/"));
  CHECK(command.out.find("\r\n31 101\r\n") != std::string::npos);
  command.exec().resize(80, 24);
  command.send("hello\r", false);
  command.wait([&] { return command.out.find("got hello") != std::string::npos; });
  CHECK(command.out.find("24 80") != std::string::npos);
  command.send("\x03", false);
  CHECK(command.end() == "130/2");
  CHECK(command.err.empty());
}

TEST_CASE("an end of input reaches a terminal, too") {
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes);
  auto request = request_for(sandbox, "stty -echo; echo ready; cat; echo over");
  request.tty = true;
  Command command(sandboxes, request);
  command.wait([&] { return command.out.find("ready") != std::string::npos; });
  command.send("words\r", true);
  CHECK(command.end() == "0");
  CHECK(command.out == "ready\r\nwords\r\nover\r\n");
}

TEST_CASE("a command's own limits") {
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes);
  SECTION("time") {
    auto request = request_for(sandbox, "sleep 100");
    request.timeout_ms = 200;
    Command command(sandboxes, request);
    CHECK(command.end() == "143/15 timed_out");
  }
  SECTION("time, of one that does not heed SIGTERM") {
    auto request = request_for(sandbox, "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    request.timeout_ms = 500;
    Command command(sandboxes, request);
    CHECK(command.end() == "137/9 timed_out");
  }
  SECTION("output") {
    auto request = request_for(sandbox, "yes");
    request.max_output_bytes = 100'000;
    Command command(sandboxes, request);
    CHECK(command.end() == "137/9 output_limit");
    CHECK(command.out.size() == 100'000);
  }
  SECTION("memory") {
    auto request =
        request_for(sandbox, "ulimit -v; python3 -c 'bytearray(300 << 20)' 2>/dev/null; echo $?");
    request.memory_bytes = 200u << 20;
    Command command(sandboxes, request);
    CHECK(command.end() == "0");
    CHECK(command.out == "204800\n1\n");
  }
  SECTION("processor time") {
    auto request = request_for(sandbox, "while :; do :; done");
    request.cpu_ms = 1000;
    Command command(sandboxes, request);
    CHECK(command.end() == "137/9");
  }
}

TEST_CASE("signals reach a command and what it started") {
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes);
  Command command(sandboxes, request_for(sandbox, "sleep 100 & echo started; wait"));
  command.wait([&] { return command.out == "started\n"; });
  command.exec().signal(SIGTERM);
  CHECK(command.end() == "143/15");
  Command look(sandboxes, request_for(sandbox, "pgrep -x sleep -a | grep -c 'sleep 100' || true"));
  CHECK(look.end() == "0");
  CHECK(look.out == "0\n");
}

TEST_CASE("output waits for credit, input for the command") {
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes);
  Command command(sandboxes,
                  request_for(sandbox, "head -c 1000000 /dev/zero; touch $MUSTER_OUTPUT/written"),
                  50'000, false);
  command.wait([&] { return command.out.size() >= 50'000; });
  CHECK(command.out.size() <= 50'000 + (16u << 10));  // what was read with the last credit
  CHECK_FALSE(fs::exists(sandbox.output() / "written"));
  for (int i = 0; i < 40; ++i) command.exec().credit(kExecWindow);
  CHECK(command.end() == "0");
  CHECK(command.out.size() == 1'000'000);

  Command deaf(sandboxes, request_for(sandbox, "sleep 100"));
  deaf.wait_started();
  const std::string window(kExecWindow, 'x');
  deaf.send(window, false);
  // What the pipe holds is granted again, and no more.
  deaf.wait([&] { return deaf.may_send > 0; });
  CHECK_FALSE(deaf.exec().input(std::string(2 * kExecWindow, 'x'), false));
  deaf.exec().end("enough");
  CHECK(deaf.end() == "137/9 enough");
}

TEST_CASE("many at once, each with its own bytes") {
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes);
  std::vector<std::unique_ptr<Command>> all;
  for (int i = 0; i < 8; ++i)
    all.push_back(std::make_unique<Command>(
        sandboxes, request_for(sandbox, "read x; for i in $(seq 1000); do echo $x; done; exit " +
                                            std::to_string(i))));
  for (int i = 0; i < 8; ++i)
    all[static_cast<std::size_t>(i)]->send("line " + std::to_string(i) + "\n", true);
  for (int i = 0; i < 8; ++i) {
    Command& command = *all[static_cast<std::size_t>(i)];
    CHECK(command.end() == std::to_string(i));
    std::string expected;
    for (int n = 0; n < 1000; ++n) expected += "line " + std::to_string(i) + "\n";
    CHECK(command.out == expected);
  }
}

TEST_CASE("a command ends with its sandbox's step, and nothing of it is left") {
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes);
  Command command(sandboxes, request_for(sandbox, "trap '' TERM HUP; echo here; sleep 1000"));
  command.wait([&] { return command.out == "here\n"; });
  sandbox.finish();
  CHECK(command.end() == "137/9");
  (void)sandboxes.host().ops.teardown(sandbox.id, false);
  sandboxes.require_gone(sandbox.id);
  Command late(sandboxes, request_for(sandbox, "true"));
  CHECK(late.end().ends_with("start_failed"));
}

TEST_CASE("secrets are not in a command's environment, and masked in what it prints") {
  Sandboxes sandboxes;
  const fs::path secrets = sandboxes.host().config.paths.secrets();
  fs::create_directories(secrets);
  std::ofstream(secrets / "MODEL_KEY") << "very-secret-words";
  fs::permissions(secrets / "MODEL_KEY", fs::perms(0600));
  WaitingSandbox sandbox(sandboxes, "",
                         [](wire::SandboxSpecT& spec) { spec.secrets = {"MODEL_KEY"}; });
  Command command(sandboxes,
                  request_for(sandbox,
                              "echo \"[$MODEL_KEY]\"; for p in /proc/[0-9]*; do tr '\\0' '\\n' < "
                              "$p/environ 2>/dev/null | grep ^MODEL_KEY; done; "
                              "printf very-; sleep 0.1; printf 'secret-'; sleep 0.1; echo words"));
  CHECK(command.end() == "0");
  CHECK(command.out.starts_with("[]\nMODEL_KEY=***\n"));
  CHECK(command.out.ends_with("\n***\n"));
  CHECK(command.out.find("secret") == std::string::npos);
}

// ---- the daemon, over the link ----

namespace {

/// What one command is told to be, over the link.
wire::ExecOpenT open_frame(std::uint64_t exec, const std::string& script) {
  wire::ExecOpenT open;
  open.exec = exec;
  open.argv = {"bash", "-c", script};
  return open;
}

std::string ends_of(FakeEngine& engine) {
  std::string text;
  for (const auto& [exec, end] : engine.exec_ends)
    text += std::to_string(exec) + ":" + std::to_string(end.exit_code) + ":" + end.reason + " ";
  return text;
}

}  // namespace

TEST_CASE(
    "over the link: opened, fed, read by credit, ended; refused where no step runs, and beyond the "
    "bound") {
  World world;
  world.engine.tell_exec(kId, open_frame(1, "true"));
  world.engine.wait([&] { return world.engine.exec_ends.contains(1); });
  CHECK(world.engine.exec_ends[1].reason == "not_running");
  world.engine.start(world.sandboxes.spec(kPause));
  world.wait_file(world.output(kId) / "here");
  world.engine.wait_story(kId, "accepted running");  // sandboxd, too, knows that a step runs
  CHECK(world.engine.max_execs == 16);

  world.engine.tell_exec(kId, open_frame(2, "read x; echo \"<$x>\""));
  world.engine.wait([&] { return world.engine.exec_credit[2] > 0; });
  wire::ExecInputT input;
  input.exec = 2;
  const std::string words = "over the link\n";
  input.bytes.assign(words.begin(), words.end());
  world.engine.tell_exec(kId, input);
  wire::ExecCreditT credit;
  credit.exec = 2;
  credit.bytes = 1000;
  world.engine.tell_exec(kId, credit);
  world.engine.wait([&] { return world.engine.exec_ends.contains(2); });
  CHECK(world.engine.exec_output[2] == "<over the link>\n");
  CHECK(world.engine.exec_ends[2].exit_code == 0);

  for (std::uint64_t exec = 10; exec < 27; ++exec)
    world.engine.tell_exec(kId, open_frame(exec, "sleep 1000"));
  world.engine.wait([&] { return world.engine.exec_ends.contains(26); });
  CHECK(world.engine.exec_ends[26].reason == "too_many");
  auto bad = open_frame(30, "true");
  bad.argv.clear();
  world.engine.tell_exec(kId, std::move(bad));
  world.engine.wait([&] { return world.engine.exec_ends.contains(30); });
  CHECK(world.engine.exec_ends[30].reason == "bad_command");

  world.touch(world.output(kId) / "go");
  CHECK(brief(world.engine.wait_report(kId)) == "unchanged agent=0");
  world.engine.wait([&] { return world.engine.exec_ends.size() == 20; });
  INFO(ends_of(world.engine));
  for (std::uint64_t exec = 10; exec < 26; ++exec)
    CHECK(world.engine.exec_ends[exec].exit_code != 0);
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  world.wait_forgotten(kId);
}

TEST_CASE("kill -9 of sandboxd ends its commands; the sandbox goes on, and takes new ones") {
  World world;
  world.engine.start(world.sandboxes.spec(kPause));
  world.wait_file(world.output(kId) / "here");
  world.engine.wait_story(kId, "accepted running");  // sandboxd, too, knows that a step runs
  world.engine.tell_exec(
      kId, open_frame(1, "trap '' HUP TERM; echo $$ > $MUSTER_OUTPUT/p; mv $MUSTER_OUTPUT/p $MUSTER_OUTPUT/pid; sleep 1000"));
  world.wait_file(world.output(kId) / "pid");
  world.daemon->kill_and_restart();
  world.engine.wait([&] { return world.engine.hellos == 2; });
  // Its parent has noticed: within the sandbox the number is nobody's.
  wire::ExecCreditT credit;
  credit.exec = 2;
  credit.bytes = 1000;
  world.engine.tell_exec(
      kId,
      open_frame(
          2, "p=$(cat $MUSTER_OUTPUT/pid); while [ -e /proc/$p ]; do sleep 0.02; done; echo gone"));
  world.engine.tell_exec(kId, credit);
  world.engine.wait([&] { return world.engine.exec_ends.contains(2); });
  CHECK(world.engine.exec_output[2] == "gone\n");
  CHECK_FALSE(world.engine.exec_ends.contains(1));
  world.touch(world.output(kId) / "go");
  CHECK(brief(world.engine.wait_report(kId)) == "unchanged agent=0");
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  world.wait_forgotten(kId);
}

TEST_CASE("the end of a session ends its commands") {
  World world;
  world.engine.start(world.sandboxes.spec(kPause));
  world.wait_file(world.output(kId) / "here");
  world.engine.wait_story(kId, "accepted running");  // sandboxd, too, knows that a step runs
  world.engine.tell_exec(kId, open_frame(1, "echo $$ > $MUSTER_OUTPUT/p; mv $MUSTER_OUTPUT/p $MUSTER_OUTPUT/pid; sleep 1000"));
  world.wait_file(world.output(kId) / "pid");
  world.engine.disconnect();
  world.engine.listen();
  world.engine.wait([&] { return world.engine.hellos == 2; });
  wire::ExecCreditT credit;
  credit.exec = 1;  // the same number: of another session
  credit.bytes = 1000;
  world.engine.tell_exec(
      kId,
      open_frame(
          1, "p=$(cat $MUSTER_OUTPUT/pid); while [ -e /proc/$p ]; do sleep 0.02; done; echo gone"));
  world.engine.tell_exec(kId, credit);
  world.engine.wait([&] { return world.engine.exec_ends.contains(1); });
  CHECK(world.engine.exec_output[1] == "gone\n");
  world.touch(world.output(kId) / "go");
  CHECK(brief(world.engine.wait_report(kId)) == "unchanged agent=0");
}

}  // namespace muster::sandbox::test
