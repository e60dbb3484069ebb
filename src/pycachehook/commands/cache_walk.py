"""All that lies in a cache directory: for the commands that look at every entry."""

import marshal
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pycachehook.errors import PycacheHookError
from pycachehook.paths import IGNORE_FILE, OWN_DIR, SHARED_DIR, TAG_FILE, TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pycachehook.pyc import HEADER_SIZE, is_sealed, read_header

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)

ENTRY = "entry"  # a pyc of this interpreter's, ours or CPython's
SHARED = "shared"  # the same, but by what is in its source; it has no other relation to any
FOREIGN = "foreign"  # what other tools and other interpreters keep here; never judged
TEMPORARY = "temporary"  # an entry being written, or left by a process that was killed meanwhile


@dataclass(frozen=True, slots=True)
class Found:
    """A file in a cache: what `kind` it is, its `size` in bytes, and when it was last written or used, in seconds.

    `source` is the path of the source that has an entry here; empty for what is no entry, or is shared.
    """

    path: str
    kind: str
    source: str
    size: int
    used: float


def walk(cache_dir: str) -> Iterator[Found]:
    """Yield every file in a cache but our own, in the order of their names; `shared` entries are in a folder of ours.

    Links are not followed and what vanishes meanwhile is passed over. Raises OSError if `cache_dir` cannot be read.
    """
    suffix = rf"\.{re.escape(sys.implementation.cache_tag or '')}(?:\.opt-\d+)?\.pyc"
    name, digest = re.compile(rf"(.+){suffix}", re.DOTALL), re.compile(rf"[0-9a-f]{{37}}{suffix}")
    own = os.path.join(cache_dir, OWN_DIR)
    shared = os.path.join(own, SHARED_DIR)
    with os.scandir(cache_dir):
        pass  # a folder below may vanish, but not the cache
    folders = [cache_dir]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as found:
                each = sorted(found, key=lambda one: one.name)
        except OSError:
            continue
        below = [one.path for one in each if one.is_dir(follow_symlinks=False) and one.name != OWN_DIR]
        if folder == cache_dir and not os.path.islink(own) and not os.path.islink(shared):
            below.insert(0, shared)
        by_content = folder.startswith(shared)
        folders.extend(reversed(below))
        for one in each:
            if one.is_dir(follow_symlinks=False) or (folder == cache_dir and one.name in (TAG_FILE, IGNORE_FILE)):
                continue
            try:
                status = one.stat(follow_symlinks=False)
            except OSError:
                continue
            kind, source = FOREIGN, ""
            matched = name.fullmatch(one.name)
            if one.name.startswith(TEMPORARY_PREFIX) and one.name.endswith(TEMPORARY_SUFFIX):
                kind = TEMPORARY
            elif by_content:
                kind = SHARED if digest.fullmatch(one.name) and one.is_file(follow_symlinks=False) else FOREIGN
            elif matched and one.is_file(follow_symlinks=False):
                kind, source = ENTRY, f"{folder[len(cache_dir.rstrip('/')) :]}/{matched[1]}.py"
            yield Found(one.path, kind, source, status.st_size, status.st_mtime)


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


@contextmanager
def _opened(cache_dir: str, folder: str) -> Iterator[int]:
    """Open a directory of the cache, following no link below the cache directory; raises OSError."""
    descriptor = os.open(cache_dir, os.O_RDONLY)
    try:
        for part in filter(None, folder.split(os.sep)):
            below = os.open(part, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)
