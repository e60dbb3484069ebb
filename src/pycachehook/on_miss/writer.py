"""Writing an entry: whole or not at all.

The invariant that all of this keeps: an entry's name only ever stands for a complete file. The bytes go to a
temporary file in the same directory, every one of them is accounted for, and a rename puts it in place. Whoever
reads sees the old entry, or the new one, or none.

Loaded by the first lookup that has something to write, not at start-up.
"""

import sys

from pycachehook.cache_dir import SHARED_MODE, CacheDir, make_directories, make_one_directory
from pycachehook.events import Stats
from pycachehook.paths import FORMAT as FORMAT
from pycachehook.paths import IGNORE_FILE, OWN_DIR, TAG_FILE, TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pycachehook.system import BUILTINS, S_IFLNK, S_IFMT, is_foreign, system
from pycachehook.trust import fault_of, unmapped

__builtins__ = BUILTINS  # what a program patches in `builtins` does not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from io import FileIO

TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This directory holds compiled Python code, which pycachehook or Python itself can make again at any time.
# What a CACHEDIR.TAG is: https://bford.info/cachedir/
"""
IGNORE = "# Made by pycachehook: a cache is not for version control.\n*\n"

OWNER_MODE = 0o600
_READABLE = 0o044  # for group and others
_LINKS_FOLLOWED = 40  # as many as Linux follows before ELOOP
_GROUP, _OTHERS = 0o040, 0o004

_OWN_FILE = getattr(system.os_module, "O_NOFOLLOW", 0) | getattr(system.os_module, "O_NONBLOCK", 0)


def write_entry(directory: CacheDir, entry: str, data: bytes, source: "os.stat_result", stats: Stats) -> bool:
    """Write an entry, and say whether it is in place; a failure is counted and otherwise passed over.

    Who may read it is who may read the source, whose status `source` is; it is never writable for others.
    """
    folder = entry.rpartition("/" if not system.windows else "\\")[0]
    try:
        prepare(directory)
        check_inside(directory, folder)
        try:
            _write_atomic(entry, data, source)
        except FileNotFoundError as error:  # a new directory; or the whole cache has been removed meanwhile
            if is_foreign(error):
                raise
            directory.prepared = False
            prepare(directory)
            make_directories(folder, SHARED_MODE)
            _write_atomic(entry, data, source)
    except OSError as error:
        if is_foreign(error):
            raise
        fault(directory, stats, error, f"write {entry}")
        return False
    return True


def fault(directory: CacheDir, stats: Stats, error: OSError, doing: str) -> None:
    """Count what failed, and keep the reason."""
    directory.fault(error, doing)
    stats.fault(directory.reason or "")


def _write_atomic(path: str, data: bytes, source: "os.stat_result | None" = None) -> None:
    """Write a file by way of a temporary one; without `source` everybody may read it, as far as umask allows."""
    folder = path.rpartition("/" if not system.windows else "\\")[0]
    temporary = f"{folder}/{TEMPORARY_PREFIX}{system.getpid()}-{system.time_ns():x}{TEMPORARY_SUFFIX}"
    try:
        with _create(temporary, source) as file:
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


def _create(path: str, source: "os.stat_result | None") -> "FileIO":
    """Create a file that nobody may read who may not read the source.

    The owner, the group and others have one bit each. Where the group's says something else than that of others, it
    counts for the members of the source's group, so the new file must get that group; where it cannot, neither the
    group nor others may read the file.
    """
    mode = 0o644 if source is None else OWNER_MODE | (source.st_mode & _READABLE)
    file = open_own(path, "xb", mode)
    if source is None or system.fchown is None or bool(mode & _GROUP) == bool(mode & _OTHERS):
        return file
    try:
        found = system.fstat(file.fileno())
        if _is_group_of(source, found):
            return file
        # A process may have opened it already by the wrong group's permission: nothing is ever written to this one.
        file.close()
        system.unlink(path)
        file = open_own(path, "xb", OWNER_MODE)
        if _has_been_given(file, source):
            system.fchmod(file.fileno(), found.st_mode & 0o777)
    except BaseException:
        file.close()
        raise
    return file


def _is_group_of(source: "os.stat_result", found: "os.stat_result") -> bool:
    """Return whether the two have one group: an id that stands for all unmapped groups does not tell."""
    if source.st_gid != found.st_gid:
        return False
    hidden = unmapped()
    return hidden is None or source.st_gid != hidden.gid


def _has_been_given(file: "FileIO", source: "os.stat_result") -> bool:
    """Give the file to the group of the source, and return whether that was possible."""
    try:
        system.fchown(file.fileno(), -1, source.st_gid)
    except OSError as error:
        if is_foreign(error):
            raise
        return False
    return _is_group_of(source, system.fstat(file.fileno()))


def open_own(path: str, how: str, mode: int) -> "FileIO":
    """Open without a buffer, with `mode` less umask; no link is followed, no FIFO waited for.

    A file object, unlike a number, closes itself when it is interrupted.
    """
    return open(path, how, buffering=0, opener=lambda name, flags: system.open(name, flags | _OWN_FILE, mode))  # type: ignore[return-value]


def prepare(directory: CacheDir) -> None:
    """Mark the directory as a cache of ours, once; make it again if it is gone. Raises OSError."""
    if directory.prepared:
        return
    own = f"{directory.path}/{OWN_DIR}"
    _check_components(directory, own, directory.confirm())
    make_one_directory(own, SHARED_MODE)
    texts = (
        (f"{own}/format", FORMAT),
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
    directory.prepared = True


def check_inside(directory: CacheDir, folder: str) -> None:
    """Refuse to write into a directory of the cache that is not what it was when it was found to be trusted.

    The cache directory itself is looked at every time (see `CacheDir.confirm`), a folder in it once: whoever could
    change it then could do anything with the cache. No link may lead out of the cache. Raises OSError.
    """
    _check_components(directory, folder, directory.confirm())


def _check_components(directory: CacheDir, folder: str, owners: tuple[int, ...]) -> None:
    if folder in directory.inside:
        return
    if system.windows:
        _check_real_path(directory.path, folder)
    else:
        _check_way(directory.path.rstrip("/"), folder, owners)
    directory.inside.add(folder)


def _check_way(root: str, folder: str, owners: tuple[int, ...]) -> None:  # noqa: C901 -- one walk
    """Look at each directory from `root` to `folder`, as far as it exists, through links that stay below `root`."""
    here, links = root, _LINKS_FOLLOWED
    left = folder[len(root) :].split("/")[::-1]
    while left:
        part = left.pop()
        if part == "..":
            if here == root:
                raise OSError(system.error_number("ELOOP"), f"a link leads out of the cache {root}", folder)
            here = here.rpartition("/")[0]
        if part in ("", ".", ".."):
            continue
        path = f"{here}/{part}"
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
            here = path
            continue
        links -= 1
        away = target[:1] == "/" and not f"{target}/".startswith(f"{root}/")
        if away or links < 0 or (owners and status.st_uid not in owners):
            raise OSError(
                system.error_number("ELOOP"), f"{path} is a link that leads out of the cache, to {target}", path
            )
        if target[:1] == "/":
            here, target = root, target[len(root) :]
        left += target.split("/")[::-1]


def _check_real_path(root: str, folder: str) -> None:
    """Do the same on Windows, where there are no owners, but links."""
    paths = sys.modules["ntpath"]
    real, root = paths.realpath(folder), paths.realpath(root)
    if real != root and not real.startswith(root.rstrip("\\") + "\\"):
        raise OSError(system.error_number("ELOOP"), f"a link leads out of the cache, to {real}", folder)
