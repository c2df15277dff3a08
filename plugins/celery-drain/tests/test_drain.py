"""celery-drain against real Celery workers and a real redis-server: which tasks came to their end is counted by their files.

Inputs -> outputs: tasks, a notice, a worker that is killed -> numbers. Must never: touch a broker or a worker it did not start.
"""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PLUGIN = TESTS.parent / "celery_drain.py"
sys.path.insert(0, str(TESTS.parent.parent / "python" / "tests"))

import plugin_process  # noqa: E402
from plugin_process import PluginProcess, PluginTest, environment  # noqa: E402

# Long enough for a busy machine; a test that reaches it has failed.
PATIENCE_SECONDS = 150.0
plugin_process.PATIENCE_SECONDS = PATIENCE_SECONDS

NOTICE_ID = "01936b7e-5b3a-7000-8000-000000000001"
HOST = socket.gethostname()


def setUpModule():
    """Says loudly what did not run; fails where nothing may be missing."""
    missing = [name for name in ("celery", "redis") if importlib.util.find_spec(name) is None]
    missing += [] if shutil.which("redis-server") else ["redis-server"]
    if missing:
        text = f"NOT RUN: celery-drain against real workers: {', '.join(missing)} not installed"
        if os.environ.get("CLOUDSNOOZE_REQUIRE_ALL") == "1":
            raise AssertionError(f"{text} (CLOUDSNOOZE_REQUIRE_ALL=1 demands it)")
        print(text, file=sys.stderr)
        raise unittest.SkipTest(text)


def notice(event_type="cloud.spot.interrupt", **more):
    """An event of this type."""
    event = {"specversion": "1.0", "id": NOTICE_ID, "type": event_type, "data": {"action": "terminate", "timeRemaining": 60.0}}
    if event_type.endswith(".cancelled"):
        event.update(id="01936b7e-5b3a-7000-8000-0000000000ff")
        event["data"]["cancels"] = NOTICE_ID
    return {**event, **more}


class DrainTest(PluginTest):
    """A broker, and workers that end with the test."""

    acks_late = False

    def setUp(self):
        super().setUp()
        self.out = self.directory / "out"
        self.out.mkdir()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.broker = f"redis://:secret-word@127.0.0.1:{self.port}/0"
        server = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--requirepass", "secret-word"]
        self._start([*server, "--dir", str(self.directory)], "redis.log", os.environ)
        import redis

        self.redis = redis.Redis(port=self.port, password="secret-word")
        self.wait_for("the broker", self._answers)

    def _answers(self):
        import redis

        try:
            return self.redis.ping()
        except redis.exceptions.ConnectionError:
            return False

    def _start(self, command, log, env):
        with (self.directory / log).open("ab") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=env, start_new_session=True)
        self.addCleanup(self.kill, process)
        return process

    def kill(self, process):
        """Ends it and all that it started, as the loss of the machine would."""
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    def wait_for(self, what, is_so, seconds=PATIENCE_SECONDS):
        """Waits until something is so."""
        until = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > until:
                logs = "".join(log.read_text(errors="replace")[-3000:] for log in self.directory.glob("*.log"))
                raise AssertionError(f"waited in vain for {what}; logs:\n{logs}")
            time.sleep(0.02)

    def _job_environment(self):
        given = {"BROKER": self.broker, "OUT": str(self.out), "ACKS_LATE": "1" if self.acks_late else "0"}
        return {**environment(TESTS), **given}

    def worker(self, name):
        """Starts a worker with two processes, and waits until it takes tasks."""
        command = [sys.executable, "-m", "celery", "-A", "jobs", "worker", "--concurrency", "2", "-n", f"{name}@{HOST}"]
        process = self._start(
            [*command, "--without-gossip", "--without-mingle", "--loglevel", "info"], f"{name}.log", self._job_environment()
        )
        log = self.directory / f"{name}.log"
        self.wait_for(f"worker {name}", lambda: " ready." in log.read_text(errors="replace"))
        return process

    def submit(self, count, seconds, first=0):
        """Sends tasks, one number each."""
        import celery

        with celery.Celery("sender", broker=self.broker, set_as_current=False) as app:
            for number in range(first, first + count):
                app.send_task("jobs.work", args=[number, seconds])

    def done(self):
        """How many tasks have come to their end."""
        return len(list(self.out.iterdir()))

    def queued(self):
        """How many tasks nobody has."""
        return self.redis.llen("celery")

    def unacked(self):
        """How many tasks are given out and not acknowledged."""
        return self.redis.hlen("unacked")

    def plugin(self, state=None, **config):
        """A running plugin."""
        process = PluginProcess(PLUGIN, environment())
        self.addCleanup(process.kill)
        config = {"broker_url": self.broker, "reply_seconds": 4, **config}
        facts = process.initialize(config, state_dir=str(state or self.directory / "state"))
        self.assertTrue(facts["verify"])
        return process

    def deliver(self, process, event, seconds):
        """Delivers an event, and gives the result."""
        began = time.monotonic()
        call = {"id": "c1", "attempt": 1, "time_left_ms": int(seconds * 1000)}
        answer = process.request("handle_event", {"event": event, "call": call})
        self.assertLessEqual(time.monotonic() - began, seconds + 1)
        self.assertNotIn("secret-word", str(answer))
        self.assertIn("result", answer)
        return answer["result"]

    def verify(self, process, event, result):
        """Has the plugin look again."""
        call = {"id": "c2", "attempt": 1, "time_left_ms": 30_000}
        return process.request("verify", {"event": event, "call": call, "result": result})["result"]


