"""The `sys.path` that a program has under `python -m` or `python SCRIPT`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pycachehook.errors import PycacheHookError


@contextmanager
def search_path_of_program(script: str | None = None) -> Iterator[None]:
    """Replace the first entry of `sys.path`, which belongs to this command, by that of a program, for a `with` block.

    This is the directory of the script, or the current directory. Under -P and -I there is no such entry. Raises
    PycacheHookError if there is no such script.
    """
    if script is not None and not os.path.exists(script):
        raise PycacheHookError(f"There is no script {script}.")
    original = list(sys.path)
    if not sys.flags.safe_path:
        rest = original[1:] if original and original[0] in _own_directories() else original
        sys.path[:] = [*_first(script), *rest]
    try:
        yield
    finally:
        sys.path[:] = original


def _first(script: str | None) -> list[str]:
    if script is not None:
        return [os.path.abspath(script) if os.path.isdir(script) else os.path.dirname(os.path.realpath(script))]
    with suppress(OSError):  # the current directory has been removed; `python -m` then adds no entry either
        return [os.getcwd()]
    return []


def _own_directories() -> set[str]:
    """Return the directories that Python may have inserted for this command: its script's, or the current one."""
    own = {"", os.path.dirname(os.path.realpath(sys.argv[0]))} if sys.argv else {""}
    with suppress(OSError):
        own.add(os.getcwd())
    return own
