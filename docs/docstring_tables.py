"""Conversion of aligned lists of parameters in docstrings to tables, because Markdown would join their lines."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

LINE = re.compile(r"^(?P<name>[a-z_]+) {2,}(?P<text>\S.*)$")
CONTINUED = re.compile(r"^ {6,}(?P<text>\S.*)$")


class AlignedLists(Extension):
    """An extension that converts aligned lines `name   meaning`, with indented continuations, to a Markdown table."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Convert the docstring of one object."""
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
