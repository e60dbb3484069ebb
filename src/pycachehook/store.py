"""Places that hold entries: the store, which is written to, and the source's own `__pycache__`, which is not.

A place has a `name` and `find(path)`, which returns a code object or raises `Miss` with the reason. A reading
takes open, fstat, read and close, and no lock: an entry appears under its name whole, by rename, or not at all.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

from . import pyc
from ._compat import KEY, setting, siphash
from .cache_dir import DISABLED, CacheDir, fault_of, link_detail
from .events import ABSENT, IN_TREE, IO_ERROR, OTHER_MODE, STALE_SOURCE, STORE, UNTRUSTED, Miss
from .paths import Layout
from .pyc import CHECK_KEY, CHECK_SOURCE, HASH_BASED
from .system import BUILTINS, is_foreign, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import stat_result
    from types import CodeType

__builtins__ = BUILTINS  # what programs patch in `builtins` later does not reach this module

DAY = 86400.0  # seconds: how long an entry's mtime, which says when it was last used, may lag behind

_flag = vars(system.os_module).get
# A FIFO must not be waited for, and a link not be followed out of the cache.
READ_FLAGS: int = _flag("O_RDONLY", 0) | _flag("O_BINARY", 0) | _flag("O_NOINHERIT", 0) | _flag("O_NONBLOCK", 0)
ENTRY_FLAGS: int = READ_FLAGS | _flag("O_NOFOLLOW", 0)
MOST = 1 << 17  # bytes of a source to read at once, without asking how many there are: few have more
MOST_OF_ENTRY = 1 << 27  # bytes: an entry that claims to be larger is refused unread
_KIND, _REGULAR = 0o170000, 0o100000  # of `st_mode`


def read_file(path: str, flags: int, limit: int | None = None) -> "tuple[bytes, stat_result]":
    """Return a file's bytes and its status; raises OSError, also for what is no regular file or exceeds `limit` bytes."""
    # The descriptor goes into the list inside one instruction: an exception of a signal handler cannot lose it.
    opened: list[int] = []
    try:
        opened.extend(map(system.open, (path,), (flags,)))
        status = system.fstat(opened[0])
        if status.st_mode & _KIND != _REGULAR:
            raise OSError(None, "not a regular file", path)
        if limit is not None and status.st_size > limit:
            raise OSError(None, f"{status.st_size} bytes are too many", path)
        size = status.st_size + 1  # one more than there should be, so that one read also finds the end
        data = system.read(opened[0], size)
        if len(data) != status.st_size:
            data = _rest(opened[0], data)
    finally:
        if opened:
            system.close(opened[0])
    return data, status


def read_code_file(path: str, _flags: int, limit: int | None = None) -> "tuple[bytes, stat_result]":
    """As `read_file`, through `io.open_code`, so that an embedder's hook (PEP 578) sees and decides what is read."""
    status = system.lstat(path) if _flags & _flag("O_NOFOLLOW", 0) else system.stat(path)
    if status.st_mode & _KIND != _REGULAR:
        raise OSError(None, "not a regular file", path)
    if limit is not None and status.st_size > limit:
        raise OSError(None, f"{status.st_size} bytes are too many", path)
    with system.open_code(path) as file:
        return file.read(), status


def _rest(descriptor: int, data: bytes) -> bytes:
    """Read on to the end of a file that changed its size, or of which one read gave less than all."""
    parts = [data]
    while parts[-1]:
        parts.append(system.read(descriptor, 1 << 20))
    return b"".join(parts)


def check_source(
    path: str, stamp: bytes, check: bytes | None, source: bytes | None = None, *, hooked: bool = False
) -> None:
    """Raise Miss unless the source at `path` has the hash `stamp` and, where there is one, the second hash `check`.

    `source` are its bytes, if they have been read already; `hooked` reads them by `io.open_code`. Raises OSError.
    """
    if source is None:
        source = (read_code_file if hooked else read_file)(path, READ_FLAGS)[0]
    compare(stamp, siphash(KEY, source))
    if check is not None and siphash(CHECK_KEY, source) != check:
        raise Miss(STALE_SOURCE, "another source with the same source_hash")


