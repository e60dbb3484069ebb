"""Test the entry point of the command."""

from __future__ import annotations

import pytest

from conftest import Python
from pycachehook import __version__


def test_runs_as_a_module(python: Python) -> None:
    """`python -m pycachehook` runs the command."""
    assert python("-m", "pycachehook", "--version").stdout.split()[-1] == __version__


@pytest.mark.parametrize(("arguments", "code"), [(["status", "--no-such-flag"], 2), (["explain", "no_such_module"], 1)])
def test_exit_codes(arguments: list[str], code: int, python: Python) -> None:
    """The exit code is 2 for a usage error, and 1 for a failure."""
    assert python("-m", "pycachehook", *arguments, check=False).returncode == code


def test_import_starts_nothing(python: Python) -> None:
    """Importing the module has no effect and gives access to its function `start`."""
    process = python(
        "-c", "import pycachehook.__main__ as entry, gc; print(callable(entry.start), gc.get_threshold()[0])"
    )
    assert process.stdout in ("True 700\n", "True 2000\n", "True 10000\n")
