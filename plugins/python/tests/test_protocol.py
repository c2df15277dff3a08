"""The wire, without a process: lines in, messages out, and back."""

import json
import os
import threading
import unittest

import plugin_process  # noqa: F401  (puts the package on the path)

from cloudsnooze import protocol
from cloudsnooze.protocol import RpcError


def lines_of(*chunks):
    """What `read_lines` yields for these writes."""
    read_fd, write_fd = os.pipe()

    def feed():
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(write_fd, view) :]
        os.close(write_fd)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        return list(protocol.read_lines(read_fd))
    finally:
        os.close(read_fd)
        thread.join()


class Lines(unittest.TestCase):
    def test_a_line_may_arrive_in_pieces_and_several_at_once(self):
        self.assertEqual(lines_of(b"a", b"b\ncc\nd", b"d\n"), [b"ab", b"cc", b"dd"])

    def test_blank_lines_are_skipped_and_a_last_line_needs_no_newline(self):
        self.assertEqual(lines_of(b"\n \r\nx\n\ny"), [b"x", b"y"])

    def test_a_line_of_exactly_the_limit_passes_and_one_byte_more_does_not(self):
        longest = b"x" * protocol.MAX_LINE_BYTES
        self.assertEqual(lines_of(longest + b"\n"), [longest])
        self.assertEqual(lines_of(longest + b"y\nnext\n"), [None, b"next"])

    def test_an_endless_line_is_reported_once(self):
        self.assertEqual(lines_of(b"x" * (5 * protocol.MAX_LINE_BYTES)), [None])
        self.assertEqual(lines_of(b"x" * (5 * protocol.MAX_LINE_BYTES) + b"\nok\n"), [None, b"ok"])


class Parsing(unittest.TestCase):
    def code_of(self, line):
        with self.assertRaises(RpcError) as caught:
            protocol.parse_line(line)
        return caught.exception.code

    def test_a_request_is_read(self):
        message = protocol.parse_line(b'{"jsonrpc":"2.0","id":"x","method":"m","params":{"a":1}}\r')
        self.assertEqual((message.method, message.params, message.request_id), ("m", {"a": 1}, "x"))
        self.assertFalse(message.is_notification)
        self.assertTrue(protocol.parse_line(b'{"jsonrpc":"2.0","method":"m"}').is_notification)

    def test_what_is_not_json_is_a_parse_error(self):
        for line in (
            b"nonsense",
            b"\xff\xfe",
            b'{"a":NaN}',
            b"[" * 200_000,
            b"\xef\xbb\xbf{}",
            b"-" + b"9" * 9999 + b"x",
        ):
            self.assertEqual(self.code_of(line), protocol.PARSE_ERROR, line[:20])

    def test_json_that_is_no_request_is_an_invalid_request(self):
        for line in (b"1", b"null", b"[]", b'"x"', b"{}", b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"1.0","method":"m"}'):
            self.assertEqual(self.code_of(line), protocol.INVALID_REQUEST, line)
        for bad_id in (b"true", b"1.5", b"[]", b"{}"):
            line = b'{"jsonrpc":"2.0","method":"m","id":' + bad_id + b"}"
            self.assertEqual(self.code_of(line), protocol.INVALID_REQUEST, line)

    def test_positional_params_are_refused_with_the_requests_id(self):
        with self.assertRaises(RpcError) as caught:
            protocol.parse_line(b'{"jsonrpc":"2.0","id":4,"method":"m","params":[1]}')
        self.assertEqual((caught.exception.code, caught.exception.request_id), (protocol.INVALID_PARAMS, 4))


class Encoding(unittest.TestCase):
    def test_a_line_has_one_newline_and_is_utf_8(self):
        line = protocol.encode({"a": "line\nbreak", "b": "é"})
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(json.loads(line), {"a": "line\nbreak", "b": "é"})

    def test_a_file_name_that_is_not_utf_8_still_makes_a_line_strict_parsers_take(self):
        line = protocol.encode({"path": os.fsdecode(b"/x/\xff")})
        self.assertEqual(json.loads(line.decode("utf-8"))["path"], "/x/?")

    def test_nan_and_results_over_the_limit_are_refused(self):
        with self.assertRaises(ValueError):
            protocol.encode_result(1, {"x": float("nan")})
        with self.assertRaises(ValueError):
            protocol.encode_result(1, {"x": "y" * protocol.MAX_LINE_BYTES})

    def test_a_writer_survives_a_host_that_went_away(self):
        read_fd, write_fd = os.pipe()
        os.close(read_fd)
        writer = protocol.LineWriter(write_fd)
        writer.write(b"first\n")
        writer.write(b"second\n")
        os.close(write_fd)


if __name__ == "__main__":
    unittest.main()