class TasksThatAreAcknowledgedEarly(DrainTest):
    """Those that a killed worker was at are lost, unless it was drained."""

    def _hundred_tasks_in_the_middle(self):
        self.submit(100, 0.4)
        worker = self.worker("w1")
        self.wait_for("the middle", lambda: self.done() >= 20)
        return worker

    def test_none_of_a_hundred_is_lost_when_the_worker_is_drained_before_it_is_killed(self):
        process = self.plugin()
        worker = self._hundred_tasks_in_the_middle()
        result = self.deliver(process, notice(), 60)
        self.assertIs(result["handled"], True, result)
        done = self.done()
        self.assertLess(done, 100, "the middle was missed")
        self.assertEqual((self.queued(), self.unacked()), (100 - done, 0), result)
        evidence, name = result["evidence"], f"w1@{HOST}"
        self.assertEqual(evidence["before"]["workers"][name]["queues"], ["celery"])
        self.assertGreater(evidence["before"]["workers"][name]["active"], 0)
        self.assertEqual(evidence["after"]["workers"][name], {"active": 0, "reserved": 0, "scheduled": 0, "queues": []})
        self.assertEqual((evidence["after"]["unacked"], evidence["after"]["queued"]), (0, {"celery": 100 - done}))
        self.assertEqual(result["durable"], "yes")
        self.assertIs(self.verify(process, notice(), result)["verified"], True)
        self.kill(worker)
        self.worker("w2")
        self.wait_for("all tasks", lambda: self.done() == 100)

    def test_without_the_plugin_some_are_lost(self):
        self.kill(self._hundred_tasks_in_the_middle())
        self.worker("w2")

        def is_over():
            return self.queued() == 0 and self.unacked() == 0

        self.wait_for("the second worker to finish", is_over)
        # A task is acknowledged when it begins here: what two processes were at is still to end.
        until = time.monotonic() + 12
        while time.monotonic() < until:
            time.sleep(0.5)
        self.assertTrue(is_over())
        self.assertLess(self.done(), 100, "then the other test of this class proves nothing")

    def test_those_that_do_not_end_in_time_are_named_as_lost(self):
        self.submit(2, 600)
        worker = self.worker("w1")
        process = self.plugin(shutdown_seconds=10)
        self.wait_for("the tasks to begin", lambda: self.queued() == 0 and self.unacked() == 0)
        result = self.deliver(process, notice(), 25)
        self.assertIs(result["handled"], False, result)
        self.assertIn("2 tasks that were acknowledged early did not end", result["error"])
        self.assertEqual((len(result["evidence"]["lost"]), result["durable"]), (2, "no"))
        self.wait_for("the worker's end", lambda: worker.poll() is not None)


class TasksThatAreAcknowledgedLate(DrainTest):
    """Those that do not end in time are given back when the worker is shut down."""

    acks_late = True

    def test_what_does_not_end_in_time_is_given_back_at_once(self):
        self.submit(8, 600)
        worker = self.worker("w1")
        self.wait_for("the tasks to begin", lambda: self.unacked() == 8)
        process = self.plugin(shutdown_seconds=14)
        result = self.deliver(process, notice(), 40)
        self.assertIs(result["handled"], True, result)
        self.assertEqual((self.queued(), self.unacked()), (8, 0), result)
        self.assertEqual(result["evidence"]["after"]["workers"], {f"w1@{HOST}": {"ended": "cold"}})
        self.assertEqual((result["evidence"]["before"]["unacked"], result["evidence"]["after"]["unacked"]), (8, 0))
        self.assertIn("not all tasks ended in their time", result["skipped"][0]["reason"])
        self.assertEqual((result["durable"], result["evidence"]["lost"]), ("yes", []))
        self.assertIsNotNone(worker.wait(PATIENCE_SECONDS))

    def test_without_the_plugin_they_are_nobodys_for_a_while(self):
        self.submit(8, 600)
        worker = self.worker("w1")
        self.wait_for("the tasks to begin", lambda: self.unacked() == 8)
        self.kill(worker)
        self.assertEqual((self.queued(), self.unacked()), (0, 8), "then the other test of this class proves nothing")


