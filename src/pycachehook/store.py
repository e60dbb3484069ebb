"""Two of the places that a lookup searches: the store, which it also writes to, and the source's own `__pycache__`.

A place has a `name` and a method `find(path)`, which returns a code object or raises `Miss` with the reason. Reading
takes open, fstat, read and close, and no lock: an entry appears under its final name by rename, complete or not at all.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

from . import own_modules, pyc
from ._compat import imp_attribute
from .cache_dir import DISABLED, CacheDir, fault_of, link_detail
from .events import (
    ABSENT,
    CHECK,
    IN_TREE,
    IO_ERROR,
    OTHER_MODE,
    READ,
    STALE_SOURCE,
    STORE,
    UNMARSHAL,
    UNTRUSTED,
    Miss,
    Outcome,
)
from .paths import Layout, installed_predicate
from .pyc import CHECK_SOURCE, HASH_BASED, check_source, compare
from .system import BUILTINS, ENTRY_FLAGS, READ_FLAGS, is_foreign, read_code_file, read_file, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result
    from types import CodeType
    from typing import Any

    from .events import Stats, Stopwatch

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

DAY = 86400.0  # seconds by which an entry's mtime, which records the last use, may lag behind
MAX_ENTRY_SIZE = 1 << 27  # bytes: a larger entry is refused before it is read


class InTree:
    """The source's own `__pycache__`: read under CPython's rules and two more, never written.

    `timestamps` is a value of the option `in_tree`: it decides which timestamp pycs are accepted.
    """

    __slots__ = ("_layout", "_open_code", "_read", "_timestamps", "arguments")

    name = IN_TREE
    hit_outcome = Outcome(IN_TREE)
    may_write = False

    def __init__(self, layout: Layout, timestamps: str = "all", open_code: bool = False) -> None:  # noqa: FBT001, FBT002
        self.arguments = layout, timestamps, open_code  # for a copy in another process
        self._layout = layout
        # A predicate on source paths: whether a timestamp pyc is accepted. None: always.
        self._timestamps = installed_predicate() if timestamps == "installed" else None
        if timestamps == "hashed":
            self._timestamps = lambda _path: False
        self._open_code = open_code
        self._read = read_code_file if open_code else read_file

    def path(self, source_path: str) -> str:
        """Return the path of the source's pyc, whether or not it exists."""
        return self._layout.in_tree(source_path)

    def find(
        self, path: str, _location: str | None = None, source: bytes | None = None, watch: "Stopwatch | None" = None
    ) -> "CodeType":
        """Return the code of a pyc that CPython would accept; raises Miss, or OSError for the source at `path`.

        Two conditions are added to CPython's: the option `in_tree` must accept timestamp pycs for this path, and a
        timestamp pyc must not be older than its source. CPython compares whole seconds, and runs old code after two
        edits within one second (gh-75953).
        """
        try:
            data, status = self._read(self.path(path), READ_FLAGS, MAX_ENTRY_SIZE)
        except (OSError, MemoryError) as error:
            raise miss_for(error) from None
        if watch is not None:
            watch(READ)
        flags, stamp, check, code = pyc.load(data, path)
        if watch is not None:
            watch(UNMARSHAL)
        validation = imp_attribute("check_hash_based_pycs")
        if flags & HASH_BASED:
            if (flags & CHECK_SOURCE and validation != "never") or validation == "always":
                check_source(path, stamp, check, source, open_code=self._open_code)
        else:
            if self._timestamps is not None and not self._timestamps(path):
                raise Miss(OTHER_MODE, "a timestamp does not prove what is in the source")
            source_status = system.stat(path)
            compare(stamp, pyc.timestamp_stamp(source_status.st_mtime, source_status.st_size))
            if source_status.st_mtime_ns > status.st_mtime_ns:
                raise Miss(STALE_SOURCE, "source was written after the pyc")
        if watch is not None:
            watch(CHECK)
        return code


