// What a sandbox sees of the host, and what a hostile agent gets from trying.
#include <sys/stat.h>

#include "tests/integration/sandbox_fixture.hpp"

namespace muster::sandbox::test {

namespace {

/// What the agent printed; the step must have passed.
std::string printed(Sandboxes& sandboxes, const std::string& script) {
  auto spec = sandboxes.spec(script);
  static std::uint32_t attempt = 0;
  spec.attempt = ++attempt;
  const auto report = sandboxes.run(spec);
  INFO(sandboxes.log);
  INFO(report.message);
  REQUIRE(report.steps.size() == 1);
  CHECK(report.steps[0]->exit_code == 0);
  return sandboxes.log;
}

}  // namespace

TEST_CASE("nothing of the host is to be seen but its toolchain") {
  Sandboxes sandboxes;
  const auto if_here = [](const std::string& directory, const std::string& name) {
    return fs::exists(directory + name) ? name + " " : "";
  };
  CHECK(printed(sandboxes, "ls -A / | tr '\\n' ' '; echo; ls -A /root /home /mnt /var /run; ls /etc/shadow 2>&1 || true; "
                           "find /etc -maxdepth 1 -type f | sort | xargs -n1 basename | tr '\\n' ' '") ==
        "bin dev etc home lib " + if_here("/", "lib32") + "lib64 " + if_here("/", "libx32") +
            "mnt muster opt proc repositories root run sbin sys tmp usr var work \n"
            "/home:\nagent\n\n/mnt:\n\n/root:\n\n/run:\n\n/var:\ntmp\n"
            "ls: cannot access '/etc/shadow': No such file or directory\n"
            "ca-certificates.conf group hostname hosts ld.so.cache " + if_here("/etc/", "mime.types") +
            "nsswitch.conf passwd protocols resolv.conf services ");
}

TEST_CASE("no privilege, no network, own namespaces, own user ids") {
  Sandboxes sandboxes;
  CHECK(printed(sandboxes, "id -u; id -un; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr '\\t' ' '; "
                           "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; hostname; ls -ld . | cut -d' ' -f3; "
                           "cat /proc/self/uid_map | tr -s ' '") ==
        "1000\nagent\nCapInh: 0000000000000000\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\n"
        "CapBnd: 0000000000000000\nCapAmb: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2\nlo\nmuster\nagent\n"
        " 0 1073741824 65536\n");
}

TEST_CASE("the environment is the contract's and nothing else") {
  Sandboxes sandboxes;
  const fs::path secrets = sandboxes.host().config.paths.secrets();
  fs::create_directories(secrets);
  shell("printf 's3cret\\n' > KEY && chmod 0600 KEY", secrets);
  auto spec = sandboxes.spec("env | grep -vE '^(_|SHLVL|PWD|MUSTER_DEADLINE)=' | sort; cat $MUSTER_PROMPT_FILE; "
                             "date -d $MUSTER_DEADLINE +ok; cat $MUSTER_FEEDBACK_FILE");
  spec.attempt = 2;
  spec.feedback_json = "{\"class\":\"agent\"}";
  spec.secrets = {"KEY"};
  spec.dry_run = true;
  spec.env.push_back(std::make_unique<wire::KeyValueT>());
  spec.env[0]->key = "CI";
  spec.env[0]->value = "true";
  const auto report = sandboxes.run(spec);
  CHECK(brief(report) == "unchanged agent=0");
  CHECK(sandboxes.log ==
        "CI=true\nDRY_RUN=true\nHOME=/home/agent\nKEY=***\nLANG=C.UTF-8\nLOGNAME=agent\nMUSTER_ATTEMPT=2\n"
        "MUSTER_BASE_BRANCH=main\nMUSTER_BASE_SHA=" + report.base_sha +
            "\nMUSTER_BRANCH=muster/test\nMUSTER_CONTEXT_FILE=/muster/in/context.json\n"
            "MUSTER_FEEDBACK_FILE=/muster/in/feedback.json\nMUSTER_FLEET=test\nMUSTER_OUTPUT=/muster/out/output\n"
            "MUSTER_PROMPT_FILE=/muster/in/prompt.txt\nMUSTER_RUN_ID=0123456789ABC\n"
            "MUSTER_STEER_FILE=/muster/in/steering.jsonl\nMUSTER_STEP=agent\n"
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nREPOSITORY=acme/api\n"
            "TMPDIR=/tmp\nUSER=agent\ndo itok\n{\"class\":\"agent\"}");
  SECTION("a secret that others may read is refused") {
    shell("chmod 0644 KEY", secrets);
    spec.attempt = 3;
    const auto refused = sandboxes.run(spec);
    CHECK(brief(refused) == "failed(no_secret)");
    CHECK(refused.message == "secret KEY is refused: chmod 0600 and chown root its file");
  }
}

TEST_CASE("secrets reach the agent, and neither the log, nor what conmon keeps of it, nor the report") {
  Sandboxes sandboxes;
  const std::string key = "tok-9f8e7d6c5b4a", pem = "-----BEGIN-----\nMIIBVgIBADANBgkq\n-----END-----";
  const fs::path secrets = sandboxes.host().config.paths.secrets();
  fs::create_directories(secrets);
  std::ofstream(secrets / "KEY") << key << "\n";
  std::ofstream(secrets / "PEM") << pem << "\n";
  shell("chmod 0600 KEY PEM", secrets);
  auto spec = sandboxes.spec(
      "test \"$KEY\" = " + key + "; test \"$(echo \"$PEM\" | sed -n 2p)\" = MIIBVgIBADANBgkq; "
      "echo \"key $KEY\"; echo \"on stderr $KEY\" >&2; printf '%s' \"${KEY:0:7}\"; sleep 0.1; printf '%s\\n' \"${KEY:7}\"; "
      "echo \"$PEM\" | sed 's/^/| /'; (yes \"$KEY\" || true) | head -c 1000000; "
      "echo \"use $KEY\" > $MUSTER_OUTPUT/summary.md; printf '{\"title\":\"%s\",\"labels\":[\"%s\"]}' \"$KEY\" \"x$KEY\" "
      "> $MUSTER_OUTPUT/result.json; echo; echo \"the end $KEY\"; exit 3");
  spec.secrets = {"KEY", "PEM"};
  const auto report = sandboxes.run(spec);
  CHECK(brief(report) == "step_failed agent=3");
  CHECK(sandboxes.log.find("key ***\n") != std::string::npos);
  CHECK(sandboxes.log.find("on stderr ***\n") != std::string::npos);
  CHECK(sandboxes.log.find("\n***\n| ***\n| ***\n| ***\n***\n***\n") != std::string::npos);
  CHECK(report.steps[0]->tail.ends_with("the end ***"));
  CHECK(report.summary == "use ***\n");
  CHECK(report.result_json == R"({"labels":["x***"],"title":"***"})");
  const auto kept = read_file(Places(sandboxes.host().config.paths, "0123456789ABC-1").log(), 16u << 20);
  REQUIRE(kept);
  for (const std::string& secret : {key, std::string("MIIBVgIBADANBgkq"), std::string("-----BEGIN-----")}) {
    CHECK(sandboxes.log.find(secret) == std::string::npos);
    CHECK(kept->find(secret) == std::string::npos);
  }
}

TEST_CASE("the workspace is a normal clone on its branch, without a credential") {
  Sandboxes sandboxes;
  CHECK(printed(sandboxes, "pwd; git status -sb; git log --format='%s %an' ; git remote -v | cut -f1 | sort -u; "
                           "git fsck; git config --list --show-origin | grep -ci credential || true") ==
        "/work\n## muster/test\nfirst Test\norigin\n0\n");
}

TEST_CASE("process 1 can't be ended or stopped from inside") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("kill -TERM 1; kill -KILL 1; kill -STOP 1; kill -CHLD 1; sleep 0.2; echo x > x");
  CHECK(brief(sandboxes.run(spec)) == "changed agent=0");
}

