"""Compiled by one process only: who compiles a source, and who waits for him.

The lock decides only that; an entry written without it is as sound. It is held for one compilation, never while the
module's body runs.

Loaded by the first lookup that has something to write, not at start-up.
"""

import os
import sys
import time
from _thread import get_ident
from _weakref import ref
from errno import ENOLCK, ENOSYS, EOPNOTSUPP

from pycachehook._compat import being_imported, source_hash
from pycachehook.cache_dir import SHARED_MODE, CacheDir, make_directories
from pycachehook.events import Stats
from pycachehook.paths import OWN_DIR

from .writer import check_inside, fault, open_own, prepare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from typing import TypeVar

    Found = TypeVar("Found")

LOCKS = 64  # lock files in a cache directory; two sources with one lock only wait for each other in vain
POLL = 0.05  # seconds; waiters that ask more often steal the processor from the one that compiles
AT_WORK = 1.0  # seconds since another process began or ended a compilation, for which it counts as at work

_WITHOUT_LOCKS = (ENOSYS, ENOLCK, EOPNOTSUPP)  # a file system that has none

# The locks of this process: thread and, weakly, open file by path. A fork must not keep them, and nobody here waits
# for another, who may in turn wait for a module that he is importing. A file that an interrupt made us forget closes
# itself, and counts no longer.
_held: "dict[str, tuple[int, ref[FileIO]]]" = {}
_lock: "Callable[..., bool] | None" = None  # filelock's `lock_descriptor`, once it is loaded
_unlock: "Callable[[int], None] | None" = None  # and its `unlock_descriptor`
_no_locks: set[str] = set()  # cache directories whose file system has no locks
_hope = AT_WORK  # seconds that this process will still wait in vain for others before it takes a lock


def look_again(directory: CacheDir, look: "Callable[[], Found | None]") -> "Found | None":
    """Return what `look()` finds while other processes are at work in the directory; None: it is time to take a lock.

    Of many processes that start at once nearly all find what the first of them compiles, and need no locks if they
    stay behind it. Loading filelock would cost each of them as much as importing a hundred modules.
    """
    global _hope  # noqa: PLW0603
    waited = 0.0
    behind = directory.told < 0  # else it is this process that others stay behind
    while behind and "filelock" not in sys.modules and _hope > 0 and _others_at_work(directory):
        time.sleep(POLL)
        found = look()
        if found is not None:
            _hope = AT_WORK
            return found
        _hope -= POLL
        waited += POLL
    directory.patience = max(0.0, directory.patience - waited)  # in vain; what was found has cost none
    return None


def _others_at_work(directory: CacheDir) -> bool:
    try:
        return abs(time.time() - os.lstat(_at_work_file(directory)).st_mtime) < AT_WORK
    except OSError:
        return False


def _tell_others(directory: CacheDir) -> None:
    """Tell `look_again` in other processes, now and then, that this one is at work: a hint, nothing depends on it."""
    now = time.monotonic()
    if now - directory.told < AT_WORK / 4:
        return
    directory.told = now
    path = _at_work_file(directory)
    try:
        try:
            os.utime(path, follow_symlinks=os.utime not in os.supports_follow_symlinks)  # no link is followed
        except FileNotFoundError:
            prepare(directory)
            open_own(path, "ab", 0o644).close()
    except OSError:
        pass


def _at_work_file(directory: CacheDir) -> str:
    return f"{directory.path}/{OWN_DIR}/at-work"


