"""A trace through Muster: a caller's traceparent, musterd's span of the request, and the spans of the attempts that came
of it, as a collector gets them over OTLP/HTTP."""

import http.server
import json
import os
import threading
import unittest

from installation import Installation, make_repository, wait_for

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"

FLEET = """version: 1
name: traced
repositories: [{path: "repos/*.git"}]
agent: {run: "echo moved > moved.txt"}
verify: []
delivery: {branch: muster/traced}
"""


class Collector:
    """What an OpenTelemetry collector is to musterd: POST /v1/traces."""

    def __init__(self):
        self.spans = []
        spans = self.spans

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for resource in body["resourceSpans"]:
                    for scope in resource["scopeSpans"]:
                        spans.extend(scope["spans"])
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def named(self, name):
        return [span for span in list(self.spans) if span["name"] == name]


class TraceTest(unittest.TestCase):
    def setUp(self):
        self.collector = Collector()
        self.addCleanup(self.collector.close)
        self.muster = Installation(slots=2, extra=["--otlp-endpoint", self.collector.address, "--log-format", "json"])
        self.addCleanup(self.muster.close)
        self.muster.start()

    def test_a_callers_trace_leads_to_the_attempts(self):
        for i in range(2):
            make_repository(self.muster.directory / f"repos/r{i}.git", {"a.txt": f"{i}\n"})
        env = {**os.environ, "TRACEPARENT": f"00-{TRACE}-{PARENT}-01"}
        self.muster.muster("fleet", "run", self.muster.write_fleet(FLEET), env=env)
        wait_for(lambda: len(self.collector.named("attempt")) == 2 and self.collector.named("POST /v1/fleets"),
                 "the spans arrive")
        request, = self.collector.named("POST /v1/fleets")
        self.assertEqual((request["traceId"], request["parentSpanId"], request["kind"]), (TRACE, PARENT, 2))
        attempts = self.collector.named("attempt")
        self.assertEqual(len({attempt["traceId"] for attempt in attempts}), 2)  # A run's attempts are a trace of their own …
        for attempt in attempts:  # … that says what it came of.
            self.assertEqual(attempt["links"], [{"traceId": TRACE, "spanId": request["spanId"]}])
        for phase in ("queue", "start", "agent", "deliver"):
            self.assertEqual({span["parentSpanId"] for span in self.collector.named(phase)},
                             {attempt["spanId"] for attempt in attempts}, phase)
        lines = [json.loads(line) for line in (self.muster.directory / "musterd.log").read_text().splitlines()]
        told, = [line for line in lines if line["message"].startswith("POST /v1/fleets 201 ")]
        self.assertEqual((told["trace_id"], told["correlation"]),
                         (TRACE, next(a["value"]["stringValue"] for a in request["attributes"]
                                      if a["key"] == "muster.correlation")))


if __name__ == "__main__":
    unittest.main()
