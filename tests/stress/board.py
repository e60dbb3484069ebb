"""Counters in a file that all processes map, so that a count survives the process that made it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

from pycachehook.events import REASONS

_SIZE = 8  # bytes of a counter

WORKERS = "workers"
FAULTS = "faults"
EDITS = "edits"

# A worker's row. `progress` is the time of its last finished import, in nanoseconds of the monotonic clock; `intent` the
# number of the point at which it will kill itself (`mishaps.POINTS`, from 1); the others are counts.
WORKER_FIELDS = (
    *("imports", "wrong", "exceptions", "progress", "intent", "limits", "threads"),
    *("hits", "compiled", "stored", "errors", *REASONS),
)
EDIT_FIELDS = ("in place", "by rename", "mtime kept", "in-tree bytecode")


class Board:
    """Rows of counters with the names `fields`. Only one process at a time counts in a row.

    The last row is the supervisor's: it holds the signal to stop.
    """

    def __init__(self, path: str, fields: Sequence[str], rows: int) -> None:
        self._columns = {name: column for column, name in enumerate(fields)}
        self._rows = rows
        size = (rows + 1) * len(fields) * _SIZE
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.truncate(descriptor, size)
            self._cells = memoryview(mmap.mmap(descriptor, size)).cast("Q")
        finally:
            os.close(descriptor)

    def get(self, row: int, field: str) -> int:
        """Return one counter."""
        return self._cells[row * len(self._columns) + self._columns[field]]

    def put(self, row: int, field: str, value: int) -> None:
        """Set one counter."""
        self._cells[row * len(self._columns) + self._columns[field]] = value

    def add(self, row: int, field: str, count: int = 1) -> None:
        """Increase a counter of this process's own row."""
        self._cells[row * len(self._columns) + self._columns[field]] += count

    def total(self, field: str) -> int:
        """Return the sum over all rows."""
        return sum(self.get(row, field) for row in range(self._rows))

    def totals(self) -> dict[str, int]:
        """Return the sums of all fields."""
        return {field: self.total(field) for field in self._columns}

    def stop(self) -> None:
        """Tell all processes that use this board to end."""
        self._cells[-1] = 1

    def stopping(self) -> bool:
        """Return whether any process has called `stop`."""
        return self._cells[-1] != 0
