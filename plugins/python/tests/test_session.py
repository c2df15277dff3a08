"""A plugin process and its host: answers, cancels, mistakes of the author, and the end."""

import json
import os
import signal
import time
import unittest

from plugin_process import PluginTest, seconds_since

HANDLES = """
    def handle_event(self, event):
        return {"handled": True}
"""

# Says when it has started, then works until it is cancelled and on_cancel has run.
WAITS = """
    def __init__(self):
        self._told = __import__("threading").Event()

    def handle_event(self, event):
        call = cloudsnooze.current_call()
        cloudsnooze.log("info", "started " + call.id)
        call.cancelled.wait(60)
        self._told.wait(60)
        return {"handled": False, "error": "stopped: " + str(call.cancel_reason)}

    def on_cancel(self, reason):
        cloudsnooze.log("info", "on_cancel " + reason)
        self._told.set()

    def close(self):
        print("closed")
"""


class Conversation(PluginTest):
    def test_initialize_tells_the_plugins_facts(self):
        plugin = self.start_class(
            """
            name, version, subscriptions = "mine", "1.2.3", ["cloud.spot.*"]
            def handle_event(self, event): return {"handled": True}
            def verify(self, event, result): return True
            """
        )
        expected = {
            "protocol": 1,
            "name": "mine",
            "version": "1.2.3",
            "subscriptions": ["cloud.spot.*"],
            "verify": True,
        }
        self.assertEqual(plugin.initialize(), expected)

    def test_the_hosts_name_stands_in_for_a_missing_one(self):
        result = self.start_class(HANDLES).initialize()
        self.assertEqual((result["name"], result["verify"], result["subscriptions"]), ("under-test", False, []))

    def test_initialize_refuses_another_protocol_and_a_second_time(self):
        plugin = self.start_class(HANDLES)
        for wrong in (2, None, True, "1"):
            self.assertEqual(plugin.request("initialize", {"protocol": wrong})["error"]["code"], -32602)
        self.assertEqual(plugin.request("initialize", {"protocol": 1, "config": []})["error"]["code"], -32602)
        plugin.initialize()
        self.assertEqual(plugin.request("initialize", {"protocol": 1})["error"]["code"], -32600)

    def test_a_refused_configuration_says_why_and_does_not_repeat_values(self):
        plugin = self.start_class(
            "password = 'x'\nretries = 3\n" + HANDLES.replace("    def", "def").replace("\n    ", "\n")
        )
        error = plugin.request("initialize", {"protocol": 1, "config": {"retries": "hunter2"}})["error"]
        self.assertEqual(error["code"], -32602)
        self.assertIn("retries", error["message"])
        self.assertNotIn("hunter2", json.dumps(error))

    def test_an_unknown_configuration_key_is_only_a_warning(self):
        plugin = self.start_class(HANDLES)
        plugin.initialize({"typo": 1})
        level = plugin.wait_for_log("configuration key 'typo' is not a setting of this plugin; ignored")
        self.assertEqual(level, "warning")

    def test_a_delivery_before_initialize_is_refused(self):
        self.assertEqual(self.start_class(HANDLES).handle()["error"]["code"], -32002)

    def test_malformed_deliveries_are_refused(self):
        plugin = self.start_class(HANDLES)
        plugin.initialize()
        for params in ({}, {"event": {}}, {"event": [], "call": {}}, {"event": {}, "call": {"id": 7}}):
            self.assertEqual(plugin.request("handle_event", params)["error"]["code"], -32602, params)

    def test_unknown_methods_are_refused_and_unknown_notifications_ignored(self):
        plugin = self.start_class(HANDLES)
        plugin.notify("no_such_thing", {})
        plugin.notify("cancel", {"call_id": "never heard of", "reason": "user"})
        self.assertEqual(plugin.request("no_such_thing")["error"]["code"], -32601)
        self.assertEqual(plugin.initialize()["protocol"], 1)

    def test_garbage_and_oversize_lines_are_answered_and_survived(self):
        plugin = self.start_class(HANDLES)
        plugin.send_raw(b"garbage\n" + b"x" * 3_000_000 + b"\n")
        for _ in range(2):
            answer = plugin.answer()
            self.assertEqual((answer["id"], answer["error"]["code"]), (None, -32700))
        plugin.initialize()
        self.assertEqual(plugin.handle()["result"], {"handled": True})

    def test_the_call_tells_attempt_key_and_a_state_directory(self):
        plugin = self.start_class(
            """
            def handle_event(self, event):
                call = cloudsnooze.current_call()
                call.progress(500, "half")
                return {"handled": True, "got": [call.attempt, call.idempotency_key, str(cloudsnooze.state_dir())]}
            """
        )
        plugin.initialize(state_dir="/var/lib/x")
        answer = plugin.handle(attempt=2, idempotency_key="e/i")
        self.assertEqual(answer["result"]["got"], [2, "e/i", "/var/lib/x"])
        progress = {
            "jsonrpc": "2.0",
            "method": "progress",
            "params": {"call_id": "c1", "permille": 500, "text": "half"},
        }
        self.assertIn(progress, plugin.notifications)

    def test_time_left_runs_on_and_counts_from_the_arrival(self):
        plugin = self.start_class(
            """
            def handle_event(self, event):
                call = cloudsnooze.current_call()
                first = call.time_left_ms()
                call.cancelled.wait(0.2)
                return {"handled": True, "first": first, "second": call.time_left_ms()}
            """
        )
        plugin.initialize()
        plugin.send_event("c1", time_left_ms=10_000)
        plugin.send_event("c2", time_left_ms=10_000)
        one, two = plugin.answer()["result"], plugin.answer()["result"]
        self.assertLessEqual(one["second"], one["first"] - 190)
        # The second waited for the first, and that time is gone.
        self.assertLessEqual(two["first"], 10_000 - 190)
        self.assertEqual(plugin.handle(time_left_ms=0)["result"]["first"], 0)

    def test_logging_records_and_log_reach_the_host_with_their_levels(self):
        plugin = self.start_class(
            """
            def handle_event(self, event):
                logging.getLogger("mine").error("broken %d", 7)
                logging.getLogger("mine").critical("gone")
                cloudsnooze.log("debug", "detail")
                return {"handled": True}
            """,
            above="import logging",
        )
        plugin.initialize()
        plugin.handle()
        levels = [plugin.wait_for_log(text) for text in ("broken 7", "gone", "detail")]
        self.assertEqual(levels, ["error", "error", "debug"])

    def test_warm_up_runs_after_the_answer_and_may_fail(self):
        plugin = self.start_class(
            "def warm_up(self): raise OSError('no app yet')\ndef handle_event(self, e): return {'handled': True}"
        )
        plugin.initialize()
        self.assertEqual(plugin.wait_for_log("warm_up failed: OSError: no app yet"), "warning")
        self.assertEqual(plugin.handle()["result"], {"handled": True})

    def test_verify_may_answer_with_a_bool_a_dict_or_an_exception(self):
        plugin = self.start_class(
            """
            def handle_event(self, event): return {"handled": True}
            def verify(self, event, result):
                if "raise" in result: raise LookupError("no file")
                return result["give"]
            """
        )
        plugin.initialize()

        def verify(result):
            return plugin.request("verify", {**plugin.delivery(), "result": result})

        self.assertEqual(verify({"give": True})["result"], {"verified": True})
        full = {"verified": False, "error": "short", "evidence": {"bytes": 3}}
        self.assertEqual(verify({"give": full})["result"], full)
        self.assertFalse(verify({"give": None})["result"]["verified"])
        self.assertEqual(verify({"raise": 1})["error"]["message"], "LookupError: no file")


