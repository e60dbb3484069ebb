"""Writing an entry: whole or not at all.

The invariant that all of this keeps: an entry's name only ever stands for a complete file. The bytes go to a
temporary file in the same directory, every one of them is accounted for, and a rename puts it in place. Whoever
reads sees the old entry, or the new one, or none.

Loaded by the first lookup that has something to write, not at start-up.
"""

import os
import time
from errno import EAGAIN, ELOOP

from pycachehook.cache_dir import SHARED_MODE, CacheDir, make_directories, make_one_directory
from pycachehook.events import Stats
from pycachehook.paths import OWN_DIR, TAG_FILE, TEMPORARY_PREFIX, TEMPORARY_SUFFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import FileIO

FORMAT = "1\n"
TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This directory holds compiled Python code, which pycachehook or Python itself can make again at any time.
# What a CACHEDIR.TAG is: https://bford.info/cachedir/
"""

_OWN_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def write_entry(directory: CacheDir, entry: str, data: bytes, source_mode: int, stats: Stats) -> bool:
    """Write an entry, and say whether it is in place; a failure is counted and otherwise passed over.

    It gets the source's mode (`source_mode`, as from `stat`), as CPython's pycs do, but is never writable for others.
    """
    mode = (source_mode | 0o200) & 0o644
    folder = os.path.dirname(entry)
    try:
        prepare(directory)
        check_inside(directory, folder)
        try:
            _write_atomic(entry, data, mode)
        except FileNotFoundError:  # a new directory; or the whole cache has been removed under us
            directory.prepared = False
            prepare(directory)
            make_directories(folder, SHARED_MODE)
            _write_atomic(entry, data, mode)
    except OSError as error:
        fault(directory, stats, error, f"write {entry}")
        return False
    return True


def fault(directory: CacheDir, stats: Stats, error: OSError, doing: str) -> None:
    """Count what failed, and keep the reason."""
    directory.fault(error, doing)
    stats.fault(directory.reason or "")


def _write_atomic(path: str, data: bytes, mode: int) -> None:
    temporary = f"{os.path.dirname(path)}/{TEMPORARY_PREFIX}{os.getpid()}-{time.time_ns():x}{TEMPORARY_SUFFIX}"
    try:
        with open_own(temporary, "xb", mode) as file:
            rest = memoryview(data)
            while rest:
                written = file.write(rest)
                if not written:
                    raise OSError(EAGAIN, os.strerror(EAGAIN))
                rest = rest[written:]
        os.replace(temporary, path)
    except BaseException:
        try:  # noqa: SIM105 -- contextlib is not loaded here
            os.unlink(temporary)
        except OSError:
            pass
        raise


def open_own(path: str, how: str, mode: int) -> "FileIO":
    """Open without a buffer, with `mode` less umask; no link is followed, no FIFO waited for.

    A file object, unlike a number, closes itself when it is interrupted.
    """
    return open(path, how, buffering=0, opener=lambda name, flags: os.open(name, flags | _OWN_FILE, mode))  # type: ignore[return-value]


def prepare(directory: CacheDir) -> None:
    """Mark the directory as a cache of ours, once; make it again if it is gone. Raises OSError."""
    if directory.prepared:
        return
    own = f"{directory.path}/{OWN_DIR}"
    check_inside(directory, own)
    try:
        make_one_directory(own, SHARED_MODE)
    except FileNotFoundError:
        directory.reopen()
        if not directory.writable():
            raise
        make_one_directory(own, SHARED_MODE)
    for name, text in ((f"{own}/format", FORMAT), (f"{directory.path}/{TAG_FILE}", TAG)):
        if not os.path.exists(name):
            _write_atomic(name, text.encode(), 0o644)
    directory.prepared = True


def check_inside(directory: CacheDir, folder: str) -> None:
    """Refuse to write where a link leads out of the cache; raises OSError. Each folder is looked at once."""
    if folder in directory.inside:
        return
    real, root = os.path.realpath(folder), os.path.realpath(directory.path)
    if real != root and not real.startswith(root.rstrip(os.sep) + os.sep):
        raise OSError(ELOOP, f"a link leads out of the cache, to {real}", folder)
    directory.inside.add(folder)
