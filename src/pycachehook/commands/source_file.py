"""A source file as the commands examine it: read at most once, and only when it is needed."""

from __future__ import annotations

import os

from pycachehook import pyc
from pycachehook._compat import KEY, siphash
from pycachehook.pyc import HASH_BASED
from pycachehook.system import READ_FLAGS, read_file

LARGEST = 1 << 30  # bytes; a file that claims to be larger is not read


class SourceFile:
    """The source at `path`. Every method raises OSError if it cannot be read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._read: tuple[bytes, os.stat_result] | None = None

    def data(self) -> bytes:
        """Return the file's bytes."""
        if self._read is None:
            self._read = read_file(self.path, READ_FLAGS, LARGEST)
        return self._read[0]

    def hash(self) -> bytes:
        """Return the file's PEP 552 source hash, 8 bytes."""
        return siphash(KEY, self.data())

    def agrees(self, flags: int, stamp: bytes, check: bytes | None) -> bool:
        """Return whether an entry with these `flags`, `stamp` and second hash (or None) matches the source."""
        if stamp != self.stamp(flags):
            return False
        return check is None or pyc.second_hash(self.data()) == check

    def stamp(self, flags: int) -> bytes:
        """Return the 8-byte stamp that the header of an entry with these `flags` records for the source."""
        if flags & HASH_BASED:
            return self.hash()
        status = os.stat(self.path) if self._read is None else self._read[1]
        return pyc.timestamp_stamp(status.st_mtime, status.st_size)
