"""The page of results is made from the counts of the runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from . import results
from .cpython.suite import MEDIUM, QUICK
from .results import CPYTHON, PACKAGES, Row

if TYPE_CHECKING:
    from pathlib import Path


def test_page_is_up_to_date() -> None:
    """The documentation's table is the one that `python -m tests.conformance.results` writes, without unlisted ones."""
    text, rows = results.PAGE.read_text(encoding="utf-8"), results.load()
    assert results.page(text, rows) == text
    assert [row.key for row in rows for *_, unlisted in row.parts.values() if unlisted] == []


def test_later_counts_replace_earlier_ones() -> None:
    """Of a module the later counts are taken; of a package those of one version."""
    old = Row(CPYTHON, "3.11.7", "default", {"test_import": [80, 1, 2], "test_site": [9, 0, 0]})
    new = Row(CPYTHON, "3.11.7", "default", {"test_import": [81, 3, 0]})
    newer = Row(CPYTHON, "3.9.1", "default", {"test_import": [1, 0, 0]})
    one, other = (Row(PACKAGES, "3.11.7", "default", {f"attrs {version}": [5, 0, 0]}) for version in ("24", "25"))
    assert results.merged([other, old, new, one, newer]) == [
        newer,
        Row(CPYTHON, "3.11.7", "default", {"test_import": [81, 3, 0], "test_site": [9, 0, 0]}),
        one,
    ]


def test_row_is_of_the_largest_complete_set() -> None:
    """A row counts the largest set of modules that it has all of, and its command runs that set."""
    medium = {name: [2, 1, 0] for name in MEDIUM}
    quick = {name: medium[name] for name in QUICK}
    rows = [
        Row(CPYTHON, "3.11.7", "shared", medium | {"test_venv": [100, 0, 0]}),
        Row(CPYTHON, "3.11.7", "ignore", quick | {"test_site": [100, 0, 0]}),
        Row(CPYTHON, "3.11.7", "default", {"test_site": [100, 0, 0]}),
    ]
    *_, first, second, third = results.table(rows).splitlines()
    count = len(MEDIUM)
    assert (
        f"| {2 * count} | {count} | {count} | 0 | `python -m tests.conformance.cpython --medium --mode shared`" in first
    )
    assert "6 modules | 3.11.7 | ignore | 12 | 6 | 6 | 0 | `python -m tests.conformance.cpython --quick" in second
    assert "| 100 | 0 | 0 | 0 | `python -m tests.conformance.cpython --modules test_site`" in third


def test_reports_of_all_kinds(tmp_path: Path) -> None:
    """Counts come from reports about CPython's suite, about packages, and about the command lines."""
    module = {"compared": 5, "listed": {"a": "why"}, "unlisted": {}, "no longer": ["b"], "no way back": {}}
    cpython = [{"python": "3.15.0", "mode": "lazy", "modules": {"test_import": module}, "not there": ["test_gc"]}]
    counted = {"counts": {"passed": 3, "failed": 1, "skipped": 7}, "differences": {"x": 1, "y": 2}, "listed": ["x"]}
    packages = {"attrs": {"python": "3.11.7", "version": "25.1", **counted}}
    lines = (
        '<testsuites><testsuite><testcase name="test_command_line[shared-plain]"/>'
        '<testcase name="test_command_line[shared-package]"><failure/></testcase><testcase name="test_other"/>'
        '<testcase name="test_command_line[shared-pool]"><skipped/></testcase></testsuite></testsuites>'
    )
    found = []
    for name, content in {"a.json": json.dumps(cpython), "b.json": json.dumps(packages), "c.xml": lines}.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        found += [(row.mode, row.parts) for row in results.read(tmp_path / name)]
    assert found == [
        ("lazy", {"test_import": [5, 1, 1], "test_gc": [0, 0, 0]}),
        ("default", {"attrs 25.1": [4, 1, 1]}),
        ("shared", {"all": [2, 0, 1]}),
    ]
