"""The options: their defaults, their permitted values, and values with an origin.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import os

from pycachehook.errors import ConfigError
from pycachehook.paths import MIRROR, SHARED, absolute
from pycachehook.pyc import CHECKED_HASH, TIMESTAMP, UNCHECKED_HASH
from pycachehook.system import system

DEFAULT = "default"
PREFIX_ORIGIN = "PYTHONPYCACHEPREFIX"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Parser = Callable[[str, object, str], Any]

INVALIDATION_MODES = (CHECKED_HASH, UNCHECKED_HASH, TIMESTAMP)
LAYOUTS = (MIRROR, SHARED)
INSTALLED, ALL, HASHED, IGNORE = "installed", "all", "hashed", "ignore"  # values of `in_tree`
IN_TREE = (INSTALLED, ALL, HASHED, IGNORE)
PAUSE = "pause"
GC = (DEFAULT, PAUSE, "freeze")
OPEN_CODE = ("auto", "always", "never")

_DAY = 86400.0
_MOST_PROCESSES = 64
_LONGEST_SHOWN = 200  # characters of a wrong value shown in a message

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


class Option:
    """A value and its origin: a keyword, a flag, a variable, a file, the start-up file, or "default"."""

    __slots__ = ("origin", "value")

    def __init__(self, value: "Any", origin: str) -> None:
        self.value = value
        self.origin = origin

    def __reduce__(self) -> "tuple[type[Option], tuple[Any, str]]":
        return Option, (self.value, self.origin)


class Options:
    """The values of all options, as attributes, each with its origin."""

    __slots__ = ("_options",)

    def __init__(self, options: dict[str, Option]) -> None:
        self._options = options

    def __getattr__(self, name: str) -> "Any":
        # `copy` and `pickle` create an instance that has no `_options` at first.
        if name.startswith("_") or name not in self._options:
            raise AttributeError(f"{name!r} is not an option")
        return self._options[name].value

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self._options]

    def __repr__(self) -> str:
        return f"<pycachehook.Options {self.chosen()}>"

    def __reduce__(self) -> "tuple[type[Options], tuple[dict[str, Option]]]":
        return Options, (self._options,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and self.values() == other.values()

    __hash__ = None  # type: ignore[assignment]

    def origin(self, name: str) -> str:
        """Return where the value of option `name` came from."""
        return self._options[name].origin

    def values(self) -> "dict[str, Any]":
        """Return the values of all options by name."""
        return {name: option.value for name, option in self._options.items()}

    def chosen(self) -> "dict[str, Any]":
        """Return the values that were set explicitly: all but defaults and CPython's own prefix."""
        implicit = (DEFAULT, PREFIX_ORIGIN)
        return {name: option.value for name, option in self._options.items() if option.origin not in implicit}

    def as_dict(self) -> dict[str, dict[str, object]]:
        """Return `{name: {"value": ..., "origin": ...}}`."""
        return {name: {"value": option.value, "origin": option.origin} for name, option in self._options.items()}


def shown(value: object) -> str:
    """Return the `repr` of a value for a message, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text)} characters)"


def _wrong(name: str, value: object, origin: str, allowed: str) -> ConfigError:
    return ConfigError(f"{name} = {shown(value)} ({origin}) is not valid: it must be {allowed}.")


def boolean(name: str, value: object, origin: str) -> bool:
    """Return the value of a switch; raises `ConfigError` for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    raise _wrong(name, value, origin, "true or false (1, yes, on; 0, no, off)")


def _one_of(*allowed: str, **synonyms: str) -> "Parser":
    """Return a parser for an option with a few values; `synonyms` maps other accepted words to them."""

    def parse(name: str, value: object, origin: str) -> str:
        if isinstance(value, str) and synonyms.get(value, value) in allowed:
            return synonyms.get(value, value)
        raise _wrong(name, value, origin, ", ".join(allowed[:-1]) + " or " * (len(allowed) > 1) + allowed[-1])

    return parse


def _directory(name: str, value: object, origin: str) -> str:
    path = _path(value)
    if path is None:
        raise _wrong(name, value, origin, _usable("the path of a directory", value))
    return path


def _files(name: str, value: object, origin: str) -> tuple[str, ...]:
    """Return absolute paths; a string from the environment or a flag contains them separated by `os.pathsep`."""
    paths_given: Any = value
    if isinstance(paths_given, str):
        paths_given = [path for path in paths_given.split(os.pathsep) if path]
    items = paths_given if isinstance(paths_given, (list, tuple)) else [paths_given]
    paths = [_path(item) for item in items]
    if None in paths:
        allowed = _usable("the path of a file, or a list of them", items[paths.index(None)])
        raise _wrong(name, value, origin, allowed)
    return tuple(path for path in paths if path is not None)


def _usable(allowed: str, value: object) -> str:
    """Return what is allowed, with the reason why `value` is none of it if it has the form of a path."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        return allowed
    if value.startswith("~"):
        return f"{allowed}, and there is no such home directory as {value.partition('/')[0]}"
    try:
        os.getcwd()
    except OSError:
        return f"{allowed}, absolute because the current directory does not exist any more"
    return allowed


def _path(value: object) -> str | None:
    """Return `value` as an absolute path, or None if it is not a path."""
    value = os.fspath(value) if hasattr(value, "__fspath__") else value
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return None
    try:
        system.fsencode(value)
    except UnicodeEncodeError:  # a lone surrogate, or a letter that the file system's encoding does not have
        return None
    return absolute(value)


def _seconds(name: str, value: object, origin: str) -> float:
    try:
        seconds = -1.0 if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if not 0 <= seconds <= _DAY:
        raise _wrong(name, value, origin, "a number of seconds from 0 to 86400")
    return seconds


def _processes(name: str, value: object, origin: str) -> int:
    if isinstance(value, str) and value in map(str, range(_MOST_PROCESSES + 1)):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_PROCESSES:
        return value
    raise _wrong(name, value, origin, f"a whole number from 0 to {_MOST_PROCESSES}")


def _gc_of_pause_gc(name: str, value: object, origin: str) -> str:
    return PAUSE if boolean(name, value, origin) else DEFAULT


# name: (default, parser). A parser takes (name, value, origin), and returns the value or raises ConfigError.
# Rules may set the options in PER_SOURCE, but not those in PER_PROCESS.
PER_SOURCE: "dict[str, tuple[Any, Parser]]" = {
    "cache_dir": (None, _directory),
    "layout": (MIRROR, _one_of(*LAYOUTS)),
    "invalidation_mode": (CHECKED_HASH, _one_of(*INVALIDATION_MODES)),
    "read_only": (False, boolean),
    "in_tree": (INSTALLED, _one_of(*IN_TREE, read=ALL)),
}
PER_PROCESS: "dict[str, tuple[Any, Parser]]" = {
    "archives": ((), _files),
    "lock_timeout": (5.0, _seconds),
    "force_write": (False, boolean),
    "allow_shared": (False, boolean),
    "gc": (DEFAULT, _one_of(*GC)),
    "compile_ahead": (0, _processes),
    "open_code": ("auto", _one_of(*OPEN_CODE)),
    "strict": (False, boolean),
}
# Earlier names: (the option that is set, a parser that returns a value of that option).
ALIASES: "dict[str, tuple[str, Parser]]" = {"pause_gc": ("gc", _gc_of_pause_gc)}
# Options that are not taken from the environment if the process's real and effective user or group differ.
NOT_FROM_ANOTHER_USER = ("allow_shared", "archives")
