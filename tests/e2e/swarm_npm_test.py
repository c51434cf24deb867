"""A swarm of 30 facets over three published npm packages, checked from git and with node's own syntax check.

Script agents make real changes: license headers, quotes converted, lists of functions written, a function renamed in
all of its package. All of them write the same changelog, and groups of them change one line of a shared file: whoever
comes second conflicts, and does it again on the newer base. Skipped with a word where there is no npm registry.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from installation import GIT_ENV, InstallationTest, git, refs, require_npm
from npm_test import fetch, repository_from

AGENT = r"""#!/usr/bin/env bash
# Does its task, whose last line is: OPERATION WORD… PATTERN…
set -euo pipefail
shopt -s nullglob
facet=$(sed -n 's/.*"facet": "\([^"]*\)".*/\1/p' "$MUSTER_CONTEXT_FILE")
read -r -a task <<< "$(tail -n 1 "$MUSTER_PROMPT_FILE")"
set -- "${task[@]:1}"
contested() { sed -i "$2 s/\(\",\)\?$/ $facet\1/" "$1"; }  # FILE LINE: everybody's name on one line
case "${task[0]}" in
  header)
    for file in $*; do sed -i '1i // SPDX-License-Identifier: MIT' "$file"; done
    contested README.md 1 ;;
  quotes)
    for file in $*; do
      sed -i "s/require(\"\([^\"']*\)\")/require(<\1>)/; s/require('\([^\"']*\)')/require(\"\1\")/; s/require(<\([^>]*\)>)/require('\1')/" "$file"
    done
    contested LICENSE 1 ;;
  docs)
    mkdir -p docs
    for file in $*; do echo "- [$(basename "$file" .js)](../$file)"; done > "docs/$facet.md"
    contested package.json '/^  "description":/' ;;
  alias)  # DIRECTORY OLD NEW
    echo "module.exports = require('./$2.js');" > "$1/$3.js" ;;
  rename)  # DIRECTORY OLD NEW PATTERN…
    mv "$1/$2.js" "$1/$3.js"
    old=$2 new=$3; shift 3
    for file in $*; do sed -i "s/\b$old\b/$new/g" "$file"; done ;;
  broken)  # what node does not accept, until it is told
    if grep -q 'syntax failed' "${MUSTER_FEEDBACK_FILE:-/dev/null}"; then echo 'module.exports = 1;'; else echo 'function ('; fi > "$1" ;;
  stray)  # into others' files, until it is told
    if grep -q 'not in its scope: LICENSE.copy' "${MUSTER_FEEDBACK_FILE:-/dev/null}"; then cp LICENSE "$1"; else cp LICENSE LICENSE.copy; fi ;;
  idle) exit 0 ;;
  *) exit 78 ;;
