"""What a miss leads to: the source is compiled, once however many processes ask for it, and the entry is stored.

Loaded by the first miss, not at start-up; like the modules of start-up it imports next to nothing.
"""

import os

from pycachehook import pyc
from pycachehook._compat import KEY, hidden_from_tracebacks, siphash, source_to_code
from pycachehook.events import LOCK_TIMEOUT
from pycachehook.pyc import CHECKED_HASH, HASH_BASED
from pycachehook.store import READ_FLAGS, read_file

from .single_flight import SingleFlight, look_again
from .writer import write_entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    from pycachehook._compat import SourceFileLoader
    from pycachehook.events import Stats
    from pycachehook.store import Store


class Source:
    """A source file, read at most once and not before somebody asks."""

    __slots__ = ("_data", "_hash", "_status", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._data: bytes | None = None
        self._hash: bytes | None = None
        self._status: os.stat_result | None = None

    def data(self) -> bytes:
        """Return the file's bytes; raises OSError."""
        if self._data is None:
            self._data, self._status = read_file(self.path, READ_FLAGS)
        return self._data

    def status(self) -> os.stat_result:
        """Return the file's status, from before its bytes were read, as a timestamp pyc needs it; raises OSError."""
        if self._status is None:
            self._status = os.stat(self.path)
        return self._status

    def hash(self) -> bytes:
        """Return the file's PEP 552 source hash, 8 bytes; raises OSError."""
        if self._hash is None:
            if self._data is None:
                self._data, self._status = read_file(self.path, READ_FLAGS)
            self._hash = siphash(KEY, self._data)
        return self._hash

    def stamp(self, flags: int) -> bytes:
        """Return the 8 bytes that an entry with these `flags` records of the source; raises OSError."""
        if flags & HASH_BASED:
            return self.hash()
        status = self.status()
        return pyc.timestamp_stamp(status.st_mtime, status.st_size)


@hidden_from_tracebacks
def compile_and_store(
    loader: "SourceFileLoader", fullname: str, store: "Store", stats: "Stats", reason: str
) -> "CodeType":
    """Compile the loader's source and store the entry, unless another process does so meanwhile; count the miss.

    `reason` is why there was no hit. Raises what the stock loader raises for a source that cannot be read or compiled.
    """
    source = Source(loader.path)
    found = look_again(store.directory, lambda: store.found_meanwhile(source.path))
    if found is not None:
        stats.hit(store.name, fullname, source.path)
        return found
    data = _data(source)  # while there is a file descriptor for it: the lock will take one
    entry = store.path(source.path) if data is None else store.entry(source.path, data)
    with SingleFlight(store.directory, entry, stats) as flight:
        found = store.found_meanwhile(source.path, data) if flight.may_write else None
        if found is not None:
            stats.hit(store.name, fullname, source.path)
            return found
        data = _data(source)
        # What is raised is what the stock loader would have raised. What is not, has no known source to be stored with.
        text = loader.get_data(source.path) if data is None else data
        code = source_to_code(loader, text, source.path, fullname)
        may_write = flight.may_write and data is not None and store.refusal(loader, data) is None
        stored = may_write and _write(store, source, code, stats)
    stats.miss(LOCK_TIMEOUT if flight.timed_out else reason, fullname, source.path, stored=stored)
    return code


def encode(store: "Store", code: "CodeType", source: Source) -> bytes:
    """Return the bytes of a new entry; raises OSError if the source is gone, ValueError for what marshal cannot write.

    Where another source could have the same place, only the hash tells whose entry lies there, and it is checked in
    every mode: `tool.sh` has the place of `tool.py`, and a `..` behind a link leads elsewhere in the tree than in the
    cache.
    """
    shared = "/../" in source.path or not source.path.endswith(".py")
    flags = pyc.FLAGS[CHECKED_HASH if shared else store.mode]
    return pyc.encode(code, flags, source.stamp(flags))


def store_late(store: "Store", path: str, data: bytes, code: "CodeType", stats: "Stats") -> None:
    """Store what was compiled from `data` before this module was there, if that may still be, and is still the source."""
    source = Source(path)
    if store.heals and _data(source) == data:
        stats.stored += _write(store, source, code, stats)


def _data(source: Source) -> bytes | None:
    try:
        return source.data()
    except OSError:
        return None


def _write(store: "Store", source: Source, code: "CodeType", stats: "Stats") -> bool:
    try:
        text = source.data()  # the very bytes that were compiled: it is read once
        data, status = encode(store, code, source), source.status()
    except (OSError, ValueError):
        return False
    return write_entry(store.directory, store.entry(source.path, text), data, status, stats)
