"""Output of the commands: tables and progress by rich on a terminal, if it is installed; plain lines elsewhere.

All output of the commands goes through this module. File names, code and messages may contain control characters, which
`say` and `complain` escape; `say_json` prints data exactly. Rich itself honours NO_COLOR (https://no-color.org).
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pycachehook.errors import ConfigError
from pycachehook.terminal import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, TextIO

KIBI = 1024
EXIT_DONE, EXIT_FAILED, EXIT_USAGE = 0, 1, 2  # exit codes
EVERY = 3.0  # seconds between two lines of progress
EXIT_INTERRUPTED = 130  # as shells report SIGINT
_COLUMNS = 80  # if the width is unknown
_NARROWEST = 20  # columns to which lines are wrapped at least


def human(size: float) -> str:
    """Return a number of bytes in a suitable unit, 1024-based."""
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= KIBI and len(units) > 1:
        size /= KIBI
        del units[0]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" else f"{size:.1f} {units[0]}"


def columns() -> int:
    """Return the width of the terminal as `shutil` does, whose import takes as long as a short command."""
    try:
        columns = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        columns = 0
    if columns <= 0:
        try:
            columns = os.get_terminal_size(sys.__stdout__.fileno()).columns if sys.__stdout__ else 0
        except (OSError, ValueError):
            columns = 0
    return columns or _COLUMNS


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with the noun for what it counts."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def age(seconds: int) -> str:
    """Return a time in the largest unit of which there are at least two."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return counted(seconds // size, unit)
    return counted(seconds, "second")


def say(text: object = "") -> None:
    """Print one line on standard output."""
    _print(text, sys.stdout)


def say_wrapped(text: str, indent: str = "", stream: "TextIO | None" = None) -> None:
    """Print a paragraph as one line, or on a terminal wrapped to its width without breaking words."""
    stream = stream or sys.stdout
    if not stream.isatty():
        _print(indent + text, stream)
        return
    import textwrap

    hanging = indent + ("       " if indent else "  ")
    width = max(columns(), _NARROWEST)
    for line in textwrap.wrap(
        visible(text),
        width,
        initial_indent=indent,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    ):
        _print(line, stream)


def say_json(value: object) -> None:
    """Print plain data on standard output as one line of JSON, in ASCII."""
    import json

    print(json.dumps(value))


def complain(text: object) -> None:
    """Print one line on standard error."""
    _print(text, sys.stderr)


def _print(text: object, stream: "TextIO") -> None:
    print(representable(visible(str(text)), stream), file=stream)


def representable(text: str, stream: "TextIO") -> str:
    """Return `text` with characters that the stream's encoding lacks replaced by escapes."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def problems(outcome: "Any") -> None:
    """Print one line for each source of a `Precompiled` or `Built` that was not compiled, and each warning."""
    for line in outcome.warnings:
        complain(line)
    for path, error in outcome.failed:
        say(f"{path}: {error}")
    for path, reason in outcome.skipped:
        say(f"{path}: skipped: {reason}")


def counts_of_problems(outcome: "Any") -> str:
    """Return the numbers of these sources, as the end of a line of counts."""
    counts = {
        "skipped": len(outcome.skipped),
        "broken on purpose": outcome.broken_on_purpose,
        "failed": len(outcome.failed),
    }
    return "".join(f", {count} {what}" for what, count in counts.items() if count)


def verified(where: str, outcome: "Any", *, as_json: bool) -> None:
    """Print the bad files and the counts in a `verify.Verified` of a cache or an archive."""
    if as_json:
        say_json(outcome.as_dict())
        return
    for path, verdict, detail in outcome.bad:
        say(f"{path}: {verdict}{detail and f' ({detail})'}{', removed' if path in outcome.removed else ''}")
    if outcome.judged_as is not None:
        say(f"{where} belongs to uid {outcome.judged_as}: entries are trusted as that user's processes trust them")
    say(f"{where}: " + ", ".join(f"{count} {verdict}" for verdict, count in outcome.counts.items()))


def facts(values: Mapping[str, object]) -> None:
    """Print names and values, one per line; on a narrow terminal long values are wrapped."""
    for name, value in values.items():
        say_wrapped(f"{name:18} {value}") if " " not in name else say(f"{name:18} {value}")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table whose first column is text and whose others are numbers; nothing if it has no rows."""
    cells = [[representable(visible(str(cell)), sys.stdout) for cell in row] for row in rows]
    if not cells:
        return
    say()
    widths = [max(len(row[column]) for row in (list(header), *cells)) for column in range(len(header))]
    least = sum(widths[1:]) + len(header[0]) + 2 * len(header)
    if sys.stdout.isatty() and least <= columns():
        try:
            from rich import box
            from rich.console import Console
            from rich.markup import escape
            from rich.table import Table
        except ImportError:
            pass
        else:
            drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            for column, name in enumerate(header):
                number = column > 0
                justify: Literal["left", "right"] = "right" if number else "left"
                drawn.add_column(name, justify=justify, overflow="fold", no_wrap=number, min_width=len(name))
            for row in cells:
                drawn.add_row(*map(escape, row))
            Console().print(drawn)
            return
    for row in (list(header), *cells):
        numbers = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        say("  ".join((f"{row[0]:{widths[0]}}", *numbers)))


class _Lines:
    """Progress as plain lines on standard error, one every few seconds."""

    def __init__(self, what: str, show: Callable[[float], str] = "{:.0f}".format) -> None:
        self._what = what
        self._show = show
        self._done = 0
        self._next = time.monotonic() + EVERY

    def add(self, more: int, total: int) -> None:
        """Count `more` steps of `total`, and tell of it if it is time."""
        self._done += more
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            complain(f"{self._what}: {self._show(self._done)} of {self._show(total)}")


@contextmanager
def progress(what: str, total: int, *, quiet: bool) -> Iterator[Callable[[], object]]:
    """Show progress on a terminal, as a bar if rich is installed, else as lines; yield a function to call at each step."""
    if not quiet and sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import Progress
        except ImportError:
            lines = _Lines(what)
            yield lambda: lines.add(1, total)
            return
        else:
            with Progress(console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task(what, total=total)
                yield lambda: bar.advance(task)
            return
    yield lambda: None


@contextmanager
def transfer(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], object]]:
    """Show a transfer on a terminal in the same way; yield a function to call with new bytes and total bytes."""
    if not quiet and sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
        except ImportError:
            yield _Lines(what, human).add
            return
        else:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task(what, total=None)
                yield lambda done, total: bar.update(task, advance=done, total=total)
            return
    yield lambda _done, _total: None


def code_tree(tree: "dict[str, Any]", depth: int = 0) -> None:
    """Print the part of `inspect.inspect` about a code object and all nested ones."""
    say(f"{'  ' * depth}{tree['name']}  line {tree['line']}, {tree['bytes']} bytes of code")
    for label in ("names", "constants"):
        text = ", ".join(tree[label])
        if text:
            say(f"{'  ' * depth}    {label}: {text}")
    for nested in tree["inside"]:
        code_tree(nested, depth + 1)


def is_confirmed(question: str) -> bool:
    """Ask on the terminal; raises ConfigError if there is none."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError("Nothing is removed without a confirmation: give --yes.")
    sys.stderr.write(f"{visible(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
