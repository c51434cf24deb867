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
  bad) if grep -q 'be good' "$MUSTER_STEER_FILE"; then grep -q 'facets/bad:BAD' "$MUSTER_FEEDBACK_FILE"; echo good > facets/bad
       else echo BAD > facets/bad; fi ;;
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
            "verify": [{"name": "no BAD", "run": "echo left > left-behind; ! grep -r BAD facets", "timeout": "60s"}],
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
        files = git(self.repository, "ls-tree", "-r", "--name-only", green).splitlines()
        self.assertNotIn("facets/bad", files)
        self.assertNotIn("left-behind", files)  # what a verification leaves is no part of the outcome

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
        shown = self.muster.muster("console", *[word for line in ("swarms", "swarm better", "facet better bad", "ledger better")
                                                for word in ("--exec", line)]).stdout
        for text in ("better  completed with rejections", "└─ acme/api  green", "facets/bad:BAD", "every one accounted for"):
            self.assertIn(text, shown)
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
        self.assertRegex(shown, r"(?m)^  merges +\S+ into main$")
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

    def test_to_a_person(self):
        """What was sent back for the last time is for a person, who sees all of it, says something, and has it tried again."""
        path = self.write(swarm("person", [facet("bad"), facet("good")], conflicts=0))
        self.muster.muster("swarm", "run", path, check=[1])
        shown = self.muster.muster("swarm", "show", "person", "bad").stdout
        for text in ("Do bad", "facets/bad:BAD", "== no BAD failed with 1", "swarm steer person --facet bad", "swarm retry person"):
            self.assertIn(text, shown)
        self.muster.muster("console", "--exec", "steer person 'be good' facet=bad", check=[2])  # it was not confirmed
        self.muster.muster("console", "--exec", "steer person 'be good' facet=bad confirm=yes")
        self.muster.muster("swarm", "retry", "person", "--reason", "it was told")
        self.assertEqual({one["state"] for one in self.facets("person").values()}, {"merged"})
        self.assertTrue(self.check_ledger("person")["proven"])
        self.assertEqual(len(self.muster.pulls("person")), 1)
        self.assertIn("it was told", self.muster.muster("audit", "tail", "--action", "swarm.retry").stdout)
        self.muster.muster("swarm", "steer", "person", "more", check=[4])  # nothing is left to try again

    def test_environment(self):
        """Every run of a swarm has the environment that its file says: agents, verifications, and who judges them."""
        (self.muster.directory / "lib").mkdir()
        (self.muster.directory / "lib/words").write_text("blue\n")
        (self.muster.directory / "toolrc").write_text("colour=blue\n")
        (self.muster.root / "etc/muster/secrets").mkdir(parents=True, exist_ok=True)
        secret = self.muster.root / "etc/muster/secrets/MODEL_KEY"
        secret.write_text("k-123")
        secret.chmod(0o600)
        here = """
[ "$COLOUR" = blue ]; [ -n "$MODEL_KEY" ]; grep -q blue "$HOME/.toolrc"; [ -e "$HOME/ready" ]
grep -q blue "$MUSTER_AGENT_DIR/lib/words"; grep -q '"memory_bytes": 268435456' "$MUSTER_CONTEXT_FILE"
"""
        (self.muster.directory / "agent.sh").write_text("set -eu\n" + here + "touch facets/a; echo \"$MODEL_KEY\"\n")
        document = swarm("where", [{**facet("a"), "best_of": {"agents": 2, "score": self.script("score.sh", here + """
echo '{"score": 1}' > "$MUSTER_OUTPUT/result.json"
""")}}])
        document["agent"] = {"run": "./agent.sh", "files": ["lib"]}
        document["environment"] = {"env": {"COLOUR": "blue"}, "secrets": ["MODEL_KEY"], "setup": ['touch "$HOME/ready"'],
                                   "files": [{"source": "toolrc", "path": "/home/agent/.toolrc"}],
                                   "resources": {"memory": "256MiB"}}
        document["verify"] = [{"name": "here", "run": here.strip(), "timeout": "60s"}]
        del document["results"]
        self.muster.muster("swarm", "run", self.write(document))
        one = self.facets("where")["a"]
        self.assertEqual(one["state"], "merged")
        self.assertEqual([each["score"] for each in one["tries"]], [1, 1])
        self.assertNotIn("k-123", self.muster.muster("run", "logs", one["run"]["id"]).stdout)

    def test_a_fleets_run_is_steered(self):
        self.script("wait.sh", """
until grep -q 'go on' "$MUSTER_STEER_FILE"; do sleep 0.1; done
""")
        path = self.muster.directory / "fleet.yaml"
        path.write_text(json.dumps({"version": 1, "name": "told", "repositories": [{"path": "repos/acme/*.git"}],
                                    "agent": {"run": "./wait.sh"}, "verify": []}))
        self.muster.muster("fleet", "run", path, "--detach")

        def run():
            return self.muster.runs("told").get("acme/api", {})
        wait_for(lambda: run().get("state") == "running", "it runs")
        self.muster.muster("run", "steer", run()["id"], "go on")
        wait_for(lambda: run()["state"] == "unchanged", "it is told")
        self.muster.muster("run", "steer", run()["id"], "and on", check=[4])

    def script(self, name, text):
        path = self.muster.directory / name
        path.write_text("#!/usr/bin/env bash\nset -euo pipefail\n" + text)
        path.chmod(0o755)
        return {"run": f"./{name}"}

    def test_planned_chosen_resolved_and_reduced(self):
        """A planner whose first plan is wrong and which plans again with notes, a facet that three agents try, a resolver
        of conflicts, results under a schema, a template, a reducer run."""
        planner = self.script("plan.sh", """
context=$(cat "$MUSTER_CONTEXT_FILE")
if grep -q '"round": 2' <<< "$context"; then
  grep -q 'look at the end' <<< "$context"
  plan='{"facets": [{"id": "end", "task": "End", "scope": ["parts/end"]}]}'
elif [ -e "${MUSTER_FEEDBACK_FILE:-/none}" ]; then
  grep -q 'is not within the scope of plan' "$MUSTER_FEEDBACK_FILE"
  plan='{"facets": [{"id": "a", "task": "Do a", "scope": ["parts/a"]},
                    {"id": "b", "task": "Do b", "scope": ["parts/b"], "needs": ["a"]}]}'
else
  plan='{"facets": [{"id": "a", "task": "Do a", "scope": ["other.txt"]}]}'
fi
echo "$plan" > "$MUSTER_OUTPUT/result.json"
""")
        self.script("agent.sh", """
facet=$(sed -n 's/.*"facet": "\\([^"]*\\)".*/\\1/p' "$MUSTER_CONTEXT_FILE")
mkdir -p parts
result='{"count": 1'
case "$facet" in
  plan.a) echo a > parts/a; result="$result, \\"notes\\": \\"look at the end\\"" ;;
  plan.*) name=${facet#plan.}; test -e parts/a; echo "$name" > "parts/$name" ;;
  best) n=$(sed -n 's/.*"candidate": \\([0-9]\\),*$/\\1/p' "$MUSTER_CONTEXT_FILE"); echo "$n" > best ;;
  same-*) echo "by $facet" > shared.txt; echo "$facet" > "facets/$facet" ;;
  unfit) [ -e "${MUSTER_FEEDBACK_FILE:-/none}" ] || result='{"wrong": 1' ;;
esac
echo "$result}" > "$MUSTER_OUTPUT/result.json"
""")
        score = self.script("score.sh", """
n=$(cat best); echo "{\\"score\\": $(( n == 1 ? 9 : n ))}" > "$MUSTER_OUTPUT/result.json"
""")
        resolver = self.script("resolve.sh", """
grep -q '^<<<<<<<' shared.txt
grep -q 'asked of same-' "$MUSTER_FEEDBACK_FILE"
sed -i '/^[<=>]\\{7\\}/d' shared.txt
""")
        reducer = self.script("reduce.sh", """
grep -q '"missing": \\[\\]' "$MUSTER_CONTEXT_FILE"
echo "{\\"answers\\": $(grep -c '"count": 1' "$MUSTER_CONTEXT_FILE")}" > "$MUSTER_OUTPUT/result.json"
""")
        document = swarm("whole", [
            {**facet("plan", ["parts/**"]), "planner": {"rounds": 2}, "agent": planner},
            {**facet("best", ["best"]), "best_of": {"agents": 3, "score": score}},
            facet("same-1", ["facets/same-1", "shared.txt"]), facet("same-2", ["facets/same-2", "shared.txt"]),
            facet("unfit"), facet("last", needs=["plan"])])
        document["resolver"] = resolver
        document["results"] = {
            "schema": {"required": ["count"]}, "reducer": reducer,
            "values": {"count": {"kind": "sum", "from": "/count"},
                       "story": {"kind": "template", "text": "{{values.count.value}} of it:\n{{#facets}}- {{id}}\n{{/facets}}"}}}
        self.muster.muster("swarm", "run", self.write(document))
        facets = self.facets("whole")
        states = {name: one["state"] for name, one in facets.items()}
        self.assertEqual(states, {"plan": "unchanged", "best": "merged", "same-1": "merged", "same-2": "merged",
                                  "unfit": "unchanged", "last": "unchanged", "plan.a": "merged", "plan.b": "merged",
                                  "plan.end": "merged"}, facets)
        self.assertEqual(facets["plan.end"]["owner"], "plan")
        self.assertEqual(facets["plan"]["parts"]["plans"], 2)
        self.assertEqual(facets["unfit"]["runs"], 2)
        self.assertEqual(sum(facets[f"same-{n}"]["resolves"] for n in (1, 2)), 1)
        self.assertEqual(sum(facets[f"same-{n}"]["evictions"] for n in (1, 2)), 0)
        green = "muster-swarm/whole/green"
        self.assertEqual(git(self.repository, "show", f"{green}:best"), "1")
        self.assertEqual(git(self.repository, "show", f"{green}:parts/end"), "end")
        self.assertEqual(set(git(self.repository, "show", f"{green}:shared.txt").splitlines()), {"by same-1", "by same-2"})
        ledger = self.check_ledger("whole")
        self.assertTrue(ledger["proven"], ledger)
        fates = [one["fate"] for one in ledger["commits"] if one["facet"] == "best"]
        self.assertEqual(sorted(fates), ["merged", "superseded", "superseded"])
        self.check_line("whole", [one for one in facets.values() if one["state"] == "merged"])
        results = self.muster.json("swarm", "report", "whole")["results"]
        self.assertEqual(results["reduced"], {"answers": 8})
        self.assertEqual(results["values"]["count"]["value"], 8)
        self.assertIn("8 of it:\n- best", results["values"]["story"]["markdown"])
        self.assertEqual([(one["facet"], one["to"], one["given"]) for one in results["notes"]], [("plan.a", "plan", True)])
        self.assertIn("8 of it:", self.muster.muster("swarm", "report", "whole").stdout)

    def test_files_that_programs_write(self):
        """A package-lock.json of npm workspaces and a list by a declared command, both changed by every facet: made anew on the
        merged tree, verified, committed, and accounted for."""
        lock = {"name": "all", "version": "1.0.0", "lockfileVersion": 3, "requires": True,
                "packages": {"": {"name": "all", "version": "1.0.0", "workspaces": ["packages/*"]}}}
        package = {"name": "all", "version": "1.0.0", "private": True, "workspaces": ["packages/*"]}
        npm = self.muster.directory / "repos/acme/npm.git"
        base = make_repository(npm, {"package.json": json.dumps(package), "package-lock.json": json.dumps(lock, indent=2) + "\n",
                                     "facets/.keep": "", "gen/all.list": ""})
        self.script("agent.sh", """
facet=$(sed -n 's/.*"facet": "\\([^"]*\\)".*/\\1/p' "$MUSTER_CONTEXT_FILE")
mkdir -p "packages/$facet"
echo "{\\"name\\": \\"$facet\\", \\"version\\": \\"1.0.0\\"}" > "packages/$facet/package.json"
npm install --package-lock-only --ignore-scripts --no-audit --no-fund --offline
touch "facets/$facet"; ls facets > gen/all.list
""")
        self.script("relist.sh", 'ls ../facets > "$MUSTER_FILE"\n')
        names = ["one", "two", "three", "four"]
        document = swarm("locks", [facet(name, [f"packages/{name}/**", f"facets/{name}"]) for name in names])
        document["repositories"] = [{"id": "npm", "path": "repos/acme/npm.git"}]
        document["shared"] = ["package-lock.json", "gen/all.list"]
        document["merge"] = {"drivers": [{"path": "gen/*.list", "run": "./relist.sh"}]}
        document["verify"] = [{"name": "whole", "timeout": "60s", "run":
                               "for p in packages/*; do grep -q \"\\\"$p\\\"\" package-lock.json; done; ls facets | diff - gen/all.list"}]
        del document["results"]
        self.muster.muster("swarm", "run", self.write(document))
        green = "muster-swarm/locks/green"
        facets = self.facets("locks")
        self.assertEqual({one["state"] for one in facets.values()}, {"merged"}, facets)
        made = json.loads(git(npm, "show", f"{green}:package-lock.json"))["packages"]
        self.assertLessEqual({f"packages/{name}" for name in names}, set(made))
        self.assertEqual(git(npm, "show", f"{green}:gen/all.list").splitlines(), sorted(names))
        ledger = self.check_ledger("locks")
        self.assertTrue(ledger["proven"], ledger)
        remade = [one for one in ledger["commits"] if one["remade"]]
        self.assertGreater(len(remade), 0)
        line = git(npm, "rev-list", "--first-parent", f"{base}..{green}").splitlines()
        for one in remade:
            self.assertIn(one["commit"], line)
            self.assertIsNone(one["facet"])
            parent = git(npm, "rev-list", "--parents", "-n1", one["commit"]).split()[1:]
            self.assertEqual(len(parent), 1)
            changed = git(npm, "diff", "--name-only", parent[0], one["commit"]).splitlines()
            self.assertLessEqual(set(changed), {"package-lock.json", "gen/all.list"})
        self.assertEqual(len(line), len(names) + len(remade))
        self.assertEqual(sum(one["evictions"] for one in facets.values()), 0, facets)
        self.assertIn("package-lock.json", {path for one in facets.values() for path in one["by_driver"]})
        self.assertIn("make files anew", self.muster.json("pr", "show", "acme/npm#1")["body"])
        self.assertIn(" anew", self.muster.muster("swarm", "ledger", "locks").stdout)

        # Somebody puts a commit of his own on top: the ledger must notice.
        tree = git(npm, "rev-parse", f"{base}^{{tree}}")
        forged = git(npm, "commit-tree", "-m", "Anew", "-p", f"{green}", tree)
        git(npm, "update-ref", f"refs/heads/{green}", forged)
        kinds = {one["kind"] for one in self.check_ledger("locks", 1)["findings"]}
        self.assertIn("stranger", kinds)

    def test_steered_and_converged(self):
        """A message reaches who is at work, who is tried again and who begins later, through a kill -9 of musterd; three answers
        of four are enough."""
        self.script("agent.sh", """
facet=$(sed -n 's/.*"facet": "\\([^"]*\\)".*/\\1/p' "$MUSTER_CONTEXT_FILE")
case "$facet" in
  one) for i in $(seq 600); do [ "$MUSTER_ATTEMPT" -gt 1 ] && break; sleep 0.1; done
       grep -q 'be brief' "$MUSTER_FEEDBACK_FILE"; grep -q 'only you' "$MUSTER_CONTEXT_FILE" ;;
  two) grep -q 'be brief' "$MUSTER_CONTEXT_FILE"; ! grep -q 'only you' "$MUSTER_CONTEXT_FILE" ;;
  three) sleep 60 ;;
  live) until grep -q 'the last word' "$MUSTER_STEER_FILE"; do sleep 0.1; done
        [ "$MUSTER_ATTEMPT" = 1 ]; ! grep -q 'only you' "$MUSTER_STEER_FILE"
        [ "$(grep -oE 'be brief|the last word' "$MUSTER_STEER_FILE" | xargs)" = "be brief the last word" ] ;;
esac
echo '{"count": 1, "usage": {"input_tokens": 5, "output_tokens": 2, "cost_usd": 0.25}}' > "$MUSTER_OUTPUT/result.json"
""")
        document = swarm("steered", [facet("one"), facet("two", needs=["one"]), facet("live"), facet("three")])
        document["results"] = {"converge": {"answers": 3}}
        document["facets"][0]["budget"] = {"attempts": 2, "timeout": "3s"}
        self.muster.muster("swarm", "run", self.write(document), "--detach")
        for name in ("one", "live"):
            wait_for(lambda: (self.facets("steered").get(name, {}).get("run") or {}).get("state") == "running", f"{name} runs")
        self.muster.muster("swarm", "steer", "steered", "be brief")
        self.muster.muster("swarm", "steer", "steered", "--facet", "one", "only you")
        self.muster.muster("swarm", "steer", "steered", "--facet", "nobody", "hello", check=[3])
        self.muster.kill_engine()
        self.muster.start()
        self.muster.muster("swarm", "steer", "steered", "the last word")

        def shown():
            return self.muster.json("swarm", "status", "steered")
        wait_for(lambda: shown()["state"] == "completed_with_rejections", "it converges", 120)
        states = {name: one["state"] for name, one in self.facets("steered").items()}
        self.assertEqual(states, {"one": "unchanged", "two": "unchanged", "three": "rejected", "live": "unchanged"})
        self.assertIn("3 results are enough", shown()["reason"])
        self.assertEqual(shown()["messages"], 3)
        self.assertEqual(shown()["used"], {"tokens": 21, "cost_usd": 0.75})
        self.assertEqual(self.muster.json("swarm", "report", "steered")["results"]["missing"], ["three"])


if __name__ == "__main__":
    unittest.main()
