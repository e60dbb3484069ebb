"""Commands import at once, even where every import is lazy (PEP 810, `-X lazy_imports=all`).

Some commands replace the first entry of `sys.path` by a program's, and `run` runs the program. A lazy import of theirs
that is resolved afterwards would find the program's files: its `types.py`, for example.
"""

import sys

_mode_of_program: str | None = None  # as it was when the process started, if that differs from the mode of commands


def disable() -> None:
    """Make imports eager from now on, except those that are written as lazy."""
    global _mode_of_program  # noqa: PLW0603 -- the mode of this interpreter
    mode = sys.get_lazy_imports() if hasattr(sys, "get_lazy_imports") else "normal"
    if mode != "normal":
        _mode_of_program = mode
        sys.set_lazy_imports("normal")  # type: ignore[attr-defined]  # Python 3.15


def restore() -> None:
    """Make imports as lazy as `disable` has found them, because the program comes next."""
    global _mode_of_program  # noqa: PLW0603
    if _mode_of_program is not None:
        sys.set_lazy_imports(_mode_of_program)  # type: ignore[attr-defined]
        _mode_of_program = None