esac
sed -i "1a - $facet" CHANGELOG.md
"""

# Every file is parsed as node --check does it, in one process; then the package's modules are loaded.
SYNTAX = r"""git ls-files 'src/*.js' 'lib/*.js' 'internal/*.js' ':(glob)*.js' | node -e '
const vm = require("vm"), fs = require("fs"), wrap = require("module").wrap;
for (const file of fs.readFileSync(0, "utf8").trim().split("\n"))
  new vm.Script(wrap(fs.readFileSync(file, "utf8").replace(/^#!.*/, "")), {filename: file});
'"""
LOAD = r"""for entry in src/index.js index.js; do [ ! -e "$entry" ] || node -e "require('./$entry')"; done"""

# Each package: its version, three headers, two quotes, two docs, a rename, and one that makes trouble.
PACKAGES = {
    "ramda": ("0.29.1", ["src/a*.js", "src/b*.js src/c*.js", "src/d*.js src/e*.js"], ["src/m*.js", "src/p*.js"],
              ["src/s*.js", "src/t*.js"], ("src/internal", "_has", "_hasOwn", ["src/**"], "src/*.js src/internal/*.js"),
              ("stray", "COPYING")),
    "validator": ("13.11.0", ["lib/isA*.js", "lib/isB*.js lib/isC*.js", "lib/isD*.js lib/isE*.js"],
                  ["lib/isL*.js", "lib/isP*.js lib/isR*.js"], ["lib/isM*.js", "lib/isS*.js"],
                  ("lib/util", "assertString", "assertText", ["lib/**"], "lib/*.js lib/util/*.js"),
                  ("broken", "lib/xbroken.js")),
    "async": ("3.2.5", ["a*.js", "c*.js d*.js", "e*.js"], ["f*.js", "m*.js"], ["r*.js", "s*.js"],
              ("internal", "wrapAsync", "asAsync", ["*.js", "internal/**"], "*.js internal/*.js"), ("idle", "nothing")),
}
SHARED = ["README.md", "LICENSE", "package.json", "CHANGELOG.md"]


def facets_of(package):
    """Ten facets in the order of integration."""
    _, headers, quotes, docs, (directory, old, new, area, files), (trouble, path) = PACKAGES[package]
    made = []

    def add(name, task, scope, needs=()):
        made.append({"id": f"{package}-{name}", "repository": package, "task": f"Improve {package}.\n{task}", "scope": scope,
                     "needs": [f"{package}-{need}" for need in needs], "budget": {"attempts": 2, "timeout": "2m"}})
    for n, files_of in enumerate(headers, 1):
        add(f"header-{n}", f"header {files_of}", files_of.split())
    for n, files_of in enumerate(quotes, 1):
        add(f"quotes-{n}", f"quotes {files_of}", files_of.split())
    for n, files_of in enumerate(docs, 1):
        add(f"docs-{n}", f"docs {files_of}", [f"docs/{package}-docs-{n}.md"])
    add("alias", f"alias {directory} {old} {new}", [f"{directory}/{new}.js"])
    add("trouble", f"{trouble} {path}", [path])
    names = [one["id"].removeprefix(package + "-") for one in made]
    add("rename", f"rename {directory} {old} {new} {files}", area, names)
    return made


class SwarmNpmTest(InstallationTest):
    slots = 24  # those that conflict begin together

    def make_packages(self):
        self.repositories, self.bases = {}, {}
        with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
            for name, (version, *_) in PACKAGES.items():
                tarball = fetch(name, version, scratch)
                path = self.muster.directory / f"npm/{name}.git"
                repository_from(tarball, path)
                work = pathlib.Path(scratch) / f"{name}-work"
                git(scratch, "clone", "-q", str(path), str(work))
                if (work / "LICENSE.txt").exists():
                    (work / "LICENSE.txt").rename(work / "LICENSE")
                if not (work / "CHANGELOG.md").exists():
                    (work / "CHANGELOG.md").write_text("# Changes\n")
                git(work, "add", "-A")
                git(work, "commit", "-q", "--allow-empty", "-m", "A changelog and a license")
                git(work, "push", "-q", "origin", "HEAD")
                self.repositories[name] = path
                self.bases[name] = git(path, "rev-parse", "HEAD")

    def write_swarm(self):
        agent = self.muster.directory / "agent.sh"
        agent.write_text(AGENT)
        agent.chmod(0o755)
        each = [facets_of(name) for name in PACKAGES]
        self.facets = [facet for row in zip(*each) for facet in row]
        document = {
            "name": "tidy", "prompt": "Tidy three packages.",
            "repositories": [{"id": name, "path": f"npm/{name}.git"} for name in PACKAGES], "shared": SHARED,
            "agent": {"run": "./agent.sh"}, "facets": self.facets,
            "environment": {"resources": {"memory": "256MiB"}},  # all of them at once, on a small machine too
            "verify": [{"name": "syntax", "run": SYNTAX, "timeout": "2m"}, {"name": "load", "run": LOAD, "timeout": "2m"}],
            "limits": {"agents": 30, "conflicts": 5, "batch": 10}}
        path = self.muster.directory / "tidy.yaml"
        path.write_text(json.dumps(document))
        return path

    def test_packages(self):
        require_npm(self)
        self.make_packages()
        path = self.write_swarm()
        self.assertEqual(len(self.facets), 30)
        done = self.muster.muster("swarm", "run", path, check=[0, 1])
        print(done.stdout)
        tree = {one["id"]: one for one in self.muster.json("swarm", "status", "tidy")["tree"]}
        self.assertEqual({name for name, one in tree.items() if one["state"] != "merged"}, {"async-trouble"}, tree)
        self.assertEqual(tree["async-trouble"]["state"], "unchanged")
        self.assertEqual(tree["ramda-trouble"]["evictions"], 1)
        self.assertGreaterEqual(tree["validator-trouble"]["evictions"], 1)
        contested = [name for name in tree if name.split("-")[1] in ("header", "quotes", "docs")]
        self.assertGreaterEqual(sum(tree[name]["evictions"] for name in contested), 10, tree)
        for package in PACKAGES:
            with self.subTest(package=package):
                self.check_package(package, tree)
        ledger = self.muster.json("swarm", "ledger", "tidy")
        self.assertTrue(ledger["proven"], ledger)
        fates = [one["fate"] for one in ledger["commits"]]
        self.assertEqual(fates.count("merged"), 29)
        self.assertEqual(fates.count("superseded"), sum(one["evictions"] for one in tree.values()))
        self.assertEqual(len(fates), fates.count("merged") + fates.count("superseded"))
        self.assertEqual(sorted(pull["id"] for pull in self.muster.pulls("tidy")),
                         sorted(f"npm/{name}#1" for name in PACKAGES))

    def check_package(self, package, tree):
        repository, base = self.repositories[package], self.bases[package]
        green = "muster-swarm/tidy/green"
        git(repository, "fsck", "--strict")
        self.assertEqual(refs(repository)["refs/heads/main"], base)
        with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
            made, alone = pathlib.Path(scratch) / "made", pathlib.Path(scratch) / "alone"
            git(scratch, "clone", "-q", "-b", green, str(repository), str(made))
            git(scratch, "clone", "-q", str(repository), str(alone))
            names = self.do_alone(package, alone, scratch)
            self.check_same(made, alone, names)
            changed = git(made, "diff", "--name-only", "--diff-filter=d", base, "HEAD", "--", "*.js").split()
            self.assertGreater(len(changed), 30)
            subprocess.run(["xargs", "-P2", "-n1", "node", "--check"], input="\n".join(changed), text=True, cwd=made, check=True)
            subprocess.run(["bash", "-ec", LOAD], cwd=made, check=True)
            old, new = PACKAGES[package][4][1:3]
            left = subprocess.run(["git", "grep", "-lw", old, "--",
                                   *(f":(glob){pattern}" for pattern in PACKAGES[package][4][4].split())], cwd=made, text=True,
                                  capture_output=True, env=GIT_ENV)
            self.assertEqual(left.stdout, "", f"{old} is {new} now")

    def do_alone(self, package, work, scratch):
        """What one agent makes that does all tasks of a package after one another."""
        names = []
        for facet in facets_of(package):
            trouble = facet["id"].endswith("trouble")
            files = {"context": json.dumps({"labels": {"facet": facet["id"]}}), "prompt": facet["task"],
                     "feedback": "syntax failed; not in its scope: LICENSE.copy" if trouble else ""}
            env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
            for name, text in files.items():
                path = pathlib.Path(scratch) / name
                path.write_text(text + "\n")
                env[f"MUSTER_{name.upper()}_FILE"] = str(path)
            subprocess.run(["bash", "-c", AGENT], cwd=work, env=env, check=True)
            if facet["task"].split()[-2] != "idle":
                names.append(facet["id"])
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", "Alone")
        return names

    def check_same(self, made, alone, names):
        """Files are the same, but for the order in which facets stand in what all of them write."""
        theirs = git(alone, "ls-files").splitlines()
        self.assertEqual(git(made, "ls-files").splitlines(), theirs)
        for path in theirs:
            if path not in SHARED and path != "COPYING":
                self.assertEqual((made / path).read_bytes(), (alone / path).read_bytes(), path)
        for path in SHARED:
            words = [sorted((where / path).read_text().replace('",', ' ",').split()) for where in (made, alone)]
            self.assertEqual(words[0], words[1], path)
        lines = (made / "CHANGELOG.md").read_text().splitlines()
        self.assertEqual(sorted(line for line in lines if line.removeprefix("- ") in names), sorted(f"- {name}" for name in names))


if __name__ == "__main__":
    unittest.main()
