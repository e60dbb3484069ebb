"""Headings of a Markdown text."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """A heading: its level, 1 for the title, and its text."""

    level: int
    text: str


def headings(text: str) -> Iterator[Heading]:
    """Yield the headings of `text`, but not the comments in its blocks of code."""
    in_code = False
    for line in text.splitlines():
        if line.startswith("```"):
            in_code = not in_code
        marks, _, title = line.partition(" ")
        if not in_code and title and set(marks) == {"#"}:
            yield Heading(len(marks), title.strip())
