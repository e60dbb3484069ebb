"""Places that hold entries: the store, which is written to, and the source's own `__pycache__`, which is not.

A place has a `name` and `find(path)`, which returns a code object or raises `Miss` with the reason. A reading
takes open, fstat, read and close, and no lock: an entry appears under its name whole, by rename, or not at all.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import os
import stat
import time

from . import pyc
from ._compat import KEY, SourceFileLoader, setting, siphash
from .cache_dir import DISABLED, CacheDir, fault_of, link_detail
from .events import ABSENT, IN_TREE, IO_ERROR, OTHER_MODE, STALE_SOURCE, STORE, UNTRUSTED, Miss
from .paths import Layout
from .pyc import CHECK_SOURCE, HASH_BASED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

DAY = 86400.0  # seconds: how long an entry's mtime, which says when it was last used, may lag behind

# A FIFO must not be waited for, and a link not be followed out of the cache.
READ_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
ENTRY_FLAGS = READ_FLAGS | getattr(os, "O_NOFOLLOW", 0)
MOST = 1 << 17  # bytes of a source to read at once, without asking how many there are: few have more


def read_file(path: str, flags: int) -> tuple[bytes, os.stat_result]:
    """Return a file's bytes and its status; raises OSError, also for what is no regular file."""
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(None, "not a regular file", path)
        size = status.st_size + 1  # one more than there should be, so that one read also finds the end
        data = os.read(descriptor, size)
        if len(data) != status.st_size:
            data = _rest(descriptor, data)
    finally:
        os.close(descriptor)
    return data, status


def _rest(descriptor: int, data: bytes) -> bytes:
    """Read on to the end of a file that changed its size, or of which one read gave less than all."""
    parts = [data]
    while parts[-1]:
        parts.append(os.read(descriptor, 1 << 20))
    return b"".join(parts)


class InTree:
    """The source's own `__pycache__`: read as CPython would, never written."""

    __slots__ = ("_layout",)

    name = IN_TREE
    heals = False

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def path(self, source_path: str) -> str:
        """Return where the pyc of the source would lie."""
        return self._layout.in_tree(source_path)

    def find(self, path: str) -> "CodeType":
        """Return the code of a pyc that CPython would accept for the source at `path`; raises Miss, or OSError from it.

        One thing more is asked: a timestamp pyc must not be older than its source. CPython compares whole seconds
        and runs old code after two edits within one of them (gh-75953).
        """
        try:
            data, status = read_file(self.path(path), READ_FLAGS)
        except OSError as error:
            raise unread(error) from None
        flags, stamp, code = pyc.load(data, path)
        if flags & HASH_BASED:
            wish = setting("check_hash_based_pycs")
            if (flags & CHECK_SOURCE and wish != "never") or wish == "always":
                compare(stamp, siphash(KEY, read_file(path, READ_FLAGS)[0]))
        else:
            source = os.stat(path)
            compare(stamp, pyc.timestamp_stamp(source.st_mtime, source.st_size))
            if source.st_mtime_ns > status.st_mtime_ns:
                raise Miss(STALE_SOURCE, "source was written after the pyc")
        return code