class TheManifest(unittest.TestCase):
    """What the daemon reads."""

    def test_it_says_what_the_plugin_says_of_itself(self):
        from cloudsnooze.manifest import manifest_of

        shipped = json.loads((PLUGIN.parent / "celery-drain.plugin.json").read_text(encoding="utf-8"))
        fresh = manifest_of(PLUGIN, None, None, sys.executable)
        for key in ("name", "version", "description", "config_schema", "undo", "drill"):
            self.assertEqual(shipped[key], fresh[key], key)


class OtherEvents(DrainTest):
    """Withdrawals, drills, recommendations, and what cannot work."""

    def test_a_withdrawn_notice_has_workers_take_tasks_again_after_a_restart_too(self):
        self.worker("w1")
        process = self.plugin()
        drained = self.deliver(process, notice(), 30)
        self.assertIs(drained["handled"], True, drained)
        self.submit(3, 0)
        self.assertEqual(process.finish(), 0)
        again = self.plugin()
        self.assertEqual((self.queued(), self.done()), (3, 0), drained)
        withdrawn = notice("cloud.spot.interrupt.cancelled")
        another = {**withdrawn, "data": {"cancels": "another"}}
        self.assertIn("has stopped no worker", self.deliver(again, another, 30)["declined"])
        result = self.deliver(again, withdrawn, 30)
        self.assertIs(result["handled"], True, result)
        self.wait_for("the tasks", lambda: self.done() == 3)
        self.assertIs(self.verify(again, withdrawn, result)["verified"], True)
        self.assertIn("has stopped no worker", self.deliver(again, withdrawn, 30)["declined"])

    def test_a_drill_only_looks_and_a_recommendation_is_declined(self):
        self.worker("w1")
        process = self.plugin()
        result = self.deliver(process, notice(drill=True), 30)
        self.assertEqual((result["action"], result["evidence"]["fits"]), ("check", True), result)
        self.assertEqual(result["evidence"]["can_be_signalled"], {f"w1@{HOST}": True})
        self.assertIn("may stay", self.deliver(process, notice("cloud.spot.rebalance"), 30)["declined"])
        self.submit(2, 0)
        self.wait_for("the tasks", lambda: self.done() == 2)

    def test_a_worker_that_takes_tasks_again_fails_the_verification(self):
        self.worker("w1")
        process = self.plugin()
        result = self.deliver(process, notice(), 30)
        import celery

        with celery.Celery("other", broker=self.broker, set_as_current=False) as app:
            app.control.add_consumer("celery", destination=[f"w1@{HOST}"], reply=True, timeout=10, limit=1)
        verified = self.verify(process, notice(), result)
        self.assertIs(verified["verified"], False, verified)
        self.assertIn("takes or holds tasks", verified["error"])

    def test_workers_of_other_machines_are_left_alone(self):
        self.worker("w1")
        process = self.plugin(workers=["w9@HOST"], reply_seconds=2)
        self.assertIn("no worker answers to w9@", self.deliver(process, notice(), 30)["declined"])

    def test_a_broker_that_is_down_is_told_without_its_password(self):
        self.redis.shutdown(nosave=True)
        process = self.plugin(reply_seconds=1)
        result = self.deliver(process, notice(), 20)
        self.assertIs(result["handled"], False)
        self.assertIn("the broker cannot be reached", result["error"])
        self.assertNotIn("secret-word", str(process.notifications) + process.stderr)

    def test_settings_that_cannot_work_are_refused_by_key(self):
        for config, words in [
            ({}, "broker_url"),
            ({"broker_url": "redis://h", "worker": []}, "unknown keys: worker"),
            ({"broker_url": "redis://h", "workers": []}, "workers: "),
            ({"broker_url": "redis://h", "shutdown": "maybe"}, "shutdown is none of"),
        ]:
            process = PluginProcess(PLUGIN, environment())
            self.addCleanup(process.kill)
            answer = process.request("initialize", {"protocol": 1, "plugin": "celery-drain", "config": config})
            self.assertIn(words, answer["error"]["message"])


if __name__ == "__main__":
    unittest.main()
