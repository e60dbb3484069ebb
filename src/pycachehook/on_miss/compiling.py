"""Handling of a miss: compile the source, once for all waiting processes, and store the entry.

Loaded by `own_modules` at the first miss, not at start-up; imports modules of this package only.
"""

from pycachehook import pyc
from pycachehook._compat import KEY, hidden_from_tracebacks, note_warnings, replaced_step, siphash
from pycachehook._compat import source_to_code as source_to_code_of
from pycachehook._compat import stock_source_to_code as source_to_code
from pycachehook.events import LOCK_TIMEOUT, OTHER_MODE
from pycachehook.on_miss.single_flight import SingleFlight
from pycachehook.on_miss.writer import write_entry
from pycachehook.pyc import CHECKED_HASH, HASH_BASED
from pycachehook.system import READ_FLAGS, is_foreign, read_code_file, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result
    from types import CodeType

    from pycachehook._compat import SourceFileLoader
    from pycachehook.events import Stats
    from pycachehook.store import Store


class Source:
    """A source file as it was read: its path, its bytes, and its status from before the read."""

    __slots__ = ("data", "path", "status")

    def __init__(self, path: str, data: bytes, status: "stat_result") -> None:
        self.path = path
        self.data = data
        self.status = status

    def stamp(self, flags: int) -> bytes:
        """Return the 8-byte stamp that the header of an entry with these `flags` records for the source."""
        if flags & HASH_BASED:
            return siphash(KEY, self.data)
        return pyc.timestamp_stamp(self.status.st_mtime, self.status.st_size)


def read_source(path: str, *, open_code: bool = False) -> Source:
    """Return the source at `path`; raises OSError."""
    return Source(path, *(read_code_file if open_code else read_file)(path, READ_FLAGS))


@hidden_from_tracebacks
def compile_and_store(
    loader: "SourceFileLoader", fullname: str, store: "Store", stats: "Stats", reason: str
) -> "CodeType":
    """Compile the loader's source and store the entry, unless another process has stored it; count the miss.

    `reason` is why there was no hit. Raises what the stock loader raises for a source that cannot be read or compiled.
    """
    path = loader.path
    try:  # while there is a file descriptor for it: the lock will take one
        source = read_source(path, open_code=store.open_code)
    except OSError as error:
        if is_foreign(error):
            raise
        source = None
    if source is None:  # what is raised is what the stock loader raises
        code = source_to_code(loader.get_data(path), path, fullname)
        stats.miss(reason, fullname, path, stored=False)
        return code
    location = store.location(path, source.data)
    with SingleFlight(store.directory, location, stats) as flight:
        replaced = replaced_step(loader) is not None  # by another thread, while this one waited
        found = None if replaced else store.find_again(path, location, source.data)
        if found is not None:
            stats.hit(store.name, fullname, path)
            return found
        stored = False
        if replaced:
            code = source_to_code_of(loader, loader.get_data(path), path, fullname)
        else:
            code, warned = note_warnings(source_to_code, source.data, path, fullname)
            if flight.may_write and store.refusal(source.data) is None:
                stored = put(store, source, location, code, stats, warned=warned)
    why = OTHER_MODE if replaced else LOCK_TIMEOUT if flight.timed_out else reason
    stats.miss(why, fullname, path, stored=stored)
    return code


def encode(store: "Store", code: "CodeType", source: Source, *, warned: bool) -> bytes:
    """Return the bytes of a new entry; raises ValueError for code that marshal cannot write.

    Where two sources can have the same entry path, only the source hash tells to which of them the entry belongs, so it
    is checked in every mode: the entry of `tool.sh` has the path of that of `tool.py`, and `..` behind a link leads to
    different directories in the source tree and in the cache.
    """
    ambiguous = "/../" in source.path or not source.path.endswith(".py")
    flags = pyc.FLAGS[CHECKED_HASH if ambiguous else store.mode]
    return pyc.encode(code, flags, source.stamp(flags), pyc.second_hash(source.data), warned=warned)


def put(store: "Store", source: Source, location: str, code: "CodeType", stats: "Stats", *, warned: bool) -> bool:
    """Write the entry of a source, and return whether that succeeded."""
    try:
        data = encode(store, code, source, warned=warned)
    except (ValueError, MemoryError) as error:
        if is_foreign(error):
            raise
        return False
    return write_entry(store.directory, location, data, source.status, stats)
