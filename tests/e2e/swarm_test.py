"""A swarm, end to end: facets as runs in sandboxes, merged in batches, verified, in one pull request; the ledger proves
every commit from git, through kill -9 of musterd too."""

import json
import os
import random
import time
import unittest

from installation import SOAK, InstallationTest, git, make_repository, refs, wait_for

AGENT = """#!/usr/bin/env bash
set -euo pipefail
facet=$(sed -n 's/.*"facet": "\\([^"]*\\)".*/\\1/p' "$MUSTER_CONTEXT_FILE")
echo "$facet on $MUSTER_BASE_SHA"
mkdir -p facets
case "$facet" in
  same-*) echo "by $facet" > shared.txt; echo "$facet" > "facets/$facet" ;;
  log-*) echo "- $facet" >> CHANGELOG.md; echo "$facet" > "facets/$facet" ;;
  after) cat facets/same-1 > facets/after ;;
  wild) if [ -e "${MUSTER_FEEDBACK_FILE:-/none}" ]; then grep -q 'not in its scope: other.txt' "$MUSTER_FEEDBACK_FILE"
          echo wild > facets/wild; else echo wild > other.txt; fi ;;
  bad) echo BAD > facets/bad ;;
  nothing) ;;
  fails) exit 78 ;;
  *) sleep 0.3; echo "$facet" > "facets/$facet" ;;
esac
echo "{\\"count\\": 1, \\"names\\": [\\"$facet\\"]}" > "$MUSTER_OUTPUT/result.json"
"""


def facet(name, scope=None, needs=()):
    scope = scope or [f"facets/{name}"]
    return {"id": name, "task": f"Do {name}", "scope": scope, "needs": list(needs),
            "budget": {"attempts": 2, "timeout": "60s"}}


def swarm(name, facets, **limits):
    return {"name": name, "prompt": "Everything better", "repositories": [{"id": "api", "path": "repos/acme/api.git"}],
            "shared": ["shared.txt", "CHANGELOG.md"], "agent": {"run": "./agent.sh"},
            "verify": [{"name": "no BAD", "run": "! grep -rq BAD facets", "timeout": "60s"}],
            "results": {"schema": {"required": ["count", "names"]},
                        "values": {"count": {"kind": "sum", "from": "/count"}, "names": {"kind": "concat", "from": "/names"}}},
            "facets": facets, "limits": {"agents": 4, "conflicts": 3, "batch": 4, **limits}}


