"""The archive's reader: a place like the store, in one file that is mapped into memory. See `archive_format`.

Start-up module, where archives are configured: imports nothing at module level that the interpreter has not already
loaded, but `mmap`.
"""

import sys

from ._compat import MAGIC_NUMBER, setting, siphash, standard_module
from .archive_format import INDEX_KEY, TAIL_SIZE, hash_of_names, named_roots, read_tail, suffix_of
from .cache_dir import distrust, fault_of, trusted_owners
from .events import ABSENT, ARCHIVE, CORRUPT, Miss
from .paths import normalized
from .pyc import UNCHECKED_HASH, check_source, is_sealed
from .pyc import load as load_pyc
from .system import BUILTINS, READ_FLAGS, S_IFLNK, S_IFMT, S_IFREG, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable
    from types import CodeType
    from typing import Any

    Record = tuple[int, int, bool] | str | bool
    Listing = dict[str, Record | "Archive"]
    Position = tuple[int, int, bytes]

if not TYPE_CHECKING:
    mmap = standard_module("mmap")  # never a file of that name on the program's path
    if mmap is None:
        import mmap

__builtins__ = BUILTINS  # what programs patch in `builtins` later does not reach this module

SEP = "\\" if system.windows else "/"
CHUNK = 20  # 2**20 bytes are mapped at once
KEPT = 4  # so many parts stay mapped: of a recorded start, which uses them in their order, none is mapped twice
MADV_POPULATE_READ = 22  # Linux 5.14; `mmap` does not name it


class Unusable(Exception):  # noqa: N818 -- no error: the archive is passed over
    """Says in one sentence why an archive, or a part of it, is not used."""


class Refused:
    """An archive that is not used, and why."""

    __slots__ = ("path_name", "reason")

    usable = False

    def __init__(self, path: str, reason: str) -> None:
        self.path_name = path
        self.reason = reason


class Root:
    """A directory with all below it, as the archive knows it: where it lies here, and why it is not used, if so."""

    __slots__ = ("branches", "fault", "listing_hash", "location", "name", "place")

    def __init__(self, name: str, location: str, listing_hash: bytes, branches: "dict[str, Position]") -> None:
        self.name = name
        self.location = location
        self.listing_hash = listing_hash
        self.branches: dict[str, Position | dict[str, Position] | None] = {**branches}  # loaded when first asked for
        self.place = ""  # "" where there is no such root here
        self.fault: str | None = None


