"""All that lies in a cache directory, and how some of it is removed: for the commands that look at every entry.

What pycachehook cannot have made is left alone: other directories, what is mounted inside the cache, what a link leads
to, another cache below this one, `__pycache__` directories, and directories that no entry has been removed from.
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

IN_TREE = "__pycache__"  # the name of directories that a cache has none of

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)

_TAGGED = re.compile(r".+\.[A-Za-z]+[-_]?\d.*\.py[co]", re.DOTALL)

ENTRY = "entry"  # a pyc of this interpreter's, ours or CPython's
SHARED = "shared"  # the same, but by what is in its source; it has no other relation to any
FOREIGN = "foreign"  # what other tools and other interpreters keep here; never judged
TEMPORARY = "temporary"  # an entry being written, or left by a process that was killed meanwhile


@dataclass(frozen=True, slots=True)
class Found:
    """A file in a cache: what `kind` it is, its `size` in bytes, and when it was last written or used, in seconds.

    `source` is the path of the source that has an entry here; empty for what is no entry, or is shared. `bytecode` says
    that it is a pyc of whichever interpreter or tool that belongs into a cache: one with a cache tag (PEP 3147). A pyc
    without one is a module that has no source, and one in a `__pycache__` directory belongs to the source beside it.
    """

    path: str
    kind: str
    source: str
    size: int
    used: float
    bytecode: bool


def require_mark(cache_dir: str) -> None:
    """Raise `PycacheHookError` unless `cache_dir` is marked as a cache of this version: nothing else may be deleted from."""
    tag = _text(os.path.join(cache_dir, TAG_FILE)).partition("\n")[0]
    if tag != TAG.partition("\n")[0] or not is_marked(cache_dir):
        raise PycacheHookError(
            f"{cache_dir} is no cache of this version's: it has no {TAG_FILE} or no {OWN_DIR}/format, so nothing is removed."
        )


def may_be_cache(path: str) -> bool:
    """Say whether the directory at `path` is a cache, or could be one: a look at all of any other one may take hours."""
    try:
        return is_marked(path) or other_data(path) is None
    except OSError:
        return False


def _text(path: str) -> str:
    """Return what is in a file that is no link; "" if it cannot be read."""
    try:
        return read_file(path, ENTRY_FLAGS)[0].decode("ascii", "replace")
    except OSError:
        return ""


def holds_bytecode_alone(cache_dir: str) -> bool:
    """Say whether nothing but bytecode, as CPython and other tools write it by `sys.pycache_prefix`, is in a directory."""
    return not os.path.lexists(os.path.join(cache_dir, OWN_DIR)) and all(one.bytecode for one in walk(cache_dir))


def walk(cache_dir: str) -> Iterator[Found]:
    """Yield every file in a cache but our own, in the order of their names; `shared` entries are in a folder of ours.

    Links are not followed and what vanishes meanwhile is passed over; so are mount points, with all below them, and a
    cache in this one. Raises OSError if `cache_dir` cannot be read.
    """
    with os.scandir(cache_dir):
        pass  # a folder below may vanish, but not the cache
    device, mounted = os.stat(cache_dir).st_dev, _mount_points(cache_dir)
    own = os.path.join(cache_dir, OWN_DIR)
    shared = os.path.join(own, SHARED_DIR)
    folders = [cache_dir]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as found:
                each = sorted(found, key=lambda one: one.name)
        except OSError:
            continue
        if folder != cache_dir and any(one.name == OWN_DIR for one in each):
            continue  # a cache of its own
        each = [one for one in each if one.path not in mounted]
        below = [one.path for one in each if one.is_dir(follow_symlinks=False) and one.name != OWN_DIR]
        if (
            folder == cache_dir
            and not os.path.islink(own)
            and not {own, shared} & mounted
            and not os.path.islink(shared)
        ):
            below.insert(0, shared)
        folders.extend(reversed(below))
        source_folder = None if folder.startswith(shared) else folder[len(cache_dir.rstrip("/")) :]
        for one in each:
            if one.is_dir(follow_symlinks=False) or (folder == cache_dir and one.name in (TAG_FILE, IGNORE_FILE)):
                continue
            try:
                status = one.stat(follow_symlinks=False)
            except OSError:
                continue
            if status.st_dev == device:
                yield _found(one.path, source_folder, status)


_SUFFIX = rf"\.{re.escape(sys.implementation.cache_tag or '')}(?:\.opt-\d+)?\.pyc"
_ENTRY_NAME, _DIGEST_NAME = re.compile(rf"(.+){_SUFFIX}", re.DOTALL), re.compile(rf"[0-9a-f]{{37}}{_SUFFIX}")


def _found(path: str, source_folder: str | None, status: os.stat_result) -> Found:
    """Return what a file is; `source_folder` is the directory of its source, if it has one, None for the shared layout."""
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
    return Found(path, kind, source, status.st_size, status.st_mtime, bytecode)


def _mount_points(cache_dir: str) -> set[str]:
    """Return the paths below `cache_dir` at which something is mounted, as Linux tells them.

    A bind mount from the same file system has the device number of its surroundings, so that alone does not tell.
    """
    real, found = os.path.realpath(cache_dir).rstrip(os.sep), set()
    with suppress(OSError), open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            point = os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), line.split()[4]))
            if point.startswith(real + os.sep):
                found.add(os.path.join(cache_dir, point[len(real) + 1 :]))
    return found


def source_of(data: bytes, likely: str) -> str:
    """Return the path of the source that the bytes of an entry were compiled from; raises `Miss` for a damaged one.

    `likely` is what the entry's place says. A program may be called anything (`tool.sh` has the place of `tool.py`),
    and then only the code knows: it is asked if a seal says that it is whole.
    """
    read_header(data)
    if os.path.lexists(likely) or not is_sealed(data):
        return likely
    path = origin_of(data)
    return path if os.path.lexists(path) else likely


def origin_of(data: bytes) -> str:
    """Return the path of the source that an entry was compiled from, as its code has it; only for a seal that holds."""
    path: str = marshal.loads(memoryview(data)[HEADER_SIZE:]).co_filename
    return path


def remove(cache_dir: str, found: Found) -> bool:
    """Remove a file that `walk` has yielded, and say whether it was still there, and the same.

    Every directory on the way is opened as what it is, so that no link leads out of the cache. Raises
    `PycacheHookError`.
    """
    folder, name = os.path.split(os.path.relpath(found.path, cache_dir))
    try:
        with _opened(cache_dir, folder) as descriptor:
            same = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mtime == found.used
            if same:
                os.unlink(name, dir_fd=descriptor)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise PycacheHookError(f"{found.path} cannot be removed: {error.strerror}.") from None
    return same


def remove_emptied(cache_dir: str, removed: Iterable[str]) -> None:
    """Remove the directories that the files `removed` have left empty, and those above that this leaves empty."""
    own = os.path.join(cache_dir, OWN_DIR)
    kept = (cache_dir, own, os.path.join(own, SHARED_DIR))
    folders = {os.path.dirname(path) for path in removed}
    while folders:
        folder = max(folders, key=len)  # what is below another comes before it
        folders.discard(folder)
        if folder in kept or not folder.startswith(os.path.join(cache_dir, "")):
            continue
        above, name = os.path.split(folder)
        with suppress(OSError), _opened(cache_dir, os.path.relpath(above, cache_dir)) as descriptor:
            os.rmdir(name, dir_fd=descriptor)  # which fails unless it is empty
            folders.add(above)


@contextmanager
def _opened(cache_dir: str, folder: str) -> Iterator[int]:
    """Open a directory of the cache, following no link below the cache directory; raises OSError."""
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
