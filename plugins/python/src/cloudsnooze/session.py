"""One conversation with the host, from `initialize` to `shutdown`.

Responsibilities: answer every request exactly once, in order; let a cancel arrive while a handler runs; turn
whatever the author's code does into an answer.
Inputs -> outputs: lines from the host -> calls of the plugin object -> lines to the host.
Must never: let one bad line, result or exception end the process, or keep the process alive long after its host.

Threads: the main thread runs the author's code (signal handlers and most libraries want that), a reader thread
parses lines, and a canceller thread runs `on_cancel`, so that a slow one does not stop the reader.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from . import author, logs, protocol
from .calls import Call
from .protocol import Message, RpcError

# The host sends one request at a time; more than this waiting means that it has lost count.
_MAX_WAITING = 64
# Once the conversation is over, close() and the author's own threads get this long before the process ends anyway.
_EXIT_GRACE_SECONDS = 5.0
# What a call without a time limit gets once the host is gone.
_ORPHAN_SECONDS = 30.0
_EXIT_STUCK = 70
_MAX_TRACEBACK = 16 * 1024
_ANSWER_FIELD = {"handle_event": "handled", "verify": "verified"}


@dataclass(frozen=True)
class _Work:
    message: Message
    call: Optional[Call]


class Session:
    """Serves `target` (a class or object) over two file descriptors, both owned by the session."""

    def __init__(self, target: Any, read_fd: int, write_fd: int) -> None:
        self._target = target
        self._read_fd = read_fd
        self._writer = protocol.LineWriter(write_fd)
        self._plugin: Any = None
        self._stopping = False
        # SimpleQueue, because its put() may be called from a signal handler that interrupted a get().
        self._inbox: queue.SimpleQueue[Optional[_Work]] = queue.SimpleQueue()
        self._cancels: queue.SimpleQueue[tuple[Optional[Call], str]] = queue.SimpleQueue()
        self._calls_lock = threading.Lock()
        self._calls: dict[str, Call] = {}
        self.active_call: Optional[Call] = None
        self.state_dir: Optional[Path] = None

    def serve(self) -> int:
        """Answers requests until shutdown, end of input or `stop()`; returns the exit code. Main thread only."""
        threading.Thread(target=self._cancel_loop, name="cloudsnooze-cancel", daemon=True).start()
        threading.Thread(target=self._read_loop, name="cloudsnooze-reader", daemon=True).start()
        while not self._stopping:
            work = self._inbox.get()
            if work is None:
                break
            self._perform(work)
        threading.Thread(target=_end_process_soon, name="cloudsnooze-exit", daemon=True).start()
        self._call_optional("close")
        return 0

    def stop(self) -> None:
        """Asks for an end after the running call, which is told to cancel. Safe in a signal handler: takes no lock."""
        self._stopping = True
        self._inbox.put(None)
        self._cancels.put((None, "shutdown"))

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Sends a notification to the host. Any thread."""
        self._writer.write(protocol.encode_notification(method, params))

    # The reader thread.

    def _read_loop(self) -> None:
        for line in protocol.read_lines(self._read_fd):
            try:
                if line is None:
                    raise RpcError(protocol.PARSE_ERROR, f"the line is longer than {protocol.MAX_LINE_BYTES} bytes")
                self._accept(protocol.parse_line(line))
            except RpcError as error:
                self._writer.write(protocol.encode_error(error))
        self._inbox.put(None)
        self._end_with_host()

    def _accept(self, message: Message) -> None:
        if message.method == "cancel":
            self._cancel(message.params)
            return
        if message.method not in ("initialize", "handle_event", "verify", "shutdown"):
            if message.is_notification:
                return
            raise RpcError(protocol.METHOD_NOT_FOUND, f"unknown method {message.method[:100]!r}", message.request_id)
        if message.is_notification and message.method != "shutdown":
            logs.log("warning", f"{message.method} came without an id, so nobody would get its answer; ignored")
            return
        if self._inbox.qsize() >= _MAX_WAITING:
            raise RpcError(protocol.HANDLER_FAILED, f"{_MAX_WAITING} requests are waiting already", message.request_id)
        self._inbox.put(_Work(message, self._call_of(message)))

    def _call_of(self, message: Message) -> Optional[Call]:
        """Registers the call of a delivery, here and not when it starts, so that its time counts from its arrival."""
        if message.method not in _ANSWER_FIELD:
            return None
        event, params = message.params.get("event"), message.params.get("call")
        if not isinstance(event, dict) or not isinstance(params, dict):
            raise RpcError(protocol.INVALID_PARAMS, "params.event and params.call must be objects", message.request_id)
        try:
            call = Call(params, lambda progress: self.notify("progress", progress))
        except ValueError as error:
            raise RpcError(protocol.INVALID_PARAMS, str(error), message.request_id) from None
        with self._calls_lock:
            self._calls[call.id] = call
        return call

    def _cancel(self, params: dict[str, Any]) -> None:
        call_id, reason = params.get("call_id"), params.get("reason")
        if not isinstance(reason, str):
            reason = "user"
        with self._calls_lock:
            call = self._calls.get(call_id) if isinstance(call_id, str) else None
        # A cancel that crosses the answer on its way finds no call, and that is not an error.
        if call is not None:
            call.cancel(reason)
            self._cancels.put((call, reason))

    def _end_with_host(self) -> None:
        """After EOF: lets the work in hand use the time it was given, then ends the process.

        The daemon kills a plugin at its deadline; when the daemon itself is gone, nobody else would.
        """
        time.sleep(max((_seconds_left(call) for call in self._registered()), default=_ORPHAN_SECONDS))
        self._cancels.put((None, "deadline"))
        _end_process_soon()

    # The canceller thread.

    def _cancel_loop(self) -> None:
        while True:
            call, reason = self._cancels.get()
            for each in self._registered() if call is None else [call]:
                each.cancel(reason)
                if each is self.active_call:
                    self._call_optional("on_cancel", reason)

    def _registered(self) -> list[Call]:
        with self._calls_lock:
            return list(self._calls.values())

    # The main thread.

    def _perform(self, work: _Work) -> None:
        message = work.message
        try:
            self.active_call = work.call
            line = self._encoded(message, self._result_of(message, work.call))
        except RpcError as error:
            error.request_id = message.request_id
            line = protocol.encode_error(error)
        except BaseException as error:  # Also SystemExit: a handler that calls exit() has failed, the plugin has not.
            line = protocol.encode_error(_failure(message, error))
        finally:
            self.active_call = None
            self._forget(work.call)
        if not message.is_notification:
            self._writer.write(line)
        if message.method == "initialize" and self._plugin is not None:
            # After the answer: a slow or failing warm-up must not cost the plugin its place.
            self._call_optional("warm_up")

    def _forget(self, call: Optional[Call]) -> None:
        if call is None:
            return
        with self._calls_lock:
            if self._calls.get(call.id) is call:
                del self._calls[call.id]

    def _result_of(self, message: Message, call: Optional[Call]) -> Any:
        if message.method == "initialize":
            return self._initialize(message.params)
        if message.method == "shutdown":
            self._stopping = True
            return None
        if self._plugin is None:
            raise RpcError(protocol.NOT_READY, f"{message.method} came before initialize")
        if call is not None and call.cancelled.is_set():
            return _refusal(message.method, f"cancelled before it started: {call.cancel_reason}")
        event = message.params["event"]
        if message.method == "handle_event":
            return _checked("handle_event", self._plugin.handle_event(event))
        if not callable(getattr(self._plugin, "verify", None)):
            raise RpcError(protocol.METHOD_NOT_FOUND, "this plugin has no verify method")
        verified = self._plugin.verify(event, message.params.get("result"))
        return _checked("verify", {"verified": verified} if isinstance(verified, bool) else verified)

    def _initialize(self, params: dict[str, Any]) -> dict[str, Any]:
        if self._plugin is not None:
            raise RpcError(protocol.INVALID_REQUEST, "initialize was answered already")
        version = params.get("protocol")
        # JSON's true equals 1 in Python, and it is not a version.
        if isinstance(version, bool) or version != protocol.PROTOCOL_VERSION:
            raise RpcError(protocol.INVALID_PARAMS, f"this plugin speaks protocol {protocol.PROTOCOL_VERSION} only")
        config = params.get("config")
        if not isinstance(config, (dict, type(None))):
            raise RpcError(protocol.INVALID_PARAMS, "config is not an object")
        if isinstance(params.get("state_dir"), str):
            self.state_dir = Path(params["state_dir"])
        try:
            plugin, unknown = author.build(self._target, config or {})
            facts = author.facts(plugin)
        except author.ConfigError as error:
            raise RpcError(protocol.INVALID_PARAMS, str(error)) from None
        for key in unknown:
            logs.log("warning", f"configuration key {key!r} is not a setting of this plugin; ignored")
        self._plugin = plugin
        return {
            "protocol": protocol.PROTOCOL_VERSION,
            "name": facts.name or str(params.get("plugin", "")),
            "version": facts.version,
            "subscriptions": facts.subscriptions,
            "verify": facts.can_verify,
        }

    def _encoded(self, message: Message, result: Any) -> bytes:
        try:
            return protocol.encode_result(message.request_id, result)
        except Exception as error:
            if message.method not in _ANSWER_FIELD:
                raise
            text = f"{message.method} returned what cannot be sent as JSON: {author.describe(error)}"
            return protocol.encode_result(message.request_id, _refusal(message.method, text[:4096]))

    def _call_optional(self, method: str, *args: Any) -> None:
        """Calls a method that the author may have left out; its failure is logged and changes nothing else."""
        function = getattr(self._plugin, method, None)
        if not callable(function):
            return
        try:
            function(*args)
        except BaseException as error:
            logs.log("warning", f"{method} failed: {author.describe(error)}")


