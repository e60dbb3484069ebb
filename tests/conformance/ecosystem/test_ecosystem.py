"""One of the suites as a test; the others are run by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from conftest import run_tests_module

from . import report_outcomes
from .suites import differing

if TYPE_CHECKING:
    from pathlib import Path


def test_what_differs() -> None:
    """A test with two outcomes differs, and so does a test that only one side has."""
    left, right = {"same": "passed", "other": "passed", "left": "skipped"}, {"same": "passed", "other": "failed"}
    assert differing(left, right) == {"left": ("skipped", "missing"), "other": ("passed", "failed")}


@pytest.mark.parametrize(
    ("phases", "outcome"),
    [
        (("passed", "passed", "passed"), "passed"),
        (("passed", "failed", "passed"), "failed"),
        (("passed", "passed", "failed"), "error"),
        (("failed", "passed"), "error"),
        (("skipped", "passed"), "skipped"),
    ],
)
def test_worst_phase_counts(phases: tuple[str, ...], outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's outcome is that of its worst phase; a failure outside the call is an error."""
    monkeypatch.setattr(report_outcomes, "outcomes", {})
    for when, phase in zip(("setup", "call", "teardown"), phases, strict=False):
        report = pytest.TestReport("test", ("file", 1, ""), {}, phase, None, when)  # type: ignore[arg-type]
        report_outcomes.pytest_runtest_logreport(report)
    assert report_outcomes.outcomes == {"test": outcome}


@pytest.mark.slow
def test_pluggy(tmp_path: Path, wheel: Path) -> None:
    """Pluggy's own tests have the same outcomes with the hook and without it."""
    done = run_tests_module("conformance.ecosystem", "pluggy", "--json", tmp_path / "found.json", wheel=wheel)
    if "Retrying (" in done.stderr:
        pytest.skip("needs packages from an index that cannot be reached")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["pluggy"]
    assert found["counts"]["passed"] > 100
    assert found["differences"] == {}
