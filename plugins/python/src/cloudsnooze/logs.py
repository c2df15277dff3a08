"""Log lines for the host: `log()` and a `logging.Handler`.

Inputs -> outputs: a level and a text -> a `log` notification, or a line on stderr when no host is connected.
Must never: raise into the author's code because of a log line, or write to stdout.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Callable, Optional

_LEVELS = ("debug", "info", "warning", "error")
# A log line is for a person; longer ones would only push others out of the host's journal.
_MAX_TEXT = 16 * 1024

_send: Optional[Callable[[str, dict[str, Any]], None]] = None


def connect(send: Optional[Callable[[str, dict[str, Any]], None]]) -> None:
    """Names the function that sends a notification to the host; None disconnects. Called by `run()`."""
    global _send
    _send = send


def log(level: str, message: object) -> None:
    """Logs `message` through the daemon, with the plugin's name. `level`: "debug", "info", "warning" or "error"."""
    if level not in _LEVELS:
        raise ValueError(f"log level {level!r} is not one of {', '.join(_LEVELS)}")
    text = str(message)[:_MAX_TEXT]
    if _send is None:
        print(f"{level}: {text}", file=sys.stderr)
    else:
        _send("log", {"level": level, "message": text})


class LogHandler(logging.Handler):
    """Forwards records of the standard `logging` module to the daemon.

    `run()` puts one on the root logger when the plugin has not configured logging by itself.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log(level_name(record.levelno), self.format(record))
        except Exception:
            # The way of every handler in the standard library: report on stderr, never into the caller.
            self.handleError(record)


def level_name(number: int) -> str:
    """The protocol's name for a level number of the `logging` module."""
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
