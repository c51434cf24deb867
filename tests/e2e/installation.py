"""A real installation for one test: musterd with its embedded host, the muster command, real repositories.

Everything lies in a fresh directory below /var/tmp, ports are picked by the kernel, and close() fails the test
when a mount, a cgroup, a container or a process of this installation is left behind.
"""

import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MUSTER_BIN_DIR", SOURCE / "build/release/bin"))
SOAK = bool(os.environ.get("MUSTER_SOAK"))

GIT_ENV = {
    "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ann Author", "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann Author", "GIT_COMMITTER_EMAIL": "ann@example.org",
}


def git(directory, *args, check=True, **kwargs):
    done = subprocess.run(["git", "-C", str(directory), *args], env=GIT_ENV, text=True,
                          capture_output=True, **kwargs)
    if check and done.returncode != 0:
        raise AssertionError(f"git {' '.join(args)} in {directory}: {done.stderr}")
    return done.stdout.strip()


def make_repository(path, files, branch="main"):
    """A bare repository at `path` with one commit of {name: text}; returns the commit."""
    work = pathlib.Path(tempfile.mkdtemp(dir="/var/tmp"))
    try:
        git(work, "init", "-q", "-b", branch)
        for name, text in files.items():
            target = work / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        git(work, "add", "-A", "-f")
        git(work, "commit", "-q", "-m", "Begin")
        path.parent.mkdir(parents=True, exist_ok=True)
        git(work, "clone", "-q", "--bare", ".", str(path))
        return git(work, "rev-parse", "HEAD")
    finally:
        shutil.rmtree(work)


def refs(repository):
    """Every ref of a repository and what it points to."""
    lines = git(repository, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split() for line in lines)


def require_npm(test):
    """Skips the test, with the reason, where nothing can be fetched with npm. Asks once: npm itself tries for a minute."""
    node = shutil.which("node")
    if not node or not shutil.which("npm") or not os.path.realpath(node).startswith("/usr/"):
        test.skipTest("npm and a node below /usr are needed")
    asked = subprocess.run(["npm", "view", "--fetch-retries=0", "--fetch-timeout=30000", "semver", "version"], text=True,
                           capture_output=True)
    if asked.returncode != 0:
        test.skipTest("no npm registry here: " + " ".join(asked.stderr.split())[:300])


def wait_for(condition, what, seconds=120):
    """Polls a condition of the outside world until it holds; the bound is a failure, never a pass."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def unix_get(path, target):
    """The body of GET `target` on a unix socket; anything but 200 is a failure."""
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(path))
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        body = response.read().decode()
        assert response.status == 200, f"{target}: {response.status} {body}"
        return body
    finally:
        connection.close()


class Installation:
    def __init__(self, slots=4, embedded_host=True, extra=()):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="mst-", dir="/var/tmp"))
        self.directory.chmod(0o755)
        self.root = self.directory / "r"
        self.slots = slots
        self.embedded_host = embedded_host
        self.extra = list(extra)
        self.engine = None

    # -- processes ---------------------------------------------------------------------------------

    def start(self):
        args = [str(BIN / "musterd"), "--root", str(self.root), "--link-address", "127.0.0.1:0",
                *self.extra]
        if self.embedded_host:
            args += ["--embedded-host", "--slots", str(self.slots)]
        log = open(self.directory / "musterd.log", "ab")
        self.engine = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True)
        log.close()
        wait_for(self.ready, "musterd is ready")
        return self

    def ready(self):
        assert self.engine.poll() is None, "musterd ended: " + self.log_tail()
        done = self.muster("host", "list", "--json", check=False)
        if done.returncode != 0:
            return False
        if not self.embedded_host:
            return True
        return any(host["state"] == "ready" for host in json.loads(done.stdout)["hosts"])

    def log_tail(self):
        return (self.directory / "musterd.log").read_text(errors="replace")[-4000:]

    def host_pids(self):
        """sandboxd processes of this installation."""
        return self._pids("sandboxd")

    def _pids(self, name):
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if (entry / "comm").read_text().strip() != name:
                    continue
                if str(self.root) in (entry / "cmdline").read_text().replace("\0", " "):
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def kill_engine(self):
        self.engine.send_signal(signal.SIGKILL)
        self.engine.wait()

    def kill_host(self):
        for pid in self.host_pids():
            os.kill(pid, signal.SIGKILL)

    def stop(self):
        if self.engine and self.engine.poll() is None:
            self.engine.terminate()
            self.engine.wait(timeout=90)

    # -- the command line --------------------------------------------------------------------------

    def muster(self, *args, check=True, timeout=600, cwd=None, **kwargs):
        done = subprocess.run([str(BIN / "muster"), "--root", str(self.root), *map(str, args)],
                              text=True, capture_output=True, timeout=timeout,
                              cwd=str(cwd or self.directory), stdin=subprocess.DEVNULL, **kwargs)
        if check and done.returncode not in ([0] if check is True else check):
            raise AssertionError(f"muster {' '.join(map(str, args))}: exit {done.returncode}\n"
                                 f"{done.stdout}\n{done.stderr}\n{self.log_tail()}")
        return done

    def json(self, *args, **kwargs):
        return json.loads(self.muster(*args, "--json", **kwargs).stdout)

    def runs(self, fleet):
        return {run["repository"]: run for run in self.json("run", "list", "--fleet", fleet)["runs"]}

    def pulls(self, fleet):
        return self.json("pr", "list", "--fleet", fleet)["pulls"]

    def write_fleet(self, text, **files):
        for name, content in files.items():
            path = self.directory / name.replace("__", ".")
            path.write_text(content)
            path.chmod(0o755)
        path = self.directory / "fleet.yaml"
        path.write_text(text)
        return path

    # -- the end -----------------------------------------------------------------------------------

    def leftovers(self):
        here = str(self.root)
        found = [line for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()
                 if here in line]
        sandboxes = self.root / "run/muster/s"
        if sandboxes.is_dir():
            found += [f"sandbox directory {name}" for name in os.listdir(sandboxes)]
        for name in ("conmon", "sandboxd", "runc"):
            found += [f"process {name} {pid}" for pid in self._pids(name)]
        own = "muster-" + hashlib.sha256(here.encode()).hexdigest()[:8]
        ids = {run for run in self._run_ids()}
        for base, directories, _ in os.walk("/sys/fs/cgroup"):
            found += [f"cgroup {base}/{d}" for d in directories if d == own or d.rsplit("-", 1)[0] in ids]
        return found

    def _run_ids(self):
        attempts = self.root / "var/lib/muster/logs"
        return [run.name for prefix in attempts.glob("*") for run in prefix.glob("*")]

    def close(self):
        self.stop()
        wait_for(lambda: not self.host_pids(), "the embedded host stops with its engine", 60)
        left = self.leftovers()
        shutil.rmtree(self.directory, ignore_errors=True)
        assert not left, "left behind:\n" + "\n".join(left)


class InstallationTest(unittest.TestCase):
    """One running installation per test method."""
    slots = 4

    def setUp(self):
        self.muster = Installation(slots=self.slots)
        self.addCleanup(self._end)
        self.muster.start()

    def _end(self):
        failed = any(error for _, error in getattr(self._outcome, "errors", [])) or \
            bool(getattr(getattr(self._outcome, "result", None), "failures", []))
        if failed:
            print(self.muster.log_tail())
        self.muster.close()
