"""Check that the documentation lists all options, events and counters of the code, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from conftest import run_tests_module
from pycachehook import events
from pycachehook.config import resolution

from .blocks import PAGES, PROJECT

OPTIONS = (PAGES / "reference" / "options.md").read_text(encoding="utf-8")
EVENTS = (PAGES / "reference" / "events.md").read_text(encoding="utf-8")
LONGEST_README = 130  # lines
MOST_TERMS = 25


def first_column(text: str, heading: str) -> list[str]:
    """Return the words in the first column of the first table after a heading."""
    table = text.partition(heading)[2].partition("\n|---")[2].partition("\n\n")[0]
    return re.findall(r"^\| \[?`(\w[\w-]*)`", table, re.MULTILINE)


def test_every_option_has_a_row_and_a_section() -> None:
    """The table of options and the sections have exactly the existing options."""
    sections = re.findall(r"^## ([a-z_]+)(?: \{|$)", OPTIONS, re.MULTILINE)
    assert sorted(first_column(OPTIONS, "# Options")) == sorted(resolution.NAMES)
    assert set(resolution.NAMES) - set(sections) == set()


def test_every_event_and_reason_is_listed() -> None:
    """The tables of events and reasons have exactly those of the code."""
    assert sorted(first_column(EVENTS, "## Callbacks")) == sorted(events.EVENTS)
    assert sorted(first_column(EVENTS, "## Reasons")) == sorted(events.REASONS)


def test_sizes() -> None:
    """The README and the glossary stay short."""
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= LONGEST_README
    glossary = (PAGES / "glossary.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^\| ", glossary, re.MULTILINE)) - 1 <= MOST_TERMS


def test_fleet() -> None:
    """The page on bundles has the table that the simulation prints, and its plot has a line for each way."""
    printed = run_tests_module("benchmarks.fleet").stdout
    assert printed.startswith("| nodes |")
    assert printed in (PAGES / "how-to" / "bundles.md").read_text(encoding="utf-8")


def test_fleet_chart(tmp_path: Path) -> None:
    """The plot has a line for each way of the table, and its text names them."""
    run_tests_module("benchmarks.fleet", "--chart", tmp_path / "fleet.svg")
    drawn = ET.parse(tmp_path / "fleet.svg")
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f"{space}polyline")) == 5
    texts = {each.text for each in drawn.findall(f"{space}text")}
    assert {"one registry", "object store", "mirrors or peers", "MPI", "shared file system"} < texts
