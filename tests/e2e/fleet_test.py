"""One fleet over repositories of every fate; the outcome is checked from git alone."""

import pathlib
import unittest

from installation import InstallationTest, git, make_repository, refs

AGENT = """#!/usr/bin/env bash
set -euo pipefail
test "$(id -u)" = 1000
test "$(git rev-parse HEAD)" = "$MUSTER_BASE_SHA"
case "$(cat fate)" in
  change)    echo "moved by $MUSTER_FLEET" > moved.txt; echo "It moved." > "$MUSTER_OUTPUT/summary.md"
             mkdir -p "$MUSTER_OUTPUT/artifacts/bin"; echo "1 moved" > "$MUSTER_OUTPUT/artifacts/report.txt"
             head -c 3000000 /dev/zero | tr '\\0' x > "$MUSTER_OUTPUT/artifacts/large"
             printf '#!/bin/sh\\n' > "$MUSTER_OUTPUT/artifacts/bin/tool"; chmod +x "$MUSTER_OUTPUT/artifacts/bin/tool" ;;
  same)      ;;
  skip)      exit 77 ;;
  fail)      echo "no idea how" >&2; exit 3 ;;
  never)     exit 78 ;;
  hang)      exec sleep 600 ;;
  breaks)    echo broken > moved.txt ;;
  dies)      [ "$MUSTER_ATTEMPT" -gt 1 ] || exit 75; test -s "$MUSTER_FEEDBACK_FILE"; echo again > moved.txt ;;
  taken)     echo taken > moved.txt ;;
  delete)    git rm -q fate ;;
esac
"""

FLEET = """version: 1
name: fates
prompt: Move everything.
repositories:
  - path: repos/acme/*.git
agent:
  run: ./agent.sh
  timeout: 20s
verify:
  - {name: check, run: "! grep -q broken moved.txt 2>/dev/null"}
rollout:
  waves: [3, 100%]
  concurrency: 4
  halt: {failure_rate: 100%, min_runs: 10}
  retry: {max_attempts: 2, on: [infrastructure, agent], backoff: 1s}
  escalate: [alice]
delivery:
  branch: muster/fates
  commit: {message: "Move it", author: "Mover <mover@example.org>"}
"""

EXPECTED = {
    "change": ("delivered", "", 1), "same": ("unchanged", "", 1), "skip": ("skipped", "does_not_apply", 1),
    "fail": ("failed", "agent", 2), "never": ("failed", "agent", 1), "hang": ("failed", "agent", 2),
    "breaks": ("failed", "verification", 1), "dies": ("delivered", "", 2),
    "taken": ("skipped", "branch_exists", 1), "delete": ("delivered", "", 1),
}


