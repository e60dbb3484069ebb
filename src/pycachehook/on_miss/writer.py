"""Writing of entries and of the other files in a cache directory.

The name of an entry always refers to a complete file: the bytes go to a temporary file in the same directory, the
number of written bytes is checked, and the file is renamed. A reader sees the old entry, the new one, or none.

Loaded by the first miss that may write an entry, not at start-up.
"""

import sys

from pycachehook import pyc
from pycachehook._compat import KEY, siphash
from pycachehook.cache_dir import SHARED_MODE, CacheDir, make_directories, make_one_directory
from pycachehook.events import Stats
from pycachehook.paths import CACHE_FORMAT as CACHE_FORMAT
from pycachehook.paths import IGNORE_FILE, OWN_DIR, TAG_FILE, TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pycachehook.pyc import CHECKED_HASH, HASH_BASED
from pycachehook.system import (
    BUILTINS,
    READ_FLAGS,
    S_IFLNK,
    S_IFMT,
    is_foreign,
    read_code_file,
    read_file,
    system,
)
from pycachehook.trust import access_list, fault_of, unmapped

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from io import FileIO
    from types import CodeType

    from pycachehook.store import Store

TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This directory holds compiled Python code, which pycachehook or Python itself can make again at any time.
# What a CACHEDIR.TAG is: https://bford.info/cachedir/
"""
IGNORE = "# Made by pycachehook: a cache is not for version control.\n*\n"

OWNER_MODE = 0o600
_READABLE = 0o044  # the read bits of group and others
_LINKS_FOLLOWED = 40  # Linux follows as many before it reports ELOOP
_GROUP, _OTHERS = 0o040, 0o004
_ACL_USER, _ACL_OWNING_GROUP, _ACL_GROUP, _ACL_MASK = 0x02, 0x04, 0x08, 0x10  # as in linux/posix_acl.h

_flag = vars(system.os_module).get
_OWN_FILE: int = _flag("O_NOFOLLOW", 0) | _flag("O_NONBLOCK", 0) | _flag("O_BINARY", 0)
_OPEN_FLAGS: dict[str, int] = {
    "xb": _flag("O_WRONLY", 1) | _flag("O_CREAT", 0) | _flag("O_EXCL", 0) | _OWN_FILE,
    "ab": _flag("O_WRONLY", 1) | _flag("O_CREAT", 0) | _flag("O_APPEND", 0) | _OWN_FILE,
    "rb": _flag("O_RDONLY", 0) | _OWN_FILE,
}


class Source:
    """A source file that has been read: its path, its bytes, its status, and the location of its entry if known.

    For an entry with a timestamp, the status is read before the bytes.
    """

    __slots__ = ("data", "location", "path", "status")

    def __init__(self, path: str, data: bytes, status: "os.stat_result", location: str = "") -> None:
        self.path = path
        self.data = data
        self.status = status
        self.location = location

    def stamp(self, flags: int) -> bytes:
        """Return the 8 bytes that the header of an entry with these `flags` records of the source."""
        if flags & HASH_BASED:
            return siphash(KEY, self.data)
        return pyc.timestamp_stamp(self.status.st_mtime, self.status.st_size)


def read_source(path: str, *, open_code: bool = False) -> Source:
    """Return the source at `path`; raises OSError."""
    return Source(path, *(read_code_file if open_code else read_file)(path, READ_FLAGS))


def encode(store: "Store", code: "CodeType", source: Source, *, warned: bool) -> bytes:
    """Return the bytes of a new entry; raises ValueError for what marshal cannot write.

    If another source could have the same location, the entry is hash-based in every mode, because only the hash tells
    whose entry it is: `tool.sh` has the location of `tool.py`, and a `..` behind a link leads to different directories
    in the tree and in the cache.
    """
    ambiguous = "/../" in source.path or not source.path.endswith(".py")
    flags = pyc.FLAGS[CHECKED_HASH if ambiguous else store.mode]
    return pyc.encode(code, flags, source.stamp(flags), pyc.second_hash(source.data), warned=warned)


def put(store: "Store", source: Source, code: "CodeType", stats: Stats, *, warned: bool) -> bool:
    """Write the entry of a source, and return whether that succeeded; the implementation of `Store.put`."""
    try:
        data = encode(store, code, source, warned=warned)
    except (ValueError, MemoryError) as error:
        if is_foreign(error):
            raise
        return False
    location = source.location or store.location(source.path, source.data)
    readers = readers_of(source.path, source.status)
    return write_entry(store.directory, location, data, source.status, stats, readers=readers)


def write_entry(
    directory: CacheDir, entry: str, data: bytes, source: "os.stat_result", stats: Stats, *, readers: int | None = None
) -> bool:
    """Write an entry and return whether that succeeded; a failure is counted and raises nothing.

    Those who may read the source, whose status is `source`, may read the entry; nobody but the owner may write it.
    `readers` is the result of `readers_of`, if the source may have an access control list.
    """
    if readers is None:
        readers = source.st_mode & _READABLE
    folder = entry.rpartition("/" if not system.windows else "\\")[0]
    try:
        prepare(directory)
        check_inside(directory, folder)
        try:
            _write_atomic(entry, data, source, readers)
        except FileNotFoundError as error:  # a new directory, or the whole cache has been removed
            if is_foreign(error):
                raise
            directory.is_marked = False
            prepare(directory)
            make_directories(folder, SHARED_MODE)
            _write_atomic(entry, data, source, readers)
    except OSError as error:
        if is_foreign(error):
            raise
        fault(directory, stats, error, f"write {entry}")
        return False
    return True


def fault(directory: CacheDir, stats: Stats, error: OSError, doing: str) -> None:
    """Count a failure and record its reason."""
    directory.fault(error, doing)
    stats.fault(directory.reason or "")


def _write_atomic(path: str, data: bytes, source: "os.stat_result | None" = None, readers: int = _READABLE) -> None:
    """Write a file through a temporary one; without `source`, everybody may read it as far as the umask allows."""
    folder = path.rpartition("/" if not system.windows else "\\")[0]
    temporary = f"{folder}/{TEMPORARY_PREFIX}{system.getpid()}-{system.time_ns():x}{TEMPORARY_SUFFIX}"
    try:
        with _create(temporary, source, readers) as file:
            rest = memoryview(data)
            while rest:
                written = file.write(rest)
                if not written:
                    number = system.error_number("EAGAIN")
                    raise OSError(number, system.strerror(number))
                rest = rest[written:]
        system.replace(temporary, path)
    except BaseException:
        try:
            system.unlink(temporary)
        except OSError as error:
            if is_foreign(error):
                raise
        raise


def _create(path: str, source: "os.stat_result | None", readers: int) -> "FileIO":
    """Create a file that nobody can read who cannot read the source; `readers` are the read bits of group and others.

    If the group may read the source and others may not, or the reverse, the new file must have the same group. If that
    is impossible, neither the group nor others may read it.
    """
    mode = OWNER_MODE | readers
    file = open_own(path, "xb", mode)
    if source is None or system.fchown is None or bool(mode & _GROUP) == bool(mode & _OTHERS):
        return file
    try:
        status = system.fstat(file.fileno())
        if _is_group_of(source, status):
            return file
        # A member of the wrong group may have opened this file already, so nothing is written to it.
        file.close()
        system.unlink(path)
        file = open_own(path, "xb", OWNER_MODE)
        if _give_to_group(file, source):
            system.fchmod(file.fileno(), status.st_mode & 0o777)
    except BaseException:
        file.close()
        raise
    return file


def readers_of(path: str, status: "os.stat_result") -> int:
    """Return the read bits of group and others in the mode of the source at `path`, as far as its ACL grants them.

    In the mode of a file with a POSIX access control list, the group's bits are the list's mask, and not what the group
    may do. A user or group that the list excludes must not be among the others who may read the entry.
    """
    readers = status.st_mode & _READABLE
    try:
        entries = access_list(path) if readers & _GROUP else b""
    except OSError as error:  # no list, or a file system without lists
        if is_foreign(error):
            raise
        entries = b""
    granted = [(entries[at], entries[at + 2]) for at in range(4, len(entries), 8)]  # tag and permissions
    mask = next((permissions for tag, permissions in granted if tag == _ACL_MASK), 7)
    for tag, permissions in granted:
        if tag in (_ACL_USER, _ACL_GROUP, _ACL_OWNING_GROUP) and not permissions & mask & 4:
            readers &= ~(_GROUP if tag == _ACL_OWNING_GROUP else _READABLE)
    return readers


def _is_group_of(source: "os.stat_result", other: "os.stat_result") -> bool:
    """Return whether two files have the same group; the id that represents all unmapped groups is never the same."""
    if source.st_gid != other.st_gid:
        return False
    hidden = unmapped()
    return hidden is None or source.st_gid != hidden.gid


def _give_to_group(file: "FileIO", source: "os.stat_result") -> bool:
    """Change the group of the file to that of the source, and return whether that succeeded."""
    try:
        system.fchown(file.fileno(), -1, source.st_gid)
    except OSError as error:
        if is_foreign(error):
            raise
        return False
    return _is_group_of(source, system.fstat(file.fileno()))


def open_own(path: str, how: str, mode: int) -> "FileIO":
    """Open an unbuffered file (`how`: "xb", "ab" or "rb") with `mode` less the umask; follows no link, waits for no FIFO.

    Returns a file object because that, unlike a descriptor, is closed if an exception interrupts the caller. Each step
    is one call of a function in C that leaves its result in a list, so that a signal handler's exception loses nothing.
    """
    descriptors: list[int] = []
    files: list[FileIO] = []
    try:
        descriptors.extend(map(system.open, (path,), (_OPEN_FLAGS[how],), (mode,)))
        files.extend(map(system.file_io, descriptors, (how.replace("x", "w"),)))
    except BaseException:
        if descriptors and not files:
            system.close(descriptors[0])
        raise
    return files[0]


def prepare(directory: CacheDir) -> None:
    """Mark the directory as a cache of pycachehook, once; create it again if it has been removed. Raises OSError."""
    if directory.is_marked:
        return
    own = f"{directory.path}/{OWN_DIR}"
    _check_components(directory, own, directory.confirm())
    make_one_directory(own, SHARED_MODE)
    texts = (
        (f"{own}/format", CACHE_FORMAT),
        (f"{directory.path}/{TAG_FILE}", TAG),
        (f"{directory.path}/{IGNORE_FILE}", IGNORE),
    )
    for name, text in texts:
        try:
            system.lstat(name)
        except FileNotFoundError as error:
            if is_foreign(error):
                raise
            _write_atomic(name, text.encode())
    directory.is_marked = True


def check_inside(directory: CacheDir, folder: str) -> None:
    """Check that a directory in the cache may be written to; raises OSError.

    The cache directory itself is checked every time (see `CacheDir.confirm`), a directory in it once, because those who
    can change it then could change anything in the cache. Links must not lead out of the cache.
    """
    _check_components(directory, folder, directory.confirm())


def _check_components(directory: CacheDir, folder: str, owners: tuple[int, ...]) -> None:
    if folder in directory.trusted_folders:
        return
    if system.windows:
        _check_real_path(directory.path, folder)
    else:
        _check_path(directory.path.rstrip("/"), folder, owners)
    directory.trusted_folders.add(folder)


def _check_path(root: str, folder: str, owners: tuple[int, ...]) -> None:  # noqa: C901 -- one walk
    """Check each existing directory from `root` to `folder`, following links that stay below `root`."""
    current, links = root, _LINKS_FOLLOWED
    parts = folder[len(root) :].split("/")[::-1]
    while parts:
        part = parts.pop()
        if part == "..":
            if current == root:
                raise OSError(system.error_number("ELOOP"), f"a link leads out of the cache {root}", folder)
            current = current.rpartition("/")[0]
        if part in ("", ".", ".."):
            continue
        path = f"{current}/{part}"
        try:
            status = system.lstat(path)
            target = system.readlink(path) if status.st_mode & S_IFMT == S_IFLNK else None
        except FileNotFoundError as error:
            if is_foreign(error):
                raise
            return
        if target is None:
            reason = fault_of(status, owners)
            if reason is not None:
                raise OSError(None, f"{path} {reason}", path)
            current = path
            continue
        links -= 1
        leaves_cache = target[:1] == "/" and not f"{target}/".startswith(f"{root}/")
        if leaves_cache or links < 0 or (owners and status.st_uid not in owners):
            raise OSError(
                system.error_number("ELOOP"), f"{path} is a link that leads out of the cache, to {target}", path
            )
        if target[:1] == "/":
            current, target = root, target[len(root) :]
        parts += target.split("/")[::-1]


def _check_real_path(root: str, folder: str) -> None:
    """Do the same on Windows, where only links are checked because files have no owner ids."""
    paths = sys.modules["ntpath"]
    real, root = paths.realpath(folder), paths.realpath(root)
    if real != root and not real.startswith(root.rstrip("\\") + "\\"):
        raise OSError(system.error_number("ELOOP"), f"a link leads out of the cache, to {real}", folder)