class Cancelling(PluginTest):
    def test_a_cancel_arrives_while_the_handler_runs(self):
        plugin = self.start_class(WAITS)
        plugin.initialize()
        plugin.send_event("c1")
        plugin.wait_for_log("started c1")
        plugin.notify("cancel", {"call_id": "c1", "reason": "deadline"})
        self.assertEqual(plugin.answer()["result"], {"handled": False, "error": "stopped: deadline"})
        plugin.wait_for_log("on_cancel deadline")

    def test_a_cancel_of_another_call_does_not_touch_the_running_one(self):
        plugin = self.start_class(WAITS)
        plugin.initialize()
        plugin.send_event("c1")
        plugin.send_event("c2")
        plugin.wait_for_log("started c1")
        plugin.notify("cancel", {"call_id": "c2", "reason": "superseded"})
        plugin.notify("cancel", {"call_id": "c1", "reason": "user"})
        self.assertEqual(plugin.answer()["result"]["error"], "stopped: user")
        self.assertEqual(plugin.answer()["result"]["error"], "cancelled before it started: superseded")
        logs = [n["params"]["message"] for n in plugin.notifications]
        self.assertNotIn("started c2", logs)

    def test_a_handler_may_finish_its_work_despite_a_cancel(self):
        body = WAITS.replace('{"handled": False, "error": "stopped: " + str(call.cancel_reason)}', '{"handled": True}')
        plugin = self.start_class(body)
        plugin.initialize()
        plugin.send_event("c1")
        plugin.wait_for_log("started c1")
        plugin.notify("cancel", {"call_id": "c1", "reason": "user"})
        self.assertEqual(plugin.answer()["result"], {"handled": True})

    def test_a_slow_on_cancel_does_not_stop_the_reader(self):
        plugin = self.start_class(
            """
            def handle_event(self, event):
                call = cloudsnooze.current_call()
                cloudsnooze.log("info", "started " + call.id)
                call.cancelled.wait(60)
                return {"handled": False, "error": "stopped: " + str(call.cancel_reason)}

            def on_cancel(self, reason):
                threading.Event().wait(60)
            """,
            above="import threading",
        )
        plugin.initialize()
        for call_id in ("c1", "c2"):
            plugin.send_event(call_id)
            plugin.wait_for_log("started " + call_id)
            plugin.notify("cancel", {"call_id": call_id, "reason": "user"})
            self.assertEqual(plugin.answer()["result"]["error"], "stopped: user")


