"""The `NAME.plugin.json` of a plugin file: what the daemon reads to know how to start it.

Inputs -> outputs: a Python file that calls `cloudsnooze.run()` -> the manifest's object; a manifest file -> the
command to start.
Must never: let the plugin file's own output mix with the manifest, or put default values into it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from . import author
from .run import offered

# The daemon's default for `startup_timeout_seconds`.
STARTUP_TIMEOUT_SECONDS = 10.0


class FileError(Exception):
    """The file given on the command line cannot be used; the text says why."""


@dataclass(frozen=True)
class Launch:
    """How to start a plugin process."""

    name: str
    command: list[str]
    working_directory: Optional[str] = None
    env: dict[str, str] = field(default_factory=dict)
    startup_timeout_seconds: float = STARTUP_TIMEOUT_SECONDS


def plugin_name(file: Path) -> str:
    """The name the daemon knows a plugin file by: `app_checkpointer.py` is `app-checkpointer`."""
    return file.stem.replace("_", "-").lower()


def load_target(file: Path) -> Any:
    """Imports `file` without running it as a plugin; returns what it passes to `run()`. Raises FileError."""
    if not file.is_file():
        raise FileError(f"{file}: no such file")
    module_name = f"cloudsnooze_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise FileError(f"{file}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    # As if it had been started: its neighbours can be imported.
    sys.path.insert(0, str(file.resolve().parent))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except BaseException as error:
        raise FileError(f"{file}: importing it failed: {author.describe(error)}") from error
    if module_name in offered:
        return offered.pop(module_name)
    # The run() line may stand under `if __name__ == "__main__":`, where an import does not reach it.
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module_name and callable(getattr(value, "handle_event", None))
    ]
    if len(classes) != 1:
        raise FileError(
            f"{file}: it never calls cloudsnooze.run(CLASS), and has {len(classes)} classes with handle_event"
        )
    return classes[0]


def manifest_of(file: Path, name: Optional[str], description: Optional[str], python: str) -> dict[str, Any]:
    """The manifest of a plugin file, to be started with the interpreter `python`. Raises FileError."""
    target = load_target(file)
    facts = author.facts(target)
    doc = (inspect.getdoc(target) or "").strip().splitlines() if inspect.isclass(target) else []
    class_name = getattr(target, "__name__", type(target).__name__)
    with contextlib.redirect_stdout(sys.stderr):
        schema = author.config_schema(target)
    manifest = {
        "name": name or facts.name or plugin_name(file),
        "version": facts.version,
        "description": description or (doc[0] if doc else f"{class_name}, a Python plugin"),
        "command": [python, str(file.resolve())],
        "config_schema": schema,
    }
    # What the plugin can do beyond handling an event; the daemon's default is that it cannot.
    manifest.update({ability: True for ability in ("undo", "drill") if getattr(target, ability, None) is True})
    return manifest


def read_launch(file: Path) -> Launch:
    """How to start `file`, a plugin's Python file or its manifest. Raises FileError."""
    if not file.is_file():
        raise FileError(f"{file}: no such file")
    if file.suffix != ".json":
        return Launch(plugin_name(file), [sys.executable, str(file.resolve())])
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        command = [str(word) for word in manifest["command"]]
        program = command[0]
        launch = Launch(
            name=str(manifest["name"]),
            command=_resolved(command, file.resolve().parent),
            working_directory=manifest.get("working_directory"),
            env={str(key): str(value) for key, value in manifest.get("env", {}).items()},
            startup_timeout_seconds=float(manifest.get("startup_timeout_seconds", STARTUP_TIMEOUT_SECONDS)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise FileError(f"{file}: not a plugin manifest: {author.describe(error)}") from error
    if not program:
        raise FileError(f"{file}: command names no program")
    return launch


def _resolved(command: list[str], base: Path) -> list[str]:
    """Resolves a relative program path and a relative script path against the manifest's directory."""
    first, *rest = command
    if "/" in first:
        first = str(base / first)
    if rest and (base / rest[0]).is_file():
        rest[0] = str(base / rest[0])
    return [first, *rest]
