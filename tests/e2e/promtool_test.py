"""The metrics of a running musterd and the alert rules before promtool; skipped with a word where there is none."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

from installation import SOURCE, Installation, unix_get

class PromtoolTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.muster = Installation(embedded_host=False)
        cls.addClassCleanup(cls.muster.close)
        cls.muster.start()
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="mst-", dir="/var/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)

    @classmethod
    def get(cls, path):
        return unix_get(cls.muster.root / "run/muster/musterd.sock", path)

    def run_in(self, *args, check=True):
        done = subprocess.run(list(map(str, args)), cwd=self.directory, text=True, capture_output=True, timeout=200)
        if check:
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def test_promtool_accepts_the_metrics_and_the_alerts(self):
        if shutil.which("promtool") is None:
            self.skipTest("no promtool here: Debian's package prometheus has it")
        rules = self.run_in("promtool", "check", "rules", SOURCE / "tools/musterd/observability/alerts.yaml")
        self.assertIn("SUCCESS", rules.stdout + rules.stderr)
        checked = subprocess.run(["promtool", "check", "metrics"], input=self.get("/metrics"), text=True,
                                 capture_output=True)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)


if __name__ == "__main__":
    unittest.main()
