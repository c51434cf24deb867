"""`muster run exec` and `muster run attach`: commands in a running sandbox, by hand and as an agent's tool."""

import json
import os
import pty
import select
import subprocess
import time
import unittest

from installation import BIN, InstallationTest, make_repository, wait_for

# The agent waits until somebody outside has done the work: "sandbox as a tool".
FLEET = """version: 1
name: {name}
repositories: [{{path: repos/acme/api.git}}]
agent:
  run: until [ -e $MUSTER_OUTPUT/done ]; do sleep 0.1; done
  idle_timeout: 30m
verify: [{{name: tests, run: "grep -q 2.0 version.txt"}}]
delivery: {{branch: muster/{name}}}
"""


class Pty:
    """A command on a terminal of its own."""

    def __init__(self, argv, env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], argv, env)
        self.text = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in self.text:
            if time.monotonic() > end:
                raise AssertionError(f"{text!r} did not come:\n{self.text}")
            if not select.select([self.fd], [], [], 0.2)[0]:
                continue
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"{text!r} did not come before its end:\n{self.text}") from None
        seen, self.text = self.text.split(text, 1)
        return seen + text

    def exit_code(self):
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class ExecTest(InstallationTest):
    def begin(self, name):
        make_repository(self.muster.directory / "repos/acme/api.git", {"version.txt": "1.0\n", "lib/a.txt": "a\n"})
        path = self.muster.write_fleet(FLEET.format(name=name))
        self.muster.muster("fleet", "run", path, "--detach")
        run = wait_for(lambda: next(iter(self.muster.runs(name).values()), None), "the run is there")["id"]
        wait_for(lambda: self.muster.json("run", "show", run)["state"] == "running", "it runs")
        wait_for(lambda: self.exec(run, "true").returncode == 0, "its step runs", 30)
        return run

    def exec(self, run, *command, options=(), input=None, env=None):
        argv = [str(BIN / "muster"), "--root", str(self.muster.root), "run", "exec", run, *options, "--", *command]
        return subprocess.run(argv, input=input, capture_output=True, text=True, timeout=120,
                              stdin=subprocess.DEVNULL if input is None else None, env=env)

    def audit(self):
        out = self.muster.muster("audit", "tail", "-n", "1000", "--json").stdout
        return [json.loads(line) for line in out.splitlines()]

    def end(self, run, name):
        # The end that this asks for may come before its own.
        self.assertIn(self.exec(run, "sh", "-c", "echo 2.0 > version.txt; touch $MUSTER_OUTPUT/done").returncode, (0, 137))
        status = self.muster.json("fleet", "status", name)
        return wait_for(lambda: self.muster.json("run", "show", run)["state"] == "delivered", "it is delivered") and status

    def test_an_agent_outside_uses_the_sandbox_as_its_tool(self):
        run = self.begin("tool")
        # Input, output and error apart, the exit code handed on, variables, a directory.
        done = self.exec(run, "sh", "-c", 'cat; pwd; echo "$COLOUR"; echo oops >&2; exit 7',
                         options=["-e", "COLOUR=blue", "-w", "lib"], input="from outside\n")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (7, "from outside\n/work/lib\nblue\n", "oops\n"))
        big = "x" * 3_000_000
        self.assertEqual(self.exec(run, "cat", input=big).stdout, big)
        late = self.exec(run, "sleep", "100", options=["--timeout", "1s"])
        self.assertEqual(late.returncode, 124, late.stderr)
        self.assertEqual(self.exec(run, "/no/such/thing").returncode, 127)
        told = json.loads(self.exec(run, "sh", "-c", "echo a; echo b >&2; exit 3", options=["--json"]).stdout)
        self.assertEqual((told["exit_code"], told["stdout"], told["stderr"]), (3, "a\n", "b\n"))
        # As the step: nobody, without privileges, without network.
        facts = self.exec(run, "sh", "-c", "id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status; ls /sys/class/net").stdout
        self.assertEqual(facts.split(), ["1000", "CapEff:", "0000000000000000", "NoNewPrivs:", "1", "lo"])
        # The work is done from outside; the run goes on, verifies and delivers it.
        self.assertEqual(self.exec(run, "sed", "-i", "s/1.0/2.0/", "version.txt").returncode, 0)
        self.assertEqual(self.exec(run, "git", "diff", "--stat").stdout.split()[0], "version.txt")
        self.assertIn(self.exec(run, "sh", "-c", "touch $MUSTER_OUTPUT/done").returncode, (0, 137))
        wait_for(lambda: self.muster.json("run", "show", run)["state"] == "delivered", "it is delivered")
        self.assertIn("+2.0", self.muster.muster("run", "diff", run).stdout)

        # Who ran what, when, and how it ended; not the bytes.
        entries = wait_for(lambda: [e for e in self.audit() if e["action"].startswith("run.exec")], "it is in the log")
        begun = [e for e in entries if e["action"] == "run.exec"]
        ended = [e for e in entries if e["action"] == "run.exec.end"]
        self.assertEqual(len(begun), len(ended))
        self.assertTrue(all(e["target"] == run for e in entries))
        self.assertIn('["sed","-i","s/1.0/2.0/","version.txt"]', [e["detail"] for e in begun])
        self.assertIn("exit 7", [e["outcome"] for e in ended])
        self.assertIn("timed_out", [e["outcome"] for e in ended])
        self.assertNotIn("from outside", json.dumps(entries))
        self.assertEqual(self.muster.muster("audit", "verify").stdout[:6], "sound:")

        # Refusals: an ended run, one that never was.
        ended_run = self.exec(run, "true")
        self.assertEqual(ended_run.returncode, 5, ended_run.stderr)
        self.assertIn("delivered", ended_run.stderr)
        unknown = self.exec("ZZZZZZ", "true")
        self.assertEqual(unknown.returncode, 3, unknown.stderr)

    def test_a_terminal(self):
        run = self.begin("terminal")
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": "xterm", "LANG": "C.UTF-8"}
        where = [str(BIN / "muster"), "--root", str(self.muster.root), "run"]
        shell = Pty([*where, "attach", run], env)
        shell.until("$ ")
        shell.type("tty; echo $((6*7))\r")
        shell.until("/dev/pts/0")
        shell.until("42")
        import fcntl, struct, termios
        fcntl.ioctl(shell.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
        shell.type("until [ \"$(stty size)\" = '33 99' ]; do sleep 0.1; done; echo resized $?\r")
        shell.until("resized 0")
        shell.type("sh -c 'echo $((100+1)) up; sleep 1000'\r")
        shell.until("101 up")
        shell.type("\x03")
        shell.type("echo still $((1+1)) here\r")
        shell.until("still 2 here")
        shell.type("exit 9\r")
        self.assertEqual(shell.exit_code(), 9)

        left = Pty([*where, "attach", run], env)
        left.until("$ ")
        left.type("echo ready $((2+2))\r")
        left.until("ready 4")
        left.type("\r~.")
        self.assertEqual(left.exit_code(), 130)
        wait_for(lambda: self.exec(run, "sh", "-c", "ls /dev/pts").stdout.split() == ["ptmx"], "its terminal is gone")
        outcomes = [e["outcome"] for e in self.audit() if e["action"] == "run.exec.end"]
        self.assertIn("exit 9", outcomes)
        self.assertIn("its client is gone", outcomes)
        self.assertTrue(any(e["detail"].startswith("with a terminal: ") for e in self.audit() if e["action"] == "run.exec"))
        self.end(run, "terminal")

    def test_who_may_not(self):
        run = self.begin("guarded")
        self.muster.stop()
        self.muster.extra = ["--https", "127.0.0.1:0"]
        self.muster.start()
        wait_for(lambda: self.exec(run, "true").returncode == 0, "the host is back, and the sandbox with it")
        port = json.loads((self.muster.root / "run/muster/musterd.json").read_text())["https_port"]

        def token(name, *args):
            return subprocess.run([str(BIN / "musterd"), "--root", str(self.muster.root), "token", "create", name, *args],
                                  text=True, capture_output=True, check=True).stdout.strip()

        def remote(secret, *command):
            env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "MUSTER_TOKEN": secret,
                   "MUSTER_URL": f"https://localhost:{port}", "MUSTER_CA": str(self.muster.root / "var/lib/muster/ca/ca.pem")}
            return subprocess.run([str(BIN / "muster"), "run", "exec", run, "--", *command], text=True,
                                  capture_output=True, env=env, input="over tls\n", timeout=120)

        viewer = remote(token("vera", "--role", "viewer"), "cat")
        self.assertEqual((viewer.returncode, viewer.stdout), (4, ""), viewer.stderr)
        elsewhere = remote(token("otto", "--role", "operator", "--fleet", "web-*"), "cat")
        self.assertEqual((elsewhere.returncode, elsewhere.stdout), (3, ""), elsewhere.stderr)
        self.assertEqual(remote("mst_nonsense", "cat").returncode, 4)
        operator = remote(token("olga", "--role", "operator", "--fleet", "guarded"), "cat")
        self.assertEqual((operator.returncode, operator.stdout), (0, "over tls\n"), operator.stderr)
        wait_for(lambda: [e["who"] for e in self.audit() if e["action"] == "run.exec" and "cat" in e["detail"]] == ["olga"],
                 "the log names who did")
        refused = [e for e in self.audit() if e["outcome"] == "refused" and "/exec" in e["action"]]
        self.assertTrue(any(e.get("who") == "vera" for e in refused))
        self.end(run, "guarded")


if __name__ == "__main__":
    unittest.main()