class Store:
    """The entries of one cache directory in one invalidation mode.

    `read_only` forbids writing, even if the directory allows it. `prefetched` is the entry that `holds` has read for
    the following call of `find`, as (location, bytes, status).
    """

    __slots__ = (
        "_checked",
        "_layout",
        "_owners",
        "_read",
        "_root",
        "_yesterday",
        "directory",
        "mode",
        "open_code",
        "prefetched",
        "read_only",
    )

    name = STORE
    hit_outcome = Outcome(STORE)

    def __init__(
        self, directory: CacheDir, layout: Layout, mode: str, *, read_only: bool = False, open_code: bool = False
    ) -> None:
        self.directory = directory
        self.mode = mode
        self.read_only = read_only
        self.prefetched: tuple[str, bytes, stat_result] | None = None
        self.open_code = open_code
        self._read = read_code_file if open_code else read_file
        # Whether an entry that is marked as unchecked, as compileall can write it, is nevertheless compared with its
        # source, because this store is not in that mode.
        self._checked = mode != pyc.UNCHECKED_HASH
        self._yesterday = system.time() - DAY
        self._layout = layout
        self._root = directory.path
        self._owners = directory.owners

    @property
    def may_write(self) -> bool:
        """Whether an entry may be written now, and so whether one with a defect will be replaced."""
        return not self.read_only and self.directory.writable()

    def path(self, source_path: str) -> str:
        """Return the path of the source's entry in the mirrored layout."""
        return self._layout.mirrored(self._root, source_path)

    def in_tree(self, source_path: str) -> str:
        """Return the path of the source's pyc in its own `__pycache__`."""
        return self._layout.in_tree(source_path)

    def location(self, source_path: str, _source: bytes) -> str:
        """Return the path of the entry for a source with these bytes."""
        return self.path(source_path)

    def holds(self, path: str) -> bool:
        """Return whether the source at `path` has an entry; the entry is read and kept for the following `find`."""
        if self.directory.status == DISABLED:
            return False
        location = self.path(path)
        try:
            self.prefetched = (location, *read_file(location, ENTRY_FLAGS, MAX_ENTRY_SIZE))
        except (OSError, MemoryError) as error:
            if is_foreign(error):
                raise
            return False
        return True

    def _find_at(self, location: str, path: str, source: bytes) -> "CodeType":
        return self.find(path, location, source)

    def find_again(self, path: str, location: str, source: bytes) -> "CodeType | None":
        """Return the result of `find`, or None if it raises; used after the lock has been acquired."""
        try:
            return self._find_at(location, path, source)
        except (Miss, OSError) as error:
            if is_foreign(error):
                raise
            return None

    def find(  # noqa: C901, PLR0912 -- a chain of conditions
        self, path: str, location: str | None = None, source: bytes | None = None, watch: "Stopwatch | None" = None
    ) -> "CodeType":
        """Return the code of a valid entry for the source at `path`; raises Miss, or OSError for the source.

        `location` is the result of `path(path)` and `source` are the source's bytes, if the caller knows them already.
        """
        if self.directory.status == DISABLED:
            raise Miss(UNTRUSTED, self.directory.reason or "")
        if location is None:
            location = self.path(path)
        read, self.prefetched = self.prefetched, None
        if read is not None and read[0] == location:
            _, data, status = read
        else:
            try:
                data, status = self._read(location, ENTRY_FLAGS, MAX_ENTRY_SIZE)
            except (OSError, MemoryError) as error:
                raise miss_for(error) from None
        if status.st_mode & 0o022 or status.st_uid not in self._owners:  # rare, and `fault_of` permits some of these
            fault = fault_of(status, self._owners)
            if fault is not None:
                raise Miss(UNTRUSTED, f"{location} {fault}")
        if watch is not None:
            watch(READ)
        flags, stamp, check, code = pyc.load(data, path)
        if watch is not None:
            watch(UNMARSHAL)
        if flags & HASH_BASED:
            # The entry of such a path may belong to another source, see `on_miss.writer.encode`.
            checked = flags & CHECK_SOURCE or self._checked or path[-3:] != ".py" or "/../" in path
            validation = imp_attribute("check_hash_based_pycs")
            if (checked and validation != "never") or validation == "always":
                check_source(path, stamp, check, source, open_code=self.open_code)
        elif self.mode == pyc.TIMESTAMP:
            source_status = system.stat(path)
            compare(stamp, pyc.timestamp_stamp(source_status.st_mtime, source_status.st_size))
        else:
            raise Miss(OTHER_MODE, "a timestamp does not prove what is in the source")
        if watch is not None:
            watch(CHECK)
        if status.st_mtime < self._yesterday:
            self._note_use(location)
        return code

    def put(self, source: "Any", code: "CodeType", stats: "Stats", *, warned: bool) -> bool:
        """Write the entry of a `writer.Source`, and return whether that succeeded; `stats` count a failure.

        `warned` says whether compiling the source emitted warnings.
        """
        writer = own_modules.load("on_miss.writer")
        return writer is not None and bool(writer.put(self, source, code, stats, warned=warned))

    def _note_use(self, location: str) -> None:
        """Set the entry's mtime, which `prune` reads as the time of its last use, if the store may be written to."""
        if self.may_write:
            try:
                system.utime(location)
            except OSError as error:
                if is_foreign(error):
                    raise


def miss_for(error: "OSError | MemoryError") -> Miss:
    """Return the miss for an entry that cannot be read; raises `error` again if it is an exception of the program."""
    if is_foreign(error):
        raise error
    if isinstance(error, MemoryError):
        return Miss(IO_ERROR, "out of memory")
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return Miss(ABSENT, error.strerror or str(error))
    return Miss(IO_ERROR, link_detail(error) or error.strerror or str(error))
