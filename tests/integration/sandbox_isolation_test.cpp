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
  CHECK(printed(sandboxes, "ls -A / | tr '\\n' ' '; echo; ls -A /root /home /mnt /var /run; ls /etc/shadow 2>&1 || true; "
                           "find /etc -maxdepth 1 -type f | sort | xargs -n1 basename | tr '\\n' ' '") ==
        "bin dev etc home lib lib32 lib64 mnt muster opt proc root run sbin sys tmp usr var work \n"
        "/home:\nagent\n\n/mnt:\n\n/root:\n\n/run:\n\n/var:\ntmp\n"
        "ls: cannot access '/etc/shadow': No such file or directory\n"
        "ca-certificates.conf group hostname hosts ld.so.cache mime.types nsswitch.conf passwd protocols resolv.conf services ");
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
        "CI=true\nDRY_RUN=true\nHOME=/home/agent\nKEY=s3cret\nLANG=C.UTF-8\nLOGNAME=agent\nMUSTER_ATTEMPT=2\n"
        "MUSTER_BASE_BRANCH=main\nMUSTER_BASE_SHA=" + report.base_sha +
            "\nMUSTER_BRANCH=muster/test\nMUSTER_CONTEXT_FILE=/muster/in/context.json\n"
            "MUSTER_FEEDBACK_FILE=/muster/in/feedback.json\nMUSTER_FLEET=test\nMUSTER_OUTPUT=/muster/out/output\n"
            "MUSTER_PROMPT_FILE=/muster/in/prompt.txt\nMUSTER_RUN_ID=0123456789ABC\nMUSTER_STEP=agent\n"
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

TEST_CASE("the workspace is a normal clone on its branch, without a credential") {
  Sandboxes sandboxes;
  CHECK(printed(sandboxes, "pwd; git status -sb; git log --format='%s %an' ; git remote -v | cut -f1 | sort -u; "
                           "git fsck; git config --list --show-origin | grep -ci credential || true") ==
        "/work\n## muster/test\nfirst Test\norigin\n0\n");
}

TEST_CASE("each way out is refused") {
  Sandboxes sandboxes;
  const std::vector<std::pair<std::string, std::string>> attacks = {
      {"user namespace", "unshare -U true"},
      {"mount namespace", "unshare -m true"},
      {"mount", "python3 -c 'import ctypes; exit(0 if ctypes.CDLL(None).mount(b\"none\", b\"/tmp\", b\"tmpfs\", 0, 0) == 0 else 1)'"},
      {"chroot", "python3 -c 'import os; os.chroot(\"/tmp\")'"},
      {"set the host name", "python3 -c 'import socket; socket.sethostname(\"x\")'"},
      {"device node", "mknod /tmp/sda b 8 0"},
      {"raw packets", "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'"},
      {"vsock", "python3 -c 'import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)'"},
      {"kernel crypto", "python3 -c 'import socket; socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)'"},
      {"keyctl", "python3 -c 'import ctypes; exit(0 if ctypes.CDLL(None).syscall(250, 0, -3, 0) >= 0 else 1)'"},
      {"bpf", "python3 -c 'import ctypes; exit(0 if ctypes.CDLL(None).syscall(321, 0, 0, 0) >= 0 else 1)'"},
      {"perf", "python3 -c 'import ctypes; exit(0 if ctypes.CDLL(None).syscall(298, 0, 0, -1, -1, 0) >= 0 else 1)'"},
      {"io_uring", "python3 -c 'import ctypes; exit(0 if ctypes.CDLL(None).syscall(425, 1, 0) >= 0 else 1)'"},
      {"ptrace", "python3 -c 'import ctypes; exit(0 if ctypes.CDLL(None).syscall(101, 0, 0, 0, 0) >= 0 else 1)'"},
      {"memory of init", "head -c1 /proc/1/mem"},
      {"environment of init", "cat /proc/1/environ"},
      {"log pipe of init", "echo forged > /proc/1/fd/1"},
      {"limits of init", "prlimit --pid 1 --nofile=1"},
      {"kernel settings", "echo x > /proc/sys/kernel/core_pattern"},
      {"magic key", "echo c > /proc/sysrq-trigger"},
      {"kernel memory", "head -c1 /proc/kcore | grep -q ."},
      {"cgroups", "ls /sys/fs/cgroup | grep -q ."},
      {"write the toolchain", "touch /usr/bin/evil"},
      {"write the root", "touch /evil"},
      {"write /etc", "touch /etc/passwd"},
      {"write the mirror", "touch /muster/objects/evil"},
      {"write init", "touch /muster/init"},
      {"write the context", "touch /muster/in/evil"},
      {"become root", "su -c true"},
      {"network", "python3 -c 'import socket; socket.create_connection((\"1.1.1.1\", 53), 2)'"},
      {"loopback of the host", "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 22), 2)'"},
  };
  std::string script, expected;
  for (const auto& [name, attack] : attacks) {
    script += "if ( " + attack + " ) 2>/dev/null; then echo '" + name + ": ESCAPED'; else echo '" + name + ": refused'; fi\n";
    expected += name + ": refused\n";
  }
  CHECK(printed(sandboxes, script) == expected);
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

TEST_CASE("a tree made to resist removal is removed") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec(
      "cd /tmp; python3 -c 'import os\nfor i in range(3000): os.mkdir(\"d\"); os.chdir(\"d\")'; "
      "cd /tmp; mkdir closed; touch closed/x; chmod 000 closed; ln -s / root; mkfifo pipe; touch -- '-rf' 'a b'");
  CHECK(sandboxes.run(spec).outcome == wire::Outcome::unchanged);
  sandboxes.require_gone("0123456789ABC-1");
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
  shell("mkdir -p img/etc && for f in $(for p in bash git; do which $p; ldd $(which $p) | grep -o '/[^ ]*'; done | sort -u); "
        "do cp --parents -L $f img; done && echo mine > img/etc/marker && tar -C img -cf img.tar . ",
        sandboxes.root());
  auto spec = sandboxes.spec("echo x > x; read m < /etc/marker; test $m = mine; test ! -e /usr/bin/python3");
  for (const std::string& image : {"dir:" + (sandboxes.root() / "img").string(),
                                  "tar:" + (sandboxes.root() / "img.tar").string()}) {
    spec.image = image;
    spec.attempt += 1;
    const auto report = sandboxes.run(spec);
    INFO(report.message);
    CHECK(brief(report) == "changed agent=0");
    sandboxes.require_gone(sandbox_id(spec.run, spec.attempt));
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
