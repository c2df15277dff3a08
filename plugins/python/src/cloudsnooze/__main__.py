"""`python -m cloudsnooze`: tools for people who write plugins.

Inputs -> outputs: command line -> one of `simulate` and `manifest`, and its exit code.
Must never: be needed by a plugin in production.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, Optional

from . import __version__
from .manifest import FileError, manifest_of, read_launch
from .simulate import make_event, simulate

_DESCRIPTION = "Tools for writing CloudSnooze plugins in Python."

_SIMULATE = """\
Starts a plugin file as the daemon would, delivers one simulated event, and prints the exchange:
  -->  a line to the plugin        <--  a line from the plugin        |  what it wrote to stderr

At the end of the time it sends a cancel, waits 0.25 s and kills the process group, as the daemon does.
Nothing but the plugin runs: no cloud is asked and no daemon is needed.
"""

_SIMULATE_MORE = """\
examples:
  python3 -m cloudsnooze simulate app_checkpointer.py
  python3 -m cloudsnooze simulate app_checkpointer.py --config app_endpoint=http://localhost:9000/save --seconds 20
  python3 -m cloudsnooze simulate app_checkpointer.py --event custom.deploy --data version=7 --data dry_run=true
  python3 -m cloudsnooze simulate /etc/cloudsnooze/plugins/app-checkpointer.plugin.json

KEY=VALUE: VALUE is read as JSON where it is JSON (7, true, ["a"]), and as text where it is not.

exit status:
  0 handled (and verified, if the plugin can verify)     4 asks to be tried again
  1 failed, or not verified                              5 ran out of time
  2 the command line or the file is not usable           6 refused its configuration, or broke the protocol
  3 declined
"""

_MANIFEST = """\
Prints the manifest that tells the daemon how to start a plugin file. Save it as NAME.plugin.json in a plugin
directory of the daemon. The file is imported, and its class constructed, to read its name, version and settings.
"""

_MANIFEST_MORE = """\
example:
  python3 -m cloudsnooze manifest app_checkpointer.py > app-checkpointer.plugin.json

The class may say more of itself with the attributes name, version, subscriptions and config_schema. Without a
config_schema, the settings are its constructor's parameters and its public attributes. The interpreter that runs
this command is the one written into the manifest, unless --python names another: run it in the environment where
the plugin's imports are installed.
"""


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds between 0 and 86400")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m cloudsnooze", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"cloudsnooze {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    form = argparse.RawDescriptionHelpFormatter
    one = commands.add_parser(
        "simulate",
        help="deliver a simulated event to a plugin",
        description=_SIMULATE,
        epilog=_SIMULATE_MORE,
        formatter_class=form,
    )
    one.add_argument("file", type=Path, metavar="FILE", help="the plugin's .py file, or its .plugin.json")
    one.add_argument(
        "--event", default="cloud.spot.interrupt", metavar="TYPE", help="event type (default: %(default)s)"
    )
    one.add_argument(
        "--data", type=_pair, action="append", default=[], metavar="KEY=VALUE", help="set a key of the event's data"
    )
    one.add_argument(
        "--config", type=_pair, action="append", default=[], metavar="KEY=VALUE", help="set a configuration key"
    )
    one.add_argument(
        "--seconds", type=_seconds, default=120.0, help="time left until the deadline (default: %(default)g)"
    )
    two = commands.add_parser(
        "manifest",
        help="print a plugin's .plugin.json",
        description=_MANIFEST,
        epilog=_MANIFEST_MORE,
        formatter_class=form,
    )
    two.add_argument("file", type=Path, metavar="FILE", help="the plugin's .py file")
    two.add_argument("--name", help="plugin name (default: the class's name attribute, or the file's name)")
    two.add_argument("--description", help="one line about it (default: the first line of the class's docstring)")
    two.add_argument("--python", default=sys.executable, help="interpreter to start it with (default: %(default)s)")
    return parser


def main(argv: Optional[list[str]] = None) -> int:
    """Runs the command line `argv` (without the program's name) and returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "manifest":
            found = manifest_of(args.file, args.name, args.description, args.python)
            print(json.dumps(found, indent=2, ensure_ascii=False))
            return 0
        event = make_event(args.event, dict(args.data), args.seconds)
        return simulate(read_launch(args.file), dict(args.config), event, args.seconds)
    except FileError as error:
        print(f"cloudsnooze: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