class AuthorsMistakes(PluginTest):
    def result_of(self, statement, above=""):
        plugin = self.start_class(f"def handle_event(self, event):\n    {statement}", above)
        plugin.initialize()
        answer = plugin.handle()
        # Whatever happened, the next delivery is answered too.
        self.assertEqual(plugin.handle(), {**answer, "id": 3})
        return answer

    def test_an_exception_is_an_error_with_its_traceback(self):
        error = self.result_of("raise ValueError('bad disk')")["error"]
        self.assertEqual((error["code"], error["message"]), (-32000, "ValueError: bad disk"))
        self.assertIn("in handle_event", error["data"]["traceback"])

    def test_an_exit_in_a_handler_fails_the_call_and_not_the_plugin(self):
        self.assertEqual(self.result_of("import sys; sys.exit(3)")["error"]["message"], "SystemExit: 3")

    def test_an_exception_that_cannot_be_printed_is_an_error_all_the_same(self):
        above = "class Odd(Exception):\n    def __str__(self): raise RuntimeError"
        self.assertEqual(self.result_of("raise Odd()", above)["error"]["message"], "Odd")

    def test_what_is_no_answer_is_a_failure_that_explains_itself(self):
        cases = {
            "pass": "returned None",
            "return True": "a value of type bool",
            "return {}": 'without "handled"',
            "return {'handled': 1}": 'without "handled"',
            "return {'handled': True, 'when': __import__('datetime').date.today()}": "date is not JSON serializable",
            "return {'handled': True, 'load': float('nan')}": "cannot be sent as JSON",
            "return {'handled': True, 'dump': 'x' * 2_000_000}": "the limit is 1048576",
            "event['self'] = event; return {'handled': True, 'event': event}": "Circular reference",
        }
        for statement, text in cases.items():
            with self.subTest(statement):
                result = self.result_of(statement)["result"]
                self.assertIs(result["handled"], False)
                self.assertIn(text, result["error"])

    def test_prints_of_the_file_its_handler_and_its_children_stay_out_of_the_stream(self):
        plugin = self.start_class(
            """
            def handle_event(self, event):
                print("from print")
                os.write(1, b"from the descriptor\\n")
                subprocess.run(["echo", "from a child"], check=True)
                sys.stdout.buffer.write(b"from the buffer\\n")
                sys.stdout.flush()
                return {"handled": True}
            """,
            above="import os, subprocess, sys\nprint('from the import')",
        )
        plugin.initialize()
        self.assertEqual(plugin.handle()["result"], {"handled": True})
        self.assertEqual(plugin.finish(), 0)
        for text in ("print", "the descriptor", "a child", "the buffer", "the import"):
            self.assertIn(f"from {text}\n", plugin.stderr)

    def test_the_handler_and_its_children_cannot_read_the_hosts_lines(self):
        plugin = self.start_class(
            """
            def handle_event(self, event):
                child = subprocess.run(["cat"], stdout=subprocess.PIPE, check=True)
                return {"handled": True, "read": sys.stdin.read() + child.stdout.decode()}
            """,
            above="import subprocess, sys",
        )
        plugin.initialize()
        self.assertEqual(plugin.handle()["result"]["read"], "")
        self.assertEqual(plugin.handle()["result"]["read"], "")

    def test_children_do_not_inherit_the_protocols_descriptors(self):
        plugin = self.start_class(
            """
            def handle_event(self, event):
                command = "readlink /proc/self/fd/* || true"
                child = subprocess.run(command, shell=True, close_fds=False, stdout=subprocess.PIPE)
                return {"handled": True, "open": child.stdout.decode().split()}
            """,
            above="import subprocess",
        )
        plugin.initialize()
        found = plugin.handle()["result"]["open"]
        self.assertIn("/dev/null", found)
        for stream in (plugin.process.stdin, plugin.process.stdout):
            self.assertNotIn(os.readlink(f"/proc/self/fd/{stream.fileno()}"), found)


