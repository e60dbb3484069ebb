"""The reader of archives: a place like the store, in one file that is mapped into memory. See `archive_format`.

Start-up module where archives are configured: imports nothing at module level that the interpreter has not already
loaded, except `mmap`.
"""

import sys

from ._compat import MAGIC_NUMBER, imp_attribute, siphash
from .archive_format import (
    INDEX_KEY,
    SEP,
    hash_of_names,
    map_file,
    mmap,
    named_roots,
    read_ahead,
    read_tail,
    suffix_of,
)
from .archive_format import (
    Unusable as Unusable,
)
from .cache_dir import trusted_owners
from .events import ABSENT, ARCHIVE, CHECK, CORRUPT, READ, UNMARSHAL, Miss, Outcome
from .paths import normalized
from .pyc import UNCHECKED_HASH, check_source, is_sealed
from .pyc import load as load_pyc
from .system import BUILTINS, is_refusal, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType
    from typing import Any

    from ._compat import SourceFileLoader
    from .events import Stopwatch
    from .store import Store

    Record = tuple[int, int, bool] | str | bool
    Listing = dict[str, Record | "Archive"]
    Position = tuple[int, int, bytes]
    LoaderClass = Callable[..., SourceFileLoader]  # `loader.CachingLoader`, or a subclass

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

WINDOW_BITS = 20  # 2**20 bytes are mapped at once
# Windows that stay mapped. A recorded start uses the windows in their order, so that it maps none twice.
MAPPED_WINDOWS = 4
MADV_POPULATE_READ = 22  # Linux 5.14; `mmap` does not name it


class Refused:
    """An archive that is configured but not used, with the reason."""

    __slots__ = ("path_name", "reason")

    usable = False

    def __init__(self, path: str, reason: str) -> None:
        self.path_name = path
        self.reason = reason


class Root:
    """A directory tree that the archive covers: where it is on this machine, and why it is not used, if so."""

    __slots__ = ("branches", "directory", "fault", "listing_hash", "location", "name")

    def __init__(self, name: str, location: str, listing_hash: bytes, branches: "dict[str, Position]") -> None:
        self.name = name
        self.location = location
        self.listing_hash = listing_hash
        self.branches: dict[str, Position | dict[str, Position] | None] = {**branches}  # loaded when first used
        self.directory = ""  # "" if this interpreter has no such directory
        self.fault: str | None = None


