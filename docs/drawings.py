"""Drawings of the documentation as inline SVG, in the colours of the surrounding page.

`python docs/drawings.py DIRECTORY` writes each of them to a separate HTML file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

FONT = "font-family='system-ui, sans-serif' font-size='14'"
MONO = "font-family='ui-monospace, monospace' font-size='13'"
LINE = 18  # pixels between lines of text


def svg(width: int, height: int, title: str, *parts: str) -> str:
    """Return a drawing in a block that Markdown does not change."""
    marker = (
        "<defs><marker id='arrow' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' markerHeight='7' "
        "orient='auto-start-reverse'><path d='M0,0 L10,5 L0,10 z' fill='currentColor'/></marker></defs>"
    )
    body = "".join(parts)
    return (
        f"<div><svg class='drawing' xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' "
        f"role='img' aria-label='{escape(title)}' color='currentColor'><title>{escape(title)}</title>"
        f"{marker}{body}</svg></div>"
    )


def box(x: int, y: int, width: int, height: int, *lines: str, strong: bool = False) -> str:
    """Return a rectangle with centred lines of text."""
    first = y + height / 2 - (len(lines) - 1) * LINE / 2 + 5
    text = "".join(
        f"<text x='{x + width / 2:g}' y='{first + number * LINE:g}' text-anchor='middle' fill='currentColor' {FONT}>"
        f"{escape(line)}</text>"
        for number, line in enumerate(lines)
    )
    shade = ".18" if strong else ".06"
    return (
        f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='6' fill='currentColor' fill-opacity='{shade}' "
        f"stroke='currentColor'/>{text}"
    )


def arrow(x1: int, y1: int, x2: int, y2: int, label: str = "", *, beside: int = 6) -> str:
    """Return an arrow with its label to the right of its middle or above it."""
    line = f"<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' stroke='currentColor' marker-end='url(#arrow)'/>"
    if not label:
        return line
    x, y = ((x1 + x2) / 2 + beside, (y1 + y2) / 2 + 5) if x1 == x2 else ((x1 + x2) / 2, y1 - 6)
    anchor = "start" if x1 == x2 else "middle"
    return (
        f"{line}<text x='{x:g}' y='{y:g}' text-anchor='{anchor}' fill='currentColor' font-style='italic' {FONT}>"
        f"{escape(label)}</text>"
    )


def import_way() -> str:
    """Draw the path of an import."""
    left, width, right, side = 10, 270, 350, 175
    steps = [
        ("import x",),
        ("Finder: asks the finders behind it", "in their order"),
        ("Policy: which options apply", "to this source?"),
        ("Archives, in their order",),
        ("Store: the cache directory",),
        ("In-tree: the source's own", "__pycache__"),
        ("Take the file's lock, look again",),
        ("Compile the source",),
        ("Write to a temporary file, check,", "rename, release the lock"),
    ]
    parts, y, height, gap = [], 10, 50, 34
    middle = left + width // 2
    for number, lines in enumerate(steps):
        parts.append(box(left, y, width, height, *lines, strong=number in {0, 7}))
        if number < len(steps) - 1:
            label = {3: "no entry", 4: "no valid entry", 5: "no valid pyc", 6: "still none"}.get(number, "")
            parts.append(arrow(middle, y + height, middle, y + height + gap, label))
        outcome = {
            1: (("not a plain", "source module"), "CPython loads it"),
            2: (("excluded, or a", "loader step replaced"), ""),
            3: (("run it",), "valid"),
            4: (("run it",), "valid"),
            5: (("run it",), "valid"),
            6: (("run it",), "another one"),
        }.get(number)
        if outcome:
            (words, label) = outcome
            parts.append(box(right, y, side, height, *words))
            parts.append(arrow(left + width, y + height // 2, right, y + height // 2, "" if number < 3 else "hit"))
        y += height + gap
    parts.append(box(left, y, width, height - 10, "run it", strong=True))
    parts.append(arrow(middle, y - gap, middle, y))
    return svg(right + side + 10, y + height, "How an import goes", *parts)


FIELDS = [
    ("0", "4", "magic number", "which Python"),
    ("4", "4", "flags", "invalidation mode"),
    ("8", "8", "stamp", "source hash, or mtime and size"),
    ("16", "n", "marshalled code", "the module"),
    ("16+n", "8", "PYCHOOK2", "the seal begins"),
    ("24+n", "4", "seal flags", "bit 0: compiling warned"),
    ("28+n", "8", "second hash", "of the source"),
    ("36+n", "8", "hash", "of everything before"),
]


def entry() -> str:
    """Draw an entry's bytes: PEP 552's header, the code, the seal."""
    parts, y = [], 30
    for text, x in (("offset", 8), ("bytes", 70), ("field", 130), ("what it says", 300)):
        parts.append(f"<text x='{x}' y='18' fill='currentColor' font-weight='bold' {FONT}>{text}</text>")
    for number, (offset, size, name, meaning) in enumerate(FIELDS):
        height = 64 if size == "n" else 32
        shade = ".06" if number < 3 else ".2" if number == 3 else ".12"
        parts.append(
            f"<rect x='2' y='{y}' width='536' height='{height}' fill='currentColor' fill-opacity='{shade}' "
            f"stroke='currentColor'/>"
        )
        for text, x, font in ((offset, 8, MONO), (size, 70, MONO), (name, 130, MONO), (meaning, 300, FONT)):
            parts.append(f"<text x='{x}' y='{y + height // 2 + 5}' fill='currentColor' {font}>{escape(text)}</text>")
        y += height
    for text, top, bottom in (("PEP 552", 30, 126), ("seal", 190, y)):
        parts.append(f"<path d='M546,{top + 2} h8 v{bottom - top - 4} h-8' fill='none' stroke='currentColor'/>")
        parts.append(f"<text x='560' y='{(top + bottom) // 2 + 5}' fill='currentColor' {FONT}>{text}</text>")
    return svg(625, y + 4, "The bytes of an entry", *parts)


DRAWINGS: dict[str, Callable[[], str]] = {"import_way": import_way, "entry": entry}


if __name__ == "__main__":
    for drawing, draw in DRAWINGS.items():
        Path(sys.argv[1], f"{drawing}.html").write_text(draw() + "\n", encoding="utf-8")
