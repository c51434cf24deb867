// One attempt in a real container: what comes out of it.
#include "tests/integration/sandbox_fixture.hpp"

#include <chrono>
#include <cstdio>

namespace muster::sandbox::test {

TEST_CASE("a change becomes one commit on the base, packed and checked") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("echo hello; sed -i s/one/uno/ a.txt; echo new > c.txt; echo noise > x.log");
  Sandboxes::add_step(spec, "verify:a", "grep -q uno a.txt");
  const auto report = sandboxes.run(spec);
  INFO(report.message);
  CHECK(brief(report) == "changed agent=0 verify:a=0");
  CHECK(report.base_sha == sandboxes.base());
  REQUIRE(report.diff);
  CHECK(report.diff->files == 2);
  CHECK(report.diff->insertions == 2);
  CHECK(report.diff->deletions == 1);
  CHECK(sandboxes.log == "hello\n");
  CHECK(report.peak_memory_bytes > 0);
  CHECK_FALSE(report.mirror_hit);

  const fs::path pack = pack_path(Places(sandboxes.host().config.paths, "0123456789ABC-1"));
  const fs::path repo = sandboxes.repository();
  shell("git index-pack --stdin --fix-thin < " + pack.string(), repo);
  CHECK(shell("git log -1 --format='%P %an <%ae> %cn %ct %T' " + report.head_sha, repo) ==
        report.base_sha + " Muster <muster@localhost> Muster 1790000000 " + report.tree_sha);
  CHECK(shell("git log -1 --format=%B " + report.head_sha, repo) ==
        "Do it\n\nMuster-Fleet: test\nMuster-Run: 0123456789ABC");
  CHECK(shell("git ls-tree -r " + report.head_sha + " | sed 's/ .*\\t/ /'", repo) ==
        "100644 .gitignore\n100644 a.txt\n100644 c.txt\n100644 lib/b.txt\n100755 run.sh");
  CHECK(shell("sha256sum < " + pack.string() + " | cut -d' ' -f1") == report.pack_digest);
  sandboxes.require_gone("0123456789ABC-1");

  SECTION("the next attempt finds the mirror warm and makes the same commit") {
    spec.attempt = 2;
    const auto again = sandboxes.run(spec);
    CHECK(again.mirror_hit);
    CHECK(again.head_sha == report.head_sha);
  }
}

// Not run by itself: prints where the time of a trivial attempt goes.
TEST_CASE("measure", "[.measure]") {
  Sandboxes sandboxes;
  for (unsigned attempt = 1; attempt <= 20; ++attempt) {
    auto spec = sandboxes.spec("echo $MUSTER_ATTEMPT > c.txt");
    Sandboxes::add_step(spec, "verify:a", "test -s c.txt");
    spec.attempt = attempt;
    const auto begin = std::chrono::steady_clock::now();
    const auto report = sandboxes.run(spec);
    const std::chrono::duration<double, std::milli> total = std::chrono::steady_clock::now() - begin;
    REQUIRE(report.steps.size() == 2);
    std::printf("total %.1f ms: fetch %ld, create %ld, agent to end of verify %ld, teardown %ld; cpu inside %ld\n",
                total.count(), report.fetch_ms, report.create_ms,
                report.steps[1]->ended_unix_ms - report.steps[0]->started_unix_ms, report.teardown_ms,
                report.cpu_ms);
  }
}

}  // namespace muster::sandbox::test