class SwarmTest(InstallationTest):
    def setUp(self):
        super().setUp()
        self.repository = self.muster.directory / "repos/acme/api.git"
        self.base = make_repository(self.repository, {"shared.txt": "nobody\n", "CHANGELOG.md": "# Changes\n",
                                                      "facets/.keep": "", "other.txt": "other\n"})
        script = self.muster.directory / "agent.sh"
        script.write_text(AGENT)
        script.chmod(0o755)

    def write(self, document):
        path = self.muster.directory / f"{document['name']}.yaml"
        path.write_text(json.dumps(document))  # JSON is YAML
        return path

    def facets(self, name):
        return {one["id"]: one for one in self.muster.json("swarm", "status", name)["tree"]}

    def check_ledger(self, name, code=0):
        done = self.muster.muster("swarm", "ledger", name, "--json", check=[code])
        return json.loads(done.stdout)

    def check_line(self, name, merged):
        """Every merged facet's commit is reachable from green by its merge, and main did not move."""
        green = f"muster-swarm/{name}/green"
        self.assertEqual(refs(self.repository)["refs/heads/main"], self.base)
        line = git(self.repository, "rev-list", "--first-parent", f"{self.base}..{green}").splitlines()
        self.assertEqual(len(line), len(merged))
        for one in merged:
            self.assertIn(one["merge"], line)
            parents = git(self.repository, "rev-list", "--parents", "-n1", one["merge"]).split()
            self.assertEqual(parents[2], one["commit"])

    def test_outcome(self):
        document = swarm("better", [
            facet("same-1", ["facets/same-1", "shared.txt"]), facet("same-2", ["facets/same-2", "shared.txt"]),
            facet("same-3", ["facets/same-3", "shared.txt"]),
            facet("log-1", ["facets/log-1", "CHANGELOG.md"]), facet("log-2", ["facets/log-2", "CHANGELOG.md"]),
            facet("after", needs=["same-1"]), facet("wild"), facet("bad"), facet("nothing"),
            facet("fails"), facet("needs-fails", needs=["fails"])])
        path = self.write(document)
        self.assertIn("11 facets in 1 repository", self.muster.muster("swarm", "validate", path).stdout)
        done = self.muster.muster("swarm", "run", path, check=[1])  # some are rejected
        self.assertIn("better  completed with rejections  7 of 11 facets merged", done.stdout)

        facets = self.facets("better")
        states = {name: one["state"] for name, one in facets.items()}
        self.assertEqual({name for name, state in states.items() if state == "merged"},
                         {"same-1", "same-2", "same-3", "log-1", "log-2", "after", "wild"}, facets)
        self.assertEqual(states["nothing"], "unchanged")
        self.assertEqual({name for name, state in states.items() if state == "rejected"},
                         {"bad", "fails", "needs-fails"})
        self.assertIn("it needs fails", facets["needs-fails"]["why"])
        self.assertIn("verification of the integrated tree failed", facets["bad"]["why"])
        self.assertEqual(facets["bad"]["evictions"], 4)
        self.assertEqual(facets["wild"]["evictions"], 1)
        self.assertGreater(sum(facets[f"same-{n}"]["evictions"] for n in (1, 2, 3)), 0)

        self.check_line("better", [one for one in facets.values() if one["state"] == "merged"])
        green = "muster-swarm/better/green"
        self.assertEqual(git(self.repository, "show", f"{green}:facets/after"), "same-1")
        self.assertEqual(set(git(self.repository, "show", f"{green}:CHANGELOG.md").splitlines()),
                         {"# Changes", "- log-1", "- log-2"})
        self.assertEqual(git(self.repository, "show", f"{green}:other.txt"), "other")
        self.assertNotIn("facets/bad", git(self.repository, "ls-tree", "-r", "--name-only", green))

        ledger = self.check_ledger("better")
        self.assertTrue(ledger["proven"], ledger)
        self.assertEqual(ledger["open"], 0)
        fates = [one["fate"] for one in ledger["commits"]]
        self.assertEqual(fates.count("merged"), 7)
        self.assertGreater(fates.count("superseded"), 0)
        self.assertEqual(fates.count("rejected"), 1)

        values = self.muster.json("swarm", "report", "better")["results"]["values"]
        self.assertEqual(values["count"]["value"], 8)  # of what was merged, and of "nothing"
        self.assertEqual(values["names"]["missing"], ["bad", "fails", "needs-fails"])
        self.assertIn('"same-2"', self.muster.muster("swarm", "report", "better").stdout)

        pulls = self.muster.pulls("better")
        self.assertEqual([pull["id"] for pull in pulls], ["acme/api#1"])
        body = self.muster.json("pr", "show", "acme/api#1")["body"]
        self.assertIn("| same-1 |", body)
        self.assertIn("- needs-fails: it needs fails", body)
        self.assertIn("passed its verification", body)
        self.assertIn("wild was sent back 1 time", body)

        self.assertEqual([one["name"] for one in self.muster.json("swarm", "list")["swarms"]], ["better"])
        self.assertIn("merged as", self.muster.muster("swarm", "show", "better", "same-2").stdout)
        self.assertIn("same-1 on ", self.muster.muster("run", "logs", facets["same-1"]["run"]["id"]).stdout)
        self.muster.muster("swarm", "cancel", "better", check=[4])
        self.muster.muster("swarm", "status", "nobody", check=[3])
        self.muster.muster("fleet", "cancel", "better", check=[4])
        # The same file again continues; another content under the name is a conflict.
        self.muster.muster("swarm", "run", path, check=[1])
        document["prompt"] = "Something else"
        self.muster.muster("swarm", "run", self.write(document), check=[5])

        # Somebody drops a merge from the line: the ledger must notice.
        last = git(self.repository, "rev-parse", green)
        git(self.repository, "update-ref", f"refs/heads/{green}", f"{green}^1")
        found = self.check_ledger("better", 1)
        lost = [one for one in ledger["commits"] if one["merge"] == last][0]
        self.assertIn(("lost", lost["commit"]), [(one["kind"], one["commit"]) for one in found["findings"]])
        git(self.repository, "update-ref", f"refs/heads/{green}", last)
        self.check_ledger("better")
        shown = self.muster.muster("pr", "show", "acme/api#1").stdout
        self.assertRegex(shown, r"(?m)^  merges +\S+ into the default branch$")
        self.assertRegex(shown, r"(?m)^  swarm +\S+$")
        self.assertNotIn("0 files", shown)
        self.muster.muster("pr", "merge", "acme/api#1")
        self.assertEqual(git(self.repository, "show", "main:facets/after"), "same-1")

    def test_kill_the_engine(self):
        names = [f"f{n:02}" for n in range(40 if SOAK else 12)]
        facets = [facet(name) for name in names]
        facets += [facet(f"same-{n}", [f"facets/same-{n}", "shared.txt"]) for n in range(3)]
        path = self.write(swarm("kills", facets))
        seed = int(os.environ.get("MUSTER_SEED", random.randrange(1 << 30)))
        print(f"MUSTER_SEED={seed}")
        moments = random.Random(seed)
        self.muster.muster("swarm", "run", path, "--detach")
        for _ in range(12 if SOAK else 4):
            time.sleep(moments.uniform(0.1, 2))  # the moment is the test's input, not a condition
            self.muster.kill_engine()
            self.muster.start()

        def ended():
            done = self.muster.muster("swarm", "status", "kills", "--json", check=False)
            return done.returncode == 0 and json.loads(done.stdout)["state"].startswith(("completed", "stopped"))
        wait_for(ended, "the swarm ends", 300)
        after = self.facets("kills")
        self.assertEqual({one["state"] for one in after.values()}, {"merged"}, after)
        self.check_line("kills", list(after.values()))
        ledger = self.check_ledger("kills")
        merged = [one["facet"] for one in ledger["commits"] if one["fate"] == "merged"]
        self.assertEqual(sorted(merged), sorted(after))  # none lost, none twice
        self.assertEqual(len(self.muster.pulls("kills")), 1)

    def test_pause_resume_drain(self):
        path = self.write(swarm("held", [facet(f"f{n}") for n in range(6)], agents=1))
        self.muster.muster("swarm", "run", path, "--detach")
        self.muster.muster("swarm", "pause", "held", "--reason", "lunch")
        self.muster.muster("fleet", "resume", "held", check=[4])  # its swarm's word counts

        def held():
            return self.muster.json("swarm", "status", "held")
        wait_for(lambda: held()["counts"]["working"] == 0 or self.muster.json("fleet", "status", "held")["state"] == "paused",
                 "nothing new is placed")
        self.assertIn("lunch", held()["paused"])
        self.assertGreater(held()["counts"]["waiting"], 0)
        self.muster.muster("swarm", "resume", "held")
        self.assertIsNone(held()["paused"])
        self.muster.muster("swarm", "drain", "held", "--reason", "enough of it")
        wait_for(lambda: held()["state"] == "stopped", "it is drained")
        self.assertIn("enough of it", held()["reason"])
        counts = held()["counts"]
        self.assertGreater(counts["rejected"], 0)
        self.assertEqual(counts["rejected"] + counts["merged"], 6)
        self.check_line("held", [one for one in self.facets("held").values() if one["state"] == "merged"])
        self.check_ledger("held")
        self.muster.muster("swarm", "retry", "held")
        self.assertEqual(held()["counts"]["merged"], 6)

    def test_cancel_and_bad_files(self):
        slow = {"run": "sleep 60"}
        path = self.write({**swarm("slow", [facet("a")]), "agent": slow})
        self.muster.muster("swarm", "run", path, "--detach")
        wait_for(lambda: (self.facets("slow").get("a", {}).get("run") or {}).get("state") == "running", "a runs")
        self.muster.muster("swarm", "cancel", "slow", "--reason", "enough")
        wait_for(lambda: self.muster.json("swarm", "status", "slow")["state"] == "cancelled", "it is cancelled")
        self.assertIn("enough", self.facets("slow")["a"]["why"])
        wait_for(lambda: self.muster.json("fleet", "status", "slow")["state"] == "cancelled", "its runs ended")
        self.check_ledger("slow")
        overlap = swarm("overlap", [facet("a", ["facets/**"]), facet("b", ["facets/b"])])
        done = self.muster.muster("swarm", "run", self.write(overlap), check=[2])
        self.assertIn("can be the same path", done.stderr)


if __name__ == "__main__":
    unittest.main()
