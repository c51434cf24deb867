// How attempts end that don't end well.
#include "tests/integration/sandbox_fixture.hpp"

namespace muster::sandbox::test {

namespace {
constexpr const char* kId = "0123456789ABC-1";
}

TEST_CASE("nothing changed is unchanged, and nothing is verified") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("touch ignored.log; cp a.txt b; rm b");
  Sandboxes::add_step(spec, "verify:never", "exit 1");
  CHECK(brief(sandboxes.run(spec)) == "unchanged agent=0");
  sandboxes.require_gone(kId);
}

TEST_CASE("a step that fails is the last one, with its last words") {
  Sandboxes sandboxes;
  SECTION("the agent") {
    auto spec = sandboxes.spec("seq 1 50; echo sorry >&2; exit 77");
    Sandboxes::add_step(spec, "verify:never", "exit 1");
    const auto report = sandboxes.run(spec);
    CHECK(brief(report) == "step_failed agent=77");
    CHECK(report.steps[0]->tail.ends_with("\n50\nsorry"));
    CHECK(report.steps[0]->tail.starts_with("32\n"));
  }
  SECTION("by a signal") {
    const auto report = sandboxes.run(sandboxes.spec("kill -SEGV $$"));
    CHECK(brief(report) == "step_failed agent=139");
    CHECK(report.steps[0]->signal == 11);
  }
  SECTION("a setup command") {
    auto spec = sandboxes.spec("echo never");
    Sandboxes::add_step(spec, "setup:1", "exit 4");
    std::swap(spec.steps[0], spec.steps[1]);
    CHECK(brief(sandboxes.run(spec)) == "step_failed setup:1=4");
    CHECK(sandboxes.log.empty());
  }
  SECTION("a verification; the others are not begun") {
    auto spec = sandboxes.spec("echo x > x");
    Sandboxes::add_step(spec, "verify:a", "true");
    Sandboxes::add_step(spec, "verify:b", "echo no; false");
    Sandboxes::add_step(spec, "verify:c", "true");
    const auto report = sandboxes.run(spec);
    CHECK(brief(report) == "step_failed agent=0 verify:a=0 verify:b=1");
    CHECK(report.steps[2]->tail == "no");
    CHECK(report.pack_digest.empty());
  }
  SECTION("a program that does not exist") {
    auto spec = sandboxes.spec("");
    spec.steps[0]->argv = {"no-such-agent"};
    const auto report = sandboxes.run(spec);
    CHECK(brief(report) == "step_failed agent=127");
    CHECK(report.steps[0]->tail == "muster: can't run no-such-agent: No such file or directory");
  }
  sandboxes.require_gone(kId);
}

TEST_CASE("a verification applies only where its file is") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("echo x > x");
  Sandboxes::add_step(spec, "verify:npm", "exit 1").if_exists = "package.json";
  SECTION("some other applies") {
    Sandboxes::add_step(spec, "verify:lib", "true").if_exists = "lib/b.txt";
    CHECK(brief(sandboxes.run(spec)) == "changed agent=0 verify:npm=-1/skipped verify:lib=0");
  }
  SECTION("none does, and one must") {
    spec.verify_required = true;
    CHECK(brief(sandboxes.run(spec)) == "step_failed(none_applied) agent=0 verify:npm=-1/skipped");
  }
}

TEST_CASE("a step that takes too long, or says nothing for too long, is ended") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("echo begun; sleep 1000");
  SECTION("timeout") {
    spec.steps[0]->timeout_ms = 300;
    CHECK(brief(sandboxes.run(spec)) == "step_failed agent=143/timed_out");
    CHECK(sandboxes.log == "begun\n");
  }
  SECTION("idle") {
    spec.steps[0]->idle_timeout_ms = 300;
    CHECK(brief(sandboxes.run(spec)) == "step_failed agent=143/idle");
  }
  SECTION("one that catches SIGTERM may tidy up") {
    spec = sandboxes.spec("trap 'echo tidy; exit 0' TERM; echo begun; sleep 1000 & wait");
    spec.steps[0]->timeout_ms = 300;
    CHECK(brief(sandboxes.run(spec)) == "step_failed agent=0/timed_out");
    CHECK(sandboxes.log == "begun\ntidy\n");
  }
  sandboxes.require_gone(kId);
}

TEST_CASE("too much memory is told apart from other failures") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("head -c 400M /dev/zero | tail");  // of one line: tail keeps all of it
  spec.memory_bytes = 128u << 20;
  const auto report = sandboxes.run(spec);
  CHECK(brief(report) == "step_failed agent=137/out_of_memory");
  CHECK(report.peak_memory_bytes <= spec.memory_bytes);
  CHECK(report.peak_memory_bytes > spec.memory_bytes / 2);
  sandboxes.require_gone(kId);
}

TEST_CASE("what the agent leaves running is dead before the commit") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("echo x > x; (setsid sh -c 'while :; do echo late >> x; done' &) ; sleep 0.1");
  Sandboxes::add_step(spec, "verify:quiet", "a=$(wc -c < x); sleep 0.2; test $a = $(wc -c < x); test $(ls /proc | grep -c '^[0-9]') -le 6");
  CHECK(brief(sandboxes.run(spec)) == "changed agent=0 verify:quiet=0");
}

