"""An agent CLI from npm, in a sandbox on the host's network, with a secret, against a stub model on loopback."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from installation import Installation, git, make_repository, require_npm

PACKAGE = "@anthropic-ai/claude-code@1.0.128"
KEY = "sk-muster-e2e-4f1c0d7a2b"

FLEET = """version: 1
name: agent-cli
prompt: Move everything.
repositories: [{{path: "repos/acme/*.git"}}]
environment:
  network: host
  secrets: [ANTHROPIC_API_KEY]
  resources: {{memory: 3GiB, cpus: 2}}
  env:
    ANTHROPIC_BASE_URL: http://127.0.0.1:{port}
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1"
agent:
  run: '"{cli}" -p "$(cat "$MUSTER_PROMPT_FILE")" --dangerously-skip-permissions'
  timeout: 3m
verify: [{{name: moved, run: "grep -q model moved.txt"}}]
delivery: {{branch: muster/agent-cli}}
"""


class AgentCliTest(unittest.TestCase):
    def setUp(self):
        require_npm(self)
        # /opt belongs to the host image that a sandbox sees.
        self.cli = pathlib.Path(tempfile.mkdtemp(prefix="muster-e2e-", dir="/opt"))
        self.addCleanup(shutil.rmtree, self.cli)
        self.cli.chmod(0o755)
        done = subprocess.run(["npm", "install", "--silent", "--omit=optional", "--no-audit", "--no-fund",
                               "--prefix", str(self.cli), PACKAGE], text=True, capture_output=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.model = subprocess.Popen(["node", str(pathlib.Path(__file__).with_name("stub_model.js"))],
                                      env={**os.environ, "EXPECTED_KEY": KEY}, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end_model)
        self.port = int(self.model.stdout.readline())

        self.muster = Installation()
        self.addCleanup(self.muster.close)
        etc = self.muster.root / "etc/muster"
        (etc / "secrets").mkdir(parents=True)
        (etc / "sandboxd.yaml").write_text("allow_host_network: true\n")
        secret = etc / "secrets/ANTHROPIC_API_KEY"
        secret.write_text(KEY + "\n")
        secret.chmod(0o600)
        self.muster.start()

    def end_model(self):
        self.model.kill()
        self.model.wait()
        self.model.stdout.close()

    def test_agent_cli(self):
        repository = self.muster.directory / "repos/acme/api.git"
        make_repository(repository, {"a.txt": "a\n"})
        fleet = self.muster.write_fleet(
            FLEET.format(port=self.port, cli=self.cli / "node_modules/.bin/claude"))
        self.muster.muster("fleet", "run", fleet)
        self.assertEqual(git(repository, "show", "muster/agent-cli:moved.txt"), "moved by a model")
        run = self.muster.runs("agent-cli")["acme/api"]
        self.assertIn("Done.", self.muster.muster("run", "logs", run["id"]).stdout)
        self.secret_is_nowhere()

    def secret_is_nowhere(self):
        self.muster.stop()
        for base, directories, files in os.walk(self.muster.directory):
            directories[:] = [d for d in directories if d != "secrets"]
            for name in files:
                path = pathlib.Path(base) / name
                if path.is_file():
                    self.assertNotIn(KEY.encode(), path.read_bytes(), path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
