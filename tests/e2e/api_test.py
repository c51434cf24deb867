"""The API as a client meets it: revisions with ETag, If-None-Match and If-Match; lists that are followed and tell
what leaves them; refusals that don't fill the audit log; addresses that are checked before anything goes there."""

import http.client
import json
import os
import socket
import subprocess
import threading
import unittest
import uuid
import time

from installation import BIN, Installation, make_repository, wait_for

FLEET = """version: 1
name: bump
prompt: Wait for a host.
repositories: [{path: "repos/*.git"}]
agent: {run: "true"}
verify: []
delivery: {branch: muster/bump}
"""


def new_key():
    """A UUIDv7."""
    value = (int(time.time() * 1000) << 80) | (uuid.uuid4().int & ((1 << 80) - 1))
    value = value & ~(0xf << 76) | (7 << 76)
    return str(uuid.UUID(int=value & ~(0b11 << 62) | (0b10 << 62)))


class ApiTest(unittest.TestCase):
    def setUp(self):
        self.muster = Installation(embedded_host=False)
        self.addCleanup(self.muster.close)
        config = self.muster.root / "etc/muster/musterd.yaml"
        config.parent.mkdir(parents=True)
        config.write_text("audit_refusals_per_minute: 5\nhttp: 127.0.0.1:0\n")
        self.muster.start()
        for name in "abc":
            make_repository(self.muster.directory / f"repos/{name}.git", {"a.txt": name})
        self.muster.muster("fleet", "run", self.muster.write_fleet(FLEET), "--detach")
        wait_for(lambda: [run["state"] for run in self.muster.runs("bump").values()] == ["queued"] * 3, "runs are queued")
        self.runs = {name: run["id"] for name, run in self.muster.runs("bump").items()}

    def connect(self):
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(60)
        connection.sock.connect(str(self.muster.root / "run/muster/musterd.sock"))
        self.addCleanup(connection.close)
        return connection

    def ask(self, method, path, body=None, **headers):
        connection = self.connect()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "POST":
            headers.setdefault("Idempotency-Key", new_key())
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        text = response.read().decode()
        return response, json.loads(text) if text else None

    def follow(self, path):
        """The stream of a list, from when it was read; a function that reads on until it told something."""
        position = self.ask("GET", path)[0].getheader("Muster-Position")
        connection = self.connect()
        connection.request("GET", path, headers={"Accept": "text/event-stream", "Last-Event-ID": position})
        response = connection.getresponse()
        told = [""]

        def until(text):
            while text not in told[0]:
                line = response.readline().decode()
                self.assertTrue(line, told[0])
                told[0] += line
            return told[0]
        until(": muster")
        return until

    def audit(self, action):
        out = self.muster.muster("audit", "tail", "-n", "1000", "--json", "--action", action).stdout
        return [json.loads(line) for line in out.splitlines()]

    def test_revisions(self):
        run = self.runs["acme/a"] if "acme/a" in self.runs else sorted(self.runs.values())[0]
        for path in ("/v1/fleets/bump", f"/v1/runs/{run}"):
            first, _ = self.ask("GET", path)
            tag = first.getheader("ETag")
            self.assertRegex(tag, r'^"[0-9a-f]{16}"$')
            same, body = self.ask("GET", path, If_None_Match=f'"other", W/{tag}')
            self.assertEqual((same.status, body, same.getheader("ETag")), (304, None, tag))
        self.assertIsNone(self.ask("GET", "/v1/fleets")[0].getheader("ETag"))

        # Of two who saw the same fleet one is let through; its repeat is too, because it was.
        tag = self.ask("GET", "/v1/fleets/bump")[0].getheader("ETag")
        key = new_key()
        pause = dict(body={"reason": "first", "by": "ann"}, Idempotency_Key=key, If_Match=tag)
        self.assertEqual(self.ask("POST", "/v1/fleets/bump/pause", **pause)[0].status, 200)
        late, problem = self.ask("POST", "/v1/fleets/bump/resume", {"by": "bob"}, If_Match=tag)
        self.assertEqual((late.status, problem["type"]), (412, "https://muster.dev/problems/precondition-failed"))
        self.assertNotEqual(late.getheader("ETag"), tag)
        self.assertEqual(self.ask("POST", "/v1/fleets/bump/pause", **pause)[0].status, 200)
        now, fleet = self.ask("GET", "/v1/fleets/bump", If_None_Match=tag)
        self.assertEqual((now.status, fleet["state"]), (200, "paused"))
        self.assertEqual(self.ask("POST", "/v1/fleets/bump/resume", {"by": "bob"}, If_Match=now.getheader("ETag"))[0].status, 200)
        self.assertEqual(self.ask("POST", "/v1/fleets/none/pause", {}, If_Match=tag)[0].status, 404)
        self.assertEqual(self.ask("POST", "/v1/operations", {}, If_Match=tag)[0].status, 400)
        self.assertEqual(self.ask("GET", "/v1/hosts/nobody", If_None_Match=tag)[0].status, 404)

    def test_lists_tell_what_leaves_them(self):
        run = sorted(self.runs.values())[0]
        runs = self.follow("/v1/runs?state=queued")
        actors = self.follow("/v1/actors?kind=run&state=queued")
        queue = self.follow("/v1/queue?fleet=bump")
        others = self.follow("/v1/queue?fleet=other")
        self.ask("POST", f"/v1/runs/{run}/cancel", {"reason": "to be seen", "by": "ann"})
        runs(f'event: left\ndata: {{"id":"{run}"}}')
        actors(f'event: left\ndata: {{"id":"run/{run}"}}')
        queue(f'event: left\ndata: {{"run":"{run}"}}')
        self.assertNotIn(run, others(": still here"))

    def test_nothing_slips_in_between(self):
        """Eight who saw the same fleet, at the same time: one gets through."""
        tag = self.ask("GET", "/v1/fleets/bump")[0].getheader("ETag")
        statuses = []

        def write(action, who):
            statuses.append(self.ask("POST", f"/v1/fleets/bump/{action}", {"reason": who, "by": who}, If_Match=tag)[0].status)
        writers = [threading.Thread(target=write, args=("pause", f"writer{n}")) for n in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        self.assertEqual(sorted(statuses), [200] + 7 * [412])
        self.assertEqual(self.ask("POST", "/v1/fleets/bump/resume", {}, If_Match="nothing")[0].status, 400)
        self.assertEqual(self.ask("POST", "/v1/fleets/bump/resume", {}, If_Match="*")[0].status, 200)

    def test_reasons_stand_in_the_log(self):
        self.ask("POST", "/v1/fleets/bump/pause", {"reason": "the mirror is away", "by": "ann"})
        self.ask("POST", "/v1/fleets/bump/resume", {"reason": "the mirror is back", "by": "ann"})
        run = sorted(self.runs.values())[0]
        message = {"type": "CancelRun", "message": {"by": "x"}, "reason": "by hand", "by": "bob"}
        self.assertEqual(self.ask("POST", f"/v1/actors/run/{run}/messages", {**message, "dry_run": True})[0].status, 200)
        self.assertEqual(self.audit("message.send"), [])
        self.assertEqual(self.ask("POST", f"/v1/actors/run/{run}/messages", message)[0].status, 200)
        told = [(e["who"], e["target"], e["detail"]) for e in self.audit("message.send") + self.audit("fleet.resume")]
        self.assertEqual(told, [("bob", f"run/{run} CancelRun", "by hand"), ("ann", "default/fleet/bump", "the mirror is back")])
        order = {"action": "passivate", "ids": ["fleet/bump"], "reason": "to look", "by": "ann"}
        self.ask("POST", "/v1/operations", order)
        self.assertEqual([(e["who"], e["target"], e["detail"]) for e in self.audit("operation.passivate")],
                         [("ann", "fleet/bump", "to look")])

    def test_refusals_are_bounded(self):
        port = json.loads((self.muster.root / "run/muster/musterd.json").read_text())["http_port"]
        for _ in range(50):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/v1/fleets", headers={"Authorization": "Bearer mst_nonsense"})
            self.assertEqual(connection.getresponse().status, 401)
            connection.close()
        self.muster.stop()
        self.muster.start()
        refused = [e for e in self.audit("GET /v1/fleets") if e["outcome"] == "refused"]
        counted = sum(int(e["detail"].split()[0]) for e in self.audit("audit.refusals"))
        self.assertEqual(len(refused) + counted, 50)
        self.assertLessEqual(len(refused), 10)  # Five a minute, and the fifty may fall into two of them.
        self.assertIn("sound", self.muster.muster("audit", "verify").stdout)

    def test_addresses_are_checked(self):
        for bad in ("0.0.0.0", "0.0.0.0:99999", ":7412", "localhost:7412", "0.0.0.0:+1", "::1:7412"):
            done = subprocess.run([str(BIN / "musterd"), "--root", str(self.muster.directory / "x"), "--https", bad],
                                  text=True, capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(f"https '{bad}' must be an IP address and a port", done.stderr)
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "MUSTER_TOKEN": "mst_secret"}
        for bad in ("https://:7412", "https://box:65536", "https://box:74x", "https://user:pw@box", "https://box/path",
                    "https://::1", "https://[::1"):
            done = subprocess.run([str(BIN / "muster"), "--url", bad, "fleet", "list"], text=True, capture_output=True,
                                  env=env, timeout=60)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("not an address of musterd", done.stderr)


if __name__ == "__main__":
    unittest.main()
