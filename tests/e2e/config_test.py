"""The configuration as an operator meets it: what is set by whom, every mistake at once, and SIGHUP, which brings a new
log level, a new certificate and a reverse proxy's users into a running musterd, and nothing of a file that is wrong."""

import http.client
import json
import signal
import ssl
import subprocess
import unittest

from installation import BIN, Installation, wait_for

PROXY = """proxy_user_header: X-Forwarded-Email
proxy_groups_header: X-Forwarded-Groups
proxy_roles: {muster-admins: admin, developers: viewer}
"""


class ConfigTest(unittest.TestCase):
    def setUp(self):
        self.muster = Installation(embedded_host=False, extra=["--https", "127.0.0.1:0"])
        self.addCleanup(self.muster.close)
        self.file = self.muster.root / "etc/muster/musterd.yaml"
        self.file.parent.mkdir(parents=True)

    # -- helpers -----------------------------------------------------------------------------------

    def musterd(self, *args, check=True):
        done = subprocess.run([str(BIN / "musterd"), "--root", str(self.muster.root), *map(str, args)], text=True,
                              capture_output=True, timeout=60)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def log(self):
        return (self.muster.directory / "musterd.log").read_text(errors="replace")

    def reload(self, text):
        """What musterd says of it."""
        self.file.write_text(text)
        before = self.log().count("SIGHUP: ")
        self.muster.engine.send_signal(signal.SIGHUP)
        wait_for(lambda: self.log().count("SIGHUP: ") > before, "musterd says what it made of the file")
        return self.log().rsplit("SIGHUP: ", 1)[1]

    def ask(self, path="/v1/whoami", ca=None, **headers):
        """Over TLS; the status, the document, and who the certificate is from."""
        where = json.loads((self.muster.root / "run/muster/musterd.json").read_text())
        trust = ssl.create_default_context(cafile=str(ca or self.muster.root / "var/lib/muster/ca/ca.pem"))
        connection = http.client.HTTPSConnection("localhost", where["https_port"], timeout=60, context=trust)
        try:
            connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            issuer = dict(pair[0] for pair in connection.sock.getpeercert()["issuer"])
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), issuer.get("commonName")
        finally:
            connection.close()

    def audit(self, *args):
        tail = self.muster.muster("audit", "tail", "-n", "1000", "--json", *args).stdout
        return [json.loads(line) for line in tail.splitlines()]

    def certificate(self):
        """A certificate for localhost that signs itself, as a company's own would be."""
        made = [self.muster.directory / f"own.{end}" for end in ("pem", "key")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=acme", "-addext", "subjectAltName=DNS:localhost",
                        "-out", str(made[0]), "-keyout", str(made[1])], check=True, capture_output=True)
        return made

    # -- tests -------------------------------------------------------------------------------------

    def test_each_setting_says_where_it_comes_from(self):
        self.file.write_text("# of this machine\nslots: 3\nlog_level: warn\n")
        text = self.musterd("config", "show").stdout
        self.assertRegex(text, rf"(?m)^slots: +3 +# {self.file}:2$")
        self.assertRegex(text, rf"(?m)^log_level: +warn +# {self.file}:3, SIGHUP$")
        self.assertRegex(text, r"(?m)^stop_seconds: +30 +# default$")
        self.assertRegex(text, r'(?m)^git_config: +"" +# default$')
        shown = json.loads(self.musterd("--log-level", "debug", "config", "show", "--json").stdout)
        self.assertEqual(shown["log_level"], {"value": "debug", "source": "--log-level", "reloadable": True})
        self.assertEqual(shown["slots"], {"value": "3", "source": f"{self.file}:2", "reloadable": False})

        self.file.write_text("slots: many\nslotz: 3\n")
        wrong = self.musterd("config", "show", check=False)
        self.assertEqual(wrong.returncode, 2)
        self.assertIn(f"{self.file}:1:8: slots takes a whole number from 0", wrong.stderr)
        self.assertIn(f"{self.file}:2:1: unknown key 'slotz'", wrong.stderr)
        self.file.write_text("log_level: loud\nstop_seconds: 0\n")
        wrong = self.musterd("config", "show", check=False).stderr
        self.assertIn(f"{self.file}:1: log level 'loud' is none of debug, info, warn, error", wrong)
        self.assertIn(f"{self.file}:2: stop_seconds must be 1 to 3600", wrong)

    def test_a_proxy_names_its_users_once_it_is_configured(self):
        self.muster.start()
        token = self.musterd("token", "create", "gate", "--proxy", "--role", "operator").stdout.strip()
        alice = {"Authorization": f"Bearer {token}", "X_Forwarded_Email": "alice@acme.dev",
                 "X_Forwarded_Groups": "staff, muster-admins"}
        status, problem, _ = self.ask(**alice)
        self.assertEqual(status, 401)
        self.assertIn("before proxy_user_header is configured", problem["detail"])

        self.assertIn("the configuration is read again", self.reload(PROXY))
        status, who, _ = self.ask(**alice)
        self.assertEqual((status, who["name"], who["role"]), (200, "alice@acme.dev", "operator"))
        self.assertTrue(who["how"].startswith("proxy "), who)
        self.assertEqual(self.ask(**{**alice, "X_Forwarded_Groups": "staff"})[0], 401)
        # The header of somebody who is no proxy means nothing.
        vera = self.musterd("token", "create", "vera", "--role", "viewer").stdout.strip()
        status, who, _ = self.ask(**{**alice, "Authorization": f"Bearer {vera}"})
        self.assertEqual((status, who["name"], who["role"]), (200, "vera", "viewer"))

        self.reload("")
        self.assertEqual(self.ask(**alice)[0], 401)
        wait_for(lambda: [entry["outcome"] for entry in self.audit()].count("refused") == 3, "the refusals are in the log")

    def test_a_running_musterd_reads_it_again(self):
        self.file.write_text("slots: 3\n")
        self.muster.start()
        self.muster.muster("fleet", "list")
        self.assertNotIn("GET /v1/fleets", self.log())

        # What can't be changed now waits, and is named.
        said = self.reload("log_level: debug\nslots: 4\nkeep_fleets_days: 500\n")
        self.assertIn("read again; these wait for a restart: keep_fleets_days, slots\n", said)
        self.muster.muster("fleet", "list")
        wait_for(lambda: "GET /v1/fleets" in self.log(), "requests are logged")

        # A file that is wrong, in what it says or in what it names, changes nothing.
        said = self.reload("log_level: error\nslotz: 1\n")
        self.assertIn(f"nothing is changed: {self.file}:2:1: unknown key 'slotz'", said)
        own, key = self.certificate()
        self.assertIn("nothing is changed: ", self.reload(
            f"log_level: error\ntls_certificate: {own}\ntls_key: {self.muster.directory}/none.key\n"))
        before = self.log().count("GET /v1/fleets")
        self.muster.muster("fleet", "list")
        wait_for(lambda: self.log().count("GET /v1/fleets") > before, "requests are logged still")
        self.assertEqual(self.ask("/healthz/live")[0], 200)

        # A certificate counts for who connects from now on.
        self.reload(f"tls_certificate: {own}\ntls_key: {key}\n")
        self.assertEqual(self.ask("/healthz/live", ca=own)[2], "acme")
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.ask("/healthz/live")
        wait_for(lambda: len(self.audit("--action", "config.reload")) == 2, "what counted is in the log, and nothing else")


if __name__ == "__main__":
    unittest.main()
