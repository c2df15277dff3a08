"""One delivery of an event to the plugin: its identity, its deadline and whether it was cancelled.

Inputs -> outputs: the `call` object of a request -> a `Call` whose time left counts from the request's arrival.
Must never: use the wall clock (it jumps), or block.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Optional

_BOOT_CLOCK: Optional[int] = getattr(time, "CLOCK_BOOTTIME", None)


def now_seconds() -> float:
    """Seconds since boot, counting time spent suspended: a cloud's deadline does not wait for a frozen guest."""
    if _BOOT_CLOCK is None:
        return time.monotonic()
    return time.clock_gettime(_BOOT_CLOCK)


class Call:
    """The delivery that is being handled; get it with `cloudsnooze.current_call()`. Usable from any thread."""

    def __init__(self, params: dict[str, Any], progress: Optional[Callable[[dict[str, Any]], None]] = None) -> None:
        """Raises ValueError, with a text for the host, when `params` (the `call` object) is not acceptable."""
        call_id = params.get("id")
        if not isinstance(call_id, str) or not call_id:
            raise ValueError("call.id is not a string")
        attempt = params.get("attempt", 1)
        time_left_ms, key = params.get("time_left_ms"), params.get("idempotency_key")
        if isinstance(attempt, bool) or not isinstance(attempt, int):
            raise ValueError("call.attempt is not a whole number")
        if isinstance(time_left_ms, bool) or not isinstance(time_left_ms, (int, float, type(None))):
            raise ValueError("call.time_left_ms is not a number")
        self.id: str = call_id
        #: 1 for the first delivery of this event to this plugin, 2 for the first retry, and so on.
        self.attempt: int = attempt
        #: The same for every attempt at the same event: give it to services that can ignore a repeated request.
        self.idempotency_key: str = key if isinstance(key, str) else call_id
        #: Set as soon as the host no longer wants the result; long work should look at it or wait on it.
        self.cancelled = threading.Event()
        #: Why it was cancelled: "deadline", "shutdown", "superseded" or "user"; None while it is not.
        self.cancel_reason: Optional[str] = None
        self._progress = progress
        # Bounded, so that an absurd number cannot overflow the sum or a later wait.
        self._deadline = None if time_left_ms is None else now_seconds() + max(0, min(time_left_ms, 1e11)) / 1000

    def time_left_ms(self) -> Optional[int]:
        """Milliseconds until the host ends this process, as of now, never negative; None when it gave no limit."""
        if self._deadline is None:
            return None
        return max(0, int((self._deadline - now_seconds()) * 1000))

    def progress(self, permille: int, text: str = "") -> None:
        """Tells the host how far the work is: `permille` from 0 to 1000, and a word about it."""
        if self._progress is not None:
            clamped = max(0, min(1000, int(permille)))
            self._progress({"call_id": self.id, "permille": clamped, "text": str(text)[:1024]})

    def cancel(self, reason: str) -> None:
        """Marks the call as cancelled; the first reason stays."""
        if self.cancel_reason is None:
            self.cancel_reason = reason
        self.cancelled.set()
