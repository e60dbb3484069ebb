"""Docstrings keep lists of parameters as aligned lines, which Markdown would run together: make definition lists of them."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

LINE = re.compile(r"^(?P<name>[a-z_]+) {2,}(?P<text>\S.*)$")
CONTINUED = re.compile(r"^ {6,}(?P<text>\S.*)$")


class AlignedLists(Extension):
    """Turns aligned lines `name   meaning`, continued by deeper ones, into a Markdown table."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = with_tables(obj.docstring.value)


def with_tables(text: str) -> str:
    """Return a docstring with its aligned lists as tables."""
    done: list[str] = []
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        found, continued = LINE.match(line), CONTINUED.match(line)
        if found:
            rows.append([found["name"], found["text"]])
        elif continued and rows:
            rows[-1][1] += f" {continued['text']}"
        else:
            if rows:
                done += ["| name | meaning |", "|---|---|", *(f"| `{name}` | {what} |" for name, what in rows)]
                rows = []
            done.append(line)
    return "\n".join(done[:-1])
