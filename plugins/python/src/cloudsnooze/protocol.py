"""The wire: JSON-RPC 2.0 messages, one JSON object a line, UTF-8, at most 1 MiB a line.

Responsibilities: cut a byte stream into lines, turn a line into a `Message` or a `RpcError`, turn answers and
notifications into lines, and write each line whole.
Inputs -> outputs: file descriptors and bytes -> `Message` values; values -> bytes on a file descriptor.
Must never: raise for anything a peer can send, keep more than one line's limit in memory, or emit a line that a
strict JSON parser refuses (NaN, lone surrogates, longer than the limit).
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Union

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 1024 * 1024

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
HANDLER_FAILED = -32000
NOT_READY = -32002

RequestId = Union[int, str, None]

# One read takes at most this much, so that a flood of bytes cannot make a single huge allocation.
_READ_BYTES = 64 * 1024


class RpcError(Exception):
    """A request that is answered with a JSON-RPC error. `request_id` is None when the line named none."""

    def __init__(self, code: int, message: str, request_id: RequestId = None, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request_id = request_id
        self.data = data


@dataclass(frozen=True)
class Message:
    """One request or notification from the host. A notification has no id and gets no answer."""

    method: str
    params: dict[str, Any]
    request_id: RequestId
    is_notification: bool


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def parse_line(line: bytes) -> Message:
    """Turns one line into a `Message`; raises `RpcError` (and nothing else) when it is not one."""
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, f"the line is not JSON: {_short(error)}") from None
    if not isinstance(value, dict):
        raise RpcError(INVALID_REQUEST, "the line is not a JSON object")
    request_id = value.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, (int, str, type(None))):
        raise RpcError(INVALID_REQUEST, "id is neither a whole number nor a string")
    if value.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'jsonrpc is not "2.0"', request_id)
    method = value.get("method")
    if not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, "method is not a string", request_id)
    params = value.get("params", {})
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "params is not an object", request_id)
    return Message(method, params, request_id, is_notification="id" not in value)


def encode(value: dict[str, Any]) -> bytes:
    """One line with its newline. Raises TypeError, ValueError or RecursionError when `value` is not JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Lone surrogates (file names that are not UTF-8) have no UTF-8 form, and strict parsers refuse their escapes.
    return text.encode("utf-8", "replace") + b"\n"


def encode_result(request_id: RequestId, result: Any) -> bytes:
    """The answer to a request. Raises like `encode`, and ValueError when the line would be too long."""
    line = encode({"jsonrpc": "2.0", "id": request_id, "result": result})
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"it is {len(line)} bytes long as JSON, and the limit is {MAX_LINE_BYTES}")
    return line


def encode_error(error: RpcError) -> bytes:
    """The answer to a request that failed."""
    body: dict[str, Any] = {"code": error.code, "message": error.message[:4096]}
    if error.data is not None:
        body["data"] = error.data
    return encode({"jsonrpc": "2.0", "id": error.request_id, "error": body})


def encode_notification(method: str, params: dict[str, Any]) -> bytes:
    """A message to the host that gets no answer."""
    return encode({"jsonrpc": "2.0", "method": method, "params": params})


def read_lines(fd: int) -> Iterator[Optional[bytes]]:
    """Yields each non-blank line without its newline; None in place of a line over the limit. Ends at EOF.

    A last line without a newline is yielded too: a cut-off JSON object cannot parse as a whole one, so this is safe,
    and it lets a plugin be tried by hand with `printf`.
    """
    pending = bytearray()
    too_long = False
    while True:
        try:
            chunk = os.read(fd, _READ_BYTES)
        except OSError:
            # The host's end broke; that is the end of the stream, just less polite than EOF.
            chunk = b""
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            pending += piece
            if too_long or len(pending) > MAX_LINE_BYTES:
                yield None
            elif pending.strip():
                yield bytes(pending)
            pending.clear()
            too_long = False
        pending += rest
        if len(pending) > MAX_LINE_BYTES:
            too_long = True
            pending.clear()
        if not chunk:
            if too_long:
                yield None
            elif pending.strip():
                yield bytes(pending)
            return


class LineWriter:
    """Writes whole lines to a file descriptor that it owns; safe to use from any thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._broken = False

    def write(self, line: bytes) -> None:
        """Writes `line`. Once the host has closed its end, lines are dropped: nobody is left to read them."""
        with self._lock:
            view = memoryview(line)
            while view and not self._broken:
                try:
                    view = view[os.write(self._fd, view) :]
                except OSError:
                    self._broken = True


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]
