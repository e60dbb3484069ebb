"""Reading of Chrome trace events from a file that anybody may have written or damaged."""

import json
from typing import Any

from pycachehook.errors import ConfigError
from pycachehook.system import READ_FLAGS, read_file

PHASES = ("find", "read", "check", "wait", "unmarshal", "compile", "write", "execute")
_KINDS = ("import", "gc", "process")  # the categories of events that are read; those of phases repeat the imports
_NUMBERS = (*PHASES, "count", "spent", "found", "generation")  # arguments
_WORDS = ("verdict", "place", "reason", "path", "loader", "argv", "python")
_LATEST = 1e18  # microseconds, far in the future
_LARGEST = 1 << 64


def events_of(path: str) -> list[dict[str, Any]]:
    """Return the events of a recording; those of other programs are left out.

    Raises OSError if the file cannot be read, and ConfigError if it holds no events, or has been damaged.
    """
    data = read_file(path, READ_FLAGS)[0]
    try:
        found = _loaded(data.decode().rstrip())
        every = found["traceEvents"] if isinstance(found, dict) else found
        events = [event for event in every if event["ph"] == "X" and event["cat"] in _KINDS]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(f"{path} is not a recording: it holds no Chrome trace events of pycachehook.") from None
    if not all(map(_is_valid, events)):
        raise ConfigError(f"{path} is damaged, or was not written by pycachehook: an event has wrong values.")
    return events


def _loaded(text: str) -> Any:
    """Return the value of JSON text, or of an array that has no closing bracket, as in the file of a process.

    Such an array may end within an element, if the disk was full.
    """
    if text.endswith(","):
        text = f"{text[:-1]}]"
    try:
        return json.loads(text)
    except ValueError:
        whole, comma, _ = text.rpartition("},\n")
        if not comma:
            raise
        return json.loads(f"{whole}}}]")


def _is_valid(event: dict[str, Any]) -> bool:
    arguments = event.get("args")
    if not isinstance(event.get("name"), str) or not isinstance(arguments, dict):
        return False
    if event["cat"] == "gc" and event["name"] == "collections" and not {"count", "spent"} <= arguments.keys():
        return False
    numbers = [event.get("pid"), event.get("tid"), *(arguments[name] for name in _NUMBERS if name in arguments)]
    return (
        all(_is_time(event.get(name)) for name in ("ts", "dur"))
        and all(type(number) is int and 0 <= number < _LARGEST for number in numbers)
        and all(isinstance(arguments[name], str) for name in _WORDS if name in arguments)
        and ("count" in arguments) == ("spent" in arguments)
    )


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= _LATEST  # type: ignore[operator] # false for NaN