TEST_CASE("a change of the same size in the second of the checkout is seen") {
  Sandboxes sandboxes;
  for (std::uint32_t attempt = 1; attempt <= 5; ++attempt) {
    auto spec = sandboxes.spec("printf 'uno\\n' | dd of=a.txt conv=notrunc status=none");
    spec.attempt = attempt;
    CHECK(brief(sandboxes.run(spec)) == "changed agent=0");
  }
}

TEST_CASE("the agent's own commits are squashed, or kept") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("echo 1 > one; git add .; git commit -qm own; git checkout -q -b other; "
                             "echo 2 > two; git add .; git commit -qm two; echo 3 > three");
  const auto commits = [&](const wire::AttemptReportT& report) {
    shell("git index-pack --stdin --fix-thin < " +
              pack_path(Places(sandboxes.host().config.paths, kId)).string(),
          sandboxes.repository());
    return shell("git log --format=%s " + report.base_sha + ".." + report.head_sha +
                     "; git ls-tree --name-only " + report.head_sha + " | xargs",
                 sandboxes.repository());
  };
  SECTION("squashed") {
    const auto report = sandboxes.run(spec);
    REQUIRE(brief(report) == "changed agent=0");
    CHECK(commits(report) == "Do it\n.gitignore a.txt lib one run.sh three two");
  }
  SECTION("kept") {
    spec.commit->manual = true;
    const auto report = sandboxes.run(spec);
    INFO(report.message);
    REQUIRE(brief(report) == "changed agent=0");
    CHECK(commits(report) == "Do it\ntwo\nown\n.gitignore a.txt lib one run.sh three two");
    CHECK(report.diff->files == 3);
  }
  SECTION("kept, when they are all there is") {
    spec.commit->manual = true;
    spec.steps[0]->argv.back() = "echo 1 > one; git add .; git commit -qm own";
    const auto report = sandboxes.run(spec);
    REQUIRE(brief(report) == "changed agent=0");
    CHECK(commits(report) == "own\n.gitignore a.txt lib one run.sh");
  }
  SECTION("kept ones that don't descend from the base are refused") {
    spec.commit->manual = true;
    spec.steps[0]->argv.back() = "git checkout -q --orphan new; git commit -qm rootless";
    CHECK(brief(sandboxes.run(spec)) == "failed(bad_pack) agent=0");
  }
}

TEST_CASE("a commit that is larger than its limit is refused") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("head -c 3000000 /dev/urandom > big");
  spec.max_pack_bytes = 1u << 20;
  CHECK(brief(sandboxes.run(spec)) == "failed(pack_too_large) agent=0");
  sandboxes.require_gone(kId);
}

TEST_CASE("what can't be fetched says so") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("true");
  SECTION("no repository") {
    spec.url = (sandboxes.root() / "nothing.git").string();
    CHECK(brief(sandboxes.run(spec)) == "failed(fetch_failed)");
  }
  SECTION("no branch") {
    spec.base_branch = "nope";
    const auto report = sandboxes.run(spec);
    CHECK(brief(report) == "failed(base_missing)");
    CHECK(report.message.ends_with("acme/api.git has no branch nope"));
  }
  SECTION("no secret") {
    spec.secrets = {"MODEL_KEY"};
    CHECK(brief(sandboxes.run(spec)) == "failed(no_secret)");
  }
  sandboxes.require_gone(kId);
}

TEST_CASE("a repository that has more than plain object files is fetched by git") {
  Sandboxes sandboxes;
  const fs::path repository = sandboxes.root() / "borrowing.git";
  shell("git clone -q --bare --shared " + sandboxes.repository().string() + " " + repository.string());
  auto spec = sandboxes.spec("echo x > x");
  spec.url = repository.string();
  CHECK(brief(sandboxes.run(spec)) == "changed agent=0");
}

TEST_CASE("what is in MUSTER_OUTPUT comes back when it is valid") {
  Sandboxes sandboxes;
  SECTION("valid") {
    const auto report = sandboxes.run(sandboxes.spec(
        "echo '# Done' > $MUSTER_OUTPUT/summary.md; echo '{\"title\": \"T\", \"usage\": {\"cost_usd\": 0.5}}' "
        "> $MUSTER_OUTPUT/result.json"));
    CHECK(report.summary == "# Done\n");
    CHECK(report.result_json == R"({"title":"T","usage":{"cost_usd":0.5}})");
    CHECK(report.warnings.empty());
  }
  SECTION("not: a warning, also in the log") {
    const auto report = sandboxes.run(sandboxes.spec(
        "ln -s /etc/passwd $MUSTER_OUTPUT/summary.md; echo '[1]' > $MUSTER_OUTPUT/result.json"));
    CHECK(report.summary.empty());
    CHECK(report.result_json.empty());
    CHECK(report.warnings == std::vector<std::string>{"summary.md: output/summary.md is a link",
                                                      "result.json is not a JSON object; it is ignored"});
  }
}

}  // namespace muster::sandbox::test
