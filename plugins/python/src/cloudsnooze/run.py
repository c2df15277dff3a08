"""`run()`: what the one added line of a plugin file calls.

Responsibilities: decide whether the file was started as a plugin or merely imported, answer a person at a terminal,
take stdin and stdout away from the author's code, and serve until the host is done.
Inputs -> outputs: a class or object, and the process's standard streams -> a `Session`, then an exit code.
Must never: do anything when the file is imported, or leave the protocol's stream within reach of a print().
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, Optional

from . import author, logs
from .calls import Call
from .session import Session

_EXIT_USAGE = 64
# Private copies of the streams sit above the descriptors that shells and daemons give a meaning to.
_FIRST_PRIVATE_FD = 10

_HELP = """\
{file} is a CloudSnooze plugin. The daemon starts it and speaks JSON-RPC with it over stdin and stdout;
there is nothing to type here. To work with it by hand:

  python3 -m cloudsnooze simulate {file}     deliver a simulated event and show the exchange
  python3 -m cloudsnooze manifest {file}     print the NAME.plugin.json that the daemon needs
  python3 {file} --check ['{{"key": "value"}}']   construct the plugin with a configuration and say what it is
"""

#: What files that were imported, not started, passed to run(): module name -> class or object.
offered: dict[str, Any] = {}

_session: Optional[Session] = None


def run(target: Any, *, when_imported: bool = False) -> None:
    """Serves `target` - a class with `handle_event(self, event) -> dict`, or an object of one - and exits.

    Does nothing unless the calling file is the program that was started (its `__name__` is `"__main__"`), so no
    `if __name__ == "__main__":` is needed. `when_imported=True` serves regardless, for a console-script entry point;
    then call it inside the entry point's function. Must be called on the main thread. Raises TypeError when `target`
    has no `handle_event`.
    """
    author.check_target(target)
    caller = sys._getframe(1).f_globals.get("__name__")
    if caller != "__main__" and not when_imported:
        offered[str(caller)] = target
        return
    sys.exit(_main(target, sys.argv))


def current_call() -> Optional[Call]:
    """The delivery being handled: time left, attempt, idempotency key, cancellation. None between deliveries."""
    return None if _session is None else _session.active_call


def state_dir() -> Optional[Path]:
    """The directory the host keeps for this plugin's files; None before `initialize` or when it named none."""
    return None if _session is None else _session.state_dir


def _main(target: Any, argv: list[str]) -> int:
    file = argv[0] or "plugin.py"
    if argv[1:2] in (["--help"], ["-h"]):
        print(_HELP.format(file=file), end="")
        return 0
    if argv[1:2] == ["--check"]:
        return _check(target, argv[2] if len(argv) > 2 else "{}")
    if os.isatty(0):
        print(_HELP.format(file=file), end="", file=sys.stderr)
        return _EXIT_USAGE
    try:
        read_fd, write_fd = claim_streams()
    except OSError as error:
        print(f"{file}: stdin and stdout must be open: {error}", file=sys.stderr)
        return _EXIT_USAGE
    return _serve(target, read_fd, write_fd)


def _check(target: Any, config_text: str) -> int:
    try:
        config = json.loads(config_text)
        if not isinstance(config, dict):
            raise author.ConfigError("the configuration is not a JSON object")
        plugin, unknown = author.build(target, config)
        facts = author.facts(plugin)
    except (ValueError, author.ConfigError) as error:
        print(f"not acceptable: {error}", file=sys.stderr)
        return 1
    print(f"ok: {type(plugin).__name__}, version {facts.version}, {'with' if facts.can_verify else 'without'} verify")
    print(f"subscriptions: {', '.join(facts.subscriptions) or 'whatever the configuration says'}")
    print(f"settings: {', '.join(author.config_schema(plugin).get('properties', {})) or 'none'}")
    for key in unknown:
        print(f"warning: configuration key {key!r} is not a setting of this plugin", file=sys.stderr)
    return 0


def claim_streams() -> tuple[int, int]:
    """Moves stdin and stdout to private descriptors and returns them (owned by the caller, closed on exec).

    Afterwards descriptor 0 is empty and descriptor 1 is stderr, for this process, for C extensions and for children
    alike: a print() is a log line, and input() reads nothing. Raises OSError when stdin or stdout is closed.
    """
    read_fd = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, _FIRST_PRIVATE_FD)
    write_fd = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _FIRST_PRIVATE_FD)
    for fd in (read_fd, write_fd):
        os.set_blocking(fd, True)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:
        os.dup2(null, 1)
    if null > 2:
        os.close(null)
    # Text printed while the file was imported may still wait in the buffer; it goes to stderr from here on.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
        sys.stdout.flush()
    return read_fd, write_fd


def _serve(target: Any, read_fd: int, write_fd: int) -> int:
    global _session
    _session = Session(target, read_fd, write_fd)
    logs.connect(_session.notify)
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logs.LogHandler())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _on_signal)
    return _session.serve()


def _on_signal(number: int, _frame: Any) -> None:
    """Lets a running handler finish: at a machine's shutdown, init sends SIGTERM to plugins in the middle of saving."""
    # A second signal gets its usual effect, so that a person can insist.
    signal.signal(number, signal.SIG_DFL)
    if _session is not None:
        _session.stop()
