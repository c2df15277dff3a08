"""The delivery a handler sees."""

import unittest

import plugin_process  # noqa: F401  (puts the package on the path)

from cloudsnooze import Call


class Calls(unittest.TestCase):
    def left(self, time_left_ms):
        return Call({"id": "c", "time_left_ms": time_left_ms}).time_left_ms()

    def test_absurd_times_neither_overflow_nor_turn_negative(self):
        for past in (-1, -1e308, -(10**400), float("-inf"), 0):
            self.assertEqual(self.left(past), 0, past)
        for far in (10**400, 1e308, float("inf")):
            self.assertGreater(self.left(far), 10**10, far)

    def test_no_limit_is_none(self):
        self.assertIsNone(self.left(None))

    def test_what_is_not_a_call_is_refused(self):
        for params in ({}, {"id": ""}, {"id": 1}, {"id": "c", "attempt": True}, {"id": "c", "time_left_ms": "soon"}):
            with self.assertRaises(ValueError):
                Call(params)

    def test_the_key_falls_back_to_the_call_and_the_first_cancel_reason_stays(self):
        call = Call({"id": "c"})
        self.assertEqual((call.idempotency_key, call.attempt, call.cancelled.is_set()), ("c", 1, False))
        call.cancel("deadline")
        call.cancel("user")
        self.assertEqual((call.cancel_reason, call.cancelled.is_set()), ("deadline", True))
        call.progress(2000, "not connected, so this goes nowhere")


if __name__ == "__main__":
    unittest.main()
