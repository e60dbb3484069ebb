"""What the comparisons with other people's suites share: how a side with the hook is made, and one without."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

STEERING = ("PYTHON", "PYCACHEHOOK_")  # how the names begin of the variables that steer Python, or this project


def clean_environment(steering: tuple[str, ...] = STEERING, **extra: str) -> dict[str, str]:
    """Return this process's environment without what steers its like, so that a child has defaults, but for `extra`."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(steering)}, **extra}


def set_prefix(purelib: Path, bytecode: Path) -> None:
    """Have CPython alone keep its bytecode in another directory: what the hook is fairly compared with."""
    (purelib / "prefix.pth").write_text(f"import sys; sys.pycache_prefix = {str(bytecode)!r}\n", encoding="utf-8")
