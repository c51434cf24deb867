"""Checkpoints and several repositories, from the fleet file to the pull request, over kills of both daemons."""

import unittest

from installation import InstallationTest, git, make_repository, wait_for

FLEET = """version: 1
name: long
repositories: [{path: repos/acme/api.git}]
workspace: {repositories: [{path: repos/acme/protocol.git}]}
agent:
  run: |
    if [ -n "${MUSTER_CHECKPOINT-}" ]; then
      cat one.txt > two.txt
      exit 0
    fi
    cp /repositories/protocol/version.txt one.txt
    echo kept
    until [ -e $MUSTER_OUTPUT/never ]; do sleep 0.1; done
  timeout: 15s
checkpoint: {interval: 1s}
verify: [{name: both, run: cmp one.txt /repositories/protocol/version.txt && cmp one.txt two.txt}]
rollout: {retry: {max_attempts: 2, on: [agent], backoff: 1s}}
delivery: {branch: muster/long}
"""


class CheckpointTest(InstallationTest):
    def test_the_next_attempt_goes_on_where_the_last_one_was(self):
        api = self.muster.directory / "repos/acme/api.git"
        make_repository(api, {"a.txt": "a\n"})
        protocol = make_repository(self.muster.directory / "repos/acme/protocol.git", {"version.txt": "7\n"})
        self.muster.muster("fleet", "run", self.muster.write_fleet(FLEET), "--detach")
        run = wait_for(lambda: next(iter(self.muster.runs("long").values()), None), "the run is there")["id"]

        def attempt(n):
            found = [a for a in self.muster.json("run", "show", run)["attempts"] if a["attempt"] == n]
            return found[0] if found else {}

        kept = wait_for(lambda: attempt(1).get("checkpoint"), "its work is kept")
        self.assertEqual(kept["base_sha"], git(api, "rev-parse", "main"))
        self.muster.kill_engine()
        self.muster.start()
        self.assertEqual(attempt(1)["checkpoint"]["commit"], kept["commit"])
        wait_for(lambda: self.muster.json("run", "show", run)["state"] == "delivered", "it is delivered")
        first, second = attempt(1), attempt(2)
        self.assertEqual((first["class"], first["reason"]), ("agent", "timed_out"))
        self.assertEqual(second["resumed"], first["checkpoint"]["commit"])
        self.assertEqual(second["base_sha"], kept["base_sha"])
        self.assertEqual(second["other_bases"], {"protocol": protocol})
        self.assertEqual(git(api, "show", "muster/long:one.txt"), "7")
        self.assertEqual(git(api, "show", "muster/long:two.txt"), "7")
        self.assertEqual(git(api, "log", "--format=%P", "-1", "muster/long"), kept["base_sha"])
        self.assertIn("began with checkpoint", self.muster.muster("run", "show", run).stdout)


if __name__ == "__main__":
    unittest.main()
