"""kill -9 of musterd, of sandboxd and of both at random moments: no run lost, none delivered twice."""

import os
import random
import signal
import subprocess
import time
import unittest

from installation import BIN, SOAK, InstallationTest, git, make_repository, refs, wait_for

REPOSITORIES = 60 if SOAK else 16
KILLS = 12 if SOAK else 4

AGENT = """#!/usr/bin/env bash
set -euo pipefail
for i in 1 2 3 4 5; do echo "line $i of $REPOSITORY"; sleep 0.1; done
echo "$REPOSITORY" > moved.txt
"""

FLEET = """version: 1
name: kills
prompt: Survive.
repositories:
  - path: repos/acme/*.git
agent: {run: ./agent.sh, timeout: 60s}
verify:
  - {name: check, run: "grep -q acme moved.txt"}
rollout:
  waves: [100%]
  concurrency: 8
  retry: {max_attempts: 8, on: [infrastructure], backoff: 1s}
delivery: {branch: muster/kills}
"""


class KillTest(InstallationTest):
    def run_with(self, kill):
        repos = self.muster.directory / "repos" / "acme"
        bases = {f"r{i:03}": make_repository(repos / f"r{i:03}.git", {"a.txt": f"{i}\n"})
                 for i in range(REPOSITORIES)}
        fleet = self.muster.write_fleet(FLEET, agent__sh=AGENT)
        seed = int(os.environ.get("MUSTER_SEED", random.randrange(1 << 30)))
        print(f"MUSTER_SEED={seed}")
        moments = random.Random(seed)
        self.muster.muster("fleet", "run", fleet, "--detach")
        for _ in range(KILLS):
            time.sleep(moments.uniform(0.05, 1.5))  # the moment is the test's input, not a condition
            kill()
        def ended():
            done = self.muster.muster("fleet", "status", "kills", "--json", check=False)
            return done.returncode in (0, 1) and '"completed' in done.stdout
        wait_for(ended, "the fleet finishes", 300)

        runs = self.muster.runs("kills")
        self.assertEqual(len(runs), REPOSITORIES)
        for name, base in bases.items():
            run = runs[f"acme/{name}"]
            self.assertEqual(run["state"], "delivered", run)
            after = refs(repos / f"{name}.git")
            self.assertEqual(set(after), {"refs/heads/main", "refs/heads/muster/kills"})
            self.assertEqual(after["refs/heads/main"], base)
            self.assertEqual(git(repos / f"{name}.git", "rev-list", "--parents", "-n1", "muster/kills"),
                             f"{after['refs/heads/muster/kills']} {base}")
        pulls = self.muster.pulls("kills")
        self.assertEqual(sorted(pull["id"] for pull in pulls), sorted(f"acme/{n}#1" for n in bases))
        run = self.muster.json("run", "show", runs["acme/r000"]["id"])
        log = self.muster.muster("run", "logs", run["id"]).stdout
        self.assertEqual(log.count("line 5 of acme/r000"), 1, log)

    def kill_engine(self):
        self.muster.kill_engine()
        self.muster.start()

    def kill_host(self):
        self.muster.kill_host()
        wait_for(self.muster.ready, "the host is back")

    def kill_both(self):
        self.muster.kill_engine()
        self.muster.kill_host()
        self.muster.start()

    def test_engine(self):
        self.run_with(self.kill_engine)

    def test_host(self):
        self.run_with(self.kill_host)

    def test_both(self):
        self.run_with(self.kill_both)

    def tearDown(self):
        # What the journal says must add up after all this.
        self.muster.stop()
        checked = subprocess.run([str(BIN / "musterd"), "--root", str(self.muster.root), "check"],
                                 text=True, capture_output=True)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
