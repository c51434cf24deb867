// Bombs: what one sandbox may take of the host ends at its limits, the report says which, and nothing stays behind.
#include <sys/sysinfo.h>

#include "tests/escape/tries.hpp"

namespace muster::sandbox::test {

namespace {

constexpr const char* kId = "0123456789ABC-1";

bool has_warning(const wire::AttemptReportT& report, const std::string& words) {
  return std::any_of(report.warnings.begin(), report.warnings.end(),
                     [&](const std::string& warning) { return warning.find(words) != std::string::npos; });
}

}  // namespace

TEST_CASE("a fork bomb stays within its processes, dies with its step, and is recorded") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("b() { b | b & }; b 2>/dev/null; for i in $(seq 200); do b 2>/dev/null; done; sleep 1000");
  spec.pids = 64;
  spec.steps[0]->timeout_ms = 1000;
  const auto report = sandboxes.run(spec);
  CHECK(report.outcome == wire::Outcome::step_failed);
  CHECK(has_warning(report, "it reached its limit of 64 processes "));
  sandboxes.require_gone(kId);
}

TEST_CASE("a memory bomb takes its own processes with it, and is recorded") {
  Sandboxes sandboxes;
  std::string bomb;
  SECTION("of one process") { bomb = "python3 -c 'x = []\nwhile True: x.append(bytearray(8 << 20))'"; }
  SECTION("in /dev/shm") { bomb = "for i in 1 2; do python3 -c 'x = bytearray(80 << 20)'; done"; }
  SECTION("of many processes") {
    bomb = "for i in $(seq 12); do python3 -c 'import time; x = bytearray(16 << 20); time.sleep(100)' & done; wait -n";
  }
  auto spec = sandboxes.spec(bomb);
  spec.memory_bytes = 64u << 20;
  const auto report = sandboxes.run(spec);
  REQUIRE(report.steps.size() == 1);
  CHECK(report.outcome == wire::Outcome::step_failed);
  CHECK(report.steps[0]->reason == "out_of_memory");
  CHECK(report.peak_memory_bytes <= spec.memory_bytes);
  sandboxes.require_gone(kId);
}

TEST_CASE("memory file systems, descriptors, file sizes and locked memory have their ends") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("exec python3 $MUSTER_PROMPT_FILE");
  spec.prompt = tries_in("exhaustion.py");
  spec.disk_bytes = 64u << 20;
  spec.memory_bytes = 256u << 20;
  const auto report = sandboxes.run(spec);
  INFO(sandboxes.log);
  CHECK(require_refused(sandboxes.log) == 5);
}

TEST_CASE("output without end ends at the log's limit, on disk too, and says so") {
  Sandboxes sandboxes;
  std::string flood;
  SECTION("in long lines") { flood = "yes $(seq -s, 300)"; }
  SECTION("in empty lines") { flood = "yes ''"; }
  SECTION("on stderr, by many processes that ignore signals") {
    flood = "trap '' TERM; for i in 1 2 3 4; do (trap '' TERM; yes flood >&2) & done; wait";
  }
  auto spec = sandboxes.spec(flood);
  spec.max_log_bytes = 4u << 20;
  Sandboxes::add_step(spec, "verify:never", "true");
  const auto report = sandboxes.run(spec);
  CHECK(brief(report) == "step_failed agent=137/log_limit");
  CHECK(report.log_bytes <= spec.max_log_bytes + 4096);
  const fs::path log = Places(sandboxes.host().config.paths, kId).log();
  CHECK(fs::file_size(log) <= spec.max_log_bytes + 4096);
  CHECK(shell("grep -ac 'the log has reached its limit' " + log.string()) == "1");
  sandboxes.require_gone(kId);
}

TEST_CASE("a sandbox that eats its processor leaves process 1 in charge") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("for i in $(seq 30); do (while :; do :; done) & done; renice -n 19 -p 1 2>/dev/null; "
                             "taskset -p 1 1 2>/dev/null; wait");
  spec.cpus_milli = 100;
  spec.steps[0]->timeout_ms = 1500;
  const auto report = sandboxes.run(spec);
  CHECK(brief(report) == "step_failed agent=143/timed_out");
  sandboxes.require_gone(kId);
}

TEST_CASE("a tree made to resist removal is removed") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec(
      "cd /tmp; python3 -c 'import os\nfor i in range(3000): os.mkdir(\"d\"); os.chdir(\"d\")'; "
      "cd /tmp; mkdir closed; touch closed/x; chmod 000 closed; ln -s / root; mkfifo pipe; touch -- '-rf' 'a b' \"$(printf 'n\\nl')\"; "
      "python3 -c 'import os\nfor i in range(20000): open(\"f%d\" % i, \"w\").close()'");
  CHECK(sandboxes.run(spec).outcome == wire::Outcome::unchanged);
  sandboxes.require_gone(kId);
}

}  // namespace muster::sandbox::test