TEST_CASE("git of a hostile workspace runs nowhere: not on the host, not in the commit") {
  Sandboxes sandboxes;
  const fs::path marker = sandboxes.root() / "host-marker";
  const std::string evil = "sh -c \"touch " + marker.string() + " $MUSTER_OUTPUT/ran\"";
  auto spec = sandboxes.spec(
      "evil='#!/bin/sh\ntouch " + marker.string() + " /muster/out/output/ran; cat'; "
      "printf '%s' \"$evil\" > /tmp/evil; chmod +x /tmp/evil; "
      "for h in pre-commit post-commit post-index-change prepare-commit-msg; do cp /tmp/evil .git/hooks/$h 2>/dev/null || "
      "{ mkdir -p .git/hooks; cp /tmp/evil .git/hooks/$h; }; done; "
      "git config core.fsmonitor /tmp/evil; git config core.hooksPath /tmp; git config core.editor /tmp/evil; "
      "git config filter.evil.clean /tmp/evil; git config filter.evil.smudge /tmp/evil; "
      "git config filter.evil.required true; git config commit.gpgSign true; git config gpg.program /tmp/evil; "
      "echo '* filter=evil diff=evil' > .gitattributes; rm -rf $MUSTER_OUTPUT/ran; echo changed > a.txt; "
      "git update-index --skip-worktree a.txt 2>/dev/null || true; rm -rf $MUSTER_OUTPUT/ran");
  Sandboxes::add_step(spec, "verify:nothing-ran", "test ! -e $MUSTER_OUTPUT/ran");
  const auto report = sandboxes.run(spec);
  INFO(sandboxes.log);
  INFO(report.message);
  CHECK(brief(report) == "changed agent=0 verify:nothing-ran=0");
  CHECK_FALSE(fs::exists(marker));
  shell("git index-pack --stdin --fix-thin < " +
            pack_path(Places(sandboxes.host().config.paths, "0123456789ABC-1")).string(),
        sandboxes.repository());
  CHECK(shell("git show " + report.head_sha + ":a.txt", sandboxes.repository()) == "changed");
}

