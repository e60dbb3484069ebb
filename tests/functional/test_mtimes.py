"""Modification times that an unpacking tool changed, which say nothing about the content of a source."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .conftest import LARGE_IMPORT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Python

    from .conftest import Measure

pytestmark = pytest.mark.full


@pytest.mark.parametrize(
    "mode", [*(pytest.param(each, marks=pytest.mark.slow) for each in ("checked-hash", "unchecked-hash")), "timestamp"]
)
def test_only_timestamp_entries_depend_on_mtimes(
    mode: str, pip_environment: Python, measure: Measure, cache: Path, purelib: Callable[[Python], Path]
) -> None:
    """After all mtimes change, a package is compiled again only in the mode `timestamp`."""
    program = ("-m", "pycachehook", "run", "--cache-dir", cache, "--invalidation-mode", mode, "-c", LARGE_IMPORT)
    first = measure(pip_environment, *program)
    before = measure(pip_environment, *program)
    for number, source in enumerate(purelib(pip_environment).rglob("*.py")):
        seconds = source.stat().st_mtime_ns // 10**9 + (1 if number % 2 else -1) * 86_400 * (number + 1)
        os.utime(source, ns=(seconds * 10**9, seconds * 10**9))
    after = measure(pip_environment, *program)

    assert first["compiled"] > 200
    assert (before["compiled"], before["hits_by_place"]["store"] > 200) == (0, True)
    if mode == "timestamp":
        assert after["hits_by_place"]["store"] == 0
        assert after["misses"]["stale-source"] >= before["hits_by_place"]["store"]
    else:
        assert (after["compiled"], after["misses"]) == (0, {})
        assert after["hits_by_place"] == before["hits_by_place"]
