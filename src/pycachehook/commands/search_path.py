"""The search path of a program, as `python -m` or `python SCRIPT` would have it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pycachehook.errors import PycacheHookError


@contextmanager
def search_path_of_program(script: str | None = None) -> Iterator[None]:
    """Have `sys.path` begin with the directory of a script, or with the current one, in place of this command's own.

    Under -P and -I neither is on the path. Raises PycacheHookError if there is no such script.
    """
    if script is not None and not os.path.exists(script):
        raise PycacheHookError(f"There is no script {script}.")
    found = list(sys.path)
    if not sys.flags.safe_path:
        rest = found[1:] if found and found[0] in _own_directories() else found
        sys.path[:] = [*_first(script), *rest]
    try:
        yield
    finally:
        sys.path[:] = found


def _first(script: str | None) -> list[str]:
    if script is not None:
        return [os.path.abspath(script) if os.path.isdir(script) else os.path.dirname(os.path.realpath(script))]
    with suppress(OSError):  # of a current directory that has been removed: `python -m` has none either
        return [os.getcwd()]
    return []


def _own_directories() -> set[str]:
    """Return what Python may have put in front for this command: its script's directory, or the current one."""
    own = {"", os.path.dirname(os.path.realpath(sys.argv[0]))} if sys.argv else {""}
    with suppress(OSError):
        own.add(os.getcwd())
    return own
