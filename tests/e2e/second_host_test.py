"""A second host joins over mutual TLS, takes its share, and its loss costs an attempt, never a run."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

from installation import BIN, InstallationTest, git, make_repository, wait_for

FLEET = """version: 1
name: {name}
prompt: Share the work.
repositories: [{{path: "{name}/*.git"}}]
agent: {{run: ./agent.sh, timeout: 5m}}
verify: []
rollout:
  waves: [100%]
  concurrency: 8
  retry: {{max_attempts: 3, on: [infrastructure], backoff: 1s}}
delivery: {{branch: muster/shared}}
"""

AGENT = "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.2; done\necho done > moved.txt\n"


WAITING = "#!/bin/sh\nexec sleep 600\n"


class SecondHostTest(InstallationTest):
    slots = 2

    def setUp(self):
        super().setUp()
        self.second = pathlib.Path(tempfile.mkdtemp(prefix="mst-", dir="/var/tmp"))
        self.second.chmod(0o755)
        self.addCleanup(self.end_second)
        root = self.muster.root
        added = subprocess.run([str(BIN / "musterd"), "--root", str(root), "host", "add", "second"],
                               text=True, capture_output=True)
        self.assertEqual(added.returncode, 0, added.stderr)
        link = (root / "run/muster/musterd.json").read_text()
        self.port = json.loads(link)["link_port"]
        self.assertIn(f"now 127.0.0.1:{self.port})", added.stdout)
        self.sandboxd = None
        self.start_second()

    def start_second(self):
        ca = self.muster.root / "var/lib/muster/ca"
        with open(self.second / "sandboxd.log", "ab") as log:
            self.sandboxd = subprocess.Popen(
                [str(BIN / "sandboxd"), "--root", str(self.second / "r"), "--name", "second",
                 "--engine", f"127.0.0.1:{self.port}", "--slots", "2", "--tls-ca", str(ca / "ca.pem"),
                 "--tls-cert", str(ca / "hosts/second.pem"), "--tls-key", str(ca / "hosts/second.key")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_for(lambda: self.host("second").get("state") == "ready", "the second host is ready")

    def end_second(self):
        if self.sandboxd and self.sandboxd.poll() is None:
            self.sandboxd.terminate()
            self.sandboxd.wait(timeout=60)
        left = [line for line in open("/proc/self/mounts") if str(self.second) in line]
        shutil.rmtree(self.second, ignore_errors=True)
        self.assertEqual(left, [])

    def host(self, name):
        return next((h for h in self.muster.json("host", "list")["hosts"] if h["name"] == name), {})

    def fleet(self, name, repositories):
        for i in range(repositories):
            make_repository(self.muster.directory / name / f"r{i}.git", {"a.txt": f"{i}\n"})
        return self.muster.write_fleet(FLEET.format(name=name), agent__sh=AGENT)

    def kill_machine(self):
        """What a power cut does to a host: its daemon, its conmons and every process of its sandboxes."""
        self.sandboxd.kill()
        self.sandboxd.wait()
        for entry in pathlib.Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError, NotADirectoryError, PermissionError):
                continue
            if entry.name.isdigit() and str(self.second).encode() in words:
                pid_file = [w for w in words.split(b"\0") if w.endswith(b"/pid")]
                for path in pid_file:
                    try:
                        os.kill(int(pathlib.Path(path.decode()).read_text()), signal.SIGKILL)
                    except (FileNotFoundError, ProcessLookupError, ValueError):
                        pass
                try:
                    os.kill(int(entry.name), signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def test_move(self):
        """A run leaves its host for the other one by name, then for any other; and is told why when it can't."""
        make_repository(self.muster.directory / "moving/r0.git", {"a.txt": "a\n"})
        fleet = self.muster.write_fleet(FLEET.format(name="moving"), agent__sh=WAITING)
        self.muster.muster("fleet", "run", fleet, "--detach")
        wait_for(lambda: self.muster.runs("moving"), "the run is there")
        self.run_id = next(iter(self.muster.runs("moving").values()))["id"]
        run = lambda: self.muster.json("run", "show", self.run_id)
        on = lambda host, attempt: (run()["state"], run()["host"], run()["attempt"]) == ("running", host, attempt)
        wait_for(lambda: run()["state"] == "running", "it runs")
        first = run()["host"]
        other = {"local": "second", "second": "local"}[first]

        refused = self.muster.muster("run", "move", self.run_id, "--to", "nowhere", check=[3])
        self.assertIn("there is no host nowhere", refused.stderr)
        refused = self.muster.muster("run", "move", self.run_id, "--to", first, check=[4])
        self.assertIn(f"is on host {first} already", refused.stderr)
        self.muster.muster("host", "cordon", other)
        for words in ((), ("--to", other)):
            refused = self.muster.muster("run", "move", self.run_id, *words, check=[4])
            self.assertIn(f"{other} is cordoned", refused.stderr)
        self.muster.muster("host", "uncordon", other)
        would = self.muster.muster("run", "move", self.run_id, "--to", other, "--dry-run").stdout
        self.assertEqual(would, f"{self.run_id} would leave host {first} and begin again on host {other}\n")
        self.assertTrue(on(first, 1))

        moved = self.muster.muster("run", "move", self.run_id, "--to", other, "--reason", "a new kernel").stdout
        self.assertEqual(moved, f"{self.run_id} leaves host {first} and begins again on host {other}\n")
        wait_for(lambda: on(other, 2), "it runs on the other host")
        attempt = run()["attempts"][0]
        self.assertEqual((attempt["host"], attempt["reason"]), (first, "moved"))
        self.assertIn("a new kernel", attempt["message"])

        # Back again, by the console and to any other: there is one.
        console = ("console", "--exec", f"move run/{self.run_id} reason='back again' confirm=yes")
        self.assertIn("move: 1 of 1 done", self.muster.muster(*console).stdout)
        wait_for(lambda: on(first, 3), "it runs where it began")
        for action, detail in (("run.move", f"to {other}: a new kernel"), ("run.move", "back again"),
                               ("operation.move", "back again")):
            tail = self.muster.muster("audit", "tail", "-n", "1000", "--action", action).stdout
            self.assertIn(detail, tail)
        self.muster.muster("fleet", "cancel", "moving", "--reason", "seen")
        wait_for(lambda: run()["state"] == "cancelled", "it ends")
        refused = self.muster.muster("run", "move", self.run_id, check=[4])
        self.assertIn("it stands on no host", refused.stderr)

    def test_share_and_loss(self):
        self.muster.muster("fleet", "run", self.fleet("share", 8))
        hosts = {run["host"] for run in self.muster.runs("share").values()}
        self.assertEqual(hosts, {"local", "second"})

        self.muster.muster("fleet", "run", self.fleet("loss", 6), "--detach")
        wait_for(lambda: self.host("second").get("used", 0) > 0, "the second host has work")
        self.kill_machine()
        done = lambda: self.muster.muster("fleet", "status", "loss", "--json", check=False)
        wait_for(lambda: '"completed' in done().stdout, "the fleet finishes without it", 300)
        runs = self.muster.runs("loss")
        self.assertEqual({run["state"] for run in runs.values()}, {"delivered"}, runs)
        for i in range(6):
            branches = git(self.muster.directory / "loss" / f"r{i}.git", "branch", "--list", "muster/*")
            self.assertEqual(branches.split(), ["muster/shared"])
        self.assertEqual(len(self.muster.pulls("loss")), 6)

        # It comes back, removes what is left of its sandboxes, and takes work again.
        self.start_second()
        self.muster.muster("host", "cordon", "local")
        self.muster.muster("fleet", "run", self.fleet("again", 2))
        self.assertEqual({run["host"] for run in self.muster.runs("again").values()}, {"second"})

        # Drained while it works: what it has ends there, at its first attempt, and nothing new comes.
        self.muster.muster("host", "uncordon", "local")
        self.muster.muster("fleet", "run", self.fleet("drained", 8), "--detach")
        wait_for(lambda: self.host("second").get("used", 0) > 0, "the second host has work again")
        self.muster.muster("host", "drain", "second", "--reason", "a new kernel")
        drained = lambda: self.muster.muster("fleet", "status", "drained", "--json", check=False)
        wait_for(lambda: '"completed' in drained().stdout, "the fleet finishes beside a drained host", 300)
        runs = self.muster.runs("drained")
        self.assertEqual({(run["state"], run["attempt"]) for run in runs.values()}, {("delivered", 1)}, runs)
        self.assertEqual({run["host"] for run in runs.values()}, {"local", "second"})
        self.assertEqual((self.host("second")["state"], self.host("second")["used"]), ("draining", 0))


if __name__ == "__main__":
    unittest.main(verbosity=2)
