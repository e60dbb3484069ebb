"""Test that the comparison with CPython's suite detects differences, and that its quick part has none."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest

from conftest import clean_environment, run_tests_module

from .cpython import deviations
from .cpython.comparison import AGAIN, compare, differences
from .cpython.environments import DRIVER, HOOK, PREFIX, Side
from .cpython.report import failures, summary
from .cpython.runs import CRASH, OK, SKIPPED, Outcome, Outcomes, read_report
from .cpython.suite import QUICK

START_MANY_PROCESSES = ["test_runpy", "test_cmd_line_script"]  # whose subject the other tests here compare, too
BAD = Outcome("failure", (("", "AssertionError"),))
GOOD = Outcome(OK)

TESTS = """
import os, unittest

class Ends(unittest.TestCase):
    def test_ok(self): pass
    def test_failure(self): self.fail()
    def test_error(self): {}[1]
    @unittest.skip("why")
    def test_skipped(self): pass
    @unittest.expectedFailure
    def test_expected(self): self.fail()
    @unittest.expectedFailure
    def test_unexpected(self): pass
    def test_subtests(self):
        for number in range(3):
            with self.subTest(number=number):
                if number == 1: self.skipTest("one")
                if number == 2: self.fail()
    def test_in_child(self):
        child = os.fork()
        if not child:
            self.id = lambda: "of the child"
            return
        os.waitpid(child, 0)