class SingleFlight:
    """The right to compile one source: `with SingleFlight(directory, entry) as flight`.

    `flight.may_write` says whether to store the outcome; it is false where another process has compiled the same
    file for longer than the `lock_timeout`, or where a nested import finds the lock taken. `flight.timed_out` tells
    the two apart. Everybody may write where locks do not work, and where another thread of this process has the lock.
    """

    __slots__ = ("_directory", "_entry", "_file", "_path", "_stats", "may_write", "timed_out")

    def __init__(self, directory: CacheDir, entry: str, stats: Stats) -> None:
        self._directory = directory
        self._stats = stats
        self._entry = entry
        self._file: FileIO | None = None
        self._path = ""  # of the lock file
        self.may_write = True
        self.timed_out = False

    def __enter__(self) -> "SingleFlight":
        _tell_others(self._directory)
        lock = _lock_function()
        if lock is None or self._directory.path in _no_locks:
            return self
        path = _lock_path(self._directory, self._entry)
        nested, taken_here = _held_here(path)
        if taken_here:
            return self
        try:
            file = _open_lock_file(self._directory, path)
            self.may_write = _wait(lock, file, self._directory, nested=nested)
        except OSError as error:
            if error.errno in _WITHOUT_LOCKS:
                _no_locks.add(self._directory.path)
            self._fault(error, "take")
            self.may_write = self._directory.writable()
            return self
        if self.may_write:
            self._file = file
            self._path = path
            _held[path] = get_ident(), ref(file)
        else:
            self.timed_out = not nested
            self._close(file)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _tell_others(self._directory)
        file, self._file = self._file, None
        if file is None:
            return
        held = _held.get(self._path)
        if held is not None and held[1]() is file:  # a forked child may have put another in its place
            del _held[self._path]
        if file.closed:  # in a forked child
            return
        try:
            if _unlock is not None:
                _unlock(file.fileno())  # closing alone would not, while a forked child has it open too
        except OSError as error:
            self._fault(error, "release")
        self._close(file)

    def _close(self, file: "FileIO") -> None:
        try:
            file.close()
        except OSError as error:
            self._fault(error, "close")

    def _fault(self, error: OSError, doing: str) -> None:
        fault(self._directory, self._stats, error, f"{doing} a lock in {self._directory.path}")


def being_compiled(directory: CacheDir, entry: str) -> bool:
    """Say whether another process holds the lock of this entry now; nothing is made for it."""
    lock = _lock_function()
    if lock is None or _unlock is None:
        return False
    try:
        with open_own(_lock_path(directory, entry), "rb", 0) as file:
            free = lock(file.fileno(), blocking=False)
            if free:
                _unlock(file.fileno())
            return not free
    except OSError:
        return False


def _lock_function() -> "Callable[..., bool] | None":
    """Return filelock's `lock_descriptor`, or None while it cannot be had.

    filelock is loaded here, in the middle of somebody's import. That is safe as long as nobody, in whichever thread,
    is halfway through a module that filelock may need: it would be seen half-made, or waited for in a circle. Such
    imports, filelock's own among them, are compiled without a lock. Once it is loaded there is nothing to guard, and
    the look at every module is not repeated.
    """
    global _lock, _unlock
    if _lock is not None:
        return _lock
    if being_imported(("filelock", "pycachehook")):
        return None
    try:
        from filelock import lock_descriptor, unlock_descriptor
    except Exception:  # noqa: BLE001 -- whatever is wrong with that installation must not break this import
        return None
    _lock, _unlock = lock_descriptor, unlock_descriptor
    return _lock


def _lock_path(directory: CacheDir, entry: str) -> str:
    below = entry[len(directory.path) :]  # the cache may be mounted elsewhere for others who want this entry
    number = source_hash(os.fsencode(below))[0] % LOCKS
    return f"{directory.path}/{OWN_DIR}/locks/{number:02x}"


def _held_here(path: str) -> tuple[bool, bool]:
    """Say whether this thread holds any lock, and whether another thread of this process holds that of `path`."""
    nested = taken = False
    for held, (thread, file) in list(_held.items()):
        if getattr(file(), "closed", True):
            continue
        if thread == get_ident():
            nested = True
        elif held == path:
            taken = True
    return nested, taken


def _open_lock_file(directory: CacheDir, path: str) -> "FileIO":
    folder = os.path.dirname(path)
    check_inside(directory, folder)
    try:
        return open_own(path, "ab", 0o644)
    except FileNotFoundError:
        directory.prepared = False
        prepare(directory)
        make_directories(folder, SHARED_MODE)
        return open_own(path, "ab", 0o644)


def _wait(lock: "Callable[..., bool]", file: "FileIO", directory: CacheDir, *, nested: bool) -> bool:
    """Say whether the lock was had before this process's patience with the directory was used up."""
    began = time.monotonic()
    while not lock(file.fileno(), blocking=False):
        left = began + directory.patience - time.monotonic()
        if nested:
            return False
        if left <= 0:
            directory.patience = 0.0  # whoever holds it is stuck: no second wait for the next entry
            return False
        time.sleep(min(POLL, left))
    return True


def _drop_inherited_locks() -> None:
    for _, each in _held.values():
        file = each()
        if file is not None:
            file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_inherited_locks)
