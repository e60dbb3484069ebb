"""Headings as lines."""

from collections.abc import Iterable, Iterator

from .headings import Heading

BULLET = "-"


def indented(found: Iterable[Heading]) -> Iterator[str]:
    """Yield a line for each heading, indented by its level."""
    for heading in found:
        yield f"{'  ' * (heading.level - 1)}{BULLET} {heading.text}"
