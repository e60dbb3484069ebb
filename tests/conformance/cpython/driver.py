"""Run one module of CPython's regression suite, and record the outcome of each of its tests.

    python -m cpython_suite REPORT MODULE [TEST...]

This file is copied into the environments under test as `cpython_suite/__main__.py`, so that it is started like `python
-m unittest`. REPORT gets one JSON object per line: first the state of the interpreter, then `{"test", "outcome",
"failures"}` for each test, preceded by `{"started"}`, which names the test in case of a crash. With TESTs, only the
tests with these ids are run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import unittest
from collections.abc import Iterator
from typing import Any

# Resources of `python -m test -u`, except those that need a network, a screen, or gigabytes of disk space.
RESOURCES = ("cpu", "subprocess", "walltime", "decimal", "curses")

RANKS = ("ok", "skipped", "expected failure", "unexpected success", "failure", "error")  # from best to worst


class Report:
    """The file that receives the lines; it is opened for each line, because some tests close all descriptors."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.process = os.getpid()

    def write(self, **line: Any) -> None:
        """Append one line, except in a child that a test has forked."""
        if os.getpid() == self.process:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


class Result(unittest.TextTestResult):
    """A text result that keeps one outcome for each test: the worst one reported."""

    report: Report

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.running: Any = None
        self.outcome = "ok"
        self.failed: list[list[str]] = []

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self.running = test
        self.outcome, self.failed = "ok", []
        self.report.write(started=test.id())

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        self.running = None
        self.report.write(test=test.id(), outcome=self.outcome, failures=self.failed)

    def note(self, test: Any, outcome: str, error: Any = None) -> None:
        """Record an outcome of a test, a subtest, or a class or module fixture, which counts as a test."""
        failures = []
        if error is not None:
            subtest = test._subDescription() if hasattr(test, "_subDescription") else ""
            failures = [[subtest, error[0].__name__, self._exc_info_to_string(error, test)]]  # type: ignore[attr-defined]
        if self.running is None:
            self.report.write(test=test.id(), outcome=outcome, failures=failures)
            return
        self.outcome = max(self.outcome, outcome, key=RANKS.index)
        self.failed += failures

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self.note(test, "error", err)

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self.note(test, "failure", err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note(subtest, "failure" if issubclass(err[0], test.failureException) else "error", err)

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        if not hasattr(test, "_subDescription"):
            self.note(test, "skipped")

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self.note(test, "expected failure")

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self.note(test, "unexpected success")


def each_test(suite: unittest.TestSuite) -> Iterator[Any]:
    """Yield the tests in nested suites."""
    for member in suite:
        if isinstance(member, unittest.TestSuite):
            yield from each_test(member)
        else:
            yield member


def main(path: str, module: str, *wanted: str) -> None:
    """Run the tests of `module`, or those whose ids are `wanted`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in a shell's background jobs
    report = Result.report = Report(path)
    from test import support  # type: ignore[import-not-found]  # not everybody has it

    support.verbose = 1
    support.use_resources = dict.fromkeys(RESOURCES)
    finders = [getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path]
    report.write(python=sys.version, finders=finders, prefix=sys.pycache_prefix)
    try:
        suite = unittest.defaultTestLoader.loadTestsFromName(module)
    except unittest.SkipTest as skipped:
        report.write(test=module, outcome="skipped", failures=[], reason=str(skipped))
        return
    if wanted:
        suite = unittest.TestSuite(test for test in each_test(suite) if test.id() in wanted)
    unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite)
    report.write(finished=module)


if __name__ == "__main__":
    main(*sys.argv[1:])
