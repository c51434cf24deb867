"""A fleet with a real change over repositories made from published npm packages, checked from git alone.

The change: engines.node becomes ">=18" in package.json, `new Buffer(` becomes `Buffer.from(`; `node --check` over every
file is the verification. Skipped with a word where there is no npm registry.
"""

import concurrent.futures
import json
import pathlib
import subprocess
import tarfile
import tempfile
import unittest

from installation import InstallationTest, git, make_repository, refs, require_npm

LIST = pathlib.Path(__file__).with_name("npm_packages.txt")
MINIMUM = 40

AGENT = r"""#!/usr/bin/env bash
set -euo pipefail
node - <<'JS'
const fs = require('fs');
const manifest = JSON.parse(fs.readFileSync('package.json', 'utf8'));
manifest.engines = {...manifest.engines, node: '>=18'};
fs.writeFileSync('package.json', JSON.stringify(manifest, null, 2) + '\n');
JS
{ git ls-files -z '*.js' | xargs -0 -r grep -lZ 'new Buffer(' || true; } | xargs -0 -r sed -i 's/new Buffer(/Buffer.from(/g'
"""

VERIFY = "git ls-files -z '*.js' '*.cjs' '*.mjs' | xargs -0 -r -n1 node --check && " \
         "node -p \"require('./package.json').engines.node\" | grep -qx '>=18'"

FLEET = f"""version: 1
name: node-18
prompt: Say that Node.js 18 is needed, and stop using what it removed.
repositories: [{{path: "npm/*.git"}}]
agent: {{run: ./agent.sh, timeout: 2m}}
verify:
  - name: syntax
    if_exists: package.json
    timeout: 2m
    run: |
      {VERIFY}
rollout: {{waves: [5, 100%], concurrency: 8}}
delivery: {{branch: muster/node-18, commit: {{message: "Need Node.js 18"}}}}
"""


def fetch(name, version, into):
    done = subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=into, text=True,
                          capture_output=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-300:])
    return pathlib.Path(into) / done.stdout.strip().splitlines()[-1]


def repository_from(tarball, path):
    files = {}
    with tarfile.open(tarball) as archive:
        for member in archive:
            if not member.isfile():
                continue
            try:
                text = archive.extractfile(member).read().decode()
            except UnicodeDecodeError:
                continue
            files[member.name.split("/", 1)[1]] = text
    return make_repository(path, files)


class NpmTest(InstallationTest):
    slots = 6

    def test_real_packages(self):
        require_npm(self)
        listed = [line.split() for line in LIST.read_text().splitlines() if line and line[0] != "#"]
        with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                jobs = {name: pool.submit(fetch, name, version, tempfile.mkdtemp(dir=scratch))
                        for name, version in listed}
            errors = {name: job.exception() for name, job in jobs.items() if job.exception()}
            tarballs = {name: job.result() for name, job in jobs.items() if name not in errors}
            self.assertGreaterEqual(len(tarballs), MINIMUM, errors)
            repos = self.muster.directory / "npm"
            bases = {name: repository_from(tarball, repos / f"{name}.git")
                     for name, tarball in tarballs.items()}
        before = {name: refs(repos / f"{name}.git") for name in bases}
        fleet = self.muster.write_fleet(FLEET, agent__sh=AGENT)
        self.muster.muster("fleet", "run", fleet, check=[0, 1], timeout=900)

        runs = self.muster.runs("node-18")
        self.assertEqual(len(runs), len(bases))
        delivered = 0
        for name, base in bases.items():
            with self.subTest(package=name):
                delivered += self.check(repos / f"{name}.git", base, before[name], runs[f"npm/{name}"])
        self.assertGreaterEqual(delivered, MINIMUM)

    def check(self, repository, base, before, run):
        """One repository against what the change should have made of it; 1 when it was delivered."""
        after = refs(repository)
        head = after.pop("refs/heads/muster/node-18", None)
        self.assertEqual(after, before, "another ref was touched")
        git(repository, "fsck", "--strict")
        manifest = json.loads(git(repository, "show", f"{base}:package.json"))
        names = git(repository, "ls-tree", "-r", "--name-only", base).splitlines()
        expected = {}
        manifest["engines"] = {**manifest.get("engines", {}), "node": ">=18"}
        expected["package.json"] = json.dumps(manifest, indent=2, ensure_ascii=False)
        for name in names:
            if name.endswith(".js"):
                text = git(repository, "show", f"{base}:{name}")
                if "new Buffer(" in text:
                    expected[name] = text.replace("new Buffer(", "Buffer.from(")
        if run["state"] != "delivered":
            # Only a package whose own files node does not accept may fail, and then nothing was pushed.
            self.assertEqual((run["state"], run["class"]), ("failed", "verification"), run)
            self.assertIsNone(head)
            return 0
        self.assertEqual(git(repository, "rev-list", "--parents", "-n1", head), f"{head} {base}")
        self.assertEqual(git(repository, "log", "-1", "--format=%an <%ae>", head),
                         "Muster <muster@localhost>")
        changed = git(repository, "diff", "--name-only", base, head).splitlines()
        self.assertEqual(sorted(changed), sorted(expected))
        for name, text in expected.items():
            self.assertEqual(git(repository, "show", f"{head}:{name}").strip(), text.strip(), name)
        return 1


if __name__ == "__main__":
    unittest.main(verbosity=2)