TEST_CASE("two sandboxes share no user id and no file") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("cat /proc/self/uid_map");
  const auto started = [&](std::uint32_t attempt, unsigned slot) {
    spec.attempt = attempt;
    auto fetched = fetch_attempt(sandboxes.host(), spec);
    REQUIRE(fetched);
    const auto made = create_attempt(sandboxes.host(), spec, *fetched, slot);
    REQUIRE(made);
    struct stat info{};
    REQUIRE(::stat(Places(sandboxes.host().config.paths, sandbox_id(spec.run, attempt)).work().c_str(),
                   &info) == 0);
    CHECK((info.st_mode & 077) == 0);
    return info.st_uid;
  };
  CHECK(started(1, 0) + kUidRange == started(2, 1));
}

TEST_CASE("a directory is an image, and a tar of one") {
  Sandboxes sandboxes;
  shell("mkdir -p images; cd images; mkdir -p img/etc && for f in $(for p in bash git; do which $p; ldd $(which $p) | grep -o '/[^ ]*'; done | sort -u); "
        "do cp --parents -L $f img; done && echo mine > img/etc/marker && tar -C img -cf img.tar . ",
        sandboxes.root());
  auto spec = sandboxes.spec("echo x > x; read m < /etc/marker; test $m = mine; test ! -e /usr/bin/python3");
  for (const std::string& image : {"dir:" + (sandboxes.root() / "images/img").string(),
                                  "tar:" + (sandboxes.root() / "images/img.tar").string()}) {
    spec.image = image;
    spec.attempt += 1;
    const auto report = sandboxes.run(spec);
    INFO(report.message);
    CHECK(brief(report) == "changed agent=0");
    sandboxes.require_gone(sandbox_id(spec.run, spec.attempt));
  }
}

TEST_CASE("an OCI image, as a layout and as an archive, is unpacked once, by its digest") {
  Sandboxes sandboxes;
  shell("mkdir -p images/img; cd images; for f in $(for p in bash git cat; do which $p; ldd $(which $p) | grep -o '/[^ ]*'; done | "
        "sort -u); do cp --parents -L $f img; done; "
        "umoci init --layout oci; umoci new --image oci:one; umoci insert --rootless --image oci:one img / 2>/dev/null; "
        "echo 1 > m; umoci insert --rootless --image oci:one m /etc/marker 2>/dev/null; "
        "umoci config --image oci:one --config.env FROM_IMAGE=yes --config.env HOME=/nowhere --config.workingdir /proc/self/fd/7; "
        "umoci tag --image oci:one two; echo 2 > m; umoci insert --rootless --image oci:two m /etc/marker 2>/dev/null; "
        "skopeo --insecure-policy copy -q oci:oci:two oci-archive:two.tar:two",
        sandboxes.root());
  const std::string images = (sandboxes.root() / "images").string();
  const auto run = [&](const std::string& image, const std::string& script) {
    auto spec = sandboxes.spec(script);
    static std::uint32_t attempt = 0;
    spec.attempt = ++attempt;
    spec.image = image;
    const auto report = sandboxes.run(spec);
    INFO(report.message);
    sandboxes.require_gone(sandbox_id(spec.run, spec.attempt));
    return brief(report) + ": " + (report.message.empty() ? sandboxes.log : report.message);
  };
  const std::string show = "cat /etc/marker; echo $FROM_IMAGE $HOME $PWD; test ! -e /usr/bin/python3";
  CHECK(run("oci:" + images + "/oci:one", show) == "unchanged agent=0: 1\nyes /home/agent /work\n");
  CHECK(run("oci:" + images + "/oci:two", show) == "unchanged agent=0: 2\nyes /home/agent /work\n");
  CHECK(run("oci:" + images + "/two.tar", show) == "unchanged agent=0: 2\nyes /home/agent /work\n");
  CHECK(shell("ls " + sandboxes.host().config.paths.images().string() + " | grep -c ^oci-") == "2");
  CHECK_THAT(run("oci:" + images + "/oci:none", show), Catch::StartsWith("failed(image_failed)"));
  CHECK_THAT(run("oci:" + images + "/none.tar", show), Catch::EndsWith("none.tar: not on this host"));
  SECTION("a blob that is not what its digest says is refused") {
    shell("cp -r oci bad; b=$(ls -S bad/blobs/sha256/* | head -1); echo x >> $b", images);
    CHECK_THAT(run("oci:" + images + "/bad:one", show), Catch::StartsWith("unchanged"));  // the digest is known: not read again
    shell("rm -rf " + sandboxes.host().config.paths.images().string() + "/oci-*");
    CHECK_THAT(run("oci:" + images + "/bad:one", show), Catch::StartsWith("failed(image_failed)"));
  }
}

TEST_CASE("network: host sees the host's network when the host allows it") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '");
  spec.network = wire::Network::host;
  const auto report = sandboxes.run(spec);
  INFO(report.message);
  CHECK(brief(report) == "unchanged agent=0");
  CHECK(sandboxes.log == shell("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '; echo ."
                               ).substr(0, sandboxes.log.size()));
}

}  // namespace muster::sandbox::test
