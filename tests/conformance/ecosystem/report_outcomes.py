"""A pytest plugin that writes the outcome of each test.

It is installed in both environments, and imports nothing of this project.
"""

import json
import os

import pytest

outcomes: dict[str, str] = {}

_WORST_LAST = ("passed", "xfailed", "skipped", "xpassed", "failed", "error")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record the worst outcome of a test's set-up, call and tear-down."""
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.skipped else "xpassed"
    elif report.failed and report.when != "call":
        outcome = "error"
    else:
        outcome = report.outcome
    note(report.nodeid, outcome)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Record a file that cannot be collected, or is skipped as a whole."""
    if not report.passed:
        note(report.nodeid, "error" if report.failed else "skipped")


def note(nodeid: str, outcome: str) -> None:
    """Keep the worse of two outcomes."""
    outcomes[nodeid] = max(outcomes.get(nodeid, outcome), outcome, key=_WORST_LAST.index)


def pytest_sessionfinish() -> None:
    """Write the outcomes."""
    with open(os.environ["ECOSYSTEM_OUTCOMES"], "w", encoding="utf-8") as file:
        json.dump(outcomes, file)
