"""Check that the documentation lists all options, events and counters of the code, and no others."""

from __future__ import annotations

import re

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
