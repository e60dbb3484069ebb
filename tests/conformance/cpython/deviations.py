"""The intended differences: `tests/conformance/deviations.toml`, and the table in the documentation made from it.

`python -m tests.conformance.cpython.deviations` updates the table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .environments import MODES

FILE = Path(__file__).resolve().parents[1] / "deviations.toml"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "pages" / "reference" / "deviations.md"

BEGIN, END = "<!-- deviations: begin -->\n", "<!-- deviations: end -->\n"

PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")


@dataclass(frozen=True, eq=False)
class Deviation:
    """One intended difference.

    `what` differs, the `reason`, how to get CPython's behaviour (`stock` in words, and `options` of the hook with which
    the tests do not differ), and the `tests` that show it, each with the versions of Python in which it does. `modes`
    are those in which it is seen.
    """

    what: str
    reason: str
    stock: str
    options: Mapping[str, str]
    tests: Mapping[str, tuple[str, ...]]
    modes: tuple[str, ...] = tuple(MODES)

    @property
    def pythons(self) -> str:
        """The versions in which any test shows the difference."""
        found = {python for versions in self.tests.values() for python in versions}
        return ", ".join(python for python in PYTHONS if python in found)


def load(path: Path = FILE) -> list[Deviation]:
    """Return the deviations; raises ValueError for an incomplete entry."""
    deviations = []
    seen: dict[tuple[str, str, str], str] = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["deviation"]:
        tests = {
            test: PYTHONS if versions == "all" else tuple(versions) for test, versions in entry.pop("tests").items()
        }
        modes = tuple(entry.pop("modes", MODES))
        deviation = Deviation(tests=tests, modes=modes, **entry)
        if not (deviation.what and deviation.reason and deviation.stock and deviation.options and tests):
            raise ValueError(f"incomplete: {deviation}")
        for test, version, mode in (
            (test, version, mode) for test, versions in tests.items() for version in versions for mode in modes
        ):
            if version not in PYTHONS or mode not in MODES or not test.startswith("test."):
                raise ValueError(f"{test}: {version}, {mode}")
            if seen.setdefault((test, version, mode), deviation.what) != deviation.what:
                raise ValueError(f"{test} is listed twice")
        deviations.append(deviation)
    return deviations


def listed(deviations: list[Deviation], python: str, module: str, mode: str = "default") -> dict[str, Deviation]:
    """Return the deviations of one module's tests, by test, for a Python version such as `3.11` and a mode."""
    return {
        test: deviation
        for deviation in deviations
        for test, versions in deviation.tests.items()
        if python in versions and mode in deviation.modes and f"{test}.".startswith(f"test.{module}.")
    }


def table(deviations: list[Deviation]) -> str:
    """Return the table for the documentation page."""
    lines = [
        "| what | why | to have it as CPython has it | tests of CPython's | Python | modes |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.what} | {each.reason} | {each.stock} | {len(each.tests)} | {each.pythons} "
        f"| {'all' if each.modes == tuple(MODES) else ', '.join(each.modes)} |"
        for each in deviations
    ]
    return "".join(f"{line}\n" for line in lines)


def with_table(text: str, deviations: list[Deviation]) -> str:
    """Return the page's text with an updated table between its marker comments."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the page has no place for the table")
    return f"{before}{begin}{table(deviations)}{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), load()), encoding="utf-8")
