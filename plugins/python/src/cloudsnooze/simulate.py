"""Delivers one simulated event to a plugin process, the way the daemon does, and shows the exchange.

Responsibilities: play the host's side - start, initialize, handle_event, verify, cancel at the deadline, shutdown.
Inputs -> outputs: a `Launch`, an event and a time limit -> the exchange on stdout, and an exit code by outcome.
Must never: leave a process behind, or wait longer than the limits it was given.
"""

from __future__ import annotations

import datetime
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from typing import Any, Optional

from . import protocol
from .manifest import Launch

HANDLED = 0
FAILED = 1
DECLINED = 3
RETRY = 4
TIMED_OUT = 5
BROKEN = 6

# Between the cancel at the deadline and the kill; the daemon's default.
CANCEL_GRACE_SECONDS = 0.25
_SHUTDOWN_SECONDS = 5.0


class PeerError(Exception):
    """The plugin broke the protocol, refused or went away; the text says how."""


class OutOfTime(Exception):
    """No answer came within the limit."""


def make_event(event_type: str, data: dict[str, Any], seconds_left: float) -> dict[str, Any]:
    """An event as the daemon would deliver it; `data` is laid over what the type brings with it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    deadline = _rfc3339(now + datetime.timedelta(seconds=seconds_left))
    filled: dict[str, Any] = {"timeRemaining": seconds_left}
    is_cloud = event_type.startswith("cloud.")
    if is_cloud:
        filled.update(provider="aws", action="terminate", time=deadline, instanceID="i-0123456789abcdef0")
        filled.update(instanceType="m5.large", zone="us-east-1a", region="us-east-1", noticeKind="deadline")
        filled["raw"] = {"action": "terminate", "time": deadline}
    return {
        "specversion": "1.0",
        "id": _uuid7(now),
        "type": event_type,
        "source": "aws.ec2.metadata-service" if is_cloud else "cloudsnooze.simulation",
        "time": _rfc3339(now),
        "timestamp": _rfc3339(now),
        "subject": "i-0123456789abcdef0",
        "severity": "urgent" if is_cloud else "info",
        "datacontenttype": "application/json",
        "data": {**filled, **data},
    }


class Peer:
    """A plugin process and both directions of its conversation; leaving it as a context manager kills what is left."""

    def __init__(self, launch: Launch) -> None:
        """Starts the process in a group of its own. Raises OSError when it cannot be started."""
        self._answers: queue.Queue[Optional[bytes]] = queue.Queue()
        self._print_lock = threading.Lock()
        self._last_id = 0
        self.process = subprocess.Popen(
            launch.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=launch.working_directory,
            env={**os.environ, **launch.env},
            start_new_session=True,
        )
        self._threads = [threading.Thread(target=job, daemon=True) for job in (self._read_stdout, self._read_stderr)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Kills the whole process group, children included, as the daemon does."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # Gone already, which is all this wants.
        self.process.wait()
        for thread in self._threads:
            thread.join(timeout=1)

    def say(self, text: str) -> None:
        """Prints one line; the reader threads print too."""
        with self._print_lock:
            print(text, flush=True)

    def send(self, message: dict[str, Any]) -> None:
        """Writes one message. A broken pipe is not an error here: the missing answer will show it."""
        line = protocol.encode(message)
        self.say(f"--> {line.decode().rstrip()}")
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def request(self, method: str, params: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
        """Sends a request and returns its whole answer. Raises OutOfTime and PeerError."""
        self._last_id += 1
        self.send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        return self.answer(timeout_seconds)

    def answer(self, timeout_seconds: float) -> dict[str, Any]:
        """The answer to the last request; notifications in between are only shown."""
        until = time.monotonic() + timeout_seconds
        while True:
            try:
                line = self._answers.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise OutOfTime from None
            if line is None:
                raise PeerError(f"the process ended without an answer (exit status {self.process.wait()})")
            try:
                message = json.loads(line)
            except ValueError:
                raise PeerError(
                    f"stdout carried a line that is not JSON (unbuffered output before run()?): {line[:200]!r}"
                ) from None
            if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
                raise PeerError("stdout carried a line that is not a JSON-RPC 2.0 message")
            if "method" in message:
                continue
            if message.get("id") != self._last_id:
                raise PeerError(f"the answer's id is {message.get('id')!r}, not {self._last_id}")
            return message

    def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        for line in protocol.read_lines(self.process.stdout.fileno()):
            self.say(f"<-- {'(a line over the limit)' if line is None else line.decode('utf-8', 'replace').rstrip()}")
            self._answers.put(b"" if line is None else line)
        self._answers.put(None)

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.say(f"  | {line.decode('utf-8', 'replace').rstrip()}")


def simulate(launch: Launch, config: dict[str, Any], event: dict[str, Any], seconds_left: float) -> int:
    """Runs one delivery and returns the exit code."""
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="cloudsnooze-simulate-") as state_dir, Peer(launch) as peer:
            code, text = _deliver(peer, launch, config, event, seconds_left, state_dir)
            if code != TIMED_OUT:
                _shut_down(peer)
    except OSError as error:
        code, text = BROKEN, f"the plugin could not be started: {error}"
    except PeerError as error:
        code, text = BROKEN, str(error)
    print(f"=== {text} (after {time.monotonic() - started:.2f} s)", flush=True)
    return code


def _deliver(
    peer: Peer, launch: Launch, config: dict[str, Any], event: dict[str, Any], seconds_left: float, state_dir: str
) -> tuple[int, str]:
    instance = f"{event['type']}/{launch.name}"
    hello = {"protocol": protocol.PROTOCOL_VERSION, "plugin": launch.name, "instance": instance}
    try:
        answer = peer.request(
            "initialize", {**hello, "config": config, "state_dir": state_dir}, launch.startup_timeout_seconds
        )
    except OutOfTime:
        raise PeerError(f"no answer to initialize within {launch.startup_timeout_seconds:g} s") from None
    if "error" in answer:
        raise PeerError(f"the plugin refused its configuration: {_error_text(answer)}")
    facts = answer.get("result")
    if not isinstance(facts, dict) or facts.get("protocol") != protocol.PROTOCOL_VERSION:
        raise PeerError(f"the plugin does not speak protocol {protocol.PROTOCOL_VERSION}")
    until = time.monotonic() + seconds_left
    call = {"id": str(uuid.uuid4()), "attempt": 1, "idempotency_key": f"{event['id']}/{instance}"}
    params = {"event": event, "call": {**call, "time_left_ms": int(seconds_left * 1000)}}
    handled = _request_until(peer, "handle_event", params, call["id"], until)
    if handled is None:
        return TIMED_OUT, f"timed out: no answer within {seconds_left:g} s; the process group was killed"
    code, text = outcome(handled)
    if code == HANDLED and facts.get("verify") is True:
        left_ms = max(0, int((until - time.monotonic()) * 1000))
        params = {"event": event, "call": {**call, "time_left_ms": left_ms}, "result": handled["result"]}
        verified = _request_until(peer, "verify", params, call["id"], until)
        if verified is None:
            return TIMED_OUT, "timed out: handled, but verify did not answer in time; the process group was killed"
        return verify_outcome(verified)
    return code, text


def _request_until(
    peer: Peer, method: str, params: dict[str, Any], call_id: Any, until: float
) -> Optional[dict[str, Any]]:
    """A request with the daemon's way of ending it: cancel at the deadline, a moment's grace, then the kill (None)."""
    try:
        return peer.request(method, params, until - time.monotonic())
    except OutOfTime:
        peer.send({"jsonrpc": "2.0", "method": "cancel", "params": {"call_id": call_id, "reason": "deadline"}})
    try:
        return peer.answer(CANCEL_GRACE_SECONDS)
    except OutOfTime:
        peer.kill()
        return None


def _shut_down(peer: Peer) -> None:
    try:
        peer.request("shutdown", {}, _SHUTDOWN_SECONDS)
        peer.process.wait(_SHUTDOWN_SECONDS)
    except (OutOfTime, subprocess.TimeoutExpired):
        raise PeerError(f"the process did not end within {_SHUTDOWN_SECONDS:g} s of shutdown; it was killed") from None


def outcome(answer: dict[str, Any]) -> tuple[int, str]:
    """What an answer to handle_event means to the daemon."""
    if "error" in answer:
        return FAILED, f"failed: {_error_text(answer)}"
    result = answer.get("result")
    if not isinstance(result, dict) or not isinstance(result.get("handled"), bool):
        return FAILED, 'failed: the result is not an object with "handled": true or false'
    if result["handled"]:
        return HANDLED, f"handled: {result.get('status', 'no status given')}"
    if result.get("retry") is True:
        return RETRY, f"asks to be tried again: {result.get('error', 'no reason given')}"
    if "error" in result:
        return FAILED, f"failed: {result['error']}"
    return DECLINED, "declined"


def verify_outcome(answer: dict[str, Any]) -> tuple[int, str]:
    """What an answer to verify means to the daemon."""
    if "error" in answer:
        return FAILED, f"handled, but verify failed: {_error_text(answer)}"
    result = answer.get("result")
    if isinstance(result, dict) and result.get("verified") is True:
        return HANDLED, "handled and verified"
    reason = result.get("error", "no reason given") if isinstance(result, dict) else "the result is not an object"
    return FAILED, f"handled, but not verified: {reason}"


def _error_text(answer: dict[str, Any]) -> str:
    error = answer["error"]
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def _rfc3339(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _uuid7(moment: datetime.datetime) -> str:
    """A UUID version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then random bits."""
    value = (int(moment.timestamp() * 1000) << 80) | (uuid.uuid4().int & ((1 << 80) - 1))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(uuid.UUID(int=value))
