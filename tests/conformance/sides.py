"""Functions to create environments with the hook and without it, for the comparisons with other projects' suites."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

STEERING = ("PYTHON", "PYCACHEHOOK_")  # prefixes of environment variables that configure Python or this project


def clean_environment(steering: tuple[str, ...] = STEERING, **extra: str) -> dict[str, str]:
    """Return this process's environment without variables that configure Python or this project, plus `extra`."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(steering)}, **extra}


def set_prefix(purelib: Path, bytecode: Path) -> None:
    """Make CPython store its bytecode in another directory, as a fair comparison with the hook."""
    (purelib / "prefix.pth").write_text(f"import sys; sys.pycache_prefix = {str(bytecode)!r}\n", encoding="utf-8")
