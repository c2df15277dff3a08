"""Running a plugin file by hand: terminal, import, --help, --check, simulate, manifest."""

import json
import os
import subprocess
import sys
import unittest

from plugin_process import EXAMPLES, PATIENCE_SECONDS, PluginTest, environment

ANSWERS = """
    import cloudsnooze

    class Plugin:
        '''Answers as it is told.

        More words.
        '''
        version = "3.1"
        subscriptions = ["custom.*"]
        path = ""

        def handle_event(self, event):
            if event["data"].get("hang"):
                print("hanging", flush=True)
                cloudsnooze.current_call().cancelled.wait(0.01) or __import__("time").sleep(60)
            if "raise" in event["data"]:
                raise OSError(event["data"]["raise"])
            return event["data"].get("answer", {"handled": True, "status": "path is " + self.path})

        def verify(self, event, result):
            return {"verified": event["data"].get("verified", True), "error": "file is short"}

    import cloudsnooze; cloudsnooze.run(Plugin)
"""


class ToolTest(PluginTest):
    def run_python(self, *args, **more):
        """Runs the interpreter with the package on its path; returns the completed process, output as text."""
        more = {"stdin": subprocess.DEVNULL, "env": environment(), **more}
        command = [sys.executable, *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False, **more)

    def tool(self, *args):
        """Runs `python -m cloudsnooze`."""
        return self.run_python("-m", "cloudsnooze", *args)