class Fixture(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise OSError
    def test(self): pass

class Twice(unittest.TestCase):
    def test(self): pass

def load_tests(loader, tests, pattern):
    tests.addTest(Twice("test"))
    return tests
"""

CRASHING = """
import os, unittest

class Ends(unittest.TestCase):
    def test_1(self): pass
    def test_2(self): os._exit(0)
    def test_3(self): pass
"""

INTERRUPTED = """
import signal, subprocess, sys, unittest

class Ends(unittest.TestCase):
    def test(self):
        with self.assertRaises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
        self.assertEqual(subprocess.check_output([sys.executable, "-c", code], text=True), "True\\n")
"""


def drive(folder: Path, text: str, *wanted: str) -> Outcomes:
    """Return the outcomes of the tests in a module of this text."""
    (folder / "subject.py").write_text(text, encoding="utf-8")
    report = folder / "report"
    subprocess.run(
        [sys.executable, DRIVER, report, "subject", *wanted],
        env=clean_environment(PYTHONPATH=str(folder)),
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    state, *lines = map(json.loads, report.read_text(encoding="utf-8").splitlines())
    assert state["python"] == sys.version
    return dict(read_report(lines, "subject", Side(HOOK, folder)))


needs_suite = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import test.support"], capture_output=True, check=False).returncode != 0,
    reason="this Python comes without its test package",
)


@needs_suite
def test_every_ending_has_an_outcome(tmp_path: Path) -> None:
    """Each way for a test to end has its outcome, subtests and fixtures included; repeated names get numbers."""
    found = drive(tmp_path, TESTS)
    assert {test.removeprefix("subject."): str(outcome) for test, outcome in found.items()} == {
        "Ends.test_ok": "ok",
        "Ends.test_failure": "failure (AssertionError)",
        "Ends.test_error": "error (KeyError)",
        "Ends.test_skipped": "skipped",
        "Ends.test_expected": "expected failure",
        "Ends.test_unexpected": "unexpected success",
        "Ends.test_subtests": "failure (AssertionError)",
        "Ends.test_in_child": "ok",
        "setUpClass (subject.Fixture)": "error (OSError)",
        "Twice.test": "ok",
        "Twice.test #2": "ok",
    }
    assert found["subject.Ends.test_subtests"].failures == (("(number=0)", "AssertionError"),)  # digits are removed


@needs_suite
def test_crash_is_the_test_s(tmp_path: Path) -> None:
    """A test in which the interpreter ends has the outcome CRASH, and the following tests have none."""
    found = drive(tmp_path, CRASHING)
    assert {test: outcome.word for test, outcome in found.items()} == {
        "subject.Ends.test_1": OK,
        "subject.Ends.test_2": CRASH,
    }


@needs_suite
def test_chosen_tests_run_alone(tmp_path: Path) -> None:
    """With ids, no other test is run."""
    assert list(drive(tmp_path, CRASHING, "subject.Ends.test_3")) == ["subject.Ends.test_3"]


@needs_suite
def test_interrupts_arrive_in_a_background_job(tmp_path: Path) -> None:
    """Tests that send SIGINT get it, although the program was started by a shell's `&`, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        found = drive(tmp_path, INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, before)
    assert {test: str(outcome) for test, outcome in found.items()} == {"subject.Ends.test": OK}


@needs_suite
def test_module_that_is_skipped(tmp_path: Path) -> None:
    """A module that cannot be used on this system counts as one skipped test."""
    found = drive(tmp_path, "import unittest\nraise unittest.SkipTest('not here')\n")
    assert found == {"subject": Outcome(SKIPPED)}
    assert found["subject"].text == "not here"


def test_what_differs() -> None:
    """The outcome, the exception type, the failing subtest and a missing test count; a traceback's text does not."""
    one = {"same": BAD, "word": GOOD, "kind": BAD, "subtest": BAD, "only here": GOOD}
    other = {
        "same": Outcome(BAD.word, BAD.failures, "text"),
        "word": BAD,
        "kind": Outcome("failure", (("", "OSError"),)),
        "subtest": Outcome("failure", (("(a=0)", "AssertionError"),)),
        "only there": GOOD,
    }
    assert set(differences(one, other)) == {"word", "kind", "subtest", "only here", "only there"}


def deviation(
    options: Mapping[str, str] = {"in_tree": "ignore"}, tests: Mapping[str, tuple[str, ...]] = {}
) -> deviations.Deviation:
    """Return an entry."""
    return deviations.Deviation("what", "reason", "stock", options, tests)


class Script:
    """A stand-in for the suite: the first run of a module gives `prefix` and `hook`, later runs of a test `alone`."""

    def __init__(self, prefix: Outcomes, hook: Outcomes, alone: dict[str, Sequence[tuple[Outcome, Outcome]]]) -> None:
        self.first = {PREFIX: prefix, HOOK: hook}
        self.alone = {test: list(rounds) for test, rounds in alone.items()}
        self.without_prefix: list[str] = []
        self.options: list[tuple[list[str], Mapping[str, str]]] = []

    def __call__(
        self, module: str, sides: Collection[str], tests: Collection[str] = (), options: Mapping[str, str] | None = None
    ) -> list[Outcomes]:
        """Return the outcomes on each side; with options, those without the hook."""
        assert module == "m"
        if options is not None:
            self.options.append((list(tests), options))
            return [{test: GOOD if test != "stubborn" else BAD for test in tests}]
        if not tests:
            return [self.first[side] for side in sides]
        if len(sides) == 1:
            self.without_prefix += tests
            return [{test: BAD if test == "stubborn" else GOOD for test in tests}]
        (test,) = tests
        return [{test: outcome} for outcome in self.alone[test].pop(0)]


def test_what_differs_by_chance_does_not_count() -> None:
    """A test that agrees in one run alone is unsteady; one that never does differs."""
    script = Script(
        {"steady": GOOD, "unsteady": GOOD, "same": GOOD},
        {"steady": BAD, "unsteady": BAD, "same": GOOD},
        {"steady": [(GOOD, BAD)] * AGAIN, "unsteady": [(GOOD, BAD)] * (AGAIN - 1) + [(GOOD, GOOD)]},
    )
    result = compare(script, "m", {}, bool)
    assert (list(result.differ), list(result.unsteady)) == (["steady"], ["unsteady"])
    assert script.alone == {"steady": [], "unsteady": []}
    assert result.compared == ["steady", "unsteady", "same"]


def test_what_is_listed_must_differ() -> None:
    """A listed test that differs is not run again; one that does not differ is."""
    script = Script(
        {"listed": GOOD, "late": GOOD, "mended": GOOD},
        {"listed": BAD, "late": GOOD, "mended": GOOD},
        {"late": [(GOOD, BAD)] * AGAIN, "mended": [(GOOD, GOOD)] * AGAIN},
    )
    listed = dict.fromkeys(("listed", "late", "mended"), deviation())
    assert set(compare(script, "m", listed, bool).differ) == {"listed", "late"}


def test_what_is_listed_has_a_way_back() -> None:
    """With the options that a deviation names its tests must end as CPython's do."""
    script = Script(
        {"listed": GOOD, "stubborn": GOOD, "other": GOOD}, dict.fromkeys(("listed", "stubborn", "other"), BAD), {}
    )
    one, other = deviation(options={"a": "1"}), deviation(options={"b": "2"})
    result = compare(script, "m", {"listed": one, "stubborn": one, "other": other}, bool)
    assert script.options == [(["listed", "stubborn"], {"a": "1"}), (["other"], {"b": "2"})]
    assert list(result.no_way_back) == ["stubborn"]


def test_what_passes_as_without_a_prefix_is_no_difference() -> None:
    """A test that fails under a prefix alone does not differ, if CPython passes it without one, too."""
    script = Script(
        {"restored": BAD, "stubborn": BAD}, {"restored": GOOD, "stubborn": GOOD}, {"stubborn": [(BAD, GOOD)] * AGAIN}
    )
    result = compare(script, "m", {}, bool)
    assert (result.as_plain, list(result.differ)) == (["restored"], ["stubborn"])
    assert script.without_prefix == ["restored", "stubborn"]


def test_what_fails_in_both_is_run_without_a_prefix() -> None:
    """Tests that fail on both sides are no difference, and tests skipped on both are not compared."""
    outcomes = {"bad": BAD, "good": GOOD, "skipped": Outcome(SKIPPED)}
    script = Script(outcomes, outcomes, {})
    result = compare(script, "m", {}, bool)
    assert result.fail_in_both == {"bad": True}
    assert script.without_prefix == ["bad"]
    assert (result.compared, result.skipped, result.differ) == (["bad", "good"], ["skipped"], {})


def module_figures(**changed: object) -> dict[str, object]:
    """Return the figures of a module without failures, changed by the arguments."""
    kinds = ("listed", "unlisted", "unsteady", "no way back")
    lists = ("no longer", "as without a prefix", "fail in both, pass without a prefix", "fail in any case")
    return {"compared": 3, "skipped": 1} | {kind: {} for kind in kinds} | {kind: [] for kind in lists} | changed


@pytest.mark.parametrize(
    ("modules", "failed"),
    [
        ({"m": module_figures()}, False),
        ({"m": module_figures(listed={"test.m.T.t": "what"}, unsteady={})}, False),
        ({"m": module_figures(**{"no longer": ["test.m.T.t"]})}, True),
        (
            {"m": module_figures(unlisted={"test.m.T.t": {"difference": "d", "prefix": "", "hook": "a\nb"}})},
            True,
        ),
        ({}, True),
    ],
)
def test_what_fails_the_run(modules: dict[str, object], *, failed: bool) -> None:
    """An unlisted difference, a listed test that does not differ, and a missing suite are failures in the summary."""
    figures = {
        "python": "3.11.0",
        "mode": "default",
        "no suite": None,
        "modules": modules,
        "not there": ["test_threaded_import"],
    }
    assert bool(failures(figures)) is failed
    text = summary(figures, [])
    assert text.splitlines()[-1].startswith("failed: 1 " if failed else "passed")
    assert "not in this interpreter's test package: test_threaded_import (part of test_importlib)" in text


@pytest.mark.parametrize(
    "tests",
    ['"test.m.T.t" = ["3.10"]', '"m.T.t" = "all"', ""],
    ids=["unknown version", "no test of CPython's", "no test"],
)
def test_deviations_must_be_complete(tests: str, tmp_path: Path) -> None:
    """A deviation must say what, why, how to avoid it, and which tests show it in which versions."""
    file = tmp_path / "deviations.toml"
    file.write_text(
        f"[[deviation]]\nwhat = 'a'\nreason = 'b'\nstock = 'c'\noptions = {{d = 'e'}}\n[deviation.tests]\n{tests}\n",
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match=r"incomplete|3\.10|m\.T\.t"):
        deviations.load(file)


def test_deviations_are_listed_by_module_and_python() -> None:
    """A module's list contains only its own tests, and only this Python version's."""
    one = deviation(tests={"test.m.T.t": ("3.11",), "test.m_other.T.t": ("3.11", "3.12")})
    assert set(deviations.listed([one], "3.11", "m")) == {"test.m.T.t"}
    assert deviations.listed([one], "3.12", "m") == {}
    assert one.pythons == "3.11, 3.12"


def test_table_in_the_documentation_is_up_to_date() -> None:
    """The documentation's table is the one that `python -m tests.conformance.cpython.deviations` writes."""
    text = deviations.PAGE.read_text(encoding="utf-8")
    assert deviations.with_table(text, deviations.load()) == text


@pytest.mark.full
@needs_suite
@pytest.mark.parametrize(
    "modules",
    [
        [name for name in QUICK if name not in START_MANY_PROCESSES],
        pytest.param(START_MANY_PROCESSES, marks=pytest.mark.slow),
    ],
    ids=["imports", "programs"],
)
def test_quick_part(modules: list[str], tmp_path: Path, wheel: Path) -> None:
    """In the modules of the quick part nothing differs except listed tests."""
    report = tmp_path / "report.json"
    done = run_tests_module("conformance.cpython", "--modules", *modules, "--json", report, wheel=wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    (figures,) = json.loads(report.read_text(encoding="utf-8"))
    assert set(figures["modules"]) == set(modules)
    assert all(each["compared"] > 0 for each in figures["modules"].values())
