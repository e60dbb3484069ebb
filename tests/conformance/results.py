"""The summary of all comparisons with the tests of others: `results.json`, and the page made from it.

    python -m tests.conformance.results [FILE...]

FILEs are the reports that `python -m tests.conformance.cpython --json` and `python -m tests.conformance.ecosystem
--json` write, and those of `python -m pytest --junitxml` of `tests/conformance/command_lines`. Their counts are added to
`results.json`, in place of older ones for the same interpreter, mode and part; then the page is written.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from .cpython.suite import MEDIUM, MODULES, QUICK

FILE = Path(__file__).with_name("results.json")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "pages" / "reference" / "conformance.md"
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"

CPYTHON, PACKAGES, LINES = "CPython's own", "of packages", "command lines"

Counts = list[int]  # compared, differ as listed, differ unlisted


@dataclass(frozen=True)
class Row:
    """The counts of the parts of one suite, by their names, with one interpreter in one mode.

    `parts` are the modules of CPython's suite, or the packages with their versions.
    """

    suite: str
    python: str
    mode: str
    parts: dict[str, Counts]

    @property
    def key(self) -> tuple[str, str, str]:
        """What the row is about."""
        return self.suite, self.python, self.mode


def of_cpython(report: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """Yield the rows of a report about CPython's suite. A module that this Python does not have counts nothing."""
    for figures in report:
        parts = {
            name: [
                each["compared"],
                len(each["listed"]),
                len(each["unlisted"]) + len(each["no longer"]) + len(each["no way back"]),
            ]
            for name, each in figures["modules"].items()
        }
        absent = {name: [0, 0, 0] for name in figures["not there"]}
        yield Row(CPYTHON, figures["python"], figures["mode"], parts | absent)


def of_packages(report: dict[str, dict[str, Any]]) -> Iterator[Row]:
    """Yield the rows of a report about the suites of packages."""
    for name, each in report.items():
        listed = len(each["listed"])
        compared = sum(count for outcome, count in each["counts"].items() if outcome != "skipped")
        counts = [compared, listed, len(each["differences"]) - listed]
        yield Row(PACKAGES, each["python"], "default", {f"{name} {each['version']}": counts})


def of_command_lines(path: Path) -> Iterator[Row]:
    """Yield the rows of a report about the command lines, which was written by this Python; a failure differs."""
    found: dict[str, Counts] = {}
    for case in ET.parse(path).iter("testcase"):
        name = case.get("name", "")
        if name.startswith("test_command_line[") and case.find("skipped") is None:
            counts = found.setdefault(name.partition("[")[2].partition("-")[0], [0, 0, 0])
            counts[0] += 1
            counts[2] += case.find("failure") is not None or case.find("error") is not None
    for mode, counts in found.items():
        yield Row(LINES, platform.python_version(), mode, {"all": counts})


def read(path: Path) -> list[Row]:
    """Return the rows of a report of any kind."""
    if path.suffix == ".xml":
        return list(of_command_lines(path))
    report = json.loads(path.read_text(encoding="utf-8"))
    return list(of_cpython(report) if isinstance(report, list) else of_packages(report))


def load() -> list[Row]:
    """Return the rows of `results.json`."""
    return [Row(**each) for each in json.loads(FILE.read_text(encoding="utf-8"))]


def merged(rows: Iterable[Row]) -> list[Row]:
    """Return one row for each suite, interpreter and mode; of two counts of one part the later one is taken."""
    found: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        parts = {**found[row.key].parts, **row.parts} if row.key in found else row.parts
        if row.suite == PACKAGES:  # one version of each
            parts = {name.partition(" ")[0]: (name, counts) for name, counts in parts.items()}  # type: ignore[misc]
            parts = dict(sorted(parts.values()))  # type: ignore[arg-type]
        found[row.key] = Row(*row.key, parts)
    return [found[key] for key in sorted(found, key=_order)]


def _order(key: tuple[str, str, str]) -> tuple[int, list[int], int, str]:
    suite, python, mode = key
    modes = ("default", "shared", "archive", "ignore", "lazy", "freeze")
    return (
        (CPYTHON, PACKAGES, LINES).index(suite),
        [int(each) if each.isdigit() else 0 for each in python.split(".")],
        modes.index(mode),
        mode,
    )


def save(rows: Iterable[Row]) -> None:
    """Write `results.json`, one row in a line."""
    lines = ",\n".join(json.dumps(vars(row)) for row in rows)
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def complete(row: Row) -> tuple[str, dict[str, Counts]]:
    """Return the option that names the largest set of modules that a row has all of, and the counts of that set."""
    for option, names in (("", MODULES), (" --medium", MEDIUM), (" --quick", QUICK)):
        if row.parts.keys() >= set(names):
            return option, {name: row.parts[name] for name in names}
    return f" --modules {' '.join(row.parts)}", row.parts


def table(rows: Iterable[Row]) -> str:
    """Return the table of the documentation: a line for each row, of packages for each part."""
    lines = [
        "| suite | Python | mode | compared | differ | listed | unlisted | command |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.suite == CPYTHON:
            option, parts = complete(row)
            name = f"CPython's, {sum(counts[0] > 0 for counts in parts.values())} modules"
            mode = "" if row.mode == "default" else f" --mode {row.mode}"
            command = f"python -m tests.conformance.cpython{option}{mode}"
            lines.append(_line(name, row, parts.values(), command))
        elif row.suite == PACKAGES:
            for name, counts in row.parts.items():
                command = f"python -m tests.conformance.ecosystem {name.partition(' ')[0]}"
                lines.append(_line(name, row, [counts], command))
        else:
            command = f"python -m pytest -m '' -k {row.mode} tests/conformance/command_lines"
            lines.append(_line("command lines", row, row.parts.values(), command))
    return "".join(f"{line}\n" for line in lines)


def _line(name: str, row: Row, counts: Iterable[Counts], command: str) -> str:
    compared, listed, unlisted = (sum(column) for column in zip(*counts, strict=True))
    numbers = f"{compared:,} | {listed + unlisted} | {listed} | {unlisted}"
    return f"| {name} | {row.python} | {row.mode} | {numbers} | `{command}` |"


def page(text: str, rows: Iterable[Row]) -> str:
    """Return the page's text with an updated table between its marker comments."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the page has no place for the table")
    return f"{before}{begin}{table(rows)}{end}{after}"


def main(files: Sequence[str]) -> None:
    """Add the counts of these reports, and write the page."""
    rows = merged([*(load() if FILE.exists() else []), *(row for each in files for row in read(Path(each)))])
    save(rows)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
