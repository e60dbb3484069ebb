"""One of the suites as a test; the others are run by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import NOT_LAZY, clean_environment, run_tests_module

from . import report_outcomes
from .suites import HERE, SCRIPTS, differing, failing

if TYPE_CHECKING:
    from pathlib import Path


def test_what_differs() -> None:
    """A test with two outcomes differs, and so does a test that only one side has."""
    left, right = {"same": "passed", "other": "passed", "left": "skipped"}, {"same": "passed", "other": "failed"}
    assert differing(left, right) == {"left": ("skipped", "missing"), "other": ("passed", "failed")}


def test_what_fails_on_both_sides() -> None:
    """A test that fails on one side alone is not among those that fail on both."""
    left = {"both": "failed", "left": "failed", "setup": "error", "passes": "passed"}
    right = {"both": "failed", "left": "passed", "setup": "error", "passes": "failed"}
    assert failing(left, right) == ["both", "setup"]


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


def test_scripts_are_tests(tmp_path: Path) -> None:
    """Where tests are scripts, each runs in an interpreter of its own, and passes if that ends with 0."""
    (tmp_path / "test_good.py").write_text("def test_that_is_not_called(): raise ValueError\n", encoding="utf-8")
    (tmp_path / "test_bad.py").write_text("raise SystemExit('bad')\n", encoding="utf-8")
    variables = clean_environment(PYTHONPATH=str(HERE), ECOSYSTEM_OUTCOMES=str(tmp_path / "outcomes.json"), **NOT_LAZY)
    plugins = ("-p", report_outcomes.__name__.rpartition(".")[2], "-p", SCRIPTS.stem, "-p", "no:python")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugins, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads((tmp_path / "outcomes.json").read_text(encoding="utf-8"))
    assert found == {"test_bad.py::run": "failed", "test_good.py::run": "passed"}


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
