"""Enumeration and removal of the files in a cache directory, for commands that visit every entry.

Whatever pycachehook cannot have made is never touched: other directories, mount points inside the cache, the targets of
links, another cache below this one, `__pycache__` directories, and directories from which no entry was removed.
"""

import marshal
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pycachehook.cache_dir import is_marked, other_data
from pycachehook.errors import PycacheHookError
from pycachehook.on_miss.writer import TAG
from pycachehook.paths import IGNORE_FILE, OWN_DIR, SHARED_DIR, TAG_FILE, TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pycachehook.pyc import HEADER_SIZE, is_sealed, read_header
from pycachehook.system import ENTRY_FLAGS, read_file

IN_TREE = "__pycache__"  # the name of directories that do not occur in a cache

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)

_TAGGED = re.compile(r".+\.[A-Za-z]+[-_]?\d.*\.py[co]", re.DOTALL)

ENTRY = "entry"  # a pyc for this interpreter, written by pycachehook or CPython
SHARED = "shared"  # the same, but named by the content of its source
FOREIGN = "foreign"  # a file of another tool or interpreter, which is not checked
TEMPORARY = "temporary"  # an entry that is being written, or that a killed process has left


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file in a cache: its `kind`, its `size` in bytes, and its mtime `used` in seconds, the time of its last use.

    `source` is the path of the source whose entry it is, or "" if it is a shared entry or none. `bytecode` is whether
    it is a pyc of any interpreter or tool that belongs in a cache, which means one with a cache tag (PEP 3147): a pyc
    without a tag is a module without a source, and one in a `__pycache__` directory belongs to the source beside it.
    """

    path: str
    kind: str
    source: str
    size: int
    used: float
    bytecode: bool


def require_mark(cache_dir: str) -> None:
    """Raise `PycacheHookError` unless `cache_dir` is marked as a cache of this version."""
    tag = _text(os.path.join(cache_dir, TAG_FILE)).partition("\n")[0]
    if tag != TAG.partition("\n")[0] or not is_marked(cache_dir):
        raise PycacheHookError(
            f"{cache_dir} is no cache of this version: it has no {TAG_FILE} or no {OWN_DIR}/format, so nothing is removed."
        )


def may_be_cache(path: str) -> bool:
    """Return whether `path` is a cache, or might be one; examining any other directory completely may take hours."""
    try:
        return is_marked(path) or other_data(path) is None
    except OSError:
        return False


def _text(path: str) -> str:
    """Return the content of a file that is not a link, or "" if it cannot be read."""
    try:
        return read_file(path, ENTRY_FLAGS)[0].decode("ascii", "replace")
    except OSError:
        return ""


def holds_bytecode_alone(cache_dir: str) -> bool:
    """Return whether a directory contains only bytecode written below `sys.pycache_prefix` by any tool."""
    return not os.path.lexists(os.path.join(cache_dir, OWN_DIR)) and all(file.bytecode for file in walk(cache_dir))


def walk(cache_dir: str) -> Iterator[CachedFile]:
    """Yield every file in a cache except pycachehook's own files, sorted by name; shared entries are included.

    Links are not followed, and files that vanish are skipped. Mount points, with everything below them, and caches
    inside this one are skipped as well. Raises OSError if `cache_dir` cannot be read.
    """
    with os.scandir(cache_dir):
        pass  # raises for the cache itself, but not for directories in it
    found = _mount_points(cache_dir)
    # If the mount points are known, a device number is no evidence: overlayfs gives the files of its layers several.
    known, mounted, device = found is not None, found or set(), os.stat(cache_dir).st_dev
    own = os.path.join(cache_dir, OWN_DIR)
    shared = os.path.join(own, SHARED_DIR)
    folders = [cache_dir]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            continue
        if folder != cache_dir and any(entry.name == OWN_DIR for entry in entries):
            continue  # another cache
        entries = [entry for entry in entries if entry.path not in mounted]
        below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name != OWN_DIR]
        if (
            folder == cache_dir
            and not os.path.islink(own)
            and not {own, shared} & mounted
            and not os.path.islink(shared)
        ):
            below.insert(0, shared)
        folders.extend(reversed(below))
        source_folder = None if folder.startswith(shared) else folder[len(cache_dir.rstrip("/")) :]
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) or (folder == cache_dir and entry.name in (TAG_FILE, IGNORE_FILE)):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if known or status.st_dev == device:
                yield _cached_file(entry.path, source_folder, status)


_SUFFIX = rf"\.{re.escape(sys.implementation.cache_tag or '')}(?:\.opt-\d+)?\.pyc"
_ENTRY_NAME, _DIGEST_NAME = re.compile(rf"(.+){_SUFFIX}", re.DOTALL), re.compile(rf"[0-9a-f]{{37}}{_SUFFIX}")


def _cached_file(path: str, source_folder: str | None, status: os.stat_result) -> CachedFile:
    """Return the description of a file; `source_folder` is the directory of its source, None for the shared layout."""
    name = os.path.basename(path)
    kind, source = FOREIGN, ""
    in_cache = stat.S_ISREG(status.st_mode) and IN_TREE not in (source_folder or "").split(os.sep)
    matched = _ENTRY_NAME.fullmatch(name)
    if name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX):
        kind = TEMPORARY
    elif source_folder is None:
        kind = SHARED if in_cache and _DIGEST_NAME.fullmatch(name) else FOREIGN
    elif in_cache and matched:
        kind, source = ENTRY, f"{source_folder}/{matched[1]}.py"
    bytecode = in_cache and _TAGGED.fullmatch(name) is not None
    return CachedFile(path, kind, source, status.st_size, status.st_mtime, bytecode)


def _mount_points(cache_dir: str) -> set[str] | None:
    """Return the paths of mount points below `cache_dir`, as Linux reports them; None where it does not.

    A device number is not sufficient, because a bind mount of the same file system has the same one.
    """
    real, mount_points = os.path.realpath(cache_dir).rstrip(os.sep), set()
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.readlines()
    except OSError:
        return None
    for line in lines:
        point = os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), line.split()[4]))
        if point.startswith(real + os.sep):
            mount_points.add(os.path.join(cache_dir, point[len(real) + 1 :]))
    return mount_points


def source_of(data: bytes, likely: str) -> str:
    """Return the path of the source that an entry was compiled from; raises `Miss` for a damaged entry.

    `likely` is the path derived from the entry's own path. Programs can have any name (the entry of `tool.sh` has the
    path of that of `tool.py`), and then only the code object knows the source. It is read if a seal proves that it is
    undamaged.
    """
    read_header(data)
    if os.path.lexists(likely) or not is_sealed(data):
        return likely
    path = origin_of(data)
    return path if os.path.lexists(path) else likely


def origin_of(data: bytes) -> str:
    """Return the path of the source that is recorded in an entry's code; only for an entry with an intact seal."""
    path: str = marshal.loads(memoryview(data)[HEADER_SIZE:]).co_filename
    return path