class Archive:
    """An open archive: a place like the store, but read-only.

    Raises `Unusable` for a file that cannot be opened, is damaged, is not trusted, or belongs to another interpreter.
    """

    __slots__ = (
        "_can_populate",
        "_listings",
        "_mapped",
        "_open_code",
        "_view",
        "mode",
        "optimization",
        "path_name",
        "reason",
        "roots",
        "start",
        "tag",
    )

    name = ARCHIVE
    hit_outcome = Outcome(ARCHIVE)
    may_write = False
    usable = True

    def __init__(self, path: str, owners: tuple[int, ...], *, open_code: bool = False) -> None:
        self.path_name = path
        self.reason: str | None = None
        self._open_code = open_code  # whether the whole file, and each source, is read through `io.open_code`
        mapping, tail = map_file(path, owners, open_code=open_code)
        self._view = memoryview(mapping)
        try:
            index, begin, end, expected = read_tail(tail)
            if end <= len(mapping):
                read_ahead(mapping, index, end)
            top = self._view[begin:end]
            if siphash(INDEX_KEY, top) != expected:
                raise ValueError
            magic, self.tag, self.optimization, self.mode, self.start, roots = system.loads(top)
            self.roots = [Root(*fields) for fields in roots]
        except (ValueError, TypeError, EOFError):
            raise Unusable(f"The archive {path} is damaged, or is no archive of this format.") from None
        if (magic, self.tag, self.optimization) != (MAGIC_NUMBER, sys.implementation.cache_tag, sys.flags.optimize):
            level = (
                f" with -{'O' * self.optimization}"
                if self.optimization
                else " without -O"
                if sys.flags.optimize
                else ""
            )
            raise Unusable(f"The archive {path} is for {self.tag}{level}, which this interpreter is not.")
        if self.start:  # a start is going to read this part
            read_ahead(mapping, 0, self.start)
        named = named_roots()
        for root in self.roots:
            directory = named.get(root.name)
            if directory is None and root.location:
                directory = normalized(
                    root.location if root.location[:1] == SEP else f"{path.rpartition(SEP)[0]}{SEP}{root.location}"
                )
            root.directory = directory or ""
        self.roots.sort(key=lambda root: -len(root.directory))  # the innermost root first, since roots can be nested
        self._listings = Listings((self,))
        self.check_roots()
        self._mapped: dict[int, None] = {}  # numbers of the mapped windows, oldest first
        self._can_populate = system.platform == "linux" and not open_code

    @property
    def member_suffix(self) -> str:
        """The end of every member's name, after the module's name."""
        return suffix_of(self.tag, self.optimization)

    def check_roots(self) -> None:
        """Compare the names in each root with the archive, if its sources are not checked (`unchecked-hash`)."""
        for root in self.roots:
            if self.mode == UNCHECKED_HASH and root.fault is None:
                root.fault = _changed(root, self.path_name.rpartition(SEP)[2])
                if root.fault is not None:
                    self._listings.clear()  # the cache of `find`
                    self.reason = f"The archive {self.path_name} is not used for {root.name}: {root.fault}."

    def listing(self, directory: str) -> "Listing | None":
        """Return the archive's listing of an absolute directory; None if it has none, or none that is valid here."""
        if directory[-1:] == SEP:  # PathFinder builds different paths for such an entry
            return None
        for root in self.roots:
            top = root.directory
            if root.fault is None and top and (directory == top or directory.startswith(top + SEP)):
                inside = directory[len(top) + 1 :].replace(SEP, "/")
                positions = self.positions(root, inside.partition("/")[0])
                if inside in positions:
                    listing: Listing | None = self.read(*positions[inside])
                    if listing is not None:
                        listing["."] = self  # no module's last name contains a dot or a slash
                        if not inside:
                            listing["/"] = True  # a root, whose names have been compared with the disk
                    return listing
        return None

    def positions(self, root: Root, branch: str) -> "dict[str, Position]":
        """Return the positions of a root's listings for all directories below its subdirectory `branch`."""
        branch_positions = root.branches.get(branch)
        if type(branch_positions) is tuple:
            branch_positions = root.branches[branch] = self.read(*branch_positions)
        return branch_positions or {}  # type: ignore[return-value]

    def read(self, offset: int, size: int, expected: bytes) -> "Any":
        """Return the object at `offset` in the index; None, with a `reason`, if it does not have the `expected` hash."""
        data = self._view[offset : offset + size]
        if siphash(INDEX_KEY, data) != expected:
            self.reason = f"The archive {self.path_name} is damaged: the index entry at offset {offset} does not have its recorded hash."
            return None
        return system.loads(data)

    def data(self, offset: int, size: int) -> memoryview:
        """Return the bytes of an entry as a view, not a copy."""
        return self._view[offset : offset + size]

    def path(self, source_path: str) -> str:
        """Return the archive's path followed by the member name of the source's entry, whether or not it exists."""
        for root in self.roots:
            if root.directory and source_path.startswith(root.directory + SEP):
                inside = source_path[len(root.directory) + 1 :].replace(SEP, "/")
                return f"{self.path_name}/{root.name}/{inside.removesuffix('.py')}{self.member_suffix}"
        return self.path_name

    def find(
        self, path: str, _location: str | None = None, source: bytes | None = None, watch: "Stopwatch | None" = None
    ) -> "CodeType":
        """Return the code of a valid entry for the source at `path`; raises Miss, or OSError if that cannot be read.

        `source` are its bytes, if they have been read already.
        """
        directory, _, name = path.rpartition(SEP)
        listing = self._listings[directory]
        record = None if listing is None else listing.get(name[:-3])
        if type(record) is not tuple or record[2] or name[-3:] != ".py":
            raise Miss(ABSENT, self._why_absent(path))
        return self.load(record[0], record[1], path, source, watch)

    def load(
        self, offset: int, size: int, path: str, source: bytes | None = None, watch: "Stopwatch | None" = None
    ) -> "CodeType":
        """Return the code of the entry that is there, for the source at `path`; raises Miss or OSError as `find` does."""
        if offset >> WINDOW_BITS not in self._mapped:
            self._map_window(offset)
        data = bytes(self._view[offset : offset + size])  # a copy, of which parts are compared faster
        if not is_sealed(data):
            raise Miss(CORRUPT, "seal")
        if watch is not None:
            watch(READ)
        _, stamp, check, code = load_pyc(data, path)
        if watch is not None:
            watch(UNMARSHAL)
        validation = imp_attribute("check_hash_based_pycs")
        if (self.mode != UNCHECKED_HASH and validation != "never") or validation == "always":
            check_source(path, stamp, check, source, open_code=self._open_code)
            if watch is not None:
                watch(CHECK)
        return code

    def _map_window(self, offset: int) -> None:
        """Have the kernel map the window that contains `offset` at once; otherwise every page would cause a fault."""
        self._mapped[offset >> WINDOW_BITS] = None
        if self._can_populate:
            mapping: Any = self._view.obj
            begin = offset >> WINDOW_BITS << WINDOW_BITS
            end = begin + (1 << WINDOW_BITS)
            if offset < self.start < end:  # do not read the part behind `start`
                end = self.start
            try:
                mapping.madvise(MADV_POPULATE_READ, begin, end - begin)
                if len(self._mapped) > MAPPED_WINDOWS:  # loaded code objects are copies, not views
                    oldest = next(iter(self._mapped))
                    self._mapped.pop(oldest, None)
                    mapping.madvise(mmap.MADV_DONTNEED, oldest << WINDOW_BITS, 1 << WINDOW_BITS)
            except (OSError, ValueError):  # an old kernel, or beyond the end of the file
                self._can_populate = False

    def _why_absent(self, path: str) -> str:
        for root in self.roots:
            if root.fault is not None and root.directory and path.startswith(root.directory + SEP):
                return f"{root.name} is not used: {root.fault}"
        return ""