class InTree:
    """The source's own `__pycache__`: read as CPython would, never written."""

    __slots__ = ("_layout", "_open_code", "_timestamps")

    name = IN_TREE
    heals = False

    def __init__(
        self, layout: Layout, timestamps: "Callable[[str], bool] | None" = None, *, open_code: bool = False
    ) -> None:
        self._layout = layout
        self._timestamps = timestamps  # whether a timestamp pyc is read for the source at a path; None: for every one
        self._open_code = open_code

    def path(self, source_path: str) -> str:
        """Return where the pyc of the source would lie."""
        return self._layout.in_tree(source_path)

    def find(self, path: str, _location: str | None = None, source: bytes | None = None) -> "CodeType":
        """Return the code of a pyc that CPython would accept for the source at `path`; raises Miss, or OSError from it.

        Two more conditions: a timestamp pyc must be where the option `in_tree` believes them, and not older than its
        source. CPython compares whole seconds and runs old code after two edits within one of them (gh-75953).
        """
        try:
            read = read_code_file if self._open_code else read_file
            data, status = read(self.path(path), READ_FLAGS, MOST_OF_ENTRY)
        except (OSError, MemoryError) as error:
            raise unread(error) from None
        flags, stamp, check, code = pyc.load(data, path)
        if flags & HASH_BASED:
            wish = setting("check_hash_based_pycs")
            if (flags & CHECK_SOURCE and wish != "never") or wish == "always":
                check_source(path, stamp, check, source, hooked=self._open_code)
            return code
        if self._timestamps is not None and not self._timestamps(path):
            raise Miss(OTHER_MODE, "a timestamp does not prove what is in the source")
        found = system.stat(path)
        compare(stamp, pyc.timestamp_stamp(found.st_mtime, found.st_size))
        if found.st_mtime_ns > status.st_mtime_ns:
            raise Miss(STALE_SOURCE, "source was written after the pyc")
        return code


