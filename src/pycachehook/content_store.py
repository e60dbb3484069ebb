"""The store that names entries by the content of their sources: `layout = "shared"`.

An entry's name is a digest of the source's bytes and of everything else that determines what CPython compiles from
them, so that the same file in another environment, checkout or container has the same entry. The entry is the plain
compilation of its source: where a tool has replaced a step of the loader, no store is used (see `loader`).

The name identifies the source, so the source hash in the entry's header is not compared again. That comparison would
only detect an entry stored under a wrong name, which only someone with write access to the cache can create. Damage is
detected by the seal, which every entry in this store has, and `pycachehook verify` checks the names.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

from . import pyc
from ._compat import (
    MAGIC_NUMBER,
    new_digest,
)
from .cache_dir import DISABLED, CacheDir, fault_of
from .events import CORRUPT, OTHER_MODE, READ, UNMARSHAL, UNTRUSTED, Miss, Stats
from .paths import Layout
from .store import MAX_ENTRY_SIZE, Store, miss_for
from .system import BUILTINS, ENTRY_FLAGS, READ_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    from .events import Stopwatch

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

NAME_FORMAT = 1  # version of the naming scheme; the content of an entry has its own version
DIGEST_SIZE = 20  # bytes

_FLAGS = pyc.FLAGS[pyc.CHECKED_HASH]


class Names:
    """The names of entries for one cache tag, optimization level and kind of compilation.

    `columns` is whether code records columns, which `-X no_debug_ranges` prevents; None: as in this interpreter.
    """

    __slots__ = ("_begun", "_layout", "arguments")

    def __init__(self, layout: Layout, columns: bool | None = None) -> None:  # noqa: FBT001
        self.arguments = layout, columns  # for a copy in another process
        self._layout = layout
        columns = records_columns() if columns is None else columns
        prefix = repr((NAME_FORMAT, layout.cache_tag, MAGIC_NUMBER, layout.optimization, columns)).encode()
        # The length comes first and the source last, so that two different inputs are never the same bytes. Each name
        # continues a copy of this digest.
        self._begun = new_digest(len(prefix).to_bytes(8, "little") + prefix, DIGEST_SIZE)

    def digest(self, source: bytes) -> str:
        """Return the hexadecimal digest for a source with these bytes."""
        digest = self._begun.copy()
        digest.update(source)
        return digest.hexdigest()  # type: ignore[no-any-return]

    def entry(self, root: str, source: bytes) -> str:
        """Return the path, in the cache directory `root`, of the entry for a source with these bytes."""
        return self._layout.by_digest(root, self.digest(source))


class SharedStore(Store):
    """The entries of one cache directory that are named by the content of their source; always checked-hash.

    `path` returns what it returns for `mirror`: it becomes `spec.cached`, for which no source is read.
    """

    __slots__ = ("_names", "_stats")

    def __init__(
        self,
        directory: CacheDir,
        layout: Layout,
        stats: Stats | None = None,
        *,
        read_only: bool = False,
        open_code: bool = False,
    ) -> None:
        super().__init__(directory, layout, pyc.CHECKED_HASH, read_only=read_only, open_code=open_code)
        self._names = Names(layout)
        self._stats = stats  # for the number of bytes loaded

    def location(self, _source_path: str, source: bytes) -> str:
        """Return the path of the entry for a source with these bytes."""
        return self._names.entry(self._root, source)

    def find(
        self, path: str, _location: str | None = None, source: bytes | None = None, watch: "Stopwatch | None" = None
    ) -> "CodeType":
        """Return the code of the entry for the source at `path`; raises Miss, or OSError for the source.

        `source` holds its bytes if they have been read already.
        """
        if self.directory.status == DISABLED:
            raise Miss(UNTRUSTED, self.directory.reason or "")
        read = None
        if source is None:
            source, _ = read = self._read(path, READ_FLAGS)
        location = self.location(path, source)
        try:
            return self._find(path, location, watch)
        except Miss as miss:
            miss.source, miss.location = read, location
            raise

    def _find_at(self, location: str, path: str, _source: bytes) -> "CodeType":
        if self.directory.status == DISABLED:
            raise Miss(UNTRUSTED, self.directory.reason or "")
        return self._find(path, location, None)

    def _find(self, path: str, location: str, watch: "Stopwatch | None") -> "CodeType":
        try:
            data, status = self._read(location, ENTRY_FLAGS, MAX_ENTRY_SIZE)
        except (OSError, MemoryError) as error:
            raise miss_for(error) from None
        if watch is not None:
            watch(READ)
        fault = fault_of(status, self._owners)
        if fault is not None:
            raise Miss(UNTRUSTED, f"{location} {fault}")
        if not pyc.is_sealed(data):
            pyc.read_header(data)  # may raise a more specific miss
            raise Miss(CORRUPT, "no seal")
        flags, _, _, code = pyc.load(data, path)
        if flags != _FLAGS:
            raise Miss(OTHER_MODE, "a shared entry is checked-hash")
        if watch is not None:
            watch(UNMARSHAL)
        if status.st_mtime < self._yesterday:
            self._note_use(location)
        if self._stats is not None:
            self._stats.shared_bytes += len(data)
        return code


def records_columns() -> bool:
    """Return whether this interpreter records columns in code objects, which `-X no_debug_ranges` prevents."""
    return next(BUILTINS["compile"]("0", "", "exec").co_positions())[2] is not None