class Listings(dict):  # type: ignore[type-arg]  # a dict[str, Listing | None]; the subscript would cost time
    """The listings of directories in archives, each read once; None for a directory without a listing.

    With `for_finder`, directories of archives that check their sources have no listing, so that the finder reads them.
    """

    __slots__ = ("archives", "for_finder")

    def __init__(self, archives: "Iterable[Archive]", *, for_finder: bool = False) -> None:
        self.archives = tuple(archives)
        self.for_finder = for_finder

    def __missing__(self, directory: str) -> "Listing | None":
        listing = None
        for archive in self.archives:
            listing = archive.listing(directory)
            if listing is not None:
                if self.for_finder and archive.mode != UNCHECKED_HASH:
                    listing = None
                break
        self[directory] = listing
        return listing

    def check(self) -> None:
        """Check the roots again after `importlib.invalidate_caches()`, because something may have been installed."""
        for archive in self.archives:
            archive.check_roots()
        self.clear()


def open_all(
    paths: "Iterable[str]", *, allow_shared: bool, strict: bool, open_code: bool = False
) -> "tuple[Archive | Refused, ...]":
    """Return the archives at `paths`, each opened or refused; raises `CacheDirError` under `strict` only.

    `open_code` has them read through `io.open_code`.
    """
    owners = () if allow_shared else trusted_owners()
    opened: list[Archive | Refused] = []
    for path in paths:
        try:
            opened.append(Archive(path, owners, open_code=open_code))
        except Unusable as refusal:
            opened.append(Refused(path, str(refusal)))
        if strict and opened[-1].reason is not None:
            from .errors import CacheDirError

            raise CacheDirError(opened[-1].reason)
    return tuple(opened)


def _changed(root: Root, archive_name: str) -> str | None:
    """Return why the contents of a root no longer match its listing hash, or None."""
    if not root.directory:
        return "there is no such directory here"
    try:
        same = hash_of_names(root.directory, archive_name) == root.listing_hash
    except Exception as error:
        if not isinstance(error, OSError) and not is_refusal(error):
            raise
        return f"{root.directory} cannot be read: {getattr(error, 'strerror', None) or error}"
    return None if same else f"what is in {root.directory} is no longer what it was"


class ArchivedModules:
    """The data that the finder uses for modules in the listings of archives, instead of their directories.

    `loader` is the class of their loaders, or None for standard loaders, if rules decide about each module. `store`
    determines their `spec.cached`, if there is one.
    """

    __slots__ = ("listings", "loader", "policies", "store")

    def __init__(
        self,
        listings: "Listings",
        loader: "LoaderClass | None" = None,
        policies: object = None,
        store: "Store | None" = None,
    ) -> None:
        self.listings = listings
        self.loader = loader
        self.policies = policies
        self.store = store