class Store:
    """The entries of one cache directory in one invalidation mode."""

    __slots__ = (
        "_checked",
        "_flags",
        "_last",
        "_layout",
        "_owners",
        "_read",
        "_root",
        "_yesterday",
        "directory",
        "mode",
        "prefix",
        "suffix",
    )

    name = STORE

    def __init__(self, directory: CacheDir, layout: Layout, mode: str) -> None:
        self.directory = directory
        self.mode = mode
        self._checked = mode == pyc.CHECKED_HASH
        self._yesterday = time.time() - DAY
        self._last = ("", "")  # the finder and the loader ask for one place in turn
        self._read: tuple[str, bytes, os.stat_result] | None = None  # an entry that the finder has had read
        self._layout = layout
        self._root = directory.path
        self.prefix = directory.path.rstrip("/")
        self.suffix = layout.plain_suffix
        self._owners = directory.owners

    @property
    def heals(self) -> bool:
        """Whether an entry with a defect will be replaced."""
        return self.directory.writable()

    def path(self, source_path: str) -> str:
        """Return where the entry of the source lies."""
        known, entry = self._last
        if known != source_path:
            if (
                self.suffix is not None
                and source_path[:1] == "/"
                and source_path[-3:] == ".py"
                and source_path[-4:] != "/.py"
                and ".." not in source_path
                and "//" not in source_path
            ):
                entry = f"{self.prefix}{source_path[:-2]}{self.suffix}"
            else:
                entry = self._layout.mirrored(self._root, source_path)
            if source_path[:1] == "/":  # else it depends on the current directory
                self._last = (source_path, entry)
        return entry

    def entry(self, source_path: str, _source: bytes) -> str:
        """Return where the entry lies of a source with these bytes: here wherever its path says."""
        return self.path(source_path)

    def refusal(self, _loader: SourceFileLoader, _source: bytes) -> str | None:
        """Return why no entry may hold what `loader` compiles from these bytes, in a few words, or None."""
        return None

    def holds(self, path: str) -> bool:
        """Say whether there is an entry for the source at `path`. It is read at once, for the `find` that follows."""
        if self.directory.status == DISABLED:
            return False
        entry = self.path(path)
        try:
            self._read = (entry, *read_file(entry, ENTRY_FLAGS))
        except OSError:
            return False
        return True

    def found_meanwhile(self, path: str, source: bytes | None = None) -> "CodeType | None":
        """As `find`, but None for what it raises: whether another process has compiled just this file.

        `source` are its bytes, if they have been read already. It stands here for those who drop our modules from
        `sys.modules`: what is loaded after that has another `Miss`.
        """
        try:
            return self.find(path, source)
        except (Miss, OSError):
            return None

    def find(self, path: str, _source: bytes | None = None) -> "CodeType":  # noqa: C901, PLR0912 -- see below
        """Return the code of a valid entry for the source at `path`; raises Miss, or OSError if that cannot be read.

        This is the way of nearly every import, and long for the reason that `find_in_listings` gives.
        """
        if self.directory.status == DISABLED:
            raise Miss(UNTRUSTED, self.directory.reason or "")
        known, entry = self._last
        if known != path:
            entry = self.path(path)
        read, self._read = self._read, None
        if read is not None and read[0] == entry:
            _, data, status = read
        else:
            try:
                descriptor = os.open(entry, ENTRY_FLAGS)
                try:
                    status = os.fstat(descriptor)
                    data = os.read(descriptor, status.st_size + 1)
                finally:
                    os.close(descriptor)
                if len(data) != status.st_size or not stat.S_ISREG(status.st_mode):
                    data, status = read_file(entry, ENTRY_FLAGS)  # which reads on to the end, or says what it is
            except OSError as error:
                raise unread(error) from None
        if status.st_mode & 0o022 or status.st_uid not in self._owners:  # a few of these are all right
            fault = fault_of(status, self._owners)
            if fault is not None:
                raise Miss(UNTRUSTED, f"{entry} {fault}")
        flags, stamp, code = pyc.load(data, path)
        if flags & HASH_BASED:
            checked = (
                flags & CHECK_SOURCE or self._checked or path[-3:] != ".py" or "/../" in path
            )  # see `compiling.encode`
            wish = setting("check_hash_based_pycs")
            if (checked and wish != "never") or wish == "always":
                descriptor = os.open(path, READ_FLAGS)
                try:
                    text = os.read(descriptor, MOST)
                finally:
                    os.close(descriptor)
                if len(text) == MOST or siphash(KEY, text) != stamp:
                    compare(stamp, siphash(KEY, read_file(path, READ_FLAGS)[0]))  # all of it
        elif self.mode == pyc.TIMESTAMP:
            source = os.stat(path)
            compare(stamp, pyc.timestamp_stamp(source.st_mtime, source.st_size))
        else:
            raise Miss(OTHER_MODE, "a timestamp does not prove what is in the source")
        if status.st_mtime < self._yesterday:
            self._note_use(entry)
        return code

    def _note_use(self, entry: str) -> None:
        """Make the entry one that was used today, for `prune`, if anything may be written."""
        if self.heals:
            try:  # noqa: SIM105 -- contextlib is not loaded here
                os.utime(entry)
            except OSError:
                pass


def compare(stamp: bytes, found: bytes) -> None:
    """Raise Miss if what an entry has of its source is not what was found."""
    if stamp != found:
        raise Miss(STALE_SOURCE, f"entry has {stamp.hex()}, source has {found.hex()}")


def unread(error: OSError) -> Miss:
    """Return the miss that an entry which cannot be read is."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return Miss(ABSENT, error.strerror or str(error))
    return Miss(IO_ERROR, link_detail(error) or error.strerror or str(error))
