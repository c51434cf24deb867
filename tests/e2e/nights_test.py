"""The bad nights of tools/README.md: what goes wrong, what an operator sees and types, and how it ends.

With MUSTER_SHOW=1 every command and its output is printed, as the guide quotes them.
"""

import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import unittest

from installation import BIN, Installation, git, make_repository, refs, unix_get, wait_for

AGENT = "#!/bin/sh\necho moved > moved.txt\n"
SLOW = "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.3; done\necho moved > moved.txt\n"

FLEET = """version: 1
name: {name}
prompt: Move.
repositories: [{{path: "repos/*.git"}}]
agent: {{run: ./agent.sh, timeout: 2m}}
verify: []
rollout:
  waves: {waves}
  retry: {{max_attempts: 3, on: [infrastructure], backoff: 1s}}
delivery: {{branch: muster/{name}}}
"""


class Night(unittest.TestCase):
    embedded_host = True

    def setUp(self):
        self.muster = Installation(slots=2, embedded_host=self.embedded_host)
        self.addCleanup(self.muster.close)
        self.prepare()
        self.muster.start()

    def prepare(self):
        """Before the first start."""

    def see(self, *args, check=True):
        """Runs a muster command; shows it as a person would see it."""
        done = self.muster.muster(*args, check=check)
        if os.environ.get("MUSTER_SHOW"):
            typed = " ".join(shlex.quote(str(arg)) for arg in args)
            text = f"\n$ muster {typed}\n{done.stdout}{done.stderr}"
            print(re.sub(r"(h{4})h{60,}", r"\1…", text), end="", flush=True)
        return done

    def console(self, line, check=True):
        return self.see("console", "--exec", line, check=check)

    def repositories(self, count):
        for i in range(count):
            make_repository(self.muster.directory / f"repos/acme/r{i}.git", {"a.txt": f"{i}\n"})

    def fleet(self, name, agent=AGENT, waves="[100%]"):
        return self.muster.write_fleet(
            FLEET.format(name=name, waves=waves).replace("repos/*.git", "repos/acme/*.git"), agent__sh=agent)

    def state(self, fleet):
        return self.muster.json("fleet", "status", fleet)["state"]

    def ready(self):
        path = self.muster.root / "run/muster/musterd.sock"
        try:
            return json.loads(unix_get(path, "/healthz/ready"))
        except AssertionError as refused:
            return json.loads(re.search(r"\{.*\}", str(refused), re.S).group(0))

    def metric(self, name):
        text = unix_get(self.muster.root / "run/muster/musterd.sock", "/metrics")
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        self.assertTrue(found, f"{name} is not in\n{text}")
        return float(found.group(1))


class AHostDies(Night):
    def test_its_runs_go_on(self):
        self.repositories(4)
        self.see("fleet", "run", self.fleet("night-1", agent=SLOW), "--detach")
        wait_for(lambda: any(r["state"] == "running" for r in self.muster.runs("night-1").values()), "runs run")
        self.muster.kill_host()
        # The engine starts the host's daemon again; the sandboxes went on without it.
        self.see("fleet", "status", "night-1", "--watch")
        self.see("host", "list")
        self.see("fleet", "report", "night-1")
        self.assertEqual(self.state("night-1"), "completed")
        for i in range(4):
            self.assertIn("refs/heads/muster/night-1", refs(self.muster.directory / f"repos/acme/r{i}.git"))


