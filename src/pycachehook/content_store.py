"""The store that goes by what is in a source, not by where it lies: `layout = "shared"`.

An entry's name is a digest of the source's bytes and of whatever else makes a difference to what CPython compiles from
them, so that the same file in another environment, checkout or container has the same entry. It stands for the plain
compilation of its source: where a tool has replaced a step of that, no store is asked (see `loader`).

The name says what the source was, so the source's hash in the entry's header is not compared a second time. That would
tell only of an entry under a name that is not its own, which nobody makes who may not write here; the seal, which every
entry has that we write, tells of damage, and `pycachehook verify` checks the names.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

from . import pyc
from ._compat import (
    MAGIC_NUMBER,
    is_standard_codec,
    new_digest,
    records_columns,
)
from .cache_dir import DISABLED, CacheDir, fault_of
from .events import CORRUPT, OTHER_MODE, UNTRUSTED, Miss, Stats
from .paths import Layout
from .store import MOST_OF_ENTRY, Store, unread
from .system import BUILTINS, ENTRY_FLAGS, READ_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

__builtins__ = BUILTINS  # what programs patch in `builtins` later does not reach this module

FORMAT = 1  # of the names; what is in an entry has its own
DIGEST_SIZE = 20  # bytes

_FLAGS = pyc.FLAGS[pyc.CHECKED_HASH]


class Names:
    """The names that entries go by, for one cache tag, optimization level and way of compiling.

    `columns`: whether code records columns, as without `-X no_debug_ranges`; None: as this interpreter does.
    """

    __slots__ = ("_begun", "_layout")

    def __init__(self, layout: Layout, *, columns: bool | None = None) -> None:
        self._layout = layout
        columns = records_columns() if columns is None else columns
        prefix = repr((FORMAT, layout.cache_tag, MAGIC_NUMBER, layout.optimization, columns)).encode()
        # The length comes first and the source last, so that no two of these are the same bytes.
        self._begun = new_digest(len(prefix).to_bytes(8, "little") + prefix, DIGEST_SIZE)

    def digest(self, source: bytes) -> str:
        """Return the hexadecimal digest for a source with these bytes."""
        digest = self._begun.copy()
        digest.update(source)
        return digest.hexdigest()  # type: ignore[no-any-return]

    def entry(self, root: str, source: bytes) -> str:
        """Return where the entry lies, in the cache directory `root`, of a source with these bytes."""
        return self._layout.by_digest(root, self.digest(source))


class SharedStore(Store):
    """The entries of one cache directory that go by what is in their source; always checked-hash.

    `path` stays what it is for `mirror`: it is what `spec.cached` says, for which no source is read.
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
        self._stats = stats  # which are told how many bytes were loaded

    def location(self, _source_path: str, source: bytes) -> str:
        """Return where the entry lies of a source with these bytes."""
        return self._names.entry(self._root, source)

    def refusal(self, source: bytes) -> str | None:
        """Return why no entry may hold what these bytes compile to, in a few words, or None.

        A source may name a codec that some package brings, and what that makes of it is not in its bytes.
        """
        for name in declared_encodings(source):
            if not is_standard_codec(name):
                return f"its encoding {name!r} is not one of Python's own"
        return None

    def find(self, path: str, _location: str | None = None, source: bytes | None = None) -> "CodeType":
        """Return the code of the entry for the source at `path`; raises Miss, or OSError if that cannot be read.

        `source` are its bytes, if they have been read already.
        """
        if self.directory.status == DISABLED:
            raise Miss(UNTRUSTED, self.directory.reason or "")
        if source is None:
            source = self._read(path, READ_FLAGS)[0]
        entry = self._names.entry(self._root, source)
        try:
            data, status = self._read(entry, ENTRY_FLAGS, MOST_OF_ENTRY)
        except (OSError, MemoryError) as error:
            raise unread(error) from None
        fault = fault_of(status, self._owners)
        if fault is not None:
            raise Miss(UNTRUSTED, f"{entry} {fault}")
        if not pyc.is_sealed(data):
            pyc.read_header(data)  # which may know a better name for it
            raise Miss(CORRUPT, "no seal")
        flags, _, _, code = pyc.load(data, path)
        if flags != _FLAGS:
            raise Miss(OTHER_MODE, "a shared entry is checked-hash")
        if status.st_mtime < self._yesterday:
            self._note_use(entry)
        if self._stats is not None:
            self._stats.shared_bytes += len(data)
        return code


def declared_encodings(source: bytes) -> list[str]:
    """Return each encoding that a source may declare in its first two lines (PEP 263): rather one too many."""
    found = []
    for line in b"\n".join(source.split(b"\n", 2)[:2]).splitlines():
        for after in line.split(b"coding")[1:]:
            if after[:1] in (b":", b"="):
                rest = after[1:].lstrip(b" \t").decode("latin-1")
                length = 0
                while length < len(rest) and (rest[length].isalnum() or rest[length] in "-_."):
                    length += 1
                found.append(rest[:length])
    return found
