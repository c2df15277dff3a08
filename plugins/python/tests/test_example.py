"""The seed design's application checkpointer, unchanged but for one line, against a real application over HTTP."""

import importlib.util
import json
import sys
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from plugin_process import EXAMPLES, FIXTURES, PACKAGE_ROOT, PluginTest, environment, event

EXAMPLE = EXAMPLES / "app_checkpointer.py"
THE_ONE_LINE = "import cloudsnooze; cloudsnooze.run(AppCheckpointer)"


def example_environment():
    """Where the example finds `requests`; says so when it has to be the stand-in."""
    if importlib.util.find_spec("requests") is not None:
        return environment()
    print(
        "NOT RUN: the example with the real requests library: it is not installed; a stand-in is used", file=sys.stderr
    )
    return environment(PACKAGE_ROOT / "tests" / "stand_in")


class App:
    """An application with a checkpoint endpoint that answers as it is told and remembers what it was asked."""

    def __init__(self):
        self.status = 200
        self.seen = []
        app = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                app.seen.append((self.path, json.loads(body)))
                answer = json.dumps({"saved_steps": 4200}).encode()
                self.send_response(app.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                """Silent: requests are in `seen`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/checkpoint"

    def stop(self):
        """Stops it; from here on connections are refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class TheSeedsClass(PluginTest):
    def setUp(self):
        super().setUp()
        self.app = App()
        self._stopped = False
        self.addCleanup(self.stop_app)
        self.plugin = self.start_file(EXAMPLE, example_environment())

    def stop_app(self):
        if not self._stopped:
            self._stopped = True
            self.app.stop()

    def deliver(self, delivered):
        call = {"id": "c1", "attempt": 1, "time_left_ms": 60_000}
        return self.plugin.request("handle_event", {"event": delivered, "call": call})["result"]

    def test_it_is_the_seeds_text_with_its_import_and_one_added_line(self):
        seed = (FIXTURES / "seed_app_checkpointer.txt").read_text(encoding="utf-8").splitlines()
        example = EXAMPLE.read_text(encoding="utf-8").splitlines()
        self.assertEqual(example[-1], THE_ONE_LINE)
        # The seed calls requests.post and leaves the import to the reader.
        example = [line for line in example[:-1] if line and line != "import requests"]
        self.assertEqual(example, [line for line in seed if line])

    def test_an_interrupt_becomes_a_checkpoint_at_the_configured_endpoint(self):
        facts = self.plugin.initialize({"app_endpoint": self.app.url, "verify_success": True})
        self.assertFalse(facts["verify"])
        self.plugin.wait_for_log("configuration key 'verify_success' is not a setting of this plugin; ignored")
        result = self.deliver(event())
        expected = {"handled": True, "status": "checkpoint_triggered", "app_response": {"saved_steps": 4200}}
        self.assertEqual(result, expected)
        body = {"reason": "spot_termination", "time_remaining": 117.4}
        self.assertEqual(self.app.seen, [("/checkpoint", body)])
        self.assertEqual(self.plugin.finish(), 0)

    def test_other_events_are_declined_without_asking_the_application(self):
        self.plugin.initialize({"app_endpoint": self.app.url})
        self.assertEqual(self.deliver(event("cloud.maintenance.reboot")), {"handled": False})
        self.assertEqual(self.app.seen, [])

    def test_an_application_that_fails_is_a_failure_with_its_status(self):
        self.plugin.initialize({"app_endpoint": self.app.url})
        self.app.status = 503
        expected = {"handled": False, "error": "Checkpoint API returned status 503"}
        self.assertEqual(self.deliver(event()), expected)

    def test_an_application_that_is_down_is_a_failure_with_a_text(self):
        self.plugin.initialize({"app_endpoint": self.app.url})
        self.stop_app()
        result = self.deliver(event())
        self.assertIs(result["handled"], False)
        self.assertIn("refused", result["error"])

    def test_a_wrong_type_in_the_configuration_is_refused(self):
        error = self.plugin.request("initialize", {"protocol": 1, "config": {"timeout_seconds": "soon"}})["error"]
        self.assertEqual(error["code"], -32602)
        self.assertIn("timeout_seconds", error["message"])


if __name__ == "__main__":
    unittest.main()
