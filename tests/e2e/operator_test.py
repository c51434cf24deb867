"""Operators from elsewhere: TLS, tokens with roles and scopes, and an audit log that tells of everything."""

import json
import os
import shutil
import subprocess
import unittest

from installation import BIN, Installation, make_repository, wait_for

FLEET = """version: 1
name: {name}
prompt: Wait for a host.
repositories: [{{path: "repos/*.git"}}]
agent: {{run: "true"}}
verify: []
delivery: {{branch: muster/{name}}}
"""


class OperatorTest(unittest.TestCase):
    def setUp(self):
        self.muster = Installation(embedded_host=False, extra=["--https", "127.0.0.1:0"])
        self.addCleanup(self.muster.close)
        self.muster.start()
        self.ca = self.muster.root / "var/lib/muster/ca/ca.pem"

    # -- helpers -----------------------------------------------------------------------------------

    def where(self):
        return json.loads((self.muster.root / "run/muster/musterd.json").read_text())

    def musterd(self, *args, check=True):
        done = subprocess.run([str(BIN / "musterd"), "--root", str(self.muster.root), *args],
                              text=True, capture_output=True)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def token(self, name, *args):
        return self.musterd("token", "create", name, *args).stdout.strip()

    def remote(self, token, *args, ca=None):
        """The muster command as somebody on another machine runs it."""
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "MUSTER_TOKEN": token,
               "MUSTER_URL": f"https://localhost:{self.where()['https_port']}"}
        if ca is not False:
            env["MUSTER_CA"] = str(ca or self.ca)
        return subprocess.run([str(BIN / "muster"), *map(str, args)], text=True, capture_output=True,
                              env=env, cwd=str(self.muster.directory), stdin=subprocess.DEVNULL)

    def fleet(self, name):
        make_repository(self.muster.directory / "repos/a.git", {"a.txt": name}) \
            if not (self.muster.directory / "repos").exists() else None
        path = self.muster.write_fleet(FLEET.format(name=name))
        self.muster.muster("fleet", "run", path, "--detach")

    def audit(self, *args):
        out = self.muster.muster("audit", "tail", "-n", "1000", "--json", *args).stdout
        return [json.loads(line) for line in out.splitlines()]

    # -- tests -------------------------------------------------------------------------------------

    def test_roles_scopes_and_revocation(self):
        self.fleet("web-1")
        self.fleet("db-1")
        viewer = self.token("vera", "--role", "viewer")
        operator = self.token("otto", "--role", "operator", "--fleet", "web-*")
        self.assertNotIn(viewer, (self.muster.root / "var/lib/muster/tokens.json").read_text())

        listed = self.remote(viewer, "fleet", "list", "--json")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertEqual(len(json.loads(listed.stdout)["fleets"]), 2)
        refused = self.remote(viewer, "fleet", "pause", "web-1")
        self.assertEqual(refused.returncode, 4, refused.stderr)
        self.assertIn("vera is viewer, and this needs operator", refused.stderr)

        self.assertEqual(len(json.loads(self.remote(operator, "fleet", "list", "--json").stdout)["fleets"]), 1)
        self.assertEqual(self.remote(operator, "fleet", "pause", "db-1").returncode, 3)
        paused = self.remote(operator, "fleet", "pause", "web-1", "--reason", "lunch")
        self.assertEqual(paused.returncode, 0, paused.stderr)

        self.assertEqual(self.remote("", "fleet", "list").returncode, 4)
        self.assertEqual(self.remote("mst_nonsense", "fleet", "list").returncode, 4)
        untrusted = self.remote(viewer, "fleet", "list", ca=False)
        self.assertEqual(untrusted.returncode, 6)
        self.assertIn("--ca FILE or MUSTER_CA", untrusted.stderr)

        self.musterd("token", "revoke", "vera")
        self.assertEqual(self.remote(viewer, "fleet", "list").returncode, 4)
        self.assertIn("revoked", self.musterd("token", "list").stdout)

        # Who did what stands in the log, whether a step decided it or a door was shut.
        wait_for(lambda: any(e["action"] == "fleet.pause" for e in self.audit()), "the pause is in the log")
        entries = self.audit()
        pause = next(e for e in entries if e["action"] == "fleet.pause")
        self.assertEqual((pause["who"], pause["target"], pause["outcome"], pause["detail"]),
                         ("otto", "default/fleet/web-1", "decided", "lunch"))
        asked = next(e for e in entries if e["action"] == "POST /v1/fleets/{name}/pause"
                     and e["outcome"] == "200")
        self.assertEqual(asked["correlation"], pause["correlation"])
        refusals = [e for e in entries if e["outcome"] == "refused"]
        self.assertTrue(any(e.get("who") == "vera" for e in refusals))
        self.assertTrue(any("who" not in e and e["from"].startswith("127.0.0.1:") for e in refusals))
        self.assertEqual([e["target"] for e in entries if e["action"] == "token.revoke"], ["vera"])

    def test_the_log_survives_kill_and_tells_of_every_change_to_it(self):
        self.fleet("bump")
        for _ in range(5):
            self.muster.muster("fleet", "pause", "bump")
            self.muster.muster("fleet", "resume", "bump")
        self.muster.kill_engine()  # At once: what the steps decided may not be in the chain yet.
        self.muster.start()
        wait_for(lambda: [e["action"] for e in self.audit() if e["outcome"] == "decided"] ==
                 ["fleet.create"] + ["fleet.pause", "fleet.resume"] * 5, "every decision is there, once")
        self.assertEqual(self.muster.muster("audit", "verify").stdout[:6], "sound:")
        self.muster.stop()  # Signs the head.

        log = self.muster.root / "var/lib/muster/audit"
        original = self.muster.directory / "audit"
        shutil.copytree(log, original)
        segment = next(log.glob("*.audit"))

        def verified_after(change):
            shutil.rmtree(log)
            shutil.copytree(original, log)
            lines = segment.read_text().splitlines(keepends=True)
            segment.write_text("".join(change(lines)))
            self.muster.start()
            done = self.muster.muster("audit", "verify", check=False)
            self.muster.kill_engine()
            return done.returncode, done.stdout

        for name, change, finding in [
                ("changed", lambda l: "".join(l).replace("fleet/bump", "fleet/bomb", 1).splitlines(keepends=True),
                 "does not fit its hash"),
                ("removed", lambda l: l[:3] + l[4:], "entries were removed"),
                ("reordered", lambda l: l[:3] + [l[4], l[3]] + l[5:], "changed places"),
                ("truncated", lambda l: l[:4], "its end was removed" ),
        ]:
            with self.subTest(name):
                code, said = verified_after(change)
                if name == "truncated" and "is not the one that was signed" in said:
                    finding = "is not the one that was signed"  # New entries took the numbers of the lost ones.
                self.assertEqual(code, 1, said)
                self.assertIn(finding, said)
                self.assertIn("NOT SOUND", said)

    def test_export_check_elsewhere_prune(self):
        self.fleet("bump")
        wait_for(lambda: any(e["action"] == "fleet.create" for e in self.audit()), "the creation is in the log")
        export = self.muster.directory / "export"
        self.muster.muster("audit", "export", "--output", export)
        key = self.muster.root / "etc/muster/audit.key.pub"
        checked = self.muster.muster("audit", "verify", "--file", export, "--key", key)
        self.assertIn("sound", checked.stdout)
        self.muster.muster("audit", "prune", "--export", export, "--reason", "archived")
        self.assertIn("exported and pruned up to", self.muster.muster("audit", "verify").stdout)
        export.write_text(export.read_text().replace("bump", "bomb"))
        self.assertEqual(self.muster.muster("audit", "verify", "--file", export, "--key", key,
                                            check=False).returncode, 1)
        self.assertEqual(self.muster.muster("audit", "prune", "--export", export, check=False).returncode, 5)


if __name__ == "__main__":
    unittest.main()
