"""The API's description before judges from npm: a validator, a client generator, and a compiler over what it makes.

Skipped with a word where there is no npm or no registry. That a running musterd serves exactly this document, and no
other addresses, is held by the unit tests.
"""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

from installation import SOURCE, require_npm

PACKAGES = ["@redocly/cli@1.34.5", "openapi-typescript@7.6.1", "typescript@5.4.5"]

CLIENT = """
import type { paths, components } from "./types";
type Fleets = paths["/v1/fleets"]["get"]["responses"]["200"]["content"]["application/json"];
type Create = paths["/v1/fleets"]["post"]["requestBody"]["content"]["application/json"];
const page: Fleets = { fleets: [], next: null };
const problem: components["schemas"]["Problem"] =
  { type: "https://muster.dev/problems/invalid", title: "", status: 400, detail: "", code: "invalid" };
const create: Create = {
  spec: {}, repositories: [{ repository: "a/b", url: "u", canonical_url: "c" }], dry_run: false };
// @ts-expect-error: a state that is none
const wrong: components["schemas"]["RunState"] = "sleeping";
export { page, problem, create, wrong };
"""


class OpenApiToolsTest(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="mst-", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, self.directory)

    def run_in(self, *args, check=True):
        done = subprocess.run(list(map(str, args)), cwd=self.directory, text=True, capture_output=True,
                              timeout=400)
        if check:
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def test_description_is_valid_and_makes_a_typed_client(self):
        require_npm(self)
        self.run_in("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", ".", *PACKAGES)
        tools = self.directory / "node_modules/.bin"
        shutil.copy(SOURCE / "tools/musterd/openapi.yaml", self.directory)
        # The validator's own recommended rules, without a configuration of ours; its warnings are advice.
        self.run_in(tools / "redocly", "lint", "openapi.yaml")
        self.run_in(tools / "openapi-typescript", "openapi.yaml", "-o", "types.ts")
        (self.directory / "client.ts").write_text(CLIENT)
        self.run_in(tools / "tsc", "--noEmit", "--strict", "--skipLibCheck", "client.ts")
        # The judges judge: a document with a reference that leads nowhere is refused.
        text = (self.directory / "openapi.yaml").read_text()
        self.assertIn("#/components/schemas/Problem", text)
        (self.directory / "openapi.yaml").write_text(
            text.replace("#/components/schemas/Problem", "#/components/schemas/Trouble", 1))
        self.assertNotEqual(self.run_in(tools / "redocly", "lint", "openapi.yaml", check=False).returncode, 0)


if __name__ == "__main__":
    unittest.main()
