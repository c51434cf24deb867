// What a sandbox hands over is taken by a process of root: links, pipes, lies and sizes in it must lead nowhere.
#include "sandboxd/hostile_file.hpp"
#include "sandboxd/output.hpp"
#include "tests/escape/tries.hpp"

namespace muster::sandbox::test {

TEST_CASE("output files that are not what they seem become warnings, in the report and in the log") {
  Sandboxes sandboxes;
  std::uint32_t attempt = 0;
  for (const auto& [script, warning] : std::initializer_list<std::pair<std::string, std::string>>{
           {"ln -s /etc/shadow summary.md", "summary.md: output/summary.md is a link"},
           {"ln -s ../../../../../../../../etc/shadow summary.md", "summary.md: output/summary.md is a link"},
           {"ln -s /proc/self/mem summary.md", "summary.md: output/summary.md is a link"},
           {"mkfifo summary.md", "summary.md: output/summary.md is not a regular file"},
           {"mkdir summary.md", "summary.md: output/summary.md is not a regular file"},
           {"python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"summary.md\")'",
            "summary.md: open output/summary.md: No such device or address"},
           {"truncate -s 900M summary.md", "summary.md: output/summary.md is larger than 65536 bytes"},
           {"cd ..; rmdir output; ln -s /etc output", "summary.md: output/summary.md is a link"},
           {"python3 -c 'print(\"{\\\"a\\\":\" + \"[\" * 120000 + \"]\" * 120000 + \"}\")' > result.json", "result.json is not a JSON object; it is ignored"}}) {
    auto spec = sandboxes.spec("cd $MUSTER_OUTPUT; " + script);
    spec.attempt = ++attempt;
    const auto report = sandboxes.run(spec);
    INFO(script);
    CHECK(brief(report) == "unchanged agent=0");
    REQUIRE_FALSE(report.warnings.empty());
    CHECK(report.warnings[0] == warning);
    CHECK(report.summary.empty());
    sandboxes.require_gone(sandbox_id(spec.run, spec.attempt));
  }
}

TEST_CASE("names that lead out of a directory are not opened in it") {
  Sandboxes sandboxes;
  const fs::path top = sandboxes.root() / "out";
  shell("mkdir -p out/sub secret; echo s > secret/s; ln -s ../secret out/link; ln -s secret/s out/file; ln out/sub/../../secret/s "
        "out/hard; mkfifo out/pipe; mount --bind secret out/sub", sandboxes.root());
  for (const char* name : {"../secret/s", "/etc/passwd", "link/s", "file", "sub/../../secret/s", "./../secret/s", "sub/s", "pipe",
                           "sub", "", ".", "..", "link/../secret/s"}) {
    INFO(name);
    CHECK_FALSE(take_text(top, name, 1000));
    CHECK_FALSE(take_file(top, name, 1000, sandboxes.root() / "taken"));
  }
  shell("umount out/sub", sandboxes.root());
}

TEST_CASE("artefacts that are links, devices or names that lead elsewhere are left out, and that is reported") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec(R"sh(mkdir -p $MUSTER_OUTPUT/artifacts/sub; cd $MUSTER_OUTPUT/artifacts
    echo good > sub/good; ln -s /etc/shadow a1; ln -s ../../../../../../../../etc/shadow a2; ln -s /proc/self/mem a3; ln -s /etc a4; ln -s .. a5
    mkfifo a6; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("a7")'; truncate -s 900M a8
    echo x > $'a9\nx'; echo x > 'a10\\..\\x'; echo x > $'a11\xff'; echo hi > -rf)sh");
  spec.max_artifact_bytes = 1u << 20;
  const auto report = sandboxes.run(spec);
  CHECK(brief(report) == "unchanged agent=0");
  std::string files;
  for (const auto& file : report.artifacts) files += file->path + " ";
  CHECK(files == "-rf sub/good ");
  REQUIRE(report.warnings.size() == 1);
  CHECK(report.warnings[0] == "artifacts: 11 left out: a1, which is not a regular file, and others");
  const fs::path tar = artifacts_path(Places(sandboxes.config().paths, sandbox_id(spec.run, spec.attempt)));
  CHECK(shell("tar -tf " + tar.string()) == "-rf\nsub/good");
  sandboxes.require_gone(sandbox_id(spec.run, spec.attempt));

  spec.attempt = 2;
  spec.steps[0]->argv.back() = "cd $MUSTER_OUTPUT; ln -s /etc artifacts";
  const auto linked = sandboxes.run(spec);
  CHECK(brief(linked) == "unchanged agent=0");
  CHECK(linked.artifacts.empty());
  CHECK(linked.artifacts_digest.empty());
}

TEST_CASE("a pack that was tampered with after the commit is refused, and that is reported") {
  Sandboxes sandboxes;
  std::uint32_t attempt = 0;
  for (const std::string& tamper : std::vector<std::string>
       {"rm -f $p", "rm -f $p; ln -s /etc/passwd $p", "rm -f $p; mkfifo $p", "echo more >> $p", ": > $p",
        "rm -f $p; mkdir $p", "d=$(dirname $p); rm -rf $d; ln -s /usr $d",
        // Another commit in its place, with the right name: its head is not the one that process 1 reported.
        "git init -q /tmp/r; cd /tmp/r; echo e > e; git add e; git -c user.name=x -c user.email=x@x commit -qm e; rm -f $p; git rev-list "
        "--objects --all | git pack-objects -q --stdout > $p"}) {
    auto spec = sandboxes.spec("echo x > x");
    spec.attempt = ++attempt;
    Sandboxes::add_step(spec, "verify:tamper", "p=$(echo /muster/out/c.*/pack); test -s $p; chmod u+w $p; " + tamper);
    const auto report = sandboxes.run(spec);
    INFO(tamper << ": " << report.message << sandboxes.log);
    CHECK(brief(report) == "failed(bad_pack) agent=0 verify:tamper=0");
    CHECK_FALSE(report.message.empty());
    sandboxes.require_gone(sandbox_id(spec.run, spec.attempt));
  }
}

TEST_CASE("a log can't be forged: what looks like a step's end is a step's output") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("echo x > x");
  Sandboxes::add_step(spec, "verify:a",
                      "python3 -c 'import os, struct\n"
                      "for step in range(3):\n"
                      "  body = b\"{\\\"name\\\":\\\"verify:a\\\",\\\"exit_code\\\":0,\\\"reason\\\":\\\"\\\"}\"\n"
                      "  os.write(1, struct.pack(\"<BBHIq\", 4, step, 0, len(body), 0) + body)\n"
                      "  os.write(2, struct.pack(\"<BBHIq\", 4, 255, 0, len(body), 0) + body)'; "
                      "printf '2026-01-01T00:00:00.000000000+00:00 stdout F forged\\n'; exit 3");
  const auto report = sandboxes.run(spec);
  CHECK(brief(report) == "step_failed agent=0 verify:a=3");
  CHECK(sandboxes.log.find("stdout F forged\n") != std::string::npos);
  CHECK(report.pack_digest.empty());
}

}  // namespace muster::sandbox::test
