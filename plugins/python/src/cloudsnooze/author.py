"""What the author wrote: building the plugin object from its configuration, and reading what it says of itself.

Inputs -> outputs: a class or an object plus a configuration -> the object to call, its `Facts`, a config schema.
Must never: put a configured value into a message of its own (it may be a password), or let a configuration key
replace a method.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Mapping, Optional

_FACT_NAMES = ("name", "version", "subscriptions", "config_schema", "undo", "drill")
UNKNOWN_VERSION = "0.0.0"


class ConfigError(Exception):
    """The configuration cannot be used; the text is for the person who wrote it and names keys, never values."""


@dataclass(frozen=True)
class Facts:
    """What a plugin says of itself; None and empty where it says nothing."""

    name: Optional[str]
    version: str
    subscriptions: list[str]
    config_schema: Optional[dict[str, Any]]
    can_verify: bool


def check_target(target: Any) -> None:
    """Raises TypeError when `target` is neither a class nor an object with a `handle_event` method."""
    if not callable(getattr(target, "handle_event", None)):
        shown = getattr(target, "__name__", type(target).__name__)
        raise TypeError(
            f"cloudsnooze.run needs a class (or object) with a method handle_event(self, event); {shown} has none"
        )


def describe(error: BaseException) -> str:
    """An exception of the author's code in one line; holds even when the exception cannot be printed."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def facts(plugin: Any) -> Facts:
    """Reads the optional attributes `name`, `version`, `subscriptions`, `config_schema` of a class or object."""
    subscriptions = getattr(plugin, "subscriptions", None) or []
    if isinstance(subscriptions, str):
        subscriptions = [subscriptions]
    name = getattr(plugin, "name", None)
    schema = getattr(plugin, "config_schema", None)
    return Facts(
        name=name if isinstance(name, str) and name else None,
        version=str(getattr(plugin, "version", None) or UNKNOWN_VERSION),
        subscriptions=[str(pattern) for pattern in subscriptions],
        config_schema=schema if isinstance(schema, dict) else None,
        can_verify=callable(getattr(plugin, "verify", None)),
    )


def build(target: Any, config: dict[str, Any]) -> tuple[Any, list[str]]:
    """Makes the plugin object and gives it its configuration.

    Returns the object and the configuration keys that nothing in it takes. A class is constructed by what its
    constructor accepts: a parameter named `config` gets all of it; other parameters get the keys of their names;
    `**kwargs` gets the rest. Keys left over are set on attributes of the same name that the constructor made.
    Raises ConfigError.
    """
    check_target(target)
    if not inspect.isclass(target):
        return target, _set_attributes(target, config)
    args, kwargs, left_over = _arguments(target, config)
    try:
        plugin = target(*args, **kwargs)
    except Exception as error:
        raise ConfigError(f"{target.__name__} could not be constructed: {describe(error)}") from error
    return plugin, _set_attributes(plugin, left_over)


def _arguments(target: type, config: dict[str, Any]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Splits `config` into positional arguments, keyword arguments and keys that the constructor does not take."""
    parameters = _parameters(target)
    if "config" in parameters:
        if parameters["config"].kind is inspect.Parameter.POSITIONAL_ONLY:
            return [config], {}, {}
        return [], {"config": config}, {}
    named = _settings(parameters)
    missing = [name for name, p in named.items() if p.default is inspect.Parameter.empty and name not in config]
    if missing:
        raise ConfigError(f"the configuration lacks {', '.join(missing)}")
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return [], dict(config), {}
    taken = {key: value for key, value in config.items() if key in named}
    return [], taken, {key: value for key, value in config.items() if key not in named}


def _parameters(target: type) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        # Some classes written in C have no signature; they are constructed without arguments.
        return {}


def _settings(parameters: Mapping[str, inspect.Parameter]) -> dict[str, inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: parameter for name, parameter in parameters.items() if parameter.kind in kinds}


def _set_attributes(plugin: Any, config: dict[str, Any]) -> list[str]:
    """Sets configured attributes; returns the keys that match none."""
    unknown = []
    for key, value in config.items():
        if not _is_setting(plugin, key):
            unknown.append(key)
            continue
        expected = _json_type(getattr(plugin, key))
        if expected is not None and value is not None and expected != _json_type(value):
            raise ConfigError(f"configuration key {key!r} must be of type {expected}, not {_json_type(value)}")
        try:
            setattr(plugin, key, value)
        except Exception as error:
            raise ConfigError(f"configuration key {key!r} was refused: {describe(error)}") from error
    return unknown


def _is_setting(plugin: Any, key: str) -> bool:
    # Methods and private names are out of a configuration file's reach.
    return (
        not key.startswith("_")
        and key not in _FACT_NAMES
        and hasattr(plugin, key)
        and not callable(getattr(plugin, key))
    )


def config_schema(target: Any) -> dict[str, Any]:
    """The plugin's own schema, or one made of what `build` would set: constructor parameters and public attributes.

    A class is constructed to see its attributes, where it can be without a configuration. Default values are left
    out on purpose: a constructor may have read them from the environment, and a manifest is a file that everyone
    can read.
    """
    own = facts(target).config_schema
    if own is not None:
        return own
    properties: dict[str, Any] = {}
    required: list[str] = []
    plugin = target
    if inspect.isclass(target):
        parameters = _parameters(target)
        if "config" in parameters:
            return {"type": "object"}
        for name, parameter in _settings(parameters).items():
            if parameter.default is inspect.Parameter.empty:
                required.append(name)
                properties[name] = {}
            else:
                properties[name] = _type_schema(parameter.default)
        try:
            plugin = target if required else target()
        except Exception:
            # Then the class itself shows fewer attributes than its objects would, which is the best there is.
            plugin = target
    for key in sorted(set(getattr(plugin, "__dict__", {})) | set(vars(type(plugin)))):
        if key not in properties and _is_setting(plugin, key):
            properties[key] = _type_schema(getattr(plugin, key))
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def _type_schema(default: Any) -> dict[str, Any]:
    kind = _json_type(default)
    return {} if kind is None else {"type": kind}


def _json_type(value: Any) -> Optional[str]:
    """The JSON Schema name of a value's type; None when a value of any type may take its place."""
    if isinstance(value, bool):
        return "boolean"
    # A default of 30 says nothing against 2.5, so whole numbers are not a type of their own.
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (list, tuple)):
        return "array"
    return "object" if isinstance(value, dict) else None