class ByHand(ToolTest):
    def test_a_terminal_gets_an_explanation_and_exit_64(self):
        controller, terminal = os.openpty()
        self.addCleanup(os.close, controller)
        self.addCleanup(os.close, terminal)
        done = self.run_python(EXAMPLES / "app_checkpointer.py", stdin=terminal, env=self.example_environment())
        self.assertEqual((done.returncode, done.stdout), (64, ""))
        self.assertIn("python3 -m cloudsnooze simulate", done.stderr)

    def example_environment(self):
        # What these tests ask does not depend on which `requests` the example imports.
        return environment(EXAMPLES.parent / "tests" / "stand_in")

    def test_help_explains_and_exits_0(self):
        done = self.run_python(self.write(ANSWERS), "--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("is a CloudSnooze plugin", done.stdout)

    def test_closed_streams_are_reported(self):
        command = f'exec "{sys.executable}" "{self.write(ANSWERS)}" <&-'
        done = subprocess.run(["sh", "-c", command], env=environment(), stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 64)
        self.assertIn(b"must be open", done.stderr)

    def test_an_import_does_nothing(self):
        self.write(ANSWERS, "my_plugin.py")
        script = "import my_plugin, sys; print(my_plugin.Plugin.__name__, repr(sys.stdin.read()))"
        done = self.run_python("-c", script, cwd=self.directory, input="untouched", stdin=None)
        self.assertEqual((done.stdout, done.stderr), ("Plugin 'untouched'\n", ""))

    def test_the_line_may_be_an_expression_and_the_plugin_an_object(self):
        source = ANSWERS.replace(
            "import cloudsnooze; cloudsnooze.run(Plugin)", "__import__('cloudsnooze').run(Plugin())"
        )
        plugin = self.start(source)
        plugin.initialize({"path": "/x"})
        self.assertEqual(plugin.handle()["result"]["status"], "path is /x")

    def test_an_entry_point_of_another_module_serves_when_told_to(self):
        self.write(
            "import cloudsnooze\nclass P:\n def handle_event(self, e): return {'handled': True}\n"
            "def main(): cloudsnooze.run(P, when_imported=True)",
            "package_module.py",
        )
        plugin = self.start("import package_module; package_module.main()")
        plugin.initialize()
        self.assertEqual(plugin.handle()["result"], {"handled": True})

    def test_check_says_what_the_plugin_is_or_why_not(self):
        file = self.write(ANSWERS)
        done = self.run_python(file, "--check", '{"path": "/x"}')
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for text in ("ok: Plugin, version 3.1, with verify", "custom.*", "settings: path"):
            self.assertIn(text, done.stdout)
        for wrong in ('{"path": 7}', "[]", "{"):
            done = self.run_python(file, "--check", wrong)
            self.assertEqual(done.returncode, 1, wrong)
            self.assertIn("not acceptable", done.stderr)

    def test_a_class_without_handle_event_stops_with_a_clear_text(self):
        done = self.run_python(self.write("import cloudsnooze; cloudsnooze.run(dict)"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("handle_event(self, event); dict has none", done.stderr)


class Simulating(ToolTest):
    def outcome(self, *args, source=ANSWERS):
        done = self.tool("simulate", self.write(source), *args)
        return done.returncode, done.stdout

    def test_the_exchange_is_shown_and_a_handled_event_exits_0(self):
        code, shown = self.outcome("--config", "path=/srv")
        self.assertEqual(code, 0, shown)
        methods = [json.loads(line[4:])["method"] for line in shown.splitlines() if line.startswith("--> ")]
        self.assertEqual(methods, ["initialize", "handle_event", "verify", "shutdown"])
        self.assertIn('<-- {"jsonrpc":"2.0","id":2,"result":{"handled":true,"status":"path is /srv"}}', shown)
        self.assertIn("=== handled and verified", shown)

    def test_the_event_has_the_documented_shape(self):
        _, shown = self.outcome(
            "--event", "cloud.spot.interrupt", "--seconds", "30", "--data", "zone=b", "--data", "n=7"
        )
        line = next(line for line in shown.splitlines() if "handle_event" in line and line.startswith("--> "))
        params = json.loads(line[4:])["params"]
        sent, data = params["event"], params["event"]["data"]
        self.assertEqual((sent["specversion"], sent["id"][14], sent["severity"]), ("1.0", "7", "urgent"))
        self.assertEqual(sent["time"], sent["timestamp"])
        self.assertEqual((data["timeRemaining"], data["zone"], data["n"], data["provider"]), (30.0, "b", 7, "aws"))
        self.assertLess(sent["time"], data["time"])
        self.assertEqual(params["call"]["time_left_ms"], 30_000)
        self.assertTrue(params["call"]["idempotency_key"].startswith(sent["id"] + "/"))

    def test_the_exit_status_tells_the_outcome(self):
        cases = {
            '{"handled": false, "error": "no space"}': (1, "failed: no space"),
            '{"handled": false}': (3, "declined"),
            '{"handled": false, "retry": true, "error": "later"}': (4, "asks to be tried again: later"),
            "7": (1, "returned a value of type int"),
        }
        for answer, (expected, text) in cases.items():
            with self.subTest(answer):
                code, shown = self.outcome("--data", f"answer={answer}")
                self.assertEqual(code, expected)
                self.assertIn(text, shown.splitlines()[-1])
        code, shown = self.outcome("--data", "raise=gone")
        self.assertEqual(code, 1)
        self.assertIn("failed: OSError: gone", shown)
        code, shown = self.outcome("--data", "verified=false")
        self.assertEqual(code, 1)
        self.assertIn("not verified: file is short", shown)

    def test_a_handler_that_hangs_is_cancelled_killed_and_reported(self):
        code, shown = self.outcome("--data", "hang=true", "--seconds", "0.5")
        self.assertEqual(code, 5, shown)
        self.assertIn('"method":"cancel"', shown)
        self.assertIn("  | hanging", shown)

    def test_a_refused_configuration_and_a_broken_plugin_exit_6(self):
        self.assertEqual(self.outcome("--config", "path=7")[0], 6)
        for source in ("raise SystemExit(9)", "print('hello'); input()", "print('{}'); input()"):
            code, shown = self.outcome(source=source)
            self.assertEqual(code, 6, shown)

    def test_an_unusable_command_line_exits_2(self):
        file = self.write(ANSWERS)
        for args in (
            ["simulate", "nowhere.py"],
            ["simulate", file, "--data", "x"],
            ["simulate", file, "--seconds", "-1"],
            [],
        ):
            done = self.tool(*args)
            self.assertEqual(done.returncode, 2, args)
            self.assertTrue(done.stderr)

    def test_help_has_examples_and_exit_statuses(self):
        self.assertIn("simulate", self.tool("--help").stdout)
        for text in ("examples:", "exit status:", "--seconds"):
            self.assertIn(text, self.tool("simulate", "--help").stdout)
        self.assertIn("app-checkpointer.plugin.json", self.tool("manifest", "--help").stdout)


class Manifests(ToolTest):
    def test_a_manifest_describes_the_file_and_simulate_starts_it(self):
        file = self.write("print('noise at import')\n" + ANSWERS.replace("\n    ", "\n"), "my_plugin.py")
        done = self.tool("manifest", file)
        manifest = json.loads(done.stdout)
        self.assertEqual((manifest["name"], manifest["version"]), ("my-plugin", "3.1"))
        self.assertEqual(manifest["description"], "Answers as it is told.")
        self.assertEqual(manifest["command"], [sys.executable, str(file.resolve())])
        self.assertEqual(manifest["config_schema"]["properties"], {"path": {"type": "string"}})
        saved = self.directory / "my-plugin.plugin.json"
        saved.write_text(done.stdout, encoding="utf-8")
        file.write_text(file.read_text(encoding="utf-8").replace("print('noise at import')", ""), encoding="utf-8")
        self.assertEqual(self.tool("simulate", saved).returncode, 0)

    def test_relative_commands_are_found_beside_the_manifest(self):
        self.write(ANSWERS, "beside.py")
        manifest = {"name": "beside", "command": [sys.executable, "beside.py"], "env": {"A": "1"}}
        saved = self.directory / "beside.plugin.json"
        saved.write_text(json.dumps(manifest), encoding="utf-8")
        done = self.tool("simulate", saved)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for broken in ("{", "[]", "{}", '{"name": "x", "command": []}', '{"name": "x", "command": [""]}'):
            saved.write_text(broken, encoding="utf-8")
            self.assertEqual(self.tool("simulate", saved).returncode, 2, broken)

    def test_the_examples_manifest_is_what_the_command_prints(self):
        example, stand_in = EXAMPLES / "app_checkpointer.py", EXAMPLES.parent / "tests" / "stand_in"
        done = self.run_python("-m", "cloudsnooze", "manifest", example, env=environment(stand_in))
        fresh, kept = json.loads(done.stdout), json.loads((EXAMPLES / "app-checkpointer.plugin.json").read_text())
        # The kept one must start on any machine, so its command is its own.
        self.assertEqual(kept.pop("command"), ["/usr/bin/python3", "app_checkpointer.py"])
        fresh.pop("command")
        self.assertEqual(fresh, kept)

    def test_values_a_constructor_reads_from_its_environment_stay_out_of_the_manifest(self):
        source = """
            import os, cloudsnooze
            class P:
                def __init__(self): self.api_key = os.environ["API_KEY"]
                def handle_event(self, event): return {"handled": True}
            if __name__ == "__main__":
                cloudsnooze.run(P)
        """
        env = {**environment(), "API_KEY": "s3cret"}
        done = self.run_python("-m", "cloudsnooze", "manifest", self.write(source), env=env)
        self.assertEqual(json.loads(done.stdout)["config_schema"]["properties"], {"api_key": {"type": "string"}})
        self.assertNotIn("s3cret", done.stdout + done.stderr)

    def test_files_that_are_no_plugins_are_refused_with_a_reason(self):
        for source, text in (("x = 1", "never calls"), ("raise OSError('no disk')", "no disk"), ("def", "SyntaxError")):
            done = self.tool("manifest", self.write(source))
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(text, done.stderr)


if __name__ == "__main__":
    unittest.main()
