"""A graceful stop: within its stated time whatever clients and hosts do, and what happens at the limit."""

import errno
import os
import signal
import socket
import subprocess
import unittest

from installation import BIN, InstallationTest, make_repository, wait_for

FLEET = """version: 1
name: stays
repositories: [{path: "stays/*.git"}]
agent: {run: ./agent.sh, timeout: 10m}
verify: []
rollout: {waves: [100%], concurrency: 8}
delivery: {branch: muster/stays}
"""

AGENT = "#!/bin/sh\necho begun\nuntil [ -e go ]; do sleep 0.2; done\nrm go\necho done > moved.txt\n"


class StopTest(InstallationTest):
    slots = 2

    def begin(self):
        for i in range(2):
            make_repository(self.muster.directory / f"stays/r{i}.git", {"a.txt": f"{i}\n"})
        self.muster.muster("fleet", "run", self.muster.write_fleet(FLEET, agent__sh=AGENT), "--detach")
        wait_for(lambda: self.states() == {"running"}, "both runs are at work")

    def states(self):
        return {run["state"] for run in self.muster.runs("stays").values()} or {"none"}

    def connect(self, request):
        """A client of its own, which sends that and then reads nothing."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60)
        client.connect(str(self.muster.root / "run/muster/musterd.sock"))
        client.sendall(request)
        self.addCleanup(client.close)
        return client

    def restart_with(self, *extra):
        self.muster.stop()
        self.muster.extra = list(extra)
        self.muster.start()

    def finish(self):
        """What was in the sandboxes is there still: each run ends in its first attempt."""
        for run in self.muster.runs("stays").values():
            wait_for(lambda: self.muster.muster("run", "exec", run["id"], "--", "touch", "go", check=False).returncode == 0,
                     "the sandbox takes commands again")
        wait_for(lambda: self.states() == {"delivered"}, "both runs are delivered")
        self.assertEqual({run["attempt"] for run in self.muster.runs("stays").values()}, {1})

    def end(self, *, held_by):
        self.muster.engine.send_signal(signal.SIGTERM)
        # Its own bound, which the command line gave it, ends it; this one only ends a test that would hang.
        try:
            return self.muster.engine.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self.fail(f"musterd is held by {held_by}: {self.muster.log_tail()}")

    def test_everybody_is_busy(self):
        """Streams, a slow client, half a request, a command in a sandbox and runs at work: all end, or go on without it."""
        self.begin()
        run = next(iter(self.muster.runs("stays").values()))["id"]
        head = b" HTTP/1.1\r\nHost: localhost\r\n"
        stream = self.connect(b"GET /v1/runs" + head + b"Accept: text/event-stream\r\n\r\n")
        while b": muster" not in (seen := stream.recv(4096)):
            self.assertTrue(seen)
        self.connect(f"GET /v1/runs/{run}/logs?follow=true".encode() + head + b"\r\n")
        self.connect(b"GET /v1/openapi.yaml" + head)  # Half a request.
        self.connect(b"POST /v1/operations" + head + b"Content-Length: 100\r\n\r\n{")
        slow = self.connect((b"GET /v1/openapi.yaml" + head + b"\r\n") * 64)  # Megabytes, and it reads none of them.
        inside = subprocess.Popen([str(BIN / "muster"), "--root", str(self.muster.root), "run", "exec", run, "--",
                                   "sh", "-c", "echo inside; exec sleep 600"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(inside.stdout.close)
        self.addCleanup(inside.stderr.close)
        self.addCleanup(inside.wait)
        self.addCleanup(inside.kill)
        self.assertEqual(inside.stdout.readline(), "inside\n")

        self.assertEqual(self.end(held_by="its clients"), 0)
        self.assertIn("stopped", self.muster.log_tail())
        self.assertNotIn("not stopped within", self.muster.log_tail())
        told = b""
        while piece := stream.recv(4096):
            told += piece
        self.assertTrue(told.endswith(b"0\r\n\r\n"), told)  # An end, and no break.
        self.assertNotEqual(inside.wait(timeout=60), 0)
        self.assertTrue(slow.recv(1))
        self.muster.start()
        self.finish()

    def test_a_host_that_does_not_end(self):
        """Its part of the time is over: it is killed, and its sandboxes stay."""
        self.restart_with("--stop-seconds", "3")
        self.begin()
        host, = self.muster.host_pids()
        os.kill(host, signal.SIGSTOP)
        self.assertEqual(self.end(held_by="its host"), 0)
        self.assertIn("sandboxd did not end within 2s, killing it", self.muster.log_tail())
        wait_for(lambda: not self.muster.host_pids(), "the host is gone")
        self.muster.start()
        self.finish()

    def test_at_the_limit(self):
        """A request that can't end (it reads from where nobody writes): at the limit the process ends by itself, loses
        nothing that was acknowledged, and says so."""
        self.restart_with("--stop-seconds", "2")
        self.begin()
        backups = self.muster.directory / "silent/backups"
        backups.mkdir(parents=True)
        os.mkfifo(backups / "0.json")
        path = f"/v1/admin/backups?directory={backups.parent}".encode()
        self.connect(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        silent = wait_for(lambda: self.writer_of(backups / "0.json"), "the request reads")
        self.addCleanup(os.close, silent)
        self.assertEqual(self.end(held_by="a request"), 124)
        self.assertIn("not stopped within 2s: ending at once", self.muster.log_tail())
        check = subprocess.run([str(BIN / "musterd"), "--root", str(self.muster.root), "check"], capture_output=True,
                               text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        self.muster.start()
        self.finish()

    def writer_of(self, fifo):
        """Its other end, once somebody reads: nothing is ever written there."""
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as nobody:
            self.assertEqual(nobody.errno, errno.ENXIO)
            return None


if __name__ == "__main__":
    unittest.main(verbosity=2)