class Store:
    """The entries of one cache directory in one invalidation mode.

    `read_only` forbids writing here, whatever the directory allows. `prefetched` is the entry that `holds` has read
    for the `find` that follows, as (location, bytes, status).
    """

    __slots__ = (
        "_checked",
        "_layout",
        "_open_code",
        "_owners",
        "_root",
        "_yesterday",
        "directory",
        "mode",
        "prefetched",
        "prefix",
        "read_only",
        "suffix",
    )

    name = STORE

    def __init__(
        self, directory: CacheDir, layout: Layout, mode: str, *, read_only: bool = False, open_code: bool = False
    ) -> None:
        self.directory = directory
        self.mode = mode
        self.read_only = read_only
        self.prefetched: tuple[str, bytes, stat_result] | None = None
        self._open_code = open_code
        self._checked = mode != pyc.UNCHECKED_HASH  # an entry of that mode proves too little for the other two
        self._yesterday = system.time() - DAY
        self._layout = layout
        self._root = directory.path
        self.prefix = directory.path.rstrip("/")
        self.suffix = layout.plain_suffix
        self._owners = directory.owners

    @property
    def heals(self) -> bool:
        """Whether an entry with a defect will be replaced."""
        return not self.read_only and self.directory.writable()

    def path(self, source_path: str) -> str:
        """Return where `mirror` has the entry of the source."""
        if (
            self.suffix is not None
            and source_path[:1] == "/"
            and source_path[-3:] == ".py"
            and source_path[-4:] != "/.py"
            and ".." not in source_path
            and "//" not in source_path
        ):
            return f"{self.prefix}{source_path[:-2]}{self.suffix}"
        return self._layout.mirrored(self._root, source_path)

    def location(self, source_path: str, _source: bytes) -> str:
        """Return where the entry lies of a source with these bytes."""
        return self.path(source_path)

    def refusal(self, _source: bytes) -> str | None:
        """Return why no entry may hold what these bytes compile to, in a few words, or None."""
        return None

    def holds(self, path: str) -> bool:
        """Return whether the source at `path` has an entry, which is read at once for the `find` that follows."""
        if self.directory.status == DISABLED:
            return False
        location = self.path(path)
        try:
            self.prefetched = (location, *read_file(location, ENTRY_FLAGS, MOST_OF_ENTRY))
        except (OSError, MemoryError) as error:
            if is_foreign(error):
                raise
            return False
        return True

    def find_again(self, path: str, location: str, source: bytes) -> "CodeType | None":
        """As `find` with the source's bytes, but None for what it raises: no other process has compiled just this file."""
        try:
            return self.find(path, location, source)
        except (Miss, OSError) as error:
            if is_foreign(error):
                raise
            return None

    def find(  # noqa: C901, PLR0912, PLR0915 -- see below
        self, path: str, location: str | None = None, source: bytes | None = None
    ) -> "CodeType":
        """Return the code of a valid entry for the source at `path`; raises Miss, or OSError if that cannot be read.

        `location` is what `path` gives for it, and `source` are its bytes, where these are known already. This runs for
        nearly every import, and is long for the reason that `path_search.find_in_listings` gives.
        """
        if self.directory.status == DISABLED:
            raise Miss(UNTRUSTED, self.directory.reason or "")
        if location is None:
            location = self.path(path)
        read, self.prefetched = self.prefetched, None
        if read is not None and read[0] == location:
            _, data, status = read
        elif self._open_code:
            try:
                data, status = read_code_file(location, ENTRY_FLAGS, MOST_OF_ENTRY)
            except (OSError, MemoryError) as error:
                raise unread(error) from None
        else:
            opened: list[int] = []  # see `read_file`
            try:
                try:
                    opened.extend(map(system.open, (location,), (ENTRY_FLAGS,)))
                    status = system.fstat(opened[0])
                    size = status.st_size
                    data = system.read(opened[0], size + 1) if size <= MOST_OF_ENTRY else b""
                finally:
                    if opened:
                        system.close(opened[0])
                if len(data) != size or status.st_mode & _KIND != _REGULAR:
                    data, status = read_file(location, ENTRY_FLAGS, MOST_OF_ENTRY)  # reads on, or says what is wrong
            except (OSError, MemoryError) as error:
                raise unread(error) from None
        if status.st_mode & 0o022 or status.st_uid not in self._owners:  # a few of these are all right
            fault = fault_of(status, self._owners)
            if fault is not None:
                raise Miss(UNTRUSTED, f"{location} {fault}")
        flags, stamp, check, code = pyc.load(data, path)
        if flags & HASH_BASED:
            checked = flags & CHECK_SOURCE or self._checked or path[-3:] != ".py" or "/../" in path
            wish = setting("check_hash_based_pycs")
            if (checked and wish != "never") or wish == "always":
                if source is not None or self._open_code:
                    check_source(path, stamp, check, source, hooked=self._open_code)
                else:
                    opened = []
                    try:
                        opened.extend(map(system.open, (path,), (READ_FLAGS,)))
                        text = system.read(opened[0], MOST)
                    finally:
                        if opened:
                            system.close(opened[0])
                    if (
                        len(text) == MOST
                        or siphash(KEY, text) != stamp
                        or (check is not None and siphash(CHECK_KEY, text) != check)
                    ):
                        check_source(path, stamp, check)  # all of it
        elif self.mode == pyc.TIMESTAMP:
            found = system.stat(path)
            compare(stamp, pyc.timestamp_stamp(found.st_mtime, found.st_size))
        else:
            raise Miss(OTHER_MODE, "a timestamp does not prove what is in the source")
        if status.st_mtime < self._yesterday:
            self._note_use(location)
        return code

    def _note_use(self, location: str) -> None:
        """Make the entry one that was used today, for `prune`, if anything may be written."""
        if self.heals:
            try:
                system.utime(location)
            except OSError as error:
                if is_foreign(error):
                    raise


def compare(stamp: bytes, found: bytes) -> None:
    """Raise Miss if what an entry has of its source is not what was found."""
    if stamp != found:
        raise Miss(STALE_SOURCE, f"entry has {stamp.hex()}, source has {found.hex()}")


def unread(error: "OSError | MemoryError") -> Miss:
    """Return the miss that an entry which cannot be read is; raises an exception of the program's again."""
    if is_foreign(error):
        raise error
    if isinstance(error, MemoryError):
        return Miss(IO_ERROR, "out of memory")
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return Miss(ABSENT, error.strerror or str(error))
    return Miss(IO_ERROR, link_detail(error) or error.strerror or str(error))
