"""`muster run cp`: files out of a running sandbox and in; a sandbox that sends a hostile archive."""

import json
import os
import subprocess
import tarfile
import unittest

from installation import BIN, InstallationTest, make_repository, wait_for

FLEET = """version: 1
name: {name}
repositories: [{{path: repos/acme/api.git}}]
environment: {{env: {{PATH: "{path}/usr/bin:/bin"}}}}
agent:
  run: until [ -e $MUSTER_OUTPUT/done ]; do sleep 0.1; done
  idle_timeout: 30m
verify: []
delivery: {{branch: muster/{name}}}
"""

# A tar of the sandbox's own making, under the name of the real one.
HOSTILE = """#!/usr/bin/python3
import io, sys, tarfile
out = tarfile.open(fileobj=sys.stdout.buffer, mode="w|")
def add(name, kind=tarfile.REGTYPE, link="", text=b"hostile"):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, 0o4755
    member.size = len(text) if kind == tarfile.REGTYPE else 0
    out.addfile(member, io.BytesIO(text))
wanted = sys.argv[-1]
add("lib", tarfile.DIRTYPE)
add("lib/link", tarfile.SYMTYPE, "/etc")
add("lib/pipe", tarfile.FIFOTYPE)
add("lib/a.txt")
add({"lib": "lib/../../escaped.txt", "abs": "/escaped.txt"}.get(wanted, "other/escaped.txt"))
out.close()
"""


