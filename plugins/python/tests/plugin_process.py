"""Starts plugin files as real processes with real pipes, and plays the host.

Inputs -> outputs: Python source or a file -> a `PluginProcess` to send lines to and read answers from.
Must never: wait without a bound, or leave a process behind.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
SOURCE = PACKAGE_ROOT / "src"
EXAMPLES = PACKAGE_ROOT / "examples"
FIXTURES = PACKAGE_ROOT / "tests" / "fixtures"
# Long enough for a busy machine; a test that reaches it has failed.
PATIENCE_SECONDS = 30.0

sys.path.insert(0, str(SOURCE))


def environment(*extra_paths):
    """The environment for a child that is to find the package, and `extra_paths`, first."""
    paths = [str(SOURCE), *map(str, extra_paths)]
    added = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    # Unbuffered output written before run() is the one thing the package cannot hold back; the README says so.
    return {key: value for key, value in {**os.environ, **added}.items() if key != "PYTHONUNBUFFERED"}


def event(event_type="cloud.spot.interrupt", **data):
    """A small event of the documented shape."""
    return {"specversion": "1.0", "id": "0198", "type": event_type, "data": {"timeRemaining": 117.4, **data}}


class PluginProcess:
    """One plugin process. Everything on its stdout must be a JSON-RPC line, or reading it fails the test."""

    def __init__(self, file, env=None):
        self.notifications = []
        self.stderr = ""
        self._changed = threading.Condition()
        self._answers = queue.Queue()
        self._next_id = 0
        self.process = subprocess.Popen(
            [sys.executable, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env or environment(),
            start_new_session=True,
        )
        self._threads = [threading.Thread(target=job, daemon=True) for job in (self._read_stdout, self._read_stderr)]
        for thread in self._threads:
            thread.start()

    def send_raw(self, data):
        """Writes bytes as they are."""
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, method, params=None, **more):
        """Sends a request and returns its id."""
        self._next_id += 1
        message = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params or {}, **more}
        self.send_raw(json.dumps(message).encode() + b"\n")
        return self._next_id

    def notify(self, method, params):
        """Sends a notification."""
        self.send_raw(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode() + b"\n")

    def answer(self):
        """The next answer."""
        try:
            line = self._answers.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            raise AssertionError(f"no answer; stderr so far:\n{self.stderr}") from None
        if line is None:
            raise AssertionError(f"the process ended; stderr:\n{self.stderr}")
        return line

    def request(self, method, params=None):
        """Sends a request and returns its answer."""
        request_id = self.send(method, params)
        answer = self.answer()
        if answer.get("id") != request_id:
            raise AssertionError(f"expected the answer to {request_id}, got {answer}")
        return answer

    def initialize(self, config=None, **params):
        """The initialize request, with its result."""
        answer = self.request("initialize", {"protocol": 1, "plugin": "under-test", "config": config or {}, **params})
        if "result" not in answer:
            raise AssertionError(f"initialize failed: {answer}")
        return answer["result"]

    def send_event(self, call_id="c1", time_left_ms=60_000, **call):
        """Sends handle_event and returns the request's id."""
        return self.send("handle_event", self.delivery(call_id, time_left_ms, **call))

    def handle(self, **call):
        """Delivers an event and returns the answer."""
        self.send_event(**call)
        return self.answer()

    @staticmethod
    def delivery(call_id="c1", time_left_ms=60_000, **call):
        """The params of a delivery."""
        return {"event": event(), "call": {"id": call_id, "attempt": 1, "time_left_ms": time_left_ms, **call}}

    def wait_for_log(self, text):
        """Waits until a log notification with this text has arrived; returns its level."""

        def found():
            logs = [n["params"] for n in self.notifications if n["method"] == "log"]
            return [entry["level"] for entry in logs if entry["message"] == text]

        with self._changed:
            if not self._changed.wait_for(found, PATIENCE_SECONDS):
                raise AssertionError(f"no log {text!r} among {self.notifications}; stderr:\n{self.stderr}")
            return found()[0]

    def wait(self):
        """Waits for the end of the process by itself, and of its output; returns the exit code."""
        code = self.process.wait(PATIENCE_SECONDS)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        return code

    def finish(self):
        """Closes stdin and returns the exit code."""
        self.process.stdin.close()
        return self.wait()

    def kill(self):
        """Ends whatever is left of the process group."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass

    def _read_stdout(self):
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                message = {"not JSON": repr(line)}
            if "method" in message:
                with self._changed:
                    self.notifications.append(message)
                    self._changed.notify_all()
            else:
                self._answers.put(message)
        self._answers.put(None)

    def _read_stderr(self):
        for line in self.process.stderr:
            self.stderr += line.decode("utf-8", "replace")


class PluginTest(unittest.TestCase):
    """A test with a directory of its own and plugin processes that end with it."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def write(self, source, name="plugin.py"):
        """Writes a plugin file and returns its path."""
        path = self.directory / name
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    def start(self, source, name="plugin.py"):
        """Starts a plugin file with this source."""
        return self.start_file(self.write(source, name))

    def start_file(self, file, env=None):
        """Starts an existing plugin file."""
        started = PluginProcess(file, env)
        self.addCleanup(started.kill)
        return started

    def start_class(self, body, above=""):
        """Starts a plugin that is one class, `Plugin`, with this body."""
        parts = ["import cloudsnooze", textwrap.dedent(above), "class Plugin:"]
        parts += [textwrap.indent(textwrap.dedent(body), "    "), "cloudsnooze.run(Plugin)", ""]
        return self.start("\n".join(parts))


def seconds_since(start):
    """Elapsed seconds of the monotonic clock."""
    return time.monotonic() - start