class FleetTest(InstallationTest):
    def test_every_fate(self):
        repos = self.muster.directory / "repos" / "acme"
        bases = {fate: make_repository(repos / f"{fate}.git", {"fate": fate, "src/a.txt": "a\n"})
                 for fate in EXPECTED}
        git(repos / "taken.git", "update-ref", "refs/heads/muster/fates", bases["taken"])
        before = {fate: refs(repos / f"{fate}.git") for fate in EXPECTED}
        fleet = self.muster.write_fleet(FLEET, agent__sh=AGENT)

        done = self.muster.muster("fleet", "run", fleet, check=[1])
        self.assertIn("fates", done.stdout + done.stderr)

        runs = self.muster.runs("fates")
        self.assertEqual(len(runs), len(EXPECTED))
        for fate, (state, detail, attempts) in EXPECTED.items():
            run = runs[f"acme/{fate}"]
            got = (run["state"], run["class"] if state == "failed" else run["reason"], run["attempt"])
            self.assertEqual(got[0], state, (fate, run))
            if detail:
                self.assertEqual(got[1], detail, (fate, run))
            self.assertEqual(got[2], attempts, (fate, run))

        for fate, (state, _, attempts) in EXPECTED.items():
            repository = repos / f"{fate}.git"
            after = refs(repository)
            head = after.pop("refs/heads/muster/fates", None)
            expected = dict(before[fate])
            had = expected.pop("refs/heads/muster/fates", None)
            self.assertEqual(after, expected, f"{fate}: another ref was touched")
            if state != "delivered":
                self.assertEqual(head, had, f"{fate}: the branch must not move")
                continue
            self.assertEqual(git(repository, "rev-list", "--parents", "-n1", head),
                             f"{head} {bases[fate]}")
            self.assertEqual(git(repository, "log", "-1", "--format=%an <%ae>|%s", head),
                             "Mover <mover@example.org>|Move it")
            trailers = git(repository, "log", "-1", "--format=%(trailers:only)", head)
            self.assertIn("Muster-Fleet: fates", trailers)
            self.assertIn(f"Muster-Run: {runs[f'acme/{fate}']['id']}", trailers)
            git(repository, "fsck", "--strict")
            names = set(git(repository, "ls-tree", "-r", "--name-only", head).split())
            want = {"fate", "src/a.txt", "moved.txt"} if fate != "delete" else {"src/a.txt"}
            self.assertEqual(names, want)

        pulls = {pull["repository"]: pull for pull in self.muster.pulls("fates")}
        self.assertEqual(set(pulls), {f"acme/{f}" for f, e in EXPECTED.items() if e[0] == "delivered"})
        shown = self.muster.json("pr", "show", pulls["acme/change"]["id"])
        self.assertIn("It moved.", shown["body"])
        self.assertIn("Move everything.", shown["body"])
        self.assertIn("check", shown["body"])
        self.assertIn("+moved by fates", self.muster.muster("pr", "diff", shown["id"]).stdout)

        self.muster.muster("pr", "merge", shown["id"])
        merged = git(repos / "change.git", "show", "main:moved.txt")
        self.assertEqual(merged, "moved by fates")
        self.muster.muster("pr", "merge", shown["id"])  # merging what is merged is no error

        # The same file again continues: nothing is repeated.
        again = self.muster.muster("fleet", "run", fleet, check=[1])
        self.assertEqual({r: run["id"] for r, run in self.muster.runs("fates").items()},
                         {r: run["id"] for r, run in runs.items()}, again.stdout)

        # Another file under the same name is refused, with the difference.
        fleet.write_text(FLEET.replace("Move everything.", "Move nothing."))
        refused = self.muster.muster("fleet", "run", fleet, check=[5])
        self.assertIn("prompt", refused.stderr)

        logs = self.muster.muster("run", "logs", runs["acme/fail"]["id"]).stdout
        self.assertIn("no idea how", logs)
        report = self.muster.json("fleet", "report", "fates")
        self.assertEqual(report["outcomes"]["delivered"], 3)
        self.assertEqual(sum(report["outcomes"].values()), len(EXPECTED))
        self.assertEqual({(each["state"], each["reason"]): each["count"] for each in report["skipped"]},
                         {("skipped", "does_not_apply"): 1, ("skipped", "branch_exists"): 1,
                          ("unchanged", "no_change"): 1})
        self.assertIn("does_not_apply", self.muster.muster("fleet", "report", "fates").stdout)
        self.says_why(runs)
        self.keeps_artifacts(runs)

        # A retry's run takes the place of the old one, in the logs too.
        self.muster.muster("fleet", "retry", "fates", "--failed", "--repo", "acme/never", check=[1])
        logs = self.muster.directory / "logs"
        written = self.muster.json("fleet", "logs", "fates", "--output", logs)["logs"]
        self.assertEqual(len(written), len(EXPECTED))
        self.assertEqual(len(list(logs.iterdir())), len(EXPECTED))
        self.assertNotIn(runs["acme/never"]["id"], [each["run"] for each in written])

    def says_why(self, runs):
        """What is not there has a reason, and an exit code."""
        same = self.muster.muster("run", "diff", runs["acme/same"]["id"])
        self.assertEqual(same.stdout, "")
        self.assertIn("the agent changed nothing", same.stderr)
        broken = self.muster.muster("run", "diff", runs["acme/breaks"]["id"], check=[3])
        self.assertIn("failed at verify:check", broken.stderr)
        step = self.muster.muster("run", "logs", runs["acme/same"]["id"], "--step", "nostep", check=[3])
        self.assertIn("there are checkout, agent, verify:check, commit", step.stderr)
        for words in (("fleet", "merge", "nope"), ("pr", "list", "--fleet", "nope")):
            self.assertIn("there is no fleet nope", self.muster.muster(*words, check=[3]).stderr)

    def keeps_artifacts(self, runs):
        run = runs["acme/change"]["id"]
        listed = {each["path"]: each for each in self.muster.json("run", "artifacts", run)["artifacts"]}
        self.assertEqual({path: each["bytes"] for path, each in listed.items()},
                         {"bin/tool": 10, "large": 3_000_000, "report.txt": 8})
        self.assertIn("report.txt", self.muster.muster("run", "artifacts", run).stdout)
        self.assertIn("3 artifacts", self.muster.muster("run", "show", run).stdout)
        output = self.muster.directory / "artifacts"
        self.assertIn("Wrote 3 files", self.muster.muster("run", "artifacts", run, "--output", output).stdout)
        self.assertEqual((output / "report.txt").read_text(), "1 moved\n")
        self.assertEqual((output / "large").read_bytes(), b"x" * 3_000_000)
        self.assertEqual((output / "bin/tool").stat().st_mode & 0o777, 0o755)
        again = self.muster.muster("run", "artifacts", run, "--output", output, check=[5])
        self.assertIn("is there already", again.stderr)
        none = self.muster.muster("run", "artifacts", runs["acme/same"]["id"], check=[3])
        self.assertIn("has left no artefacts", none.stderr)

    def test_dry_run_touches_nothing(self):
        repos = self.muster.directory / "repos" / "acme"
        make_repository(repos / "change.git", {"fate": "change"})
        before = refs(repos / "change.git")
        fleet = self.muster.write_fleet(FLEET, agent__sh=AGENT)
        done = self.muster.muster("fleet", "run", fleet, "--dry-run")
        self.assertIn("+moved by fates", done.stdout)
        self.assertEqual(refs(repos / "change.git"), before)
        # A dry run is a fleet of its own: the real one may still follow under its name.
        (dry,) = [each["name"] for each in self.muster.json("fleet", "list")["fleets"]]
        run = self.muster.runs(dry)["acme/change"]
        self.assertEqual((run["state"], run["reason"]), ("skipped", "dry_run"))
        document = self.muster.json("fleet", "run", fleet, "--dry-run")
        self.assertEqual([each["repository"] for each in document["diffs"]], ["acme/change"])
        self.assertIn("+moved by fates", document["diffs"][0]["diff"])

    def test_one_line(self):
        repos = self.muster.directory / "repos" / "acme"
        for name in ("one", "two"):
            make_repository(repos / f"{name}.git", {"fate": "change"})
        (self.muster.directory / "repos.txt").write_text(
            f"# ours\n{repos}/one.git\n{repos}/two.git\n")
        script = self.muster.directory / "bump.sh"
        script.write_text("#!/bin/sh\necho \"$1\" > version\n")
        script.chmod(0o755)
        self.muster.muster("fleet", "run", "--repos", "repos.txt", "-B", "bump/it", "-t", "Bump it", "-m",
                           "Bump it", "--", "./bump.sh", "7.1")
        for name in ("one", "two"):
            self.assertEqual(git(repos / f"{name}.git", "show", "bump/it:version"), "7.1")


if __name__ == "__main__":
    unittest.main(verbosity=2)
