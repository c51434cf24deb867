// Out of a sandbox by way of a command that an operator runs in it: everything that a step may try
// (kernel.py), and what such a command brings along: its directory, its terminal, its streams.
#include <algorithm>

#include "tests/escape/tries.hpp"
#include "tests/integration/exec_fixture.hpp"

namespace muster::sandbox::test {

namespace {

std::string without_returns(std::string text) {
  std::erase(text, '\r');
  return text;
}

/// What the commands of this file share: kernel.py as the prompt, and what it asks of its
/// environment.
void with_tries(wire::SandboxSpecT& spec) {
  spec.prompt = tries_in("kernel.py");
  set_env(spec, "HOST_PORT", "1");
  set_env(spec, "HOST_SOCKET", "muster-no-such-socket");
  set_env(spec, "HOST_SHM", "12345");
}

}  // namespace

TEST_CASE("out through the kernel from a command beside a step") {
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes, "", with_tries);
  auto request = request_for(sandbox, "exec python3 $MUSTER_PROMPT_FILE");
  Command command(sandboxes, request);
  CHECK(command.end() == "0");
  CHECK(require_refused(command.out) > 120);
}

TEST_CASE("a terminal of a command is the sandbox's own, and nothing can be typed into another") {
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes);
  auto request = request_for(sandbox, R"(
tty
python3 - <<'P'
import fcntl, os
for name, request in (("TIOCSTI", 0x5412), ("TIOCSTI with high bits", 0x7fff00005412)):
    try:
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ioctl(1, ctypes.c_ulong(request), ctypes.c_char_p(b"x")) == 0: print(name, "ESCAPED")
        else: print(name, os.strerror(ctypes.get_errno()))
    except OSError as error: print(name, error)
print(sorted(os.listdir("/dev/pts")))
print([os.readlink(f"/proc/self/fd/{fd}") for fd in (1, 2)])
P
)");
  request.tty = true;
  Command command(sandboxes, request);
  CHECK(command.end() == "0");
  CHECK(without_returns(command.out) ==
        "/dev/pts/0\nTIOCSTI Operation not permitted\nTIOCSTI with high bits Operation not "
        "permitted\n"
        "['0', 'ptmx']\n['/dev/pts/0', '/dev/pts/0']\n");
}

TEST_CASE("a directory that the agent has laid out leads nowhere else") {
  // CVE-2024-21626: a working directory below /proc/self/fd, while the runtime still has
  // descriptors of the host open.
  Sandboxes sandboxes;
  WaitingSandbox sandbox(
      sandboxes,
      "for n in 3 4 5 6 7 8 9 10; do ln -s /proc/self/fd/$n fd$n; done; ln -s /proc/1/cwd one; "
      "ln -s ../../../../../../.. up; mkdir private; chmod 0 private; ");
  auto request = request_for(
      sandbox,
      "cat ../../../../../../etc/shadow /etc/shadow 2>/dev/null; ls ../../../../root 2>/dev/null; "
      "stat -c %m .; true");
  std::vector<std::string> directories = {"one", "private", "/proc/1/root", "/root",
                                          "/muster/out/../../../.."};
  for (int n = 3; n <= 10; ++n) {
    directories.push_back("fd" + std::to_string(n));
    directories.push_back("/proc/self/fd/" + std::to_string(n));
  }
  for (const auto& directory : directories) {
    request.workdir = directory;
    Command command(sandboxes, request);
    const std::string end = command.end();
    INFO(directory << ": " << end << "\n" << command.out << command.err);
    // Refused, or it is the sandbox's own root: nothing of the host is printed.
    CHECK((end == "126" || command.out == "/\n"));
  }
  request.workdir = "up";
  Command up(sandboxes, request);
  CHECK(up.end() == "0");
  CHECK(up.out == "/\n");
}

TEST_CASE("the agent beside it can't take a command over, or reach what it was started with") {
  Sandboxes sandboxes;
  WaitingSandbox sandbox(sandboxes);
  Command victim(sandboxes, request_for(sandbox, "echo $$; sleep 1000"));
  victim.wait([&] { return victim.out.ends_with("\n"); });
  const std::string pid = victim.out.substr(0, victim.out.size() - 1);
  Command attacker(sandboxes, request_for(sandbox, R"(
ls /muster/in /run/muster 2>/dev/null; find / -xdev -name process.json -o -xdev -name config.json -path '*muster*' 2>/dev/null
grep -c muster-test /proc/self/mountinfo
python3 -c '
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(16, )" + pid + R"(, 0, 0), os.strerror(ctypes.get_errno()))'
)"));
  CHECK(attacker.end() == "0");
  CHECK(attacker.out.find("process.json") == std::string::npos);
  CHECK(attacker.out.find("-1 Operation not permitted") != std::string::npos);
  victim.exec().end("enough");
  CHECK(victim.end() == "137/9 enough");
}

TEST_CASE("a command in one sandbox sees nothing of another's") {
  Sandboxes sandboxes;
  WaitingSandbox first(sandboxes, "echo mine > /tmp/mine; sleep 4321 & ");
  auto request = request_for(first, "cat /tmp/mine; pgrep -f 'sleep 432[1]' >/dev/null && echo seen");
  {
    Command own(sandboxes, request);
    CHECK(own.end() == "0");
    CHECK(own.out == "mine\nseen\n");
  }
  first.finish();
  (void)sandboxes.host().ops.teardown(first.id, true);
  WaitingSandbox second(sandboxes, "", [](wire::SandboxSpecT& spec) { spec.attempt = 2; });
  request.sandbox = second.id;
  Command other(sandboxes, request);
  CHECK(other.end() == "1");
  CHECK(other.out.empty());
}

}  // namespace muster::sandbox::test