class APoisonMessage(Night):
    """Somebody's own tool sends a run a message that its step can't take: the name of a host, 70,000 letters long."""
    LETTERS = 70_000  # More than a state has room for, less than an argument of a command may have.

    def letters(self, line="dead"):
        return json.loads(self.muster.muster("console", "--json", "--exec", line).stdout)["dead_letters"]

    def test_it_is_put_aside_looked_at_and_done_with(self):
        self.repositories(2)
        self.see("host", "cordon", "local", "--reason", "to look at something")
        self.see("fleet", "run", self.fleet("night-3"), "--detach")
        wait_for(lambda: all(r["state"] == "queued" for r in self.muster.runs("night-3").values()), "runs are queued")
        run = self.muster.runs("night-3")["acme/r0"]["id"]
        sent = self.console(f"send run/{run} Placed host={'h' * self.LETTERS} attempt=1 reason=test confirm=yes",
                            check=False)
        self.assertNotEqual(sent.returncode, 0)
        self.assertIn("keep the rest in rows", sent.stderr)
        self.assertEqual(self.metric('muster_dead_letters_total{kind="run",shard="0"}'), 1)

        # What the operator sees: the letter with its reason, and an actor that nothing has happened to.
        letter = self.letters()[0]
        self.assertEqual((letter["to"], letter["type"], letter["state"]), (f"run/{run}", "Placed", "open"))
        self.assertIn("Placed", self.console("dead").stdout)
        shown = self.console(f"show run/{run[:6]}").stdout
        self.assertIn("Last error", shown)
        self.assertEqual(self.muster.runs("night-3")["acme/r0"]["state"], "queued")
        self.assertIn("DEAD LETTER", self.console(f"journal run/{run[:6]} limit=2").stdout)

        # A step is a pure function: sent again it fails again, and is a letter of its own.
        self.assertIn("replay: 1 of 1 done", self.console(
            f"replay {letter['id']} reason='the tool is mended, they say' confirm=yes").stdout)
        wait_for(lambda: len(self.letters("dead state=all")) == 2, "it died again")
        self.assertIn("discard: 1 of 1 done", self.console(
            "discard kind=run reason='the tool was not mended' confirm=yes").stdout)
        self.assertEqual(self.letters(), [])
        self.assertIn("no dead letters", self.console("dead").stdout)
        told = self.console("dead state=all").stdout
        self.assertIn("replayed by", told)
        self.assertIn("discarded by", told)

        # Nothing else was held up by it, and all of it is written down.
        self.see("host", "uncordon", "local", "--reason", "seen")
        self.see("fleet", "status", "night-3", "--watch")
        self.assertEqual(self.state("night-3"), "completed")
        for action, why in (("replay", "the tool is mended, they say"), ("discard", "the tool was not mended")):
            entry = self.see("audit", "tail", "--action", action).stdout
            self.assertIn(f"run/{run}  decided", entry)
            self.assertIn(f"{letter['id']}: {why}" if action == "replay" else why, entry)
        self.assertIn("asked  test", self.see("audit", "tail", "--action", "message.send").stdout)


class AFleetOpensWrongPullRequests(Night):
    def test_it_is_stopped_and_taken_back(self):
        self.repositories(6)
        # The second wave goes on long enough to be paused.
        agent = AGENT.replace("\n", '\n[ "$(cat a.txt)" -lt 2 ] || sleep 5\n', 1)
        self.see("fleet", "run", self.fleet("night-4", agent, waves="[2, 100%]"), "--detach")
        wait_for(lambda: len(self.muster.pulls("night-4")) >= 2, "pull requests are open")
        self.see("fleet", "pause", "night-4", "--reason", "wrong pull requests")
        wait_for(lambda: not any(r["state"] in ("provisioning", "running", "verifying", "delivering")
                                 for r in self.muster.runs("night-4").values()), "what ran has ended")
        self.see("pr", "list", "--fleet", "night-4")
        opened = len(self.muster.pulls("night-4"))
        self.see("fleet", "close", "night-4", "--reason", "wrong pull requests")
        wait_for(lambda: all(p["state"] == "closed" for p in self.muster.pulls("night-4")), "all are closed")
        self.see("fleet", "cancel", "night-4", "--reason", "wrong pull requests", check=[0, 1])
        wait_for(lambda: self.state("night-4") == "cancelled", "the fleet is cancelled")
        self.assertEqual(len(self.muster.pulls("night-4")), opened)
        tail = self.see("audit", "tail", "--action", "fleet.").stdout
        for action in ("fleet.create", "fleet.pause", "fleet.cancel"):
            self.assertIn(action, tail)
        self.assertIn("sound", self.see("audit", "verify").stdout)


