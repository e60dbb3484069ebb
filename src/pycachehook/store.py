"""Places that hold entries: the store, which is written to, and the source's own `__pycache__`, which is not.

A place has a `name` and `find(path)`, which returns a code object or raises `Miss` with the reason. A reading
takes open, fstat, read and close, and no lock: an entry appears under its name whole, by rename, or not at all.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

from . import pyc
from ._compat import setting
from .cache_dir import DISABLED, CacheDir, fault_of, link_detail
from .events import ABSENT, IN_TREE, IO_ERROR, OTHER_MODE, STALE_SOURCE, STORE, UNTRUSTED, Miss
from .paths import Layout
from .pyc import CHECK_SOURCE, HASH_BASED, check_source, compare
from .system import BUILTINS, ENTRY_FLAGS, READ_FLAGS, is_foreign, read_code_file, read_file, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import stat_result
    from types import CodeType

__builtins__ = BUILTINS  # what programs patch in `builtins` later does not reach this module

DAY = 86400.0  # seconds: how long an entry's mtime, which says when it was last used, may lag behind
MOST_OF_ENTRY = 1 << 27  # bytes: an entry that claims to be larger is refused unread


class InTree:
    """The source's own `__pycache__`: read as CPython would, never written."""

    __slots__ = ("_hooked", "_layout", "_read", "_timestamps")

    name = IN_TREE
    heals = False

    def __init__(
        self, layout: Layout, timestamps: "Callable[[str], bool] | None" = None, *, open_code: bool = False
    ) -> None:
        self._layout = layout
        self._timestamps = timestamps  # whether a timestamp pyc is read for the source at a path; None: for every one
        self._hooked = open_code
        self._read = read_code_file if open_code else read_file

    def path(self, source_path: str) -> str:
        """Return where the pyc of the source would lie."""
        return self._layout.in_tree(source_path)

    def find(self, path: str, _location: str | None = None, source: bytes | None = None) -> "CodeType":
        """Return the code of a pyc that CPython would accept for the source at `path`; raises Miss, or OSError from it.

        Two more conditions: a timestamp pyc must be where the option `in_tree` believes them, and not older than its
        source. CPython compares whole seconds and runs old code after two edits within one of them (gh-75953).
        """
        try:
            data, status = self._read(self.path(path), READ_FLAGS, MOST_OF_ENTRY)
        except (OSError, MemoryError) as error:
            raise unread(error) from None
        flags, stamp, check, code = pyc.load(data, path)
        if flags & HASH_BASED:
            wish = setting("check_hash_based_pycs")
            if (flags & CHECK_SOURCE and wish != "never") or wish == "always":
                check_source(path, stamp, check, source, hooked=self._hooked)
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
        "_owners",
        "_read",
        "_root",
        "_yesterday",
        "directory",
        "mode",
        "open_code",
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
        self.open_code = open_code
        self._read = read_code_file if open_code else read_file
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

    def find(  # noqa: C901 -- a chain of conditions
        self, path: str, location: str | None = None, source: bytes | None = None
    ) -> "CodeType":
        """Return the code of a valid entry for the source at `path`; raises Miss, or OSError if that cannot be read.

        `location` is what `path` gives for it, and `source` are its bytes, where these are known already.
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
                data, status = self._read(location, ENTRY_FLAGS, MOST_OF_ENTRY)
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
                check_source(path, stamp, check, source, hooked=self.open_code)
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


def unread(error: "OSError | MemoryError") -> Miss:
    """Return the miss that an entry which cannot be read is; raises an exception of the program's again."""
    if is_foreign(error):
        raise error
    if isinstance(error, MemoryError):
        return Miss(IO_ERROR, "out of memory")
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return Miss(ABSENT, error.strerror or str(error))
    return Miss(IO_ERROR, link_detail(error) or error.strerror or str(error))