class Archive:
    """An archive, opened: a place like the store, but one that nothing is written to.

    Raises `Unusable` for a file that cannot be opened, is damaged, not trusted, or another interpreter's.
    """

    __slots__ = (
        "_can_populate",
        "_listings",
        "_mapped",
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
    heals = False
    usable = True

    def __init__(self, path: str, owners: tuple[int, ...]) -> None:
        self.path_name = path
        self.reason: str | None = None
        mapping, tail = _map(path, owners)
        self._view = memoryview(mapping)
        try:
            index, begin, end, expected = read_tail(tail)
            if end <= len(mapping):
                _read_ahead(mapping, index, end)
            top = self._view[begin:end]
            if siphash(INDEX_KEY, top) != expected:
                raise ValueError
            magic, self.tag, self.optimization, self.mode, self.start, roots = system.loads(top)
            self.roots = [Root(*each) for each in roots]
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
        if self.start:  # what a recorded start used is wanted soon
            _read_ahead(mapping, 0, self.start)
        places = named_roots()
        for root in self.roots:
            place = places.get(root.name)
            if place is None and root.location:
                place = normalized(
                    root.location if root.location[:1] == SEP else f"{path.rpartition(SEP)[0]}{SEP}{root.location}"
                )
            root.place = place or ""
        self.roots.sort(key=lambda root: -len(root.place))  # one can lie in another
        self._listings = Listings((self,))
        self.check_roots()
        self._mapped: dict[int, None] = {}  # numbers of the file's parts that are mapped, the oldest first
        self._can_populate = sys.platform == "linux"

    @property
    def member_suffix(self) -> str:
        """The end of every entry's name, after the module's."""
        return suffix_of(self.tag, self.optimization)

    def check_roots(self) -> None:
        """Look once whether each root is still what it was, where nobody looks at its sources (`unchecked-hash`)."""
        for root in self.roots:
            if self.mode == UNCHECKED_HASH and root.fault is None:
                root.fault = _changed(root, self.path_name.rpartition(SEP)[2])
                if root.fault is not None:
                    self._listings.clear()  # what `find` remembers
                    self.reason = f"The archive {self.path_name} is not used for {root.name}: {root.fault}."

    def listing(self, directory: str) -> "Listing | None":
        """Return what the archive knows of an absolute directory; None: nothing, or nothing that holds here."""
        if directory[-1:] == SEP:  # the path finder has names of its own for what is in there
            return None
        for root in self.roots:
            place = root.place
            if root.fault is None and place and (directory == place or directory.startswith(place + SEP)):
                inside = directory[len(place) + 1 :].replace(SEP, "/")
                positions = self.positions(root, inside.partition("/")[0])
                if inside in positions:
                    listing: Listing | None = self.read(*positions[inside])
                    if listing is not None:
                        listing["."] = self  # whose it is; no module's last name has a dot or a slash in it
                        if not inside:
                            listing["/"] = True  # a root, whose names have been compared
                    return listing
        return None

    def positions(self, root: Root, branch: str) -> "dict[str, Position]":
        """Return where the listings of a root are whose directories' paths begin with the name `branch`."""
        found = root.branches.get(branch)
        if type(found) is tuple:
            found = root.branches[branch] = self.read(*found)
        return found or {}  # type: ignore[return-value]

    def read(self, offset: int, size: int, expected: bytes) -> "Any":
        """Return the object in the index that is there, or None if it does not have its hash, which `reason` tells then."""
        data = self._view[offset : offset + size]
        if siphash(INDEX_KEY, data) != expected:
            self.reason = f"The archive {self.path_name} is damaged: what its index has at {offset} is not what it was."
            return None
        return system.loads(data)

    def data(self, offset: int, size: int) -> memoryview:
        """Return the bytes there, not copied."""
        return self._view[offset : offset + size]

    def path(self, source_path: str) -> str:
        """Return the archive's path with, behind it, the name of the member that the source's entry has or would have."""
        for root in self.roots:
            if root.place and source_path.startswith(root.place + SEP):
                inside = source_path[len(root.place) + 1 :].replace(SEP, "/")
                return f"{self.path_name}/{root.name}/{inside.removesuffix('.py')}{self.member_suffix}"
        return self.path_name

    def find(self, path: str, _location: str | None = None, source: bytes | None = None) -> "CodeType":
        """Return the code of a valid entry for the source at `path`; raises Miss, or OSError if that cannot be read.

        `source` are its bytes, if they have been read already.
        """
        directory, _, name = path.rpartition(SEP)
        listing = self._listings[directory]
        record = None if listing is None else listing.get(name[:-3])
        if type(record) is not tuple or record[2] or name[-3:] != ".py":
            raise Miss(ABSENT, self._why_absent(path))
        return self.load(record[0], record[1], path, source)

    def load(self, offset: int, size: int, path: str, source: bytes | None = None) -> "CodeType":
        """Return the code of the entry that is there, for the source at `path`; raises Miss or OSError as `find` does."""
        if offset >> CHUNK not in self._mapped:
            self._map_around(offset)
        data = bytes(self._view[offset : offset + size])  # a copy, of which parts are compared faster
        if not is_sealed(data):
            raise Miss(CORRUPT, "seal")
        _, stamp, check, code = load_pyc(data, path)
        wish = setting("check_hash_based_pycs")
        if (self.mode != UNCHECKED_HASH and wish != "never") or wish == "always":
            check_source(path, stamp, check, source)
        return code

    def _map_around(self, offset: int) -> None:
        """Have the kernel map, and read if need be, the part of the file that `offset` is in: else it does so page by page."""
        self._mapped[offset >> CHUNK] = None
        if self._can_populate:
            mapping: Any = self._view.obj
            begin = offset >> CHUNK << CHUNK
            end = begin + (1 << CHUNK)
            if offset < self.start < end:  # what comes after would be read, and far more around it
                end = self.start
            try:
                mapping.madvise(MADV_POPULATE_READ, begin, end - begin)
                if len(self._mapped) > KEPT:  # what was loaded from there is in memory of its own
                    oldest = next(iter(self._mapped))
                    self._mapped.pop(oldest, None)
                    mapping.madvise(mmap.MADV_DONTNEED, oldest << CHUNK, 1 << CHUNK)
            except (OSError, ValueError):  # an old kernel, or the file's end
                self._can_populate = False

    def _why_absent(self, path: str) -> str:
        for root in self.roots:
            if root.fault is not None and root.place and path.startswith(root.place + SEP):
                return f"{root.name} is not used: {root.fault}"
        return ""


class Listings(dict):  # type: ignore[type-arg]  # "dict[str, Listing | None]", which costs something
    """What archives know of directories, each looked up once: `listings[directory]` is None where they know nothing.

    For the finder they know nothing of directories that are to be looked at, since the archive checks sources. There is
    also how to make a `loader`, whose `policies` decide, for all modules but those whose last name is in `left_alone`;
    and of what the path of a source's entry in the store is put together.
    """

    __slots__ = ("archives", "for_finder", "left_alone", "loader", "policies", "prefix", "suffix")

    def __init__(self, archives: "Iterable[Archive]", *, for_finder: bool = False) -> None:
        self.archives = tuple(archives)
        self.for_finder = for_finder
        self.loader: Any = None
        self.policies: Any = None
        self.left_alone: tuple[str, ...] = ()
        self.prefix = ""
        self.suffix: str | None = None

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
        """Look at the roots again, as after `importlib.invalidate_caches()`: something may have been installed."""
        for archive in self.archives:
            archive.check_roots()
        self.clear()


def open_all(paths: "Iterable[str]", *, allow_shared: bool, strict: bool) -> "tuple[Archive | Refused, ...]":
    """Return the archives at `paths`, opened or refused; raises `CacheDirError` under `strict` only."""
    owners = () if allow_shared else trusted_owners()
    opened: list[Archive | Refused] = []
    for path in paths:
        try:
            opened.append(Archive(path, owners))
        except Unusable as refusal:
            opened.append(Refused(path, str(refusal)))
        if strict and opened[-1].reason is not None:
            from .errors import CacheDirError

            raise CacheDirError(opened[-1].reason)
    return tuple(opened)


def _changed(root: Root, archive_name: str) -> str | None:
    if not root.place:
        return "there is no such directory here"
    try:
        same = hash_of_names(root.place, archive_name) == root.listing_hash
    except OSError as error:
        return f"{root.place} cannot be read: {error.strerror or error}"
    return None if same else f"what is in {root.place} is no longer what it was"


def _map(path: str, owners: tuple[int, ...]) -> "tuple[mmap.mmap, bytes]":
    """Return the file's bytes, mapped, and the last of them; raises Unusable.

    It and the directories above it are trusted as a cache is.
    """
    try:
        fault = distrust(
            path if _is_link(path) else path.rpartition(SEP)[0] or SEP, owners
        )  # or all that the link leads to
        if fault is not None:
            raise Unusable(f"The archive {path} is not trusted: {fault}")
        descriptor = system.open(path, READ_FLAGS)
        try:
            status = system.fstat(descriptor)
            fault = fault_of(status, owners)
            if fault is not None:
                raise Unusable(f"The archive {path} is not trusted: it {fault}.")
            if status.st_mode & S_IFMT != S_IFREG or status.st_size < TAIL_SIZE:
                raise Unusable(f"The archive {path} is damaged, or is no archive of this format.")
            how: dict[str, Any] = {"trackfd": False} if not system.windows and sys.version_info >= (3, 13) else {}
            mapping = mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ, **how)
            system.lseek(descriptor, -TAIL_SIZE, 2)
            return mapping, system.read(
                descriptor, TAIL_SIZE
            )  # in the mapping, a look at it would read what is around it
        finally:
            system.close(descriptor)
    except (OSError, ValueError) as error:  # no path at all; or cut off meanwhile
        raise Unusable(f"The archive {path} cannot be opened: {getattr(error, 'strerror', None) or error}.") from None


def _is_link(path: str) -> bool:
    try:
        return system.lstat(path).st_mode & S_IFMT == S_IFLNK  # type: ignore[no-any-return]
    except OSError:
        return False


def _read_ahead(mapping: "Any", begin: int, end: int) -> None:
    """Have the kernel read this part of the file in one go, without waiting for it."""
    if hasattr(mmap, "MADV_WILLNEED"):
        begin -= begin % mmap.PAGESIZE
        try:  # noqa: SIM105 -- contextlib is not loaded here
            mapping.madvise(mmap.MADV_WILLNEED, begin, end - begin)
        except (OSError, ValueError):
            pass
