"""Run one module of the suite in one environment, and read the outcomes of its tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..sides import clean_environment
from .environments import DRIVER_NAME, Side

TIMEOUT = 1800  # seconds per module

OK, SKIPPED, CRASH = "ok", "skipped", "crash"
NO_OPTIONS: Mapping[str, str] = {}
GOOD = (OK, SKIPPED, "expected failure")


@dataclass(frozen=True)
class Outcome:
    """A test's outcome in one word, and the exception types of its failures, by subtest.

    `text` has the tracebacks for readers; outcomes that differ only in it are equal.
    """

    word: str
    failures: tuple[tuple[str, str], ...] = ()
    text: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the test did not fail."""
        return self.word in GOOD

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Outcome) and (self.word, self.failures) == (other.word, other.failures)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        if not self.failures:
            return self.word
        kinds = Counter(kind for _, kind in self.failures)
        return f"{self.word} ({', '.join(f'{kind} x{n}' if n > 1 else kind for kind, n in kinds.items())})"


Outcomes = dict[str, Outcome]


class Runner:
    """Runs modules of the suite in an interpreter's environments, on several sides at once."""

    def __init__(self, sides: Mapping[str, Side]) -> None:
        self._sides = sides

    def __call__(
        self, module: str, sides: Collection[str], tests: Collection[str] = (), options: Mapping[str, str] = NO_OPTIONS
    ) -> list[Outcomes]:
        """Run a module, or single tests of it; return the outcomes on each side.

        `options` replace the options with which the hook was enabled.
        """
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda name: run_module(self._sides[name], module, tests, options), sides))


def run_module(side: Side, module: str, tests: Iterable[str], options: Mapping[str, str]) -> Outcomes:
    """Run `test.MODULE`, or only its `tests`, in one environment; return the outcomes by test.

    A test during which the interpreter ended, or the module's time ran out, has the outcome CRASH.
    """
    side.root.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=side.root, prefix="run-", ignore_cleanup_errors=True) as folder:
        report = Path(folder, "report")
        temporary, current = Path(folder, "tmp"), Path(folder, "cwd")
        temporary.mkdir()
        current.mkdir()
        ids = sorted({without_number(test) for test in tests})
        variables = {f"PYCACHEHOOK_{name.upper()}": value for name, value in options.items()}
        command: list[str | Path] = [side.python, "-m", DRIVER_NAME, report, f"test.{module}", *ids]
        log = side.root / f"{module}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=current,
                env={**clean_environment(TMPDIR=str(temporary)), **side.environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # so that the processes that it leaves running can be ended with it
            )
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(TIMEOUT)
            finally:
                _end_group(process)
        lines = (
            [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()] if report.exists() else []
        )
    if not lines:
        raise RuntimeError(f"{module} did not start in {side.name}: {log}")
    side.check(lines[0], disabled="disable" in options)
    return dict(read_report(lines[1:], module, side))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read_report(lines: Iterable[dict[str, Any]], module: str, side: Side) -> Iterator[tuple[str, Outcome]]:
    """Yield test and outcome; repeated test names get a number."""
    seen: Counter[str] = Counter()
    started, finished = None, False
    for line in lines:
        if "started" in line:
            started = line["started"]
        elif "test" in line:
            seen[line["test"]] += 1
            failures = sorted((_lasting(subtest, side), kind) for subtest, kind, _ in line["failures"])
            text = "\n".join(text for *_, text in line["failures"]) or line.get("reason", "")
            yield numbered(line["test"], seen[line["test"]]), Outcome(line["outcome"], tuple(failures), text)
            started = None
            finished = "reason" in line
        else:
            finished = True
    if not finished:
        yield started or module, Outcome(CRASH)


def _lasting(text: str, side: Side) -> str:
    """Return a subtest's description without the parts that change between runs."""
    return re.sub(r"0x[0-9a-f]+|\d+", "0", text.replace(str(side.root), "<root>"))


def numbered(test: str, number: int) -> str:
    """Return a test's name, with a number unless it is the first of its name."""
    return test if number == 1 else f"{test} #{number}"


def without_number(test: str) -> str:
    """Return a test's name without its number."""
    return test.partition(" #")[0]
