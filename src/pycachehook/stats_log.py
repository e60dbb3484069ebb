"""What a process writes about its lookups, where the environment asks for it. Not loaded otherwise."""

import atexit
import json
import os
import sys
from collections.abc import Callable

from .events import Stats


def open_log(target: str) -> Callable[[str], None]:
    """Return a function that appends one line of text to the file `target`, or to standard error for "stderr".

    What cannot be written is dropped: a full disk must not break an import.
    """
    if target != "stderr":
        target = os.path.abspath(target)

    def log(text: str) -> None:
        line = "\\n".join(text.splitlines())  # one line, whatever is in a path
        _append(target, f"pycachehook[{os.getpid()}]: {line}\n")

    return log


def write_at_exit(stats: Stats, target: str) -> None:
    """Append `stats` to the file `target` as one line of JSON when this process, or a forked child of it, exits.

    Nothing is written by a process that is killed, replaced by `exec`, or ended by `os._exit`.
    """
    target = os.path.abspath(target)
    atexit.register(_write, stats, target)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=stats.reset)


def line(stats: Stats) -> str:
    """Return the counters of this process as one line of JSON."""
    record = {"pid": os.getpid(), "python": sys.version.split()[0], "argv0": sys.argv[0] if sys.argv else ""}
    return json.dumps({**record, **stats.as_dict()}) + "\n"


def _write(stats: Stats, target: str) -> None:
    _append(target, line(stats))


def _append(target: str, text: str) -> None:
    """Write in one call under O_APPEND, so that the lines of many processes do not run into each other."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        if target == "stderr":
            os.write(2, data)
            return
        descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError:
        pass