def _checked(method: str, value: Any) -> Any:
    """A handler's return value, or a failure that tells the author what was expected."""
    field = _ANSWER_FIELD[method]
    if not isinstance(value, dict):
        shown = "None" if value is None else f"a value of type {type(value).__name__}"
        return _refusal(method, f'{method} returned {shown}; it must return a dict such as {{"{field}": True}}')
    if not isinstance(value.get(field), bool):
        return _refusal(method, f'{method} returned a dict without "{field}": True or "{field}": False')
    return value


def _refusal(method: str, text: str) -> dict[str, Any]:
    return {_ANSWER_FIELD[method]: False, "error": text}


def _failure(message: Message, error: BaseException) -> RpcError:
    """The JSON-RPC error for an exception of the author's code."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return RpcError(
        protocol.HANDLER_FAILED,
        author.describe(error),
        message.request_id,
        {"traceback": "".join(lines)[-_MAX_TRACEBACK:]},
    )


def _seconds_left(call: Call) -> float:
    left_ms = call.time_left_ms()
    return _ORPHAN_SECONDS if left_ms is None else left_ms / 1000


def _end_process_soon() -> None:
    """Ends the process after a grace period; on a daemon thread, so a process that ends by itself never gets here."""
    time.sleep(_EXIT_GRACE_SECONDS)
    print("cloudsnooze: the plugin did not end by itself; ending it", file=sys.stderr, flush=True)
    os._exit(_EXIT_STUCK)
