"""`muster run snapshot`, `snapshots` and `fork`: from a running sandbox to another run's pull request, over kills of both daemons."""

import json
import subprocess
import unittest

from installation import InstallationTest, git, make_repository, wait_for

FLEET = """version: 1
name: long
prompt: Do it
repositories: [{path: repos/acme/api.git}, {path: repos/acme/other.git}]
environment: {setup: ["echo once >> $HOME/setup"]}
agent:
  run: |
    echo work > work.txt
    echo cached > $HOME/cache
    touch $MUSTER_OUTPUT/begun
    until [ -e $MUSTER_OUTPUT/go ]; do sleep 0.1; done
    echo origin > origin.txt
  timeout: 10m
verify: [{name: kept, run: "grep -q work work.txt"}]
rollout: {waves: [100%]}
delivery: {branch: muster/long}
"""


class SnapshotTest(InstallationTest):
    def exec(self, run, *command):
        return self.muster.muster("run", "exec", run, "--", *command, check=False)

    def begin(self):
        api = self.muster.directory / "repos/acme/api.git"
        make_repository(api, {"a.txt": "a\n"})
        make_repository(self.muster.directory / "repos/acme/other.git", {"a.txt": "a\n"})
        self.muster.muster("fleet", "run", self.muster.write_fleet(FLEET), "--detach")
        run = wait_for(lambda: self.muster.runs("long").get("acme/api"), "the run is there")["id"]
        wait_for(lambda: self.exec(run, "test", "-e", "/muster/out/output/begun").returncode == 0, "its agent works")
        return api, run

    def state(self, run):
        return self.muster.json("run", "show", run)["state"]

    def test_a_fork_goes_another_way_from_where_the_origin_was(self):
        api, run = self.begin()
        taken = self.muster.json("run", "snapshot", run, "half way")
        self.assertEqual((taken["name"], taken["run"], taken["repository"]), ("half way", run, "acme/api"))
        self.assertEqual(taken["base_sha"], git(api, "rev-parse", "main"))
        listed = self.muster.json("run", "snapshots", run)
        self.assertEqual(listed, {"snapshots": [taken], "unreachable": []})
        self.assertIn("half way", self.muster.muster("run", "snapshots", run).stdout)

        # Neither daemon's death costs it.
        self.muster.kill_engine()
        self.muster.kill_host()
        self.muster.start()
        wait_for(lambda: self.muster.json("run", "snapshots", run) == listed, "it is there still")

        fork = self.muster.json("run", "fork", run, "--snapshot", taken["id"], "--name", "other-way", "--prompt", "Another way",
                                "--command", "cat $HOME/cache $HOME/setup > way.txt; test -e work.txt; cat $MUSTER_PROMPT_FILE >> way.txt")
        self.assertEqual((fork["fleet"], fork["snapshot"]["id"]), ("other-way", taken["id"]))
        wait_for(lambda: self.state(fork["run"]) == "delivered", "the fork is delivered beside its origin")
        shown = self.muster.json("run", "show", fork["run"])
        self.assertEqual(shown["fork"], {"run": run, "snapshot": taken["id"], "host": taken["host"]})
        self.assertEqual(shown["base_sha"], taken["base_sha"])
        self.assertIn("fork of", self.muster.muster("run", "show", fork["run"]).stdout)
        self.assertEqual(git(api, "show", "muster/other-way:way.txt").split("\n"), ["cached", "once", "Another way"])
        self.assertEqual(git(api, "show", "muster/other-way:work.txt"), "work")
        self.assertEqual(self.muster.json("fleet", "status", "other-way")["total"], 1)

        # The origin never noticed.
        self.assertEqual(self.state(run), "running")
        self.exec(run, "touch", "/muster/out/output/go")
        wait_for(lambda: self.state(run) == "delivered", "the origin is delivered")
        self.assertEqual(sorted(git(api, "ls-tree", "--name-only", "muster/long").split()), ["a.txt", "origin.txt", "work.txt"])
        self.assertIsNone(self.muster.json("run", "show", run)["fork"])
        self.muster.muster("fleet", "cancel", "long")
        wait_for(lambda: self.state(self.muster.runs("long")["acme/other"]["id"]) == "cancelled", "the other one ends")

        self.muster.muster("run", "snapshot", run, "--remove", taken["id"])
        self.assertEqual(self.muster.json("run", "snapshots", run)["snapshots"], [])
        gone = self.muster.muster("run", "fork", run, "--snapshot", taken["id"], check=[3])
        self.assertIn("no snapshot", gone.stderr)
        late = self.muster.muster("run", "snapshot", run, check=[5])
        self.assertIn("a snapshot is taken of a running sandbox", late.stderr)
        said = [json.loads(line) for line in self.muster.muster("audit", "tail", "-n", "1000", "--json").stdout.splitlines()]
        for action in ("run.snapshot", "run.fork", "run.snapshot.remove"):
            self.assertTrue(any(entry["action"] == action and entry["target"] == run for entry in said), action)

    def test_a_repeated_order_makes_nothing_twice_and_a_fork_waits_for_its_host(self):
        api, run = self.begin()
        key = "01920000-0000-7000-8000-000000000001"

        def post(path, body):
            done = subprocess.run(["curl", "-sS", "--unix-socket", str(self.muster.root / "run/muster/musterd.sock"), "-X", "POST",
                                   "-H", f"Idempotency-Key: {key}", "-d", json.dumps(body), f"http://localhost{path}"],
                                  text=True, capture_output=True, check=True)
            return json.loads(done.stdout)

        taken = post(f"/v1/runs/{run}/snapshots", {"name": "once"})
        self.assertIn("id", taken)
        self.muster.kill_engine()
        self.muster.start()
        wait_for(lambda: post(f"/v1/runs/{run}/snapshots", {"name": "once"}) == taken, "it is the same one")
        self.assertEqual(len(self.muster.json("run", "snapshots", run)["snapshots"]), 1)

        # Without a snapshot one is taken now; the fork begins when its host takes runs again.
        host = taken["host"]
        self.muster.muster("host", "cordon", host)
        fork = self.muster.json("run", "fork", run)
        self.assertTrue(fork["fleet"].startswith("long-fork-"))
        self.assertEqual(len(self.muster.json("run", "snapshots", run)["snapshots"]), 2)
        wait_for(lambda: "the host that has its snapshot" in self.muster.json("run", "show", fork["run"])["why"], "it waits for its host")
        self.muster.muster("host", "uncordon", host)
        wait_for(lambda: self.state(fork["run"]) == "running", "it runs")
        wait_for(lambda: self.exec(fork["run"], "test", "-e", "work.txt").returncode == 0, "in its own sandbox")
        refused = self.muster.muster("run", "snapshot", run, "--remove", fork["snapshot"]["id"], check=[5])
        self.assertIn("works on snapshot", refused.stderr)
        self.muster.muster("fleet", "cancel", fork["fleet"])
        self.muster.muster("fleet", "cancel", "long")
        wait_for(lambda: self.state(fork["run"]) == "cancelled" and self.state(run) == "cancelled", "both end")


if __name__ == "__main__":
    unittest.main()