class CopyTest(InstallationTest):
    def begin(self, name, files, path=""):
        make_repository(self.muster.directory / "repos/acme/api.git", files)
        fleet = self.muster.write_fleet(FLEET.format(name=name, path=path))
        self.muster.muster("fleet", "run", fleet, "--detach")
        run = wait_for(lambda: next(iter(self.muster.runs(name).values()), None), "the run is there")["id"]
        wait_for(lambda: self.muster.json("run", "show", run)["state"] == "running", "it runs")
        wait_for(lambda: self.run_exec(run, "true").returncode == 0, "its step runs", 30)
        return run

    def run_exec(self, run, *command):
        return self.here("run", "exec", run, "--", *command)

    def here(self, *args, input=None, env=None, text=True):
        argv = [str(BIN / "muster"), "--root", str(self.muster.root), *map(str, args)] if env is None else \
               [str(BIN / "muster"), *map(str, args)]
        return subprocess.run(argv, input=input, capture_output=True, text=text, timeout=120, env=env,
                              stdin=subprocess.DEVNULL if input is None else None)

    def copy(self, *args, **kwargs):
        done = self.here("run", "cp", *args, **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def end(self, run):
        # The end that this asks for may come before its own.
        self.assertIn(self.run_exec(run, "sh", "-c", "touch $MUSTER_OUTPUT/done").returncode, (0, 137))
        wait_for(lambda: self.muster.json("run", "show", run)["state"] in ("delivered", "unchanged"), "it ends")

    def test_out_and_in(self):
        run = self.begin("copies", {"lib/a.txt": "a\n", "lib/deep/b.txt": "b\n", "-dash": "dash\n"})
        here = self.muster.directory / "here"
        here.mkdir()

        # A file by its name, into a directory, under another name; a whole path; a name like an option.
        self.copy(f"{run}:lib/a.txt", here)
        self.copy(f"{run}:/work/lib/a.txt", here / "other.txt")
        self.copy(f"{run}:-dash", here)
        self.assertEqual([(here / n).read_text() for n in ("a.txt", "other.txt", "-dash")], ["a\n", "a\n", "dash\n"])
        # A directory: below one that is there, as one that is not, only what lies in it.
        self.copy(f"{run}:lib", here)
        self.copy(f"{run}:lib/", here / "new")
        (here / "flat").mkdir()
        told = json.loads(self.copy(f"{run}:lib/.", here / "flat", "--json").stdout)
        self.assertEqual((told["run"], told["bytes"], told["warnings"]), (run, 4, []))
        for top in ("lib", "new", "flat"):
            self.assertEqual((here / top / "deep/b.txt").read_text(), "b\n")
        # A stream; much of it, unspoiled.
        self.assertEqual(self.run_exec(run, "sh", "-c", "head -c 5000000 /dev/urandom > big; sha256sum big").returncode, 0)
        stream = self.copy(f"{run}:big", "-", text=False).stdout
        (here / "stream.tar").write_bytes(stream)
        with tarfile.open(here / "stream.tar") as tar:
            self.assertEqual(tar.getnames(), ["big"])
        # In: a tree, a file under another name, a stream; with modes and links.
        tool = here / "tool"
        tool.mkdir()
        (tool / "run.sh").write_text("#!/bin/sh\necho hello from $0\n")
        (tool / "run.sh").chmod(0o755)
        (tool / "link").symlink_to("run.sh")
        (tool / "big").write_bytes(os.urandom(3_000_000))
        self.copy(tool, f"{run}:lib")
        self.copy(tool, f"{run}:/home/agent/moved")
        self.copy(tool / "run.sh", f"{run}:lib/named.sh")
        self.copy("-", f"{run}:/tmp", input=stream, text=False)
        said = self.run_exec(run, "sh", "-c", "lib/tool/link; lib/named.sh; cmp /tmp/big big && cmp lib/tool/big /home/agent/moved/big && echo same")
        self.assertEqual(said.stdout, "hello from lib/tool/link\nhello from lib/named.sh\nsame\n", said.stderr)

        # What can't be.
        for args, code in (((f"{run}:none", here), 1), ((here / "none", f"{run}:lib"), 3), ((f"{run}:lib", here / "no/where"), 3),
                           ((tool, f"{run}:no/where/"), 1), ((tool / "run.sh", f"{run}:no/"), 3), ((here, here), 2),
                           ((f"{run}:a", f"{run}:b"), 2), (("ZZZZZZ:lib", here), 3)):
            done = self.here("run", "cp", *args)
            self.assertEqual(done.returncode, code, f"{args}: {done.stderr}")
        self.assertIn("none", self.here("run", "cp", f"{run}:none", here).stderr)

        # Each in the audit log, by its command.
        out = self.muster.muster("audit", "tail", "-n", "1000", "--json").stdout
        begun = [e["detail"] for e in map(json.loads, out.splitlines()) if e["action"] == "run.exec"]
        self.assertIn('["tar","-c","-f","-","-C","./lib","--","a.txt"]', begun)
        self.assertIn('["tar","-x","-f","-","-C","./lib"]', begun)
        self.end(run)
        late = self.here("run", "cp", f"{run}:lib", here)
        self.assertEqual(late.returncode, 5, late.stderr)

    def test_a_hostile_sandbox_writes_nothing_outside(self):
        run = self.begin("hostile", {"bin/tar": HOSTILE, "lib/a.txt": "a\n"}, path="/work/bin:")
        self.assertEqual(self.run_exec(run, "chmod", "+x", "bin/tar").returncode, 0)
        here = self.muster.directory / "here/target"
        here.mkdir(parents=True)
        for asked, why in (("lib", '".."'), ("abs", "not asked for"), ("else", "not asked for")):
            done = self.here("run", "cp", f"{run}:{asked}", here)
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertIn(why, done.stderr)
        found = sorted(str(p.relative_to(here.parent)) for p in here.parent.rglob("*"))
        self.assertEqual(found, ["target", "target/lib", "target/lib/a.txt"])
        self.assertEqual((here / "lib/a.txt").stat().st_mode & 0o7000, 0)
        self.assertFalse((self.muster.directory / "escaped.txt").exists())
        # One without tar, as a shell says it.
        self.assertEqual(self.run_exec(run, "sh", "-c", "printf '#!/bin/sh\\nexit 127\\n' > bin/tar").returncode, 0)
        none = self.here("run", "cp", f"{run}:lib", here)
        self.assertEqual(none.returncode, 4, none.stderr)
        self.assertIn("has no tar", none.stderr)
        self.end(run)


if __name__ == "__main__":
    unittest.main()
