// Work in progress: kept while the agent runs, handed over whatever becomes of it, and where the next attempt begins.
#include "tests/integration/sandbox_daemon.hpp"

namespace muster::sandbox::test {

namespace {

constexpr const char* kNext = "0123456789ABC-2";
/// New, changed, removed, ignored, executable.
constexpr const char* kWork =
    "echo wip > wip.txt; echo more >> lib/b.txt; rm a.txt; echo no > x.log; echo '#!/bin/sh' > tool; chmod +x tool; ";

wire::SandboxSpecT working(World& world, const std::string& script) {
  auto spec = world.sandboxes.spec(script);
  spec.checkpoint_interval_ms = 1'000;
  return spec;
}

/// Puts it into the repository, and says what is in it.
std::string tree_of(World& world, const wire::CheckpointT& checkpoint) {
  const std::string& bytes = world.engine.packs[checkpoint.digest];
  CHECK(bytes.size() == checkpoint.bytes);
  CHECK(sha256_hex(bytes) == checkpoint.digest);
  const fs::path file = world.sandboxes.root() / "checkpoint.pack";
  std::ofstream(file, std::ios::binary) << bytes;
  const fs::path to = world.sandboxes.repository();
  shell("git index-pack --stdin --fix-thin < " + file.string() + " > /dev/null", to);
  CHECK(shell("git rev-parse " + checkpoint.commit + "^", to) == checkpoint.base);
  return shell("git ls-tree -r --name-only " + checkpoint.commit + " | xargs", to);
}

wire::CheckpointT wait_checkpoint(World& world, const std::string& id) {
  world.engine.wait([&] { return !world.engine.checkpoints[id].empty(); });
  return world.engine.checkpoints[id].back();
}

/// The next attempt, with that checkpoint.
wire::SandboxSpecT resuming(World& world, const wire::CheckpointT& from, const std::string& script) {
  auto spec = world.sandboxes.spec(script);
  spec.attempt = 2;
  spec.resume = std::make_unique<wire::CheckpointT>(from);
  world.engine.send_blob(from.digest, world.engine.packs[from.digest]);
  return spec;
}

}  // namespace

TEST_CASE("work in progress comes while the agent goes on, and the next attempt begins with it") {
  World world;
  auto spec = working(world, std::string(kWork) + kPause + "git status --porcelain | xargs; git diff --cached --quiet; exit 3");
  world.engine.start(spec);
  const auto kept = wait_checkpoint(world, kId);
  CHECK(kept.base == world.sandboxes.base());
  CHECK(tree_of(world, kept) == ".gitignore lib/b.txt run.sh tool wip.txt");
  world.touch(world.output(kId) / "go");
  const auto report = world.engine.wait_report(kId);
  CHECK(brief(report) == "step_failed agent=3");
  REQUIRE(report->checkpoint);
  CHECK(tree_of(world, *report->checkpoint) == ".gitignore lib/b.txt run.sh tool wip.txt");
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  // Neither its index nor its branch was touched.
  CHECK(world.engine.log_text(kId).ends_with("after\nD a.txt M lib/b.txt ?? tool ?? wip.txt\n"));
  world.wait_forgotten(kId);

  {
    // The branch has moved on meanwhile: the work goes on where it began.
    const std::string base = world.sandboxes.base();
    shell("git clone -q . ../moved && cd ../moved && echo later > later.txt && git add . && git commit -qm later && git push -q",
          world.sandboxes.repository());
    REQUIRE(world.sandboxes.base() != base);
    auto next = resuming(world, *report->checkpoint,
                         "git status --porcelain | xargs; cat wip.txt lib/b.txt; ./tool; test ! -e x.log; test ! -e later.txt; "
                         "git show $MUSTER_CHECKPOINT:wip.txt; git rev-parse HEAD refs/muster/checkpoint; echo $MUSTER_CHECKPOINT; "
                         "echo done > done.txt");
    world.engine.start(next);
    const auto second = world.engine.wait_report(kNext);
    CHECK(brief(second) == "changed agent=0");
    CHECK(second->resumed == report->checkpoint->commit);
    CHECK(second->base_sha == base);
    CHECK_FALSE(second->checkpoint);
    world.engine.wait([&] { return world.engine.complete_logs.contains(kNext); });
    CHECK(world.engine.log_text(kNext) == "D a.txt M lib/b.txt ?? tool ?? wip.txt\nwip\ntwo\nmore\nwip\n" + base + "\n" +
                                              report->checkpoint->commit + "\n" + report->checkpoint->commit + "\n");
    wire::CheckpointT made;
    made.commit = second->head_sha;
    made.base = base;
    made.digest = second->pack_digest;
    made.bytes = second->pack_bytes;
    CHECK(tree_of(world, made) == ".gitignore done.txt lib/b.txt run.sh tool wip.txt");
    world.wait_forgotten(kNext);
    CHECK_FALSE(world.sandboxes.host().blobs.has(report->checkpoint->digest));
  }
}

TEST_CASE("an attempt that is stopped hands its work over; so does one whose verification fails, as it was verified") {
  World world;
  SECTION("stopped") {
    world.engine.start(working(world, "sleep 0.1; " + std::string(kWork) + kPause));
    world.wait_file(world.output(kId) / "here");
    world.engine.stop("0123456789ABC", 1, 10'000);
    const auto report = world.engine.wait_report(kId);
    CHECK(report->outcome == wire::Outcome::cancelled);
    REQUIRE(report->checkpoint);
    CHECK(tree_of(world, *report->checkpoint) == ".gitignore lib/b.txt run.sh tool wip.txt");
  }
  SECTION("verified, and refused") {
    auto spec = working(world, kWork);
    Sandboxes::add_step(spec, "verify:a", "echo left > left.txt; exit 1");
    world.engine.start(spec);
    const auto report = world.engine.wait_report(kId);
    CHECK(brief(report) == "step_failed agent=0 verify:a=1");
    REQUIRE(report->checkpoint);
    CHECK(tree_of(world, *report->checkpoint) == ".gitignore lib/b.txt run.sh tool wip.txt");
  }
  SECTION("out of time") {
    auto spec = working(world, std::string(kWork) + "sleep 1000");
    spec.steps.front()->timeout_ms = 300;
    world.engine.start(spec);
    const auto report = world.engine.wait_report(kId);
    CHECK(brief(report) == "step_failed agent=143/timed_out");
    REQUIRE(report->checkpoint);
    CHECK(tree_of(world, *report->checkpoint) == ".gitignore lib/b.txt run.sh tool wip.txt");
  }
  SECTION("without a change there is nothing to keep, and without the wish nothing is kept") {
    world.engine.start(working(world, "exit 3"));
    CHECK_FALSE(world.engine.wait_report(kId)->checkpoint);
    auto spec = world.sandboxes.spec(std::string(kWork) + "exit 3");
    spec.attempt = 2;
    world.engine.start(spec);
    CHECK_FALSE(world.engine.wait_report(kNext)->checkpoint);
  }
}

TEST_CASE("kill -9 of sandboxd: a checkpoint that the engine does not have comes again, and newer ones follow") {
  World world;
  world.engine.acknowledge(false, true);
  world.engine.start(working(world, std::string(kWork) + kPause + "echo second > second.txt; until [ -e $MUSTER_OUTPUT/end ]; do sleep 0.02; done"));
  const auto first = wait_checkpoint(world, kId);
  world.daemon->kill_and_restart();
  world.engine.wait([&] { return world.engine.checkpoints[kId].size() >= 2; });
  CHECK(world.engine.checkpoints[kId].back().digest == first.digest);
  CHECK(tree_of(world, world.engine.checkpoints[kId].back()) == ".gitignore lib/b.txt run.sh tool wip.txt");
  world.engine.acknowledge(true, true);
  world.daemon->kill_and_restart();
  world.touch(world.output(kId) / "go");
  world.engine.wait([&] { return world.engine.checkpoints[kId].back().commit != first.commit; });
  CHECK(tree_of(world, world.engine.checkpoints[kId].back()) == ".gitignore lib/b.txt run.sh second.txt tool wip.txt");
  world.touch(world.output(kId) / "end");
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  world.wait_forgotten(kId);
}

TEST_CASE("a checkpoint that is of no use costs the work in it, not the attempt") {
  World world;
  world.engine.start(working(world, std::string(kWork) + "exit 3"));
  const auto report = world.engine.wait_report(kId);
  REQUIRE(report->checkpoint);
  wire::CheckpointT kept = *report->checkpoint;
  std::string why;
  SECTION("its base is in no repository any more") {
    kept.base = std::string(40, 'a');
    why = "its checkpoint is of no use";
  }
  SECTION("it is another commit than it says") {
    kept.commit = std::string(40, 'b');
    why = "its checkpoint is of no use";
  }
  world.engine.start(resuming(world, kept, "test ! -e wip.txt; test -e a.txt; test -z \"${MUSTER_CHECKPOINT-}\"; echo x > new.txt"));
  const auto second = world.engine.wait_report(kNext);
  CHECK(brief(second) == "changed agent=0");
  CHECK(second->resumed.empty());
  REQUIRE(second->warnings.size() == 1);
  CHECK(second->warnings[0].find(why) != std::string::npos);
}

TEST_CASE("an agent that spoils its checkpoints spoils nothing else; nothing of its repository runs for them") {
  World world;
  world.engine.start(working(
      world,
      "mkdir -p .git/hooks; for h in pre-commit post-commit post-index-change; do printf '#!/bin/sh\\ntouch $MUSTER_OUTPUT/ran\\n' > "
      ".git/hooks/$h; chmod +x .git/hooks/$h; done; git config filter.f.clean 'touch $MUSTER_OUTPUT/ran; cat'; "
      "git config core.fsmonitor 'touch $MUSTER_OUTPUT/ran'; echo '* filter=f' > .gitattributes; " +
          std::string(kWork) +
          "until ls /muster/out/k.*/pack-1 2>/dev/null; do sleep 0.02; done; test ! -e $MUSTER_OUTPUT/ran; "
          // Both may meet a checkpoint that comes or goes meanwhile.
          "for n in $(seq 60); do for f in /muster/out/k.*/*; do { [ -f $f ] && echo garbage > $f; } || true; done; sleep 0.05; done; "
          "until rm -rf /muster/out/k.*; do :; done; ln -s /etc /muster/out/k.link; exit 3"));
  const auto report = world.engine.wait_report(kId);
  CHECK(brief(report) == "step_failed agent=3");
  for (const auto& checkpoint : world.engine.checkpoints[kId])
    CHECK(tree_of(world, checkpoint) == ".gitattributes .gitignore lib/b.txt run.sh tool wip.txt");
  world.wait_forgotten(kId);
}

}  // namespace muster::sandbox::test