class TheEnd(PluginTest):
    def test_shutdown_is_answered_then_the_process_closes_and_ends_by_itself(self):
        plugin = self.start_class(WAITS)
        plugin.initialize()
        self.assertEqual(plugin.request("shutdown"), {"jsonrpc": "2.0", "id": 2, "result": None})
        self.assertEqual(plugin.wait(), 0)
        self.assertIn("closed", plugin.stderr)

    def test_end_of_input_means_the_same_after_the_work_in_hand(self):
        plugin = self.start_class(
            """
            def handle_event(self, event):
                # Input has ended when this returns, and nobody has cancelled the call for that.
                return {"handled": not cloudsnooze.current_call().cancelled.wait(0.3)}

            def close(self):
                print("closed")
            """
        )
        plugin.initialize()
        plugin.send_event("c1")
        self.assertEqual(plugin.finish(), 0)
        self.assertEqual(plugin.answer()["result"], {"handled": True})
        self.assertIn("closed", plugin.stderr)

    def test_sigterm_ends_an_idle_plugin_cleanly(self):
        plugin = self.start_class(WAITS)
        plugin.initialize()
        plugin.process.send_signal(signal.SIGTERM)
        self.assertEqual(plugin.wait(), 0)
        self.assertIn("closed", plugin.stderr)

    def test_sigterm_cancels_the_running_call_and_its_answer_still_arrives(self):
        plugin = self.start_class(WAITS)
        plugin.initialize()
        plugin.send_event("c1")
        plugin.wait_for_log("started c1")
        plugin.process.send_signal(signal.SIGTERM)
        self.assertEqual(plugin.answer()["result"]["error"], "stopped: shutdown")
        self.assertEqual(plugin.wait(), 0)
        plugin.wait_for_log("on_cancel shutdown")

    def test_a_second_sigterm_ends_a_handler_that_does_not_listen(self):
        plugin = self.start_class(WAITS.replace("call.cancelled.wait(60)", "__import__('time').sleep(60)"))
        plugin.initialize()
        plugin.send_event("c1")
        plugin.wait_for_log("started c1")
        plugin.process.send_signal(signal.SIGTERM)
        plugin.wait_for_log("on_cancel shutdown")
        plugin.process.send_signal(signal.SIGTERM)
        self.assertEqual(plugin.wait(), -signal.SIGTERM)

    def test_a_hung_handler_does_not_outlive_its_host_by_more_than_its_time(self):
        plugin = self.start_class(WAITS.replace("call.cancelled.wait(60)", "__import__('time').sleep(60)"))
        plugin.initialize()
        plugin.send_event("c1", time_left_ms=500)
        plugin.wait_for_log("started c1")
        start = time.monotonic()
        self.assertEqual(plugin.finish(), 70)
        self.assertLess(seconds_since(start), 15)
        plugin.wait_for_log("on_cancel deadline")

    def test_a_forgotten_thread_does_not_keep_the_process_after_shutdown(self):
        above = "import threading\nthreading.Thread(target=threading.Event().wait).start()"
        plugin = self.start_class(HANDLES, above)
        plugin.initialize()
        plugin.request("shutdown")
        start = time.monotonic()
        self.assertEqual(plugin.wait(), 70)
        self.assertLess(seconds_since(start), 15)

    def test_a_failing_close_is_logged_and_the_exit_is_clean(self):
        plugin = self.start_class("def handle_event(self, e): pass\ndef close(self): raise OSError('busy')")
        plugin.initialize()
        self.assertEqual(plugin.finish(), 0)
        plugin.wait_for_log("close failed: OSError: busy")


if __name__ == "__main__":
    unittest.main()
