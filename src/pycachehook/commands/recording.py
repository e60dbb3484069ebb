"""The record of a start, `run --record`: the sources of the imported modules, in the order of their execution."""

import atexit
import os
import sys
from typing import Any

from pycachehook.errors import ConfigError
from pycachehook.terminal import visible

from .atomic_write import replacing
from .user_file import why_not_replaced


def record_at_exit(path: str) -> None:
    """Write the sources of all imported modules to the file `path` at exit, one per line.

    Modules that were imported before this call come first, then the others in the order in which their execution
    started. Raises ConfigError if `path` exists and is not an earlier record.
    """
    path = os.path.abspath(path)
    why = why_not_replaced(path, _is_record, "record")
    if why is not None:
        raise ConfigError(f"--record {path} {why}, and is left as it is: name a new file, or remove this one first.")
    began: dict[str, None] = {}

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "exec":  # also raised when a module's body is executed
            began.setdefault(getattr(arguments[0], "co_filename", ""))

    sys.addaudithook(note)  # PEP 578
    atexit.register(_record, path, began)


def lines(data: bytes) -> list[str]:
    """Return the sources in a record with these bytes; a name may contain anything but a line feed."""
    return [line for line in data.decode("utf-8", "surrogateescape").split("\n") if line]


def _is_record(data: bytes) -> bool:
    return all(os.path.isabs(name) and name.endswith(".py") for name in lines(data))


def _record(path: str, began: dict[str, None]) -> None:
    origins = [getattr(_spec_of(module), "origin", None) for module in list(sys.modules.values())]
    sources = dict.fromkeys(
        origin for origin in origins if isinstance(origin, str) and origin.endswith(".py") and "\n" not in origin
    )
    ordered = [
        *(source for source in sources if source not in began),
        *(source for source in began if source in sources),
    ]
    why = why_not_replaced(path, _is_record, "record")  # the program may have created this path
    try:
        if why is None:
            with replacing(path) as file:
                file.write("".join(f"{source}\n" for source in ordered).encode("utf-8", "surrogateescape"))
    except OSError as error:
        why = f"cannot be written: {error.strerror}"
    if why is not None:
        warning = f"pycachehook: warning: the profile {visible(path)} {why}."
        print(warning, file=sys.stderr)  # noqa: T201 -- runs at the exit of the program, without `cli`


def _spec_of(module: object) -> object:
    """Return the module's spec or None, without attribute access that would execute a lazily loaded module."""
    try:
        return object.__getattribute__(module, "__spec__")
    except AttributeError:
        return None