class TheDiskFills(Night):
    embedded_host = False

    def prepare(self):
        """The data lies on a disk of its own, as it should."""
        self.data = self.muster.root / "var/lib/muster"
        self.data.mkdir(parents=True)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "muster-night", str(self.data)],
                                 capture_output=True, text=True)
        if mounted.returncode != 0:
            self.skipTest("no file system can be mounted here: " + mounted.stderr.strip())
        # Cleanups run in the opposite order: musterd has stopped when the disk goes.
        self.addCleanup(lambda: subprocess.run(["umount", str(self.data)], check=True))
        self.addCleanup(self.muster.stop)

    def test_it_says_so_loses_nothing_and_goes_on(self):
        self.repositories(2)
        self.see("fleet", "run", self.fleet("night-2"), "--detach")
        self.assertEqual(self.ready()["status"], "ready")
        ballast = self.data / "ballast"
        with open(ballast, "wb") as file:
            while self.metric("muster_data_free_bytes") > 30 << 20:
                file.write(b"x" * (4 << 20))
                file.flush()
        why = self.ready()
        if os.environ.get("MUSTER_SHOW"):
            print("\n$ curl --unix-socket /run/muster/musterd.sock http://localhost/healthz/ready\n" + json.dumps(why))
        self.assertEqual(why["status"], "not ready")
        self.assertRegex(why["why"][0], r"only \d+ MiB are free at ")
        # Completely: what can't be written is not acknowledged.
        with open(ballast, "ab") as file:
            try:
                while True:
                    file.write(b"x" * 65536)
                    file.flush()
            except OSError:
                pass
        refused = self.see("fleet", "run", self.fleet("night-2b"), "--detach", check=False)
        self.assertNotEqual(refused.returncode, 0)
        ballast.unlink()
        wait_for(lambda: self.ready()["status"] == "ready", "it is ready again")
        self.see("fleet", "run", self.fleet("night-2b"), "--detach")
        self.assertEqual(self.state("night-2b"), "running")
        self.assertEqual(self.state("night-2"), "running")
        self.assertIn("sound", self.see("audit", "verify").stdout)
        self.muster.stop()
        checked = subprocess.run([str(BIN / "musterd"), "--root", str(self.muster.root), "check"],
                                 capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)


class TheEngineIsOverloaded(Night):
    embedded_host = False
    CONNECTIONS = 256

    def prepare(self):
        self.repositories(1)

    def waits_for_a_host(self):
        def waited():
            try:
                return self.metric('muster_queue_wait_seconds{cause="no_host"}') > 0
            except AssertionError:
                return False
        wait_for(waited, "the metrics tell for how long a run has waited for a host")

    def test_clients_are_told_to_come_back_and_the_others_work(self):
        self.see("fleet", "run", self.fleet("night-5"), "--detach")
        self.waits_for_a_host()
        path = str(self.muster.root / "run/muster/musterd.sock")
        held = []
        self.addCleanup(lambda: [each.close() for each in held])
        for n in range(self.CONNECTIONS):
            each = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            each.connect(path)
            if n > 0:  # Streams, which are no idle connections.
                each.sendall(b"GET /v1/hosts HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
            held.append(each)

        def turned_away():
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            one.settimeout(60)
            one.connect(path)
            with one:
                one.sendall(b"GET /v1/runs HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = b""
                while chunk := one.recv(4096):
                    answer += chunk
            return answer.decode()

        answer = turned_away()
        self.assertTrue(answer.startswith("HTTP/1.1 429 "), answer)
        self.assertIn("Retry-After: 1", answer)
        self.assertIn("https://muster.dev/problems/overloaded", answer)
        # One who was there before goes on.
        held[0].sendall(b"GET /v1/fleets HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(b"200 OK", held[0].recv(4096))
        self.assertEqual(self.see("fleet", "list", check=False).returncode, 7)
        # An operator gets through, and so do those who look whether it is well.
        self.see("fleet", "pause", "night-5", "--reason", "too much at once")
        self.assertIn("cancel: 1 of 1 done", self.console(
            "cancel kind=run fleet=night-5 reason='too much at once' confirm=yes").stdout)
        self.assertEqual(self.ready()["status"], "ready")
        self.assertGreaterEqual(self.metric("muster_http_connections"), self.CONNECTIONS)
        for each in held:
            each.close()
        wait_for(lambda: self.see("fleet", "list", check=False).returncode == 0, "there is room again")


if __name__ == "__main__":
    unittest.main()