def remove(cache_dir: str, file: CachedFile) -> bool:
    """Remove a file that `walk` has yielded, and return whether it still existed unchanged.

    Every directory on the path is opened without following links, so that nothing outside the cache is removed. Raises
    `PycacheHookError`.
    """
    folder, name = os.path.split(os.path.relpath(file.path, cache_dir))
    try:
        with _opened(cache_dir, folder) as descriptor:
            same = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mtime == file.used
            if same:
                os.unlink(name, dir_fd=descriptor)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise PycacheHookError(f"{file.path} cannot be removed: {error.strerror}.") from None
    return same


def remove_emptied(cache_dir: str, removed: Iterable[str]) -> None:
    """Remove the directories that are empty after the removal of the files `removed`, and their emptied parents."""
    own = os.path.join(cache_dir, OWN_DIR)
    kept = (cache_dir, own, os.path.join(own, SHARED_DIR))
    folders = {os.path.dirname(path) for path in removed}
    while folders:
        folder = max(folders, key=len)  # subdirectories before their parents
        folders.discard(folder)
        if folder in kept or not folder.startswith(os.path.join(cache_dir, "")):
            continue
        above, name = os.path.split(folder)
        with suppress(OSError), _opened(cache_dir, os.path.relpath(above, cache_dir)) as descriptor:
            os.rmdir(name, dir_fd=descriptor)  # fails unless it is empty
            folders.add(above)


@contextmanager
def _opened(cache_dir: str, folder: str) -> Iterator[int]:
    """Open a directory in the cache without following links below the cache directory; raises OSError."""
    descriptor = os.open(cache_dir, os.O_RDONLY)
    try:
        for part in folder.split(os.sep):
            if part in ("", os.curdir):
                continue
            below = os.open(part, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)
