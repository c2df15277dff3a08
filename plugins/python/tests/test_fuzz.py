"""Nothing that a host can send makes a plugin end, hang, or write a line that is not JSON-RPC."""

import json
import random
import threading
import unittest

from plugin_process import PluginTest

LINES = 2_000
PLUGIN = """
    def handle_event(self, event):
        return {"handled": True}
"""


class Fuzz(PluginTest):
    def feed(self, plugin, lines):
        """Writes on a thread of its own, so that neither pipe can fill up while the other waits."""
        thread = threading.Thread(target=plugin.send_raw, args=(b"".join(line + b"\n" for line in lines),))
        thread.start()
        self.addCleanup(thread.join, 30)
        return thread

    def assert_well(self, plugin):
        """Everything sent before has been read and answered, and the plugin still does its work."""
        answers = []
        settled = False
        while not settled:
            # This one is answered in order, after all that waits; or refused when too much waits, and sent again.
            plugin.send("verify", plugin.delivery(), id="marker")
            answers.append(plugin.answer())
            while answers[-1].get("id") != "marker":
                answers.append(plugin.answer())
            code = answers.pop()["error"]["code"]
            self.assertIn(code, (-32002, -32000))
            settled = code == -32002
        for answer in answers:
            self.assertEqual(answer.get("jsonrpc"), "2.0", answer)
        self.assertEqual(plugin.initialize()["protocol"], 1)
        self.assertEqual(plugin.handle()["result"], {"handled": True})
        self.assertEqual(plugin.finish(), 0)
        return answers

    def test_random_bytes_get_one_error_a_line_and_do_not_end_the_plugin(self):
        chance = random.Random(20_250_101)
        lines = [
            bytes(chance.randrange(256) for _ in range(chance.choice((1, 3, 20, 200)))).replace(b"\n", b"?")
            for _ in range(LINES)
        ]
        plugin = self.start_class(PLUGIN)
        self.feed(plugin, lines).join(60)
        answers = self.assert_well(plugin)
        self.assertEqual(len(answers), sum(1 for line in lines if line.strip()))
        self.assertTrue(all(answer["error"]["code"] in (-32700, -32600) for answer in answers))

    def test_damaged_messages_do_not_end_the_plugin(self):
        chance = random.Random(20_250_102)
        plugin = self.start_class(PLUGIN)
        whole = [
            {"jsonrpc": "2.0", "id": 1, "method": "handle_event", "params": plugin.delivery()},
            {"jsonrpc": "2.0", "id": 2, "method": "verify", "params": {**plugin.delivery(), "result": {}}},
            {"jsonrpc": "2.0", "method": "cancel", "params": {"call_id": "c1", "reason": "user"}},
            {"jsonrpc": "2.0", "id": 3, "method": "initialize", "params": {"protocol": 2, "config": {}}},
        ]
        lines = [self.damaged(chance, chance.choice(whole)) for _ in range(LINES)]
        self.feed(plugin, lines).join(60)
        self.assert_well(plugin)

    @staticmethod
    def damaged(chance, message):
        """The message with a value replaced by a strange one, or with its bytes disturbed."""
        strange = (None, True, -1, 1e300, -(10**400), "", "\ud800", [], {}, [[[[]]]], {"": {}}, "x" * 5000, 2**70)
        copy = json.loads(json.dumps(message))
        place = copy
        while True:
            key = chance.choice(sorted(place))
            if not isinstance(place[key], dict) or not place[key] or chance.random() < 0.3:
                break
            place = place[key]
        place[key] = chance.choice(strange)
        line = bytearray(json.dumps(copy).encode())
        if chance.random() < 0.3:
            line[chance.randrange(len(line))] = chance.randrange(256)
        return bytes(line).replace(b"\n", b" ")


if __name__ == "__main__":
    unittest.main()
