"""Cross-process single flight: one process compiles a source, the others wait for its entry.

The lock prevents duplicate work only; an entry written without it is just as valid. It is held for one compilation,
never while the module's body runs.

Loaded by the first miss that may write an entry, not at start-up.
"""

from pycachehook._compat import loads_extension, source_hash, standard_module
from pycachehook.cache_dir import SHARED_MODE, CacheDir, make_directories
from pycachehook.events import Stats
from pycachehook.on_miss.writer import check_inside, fault, open_own, prepare
from pycachehook.paths import OWN_DIR
from pycachehook.system import BUILTINS, builtin_module, is_foreign, system

__builtins__ = BUILTINS  # so that patches of `builtins` do not reach this module

_ref = builtin_module("_weakref").ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _weakref import ref
    from collections.abc import Callable
    from io import FileIO

LOCKS = 64  # lock files per cache directory; two sources that share one wait for each other needlessly
THREAD_PATIENCE = 1.0  # seconds that a thread waits for another one of this process
FIRST_POLL, POLL = 0.001, 0.05  # seconds; polling more often would take processor time from the compiling process
LOCK_MODE = 0o600  # private, because anyone who can open the file can lock it and delay every start

_WITHOUT_LOCKS = ("ENOSYS", "ENOLCK", "EOPNOTSUPP")  # error codes of file systems without locks

# The locks of this process, by path: the thread, and a weak reference to the open file. They are dropped in a forked
# child. A thread does not wait long for another thread of this process, which may itself be waiting for a module that
# this thread is importing. If an exception from a signal handler interrupts `__enter__`, the file is lost: its finalizer
# closes it, which releases the lock.
_held: "dict[str, tuple[int, ref[FileIO]]]" = {}
_no_locks: set[str] = set()  # cache directories whose file system has no locks
# The functions that lock and unlock; empty until they are first needed.
_functions: "list[tuple[Callable[[int], bool], Callable[[int], None]] | None]" = []


class SingleFlight:
    """The right to compile one source: `with SingleFlight(directory, entry, stats) as flight`.

    `flight.may_write` is whether to store the result. It is false if another process has been compiling the same file
    for longer than the `lock_timeout`; `flight.timed_out` is then true. It is also false if another process holds the
    lock while this thread already holds another one, because of nested imports: to wait might cause a deadlock. It is
    true if locks do not work, and if another thread of this process does not release the lock in `THREAD_PATIENCE`.
    """

    __slots__ = ("_directory", "_entry", "_file", "_path", "_stats", "may_write", "timed_out")

    def __init__(self, directory: CacheDir, entry: str, stats: Stats) -> None:
        self._directory = directory
        self._stats = stats
        self._entry = entry
        self._file: FileIO | None = None
        self._path = ""  # the path of the lock file
        self.may_write = True
        self.timed_out = False

    def __enter__(self) -> "SingleFlight":
        functions = lock_functions()
        if functions is None or self._directory.path in _no_locks:
            return self
        path = _lock_path(self._directory, self._entry)
        nested, taken_by_thread = _locks_held(path)
        patience = 0.0 if nested else self._directory.lock_time_left
        try:
            file = _open_lock_file(self._directory, path)
            acquired = _wait(functions[0], file, min(patience, THREAD_PATIENCE) if taken_by_thread else patience)
        except PermissionError as error:  # another user's lock file in a cache that several users write to
            if is_foreign(error):
                raise
            return self
        except OSError as error:
            if is_foreign(error):
                raise
            if error.errno in [system.error_number(name) for name in _WITHOUT_LOCKS]:
                _no_locks.add(self._directory.path)
            self._fault(error, "take")
            self.may_write = self._directory.writable()
            return self
        if acquired:
            self._file = file
            self._path = path
            _held[path] = system.get_ident(), _ref(file)
            return self
        self._close(file)
        if not taken_by_thread:
            self.may_write = False
            if not nested:
                self.timed_out = True
                self._directory.lock_time_left = 0.0  # the holder hangs, so do not wait again for the next entry
        return self

    def __exit__(self, *exc_info: object) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        held = _held.get(self._path)
        if held is not None and held[1]() is file:  # a forked child may have replaced it
            del _held[self._path]
        if file.closed:  # this process was forked while its parent held the lock
            return
        try:
            functions = lock_functions()
            if functions is not None:
                functions[1](file.fileno())  # closing does not release it while a forked child has the file open
        except OSError as error:
            if is_foreign(error):
                raise
            self._fault(error, "release")
        self._close(file)

    def _close(self, file: "FileIO") -> None:
        try:
            file.close()
        except OSError as error:
            if is_foreign(error):
                raise
            self._fault(error, "close")

    def _fault(self, error: OSError, doing: str) -> None:
        fault(self._directory, self._stats, error, f"{doing} a lock in {self._directory.path}")


def being_compiled(directory: CacheDir, entry: str) -> bool:
    """Return whether another process holds the lock of this entry now; no file is created."""
    functions = lock_functions()
    if functions is None:
        return False
    try:
        with open_own(_lock_path(directory, entry), "rb", 0) as file:
            free = functions[0](file.fileno())
            if free:
                functions[1](file.fileno())
            return not free
    except OSError:
        return False


def lock_functions() -> "tuple[Callable[[int], bool], Callable[[int], None]] | None":
    """Return a function that tries to lock an open file and one that unlocks it; None if locks are unavailable.

    They lock what filelock locks: the whole file with `flock` on POSIX, its first byte with `msvcrt.locking` on
    Windows.
    """
    if not _functions:
        if loads_extension():  # it imports what is being compiled now
            return None
        _functions.append(_windows_locks() if system.windows else _posix_locks())
    return _functions[0]


def _posix_locks() -> "tuple[Callable[[int], bool], Callable[[int], None]] | None":
    fcntl = standard_module("fcntl")
    if fcntl is None:
        return None
    flock, exclusive, unlock = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN

    def try_to_lock(descriptor: int) -> bool:
        try:
            flock(descriptor, exclusive)
        except BlockingIOError as error:
            if is_foreign(error):
                raise
            return False
        return True

    return try_to_lock, lambda descriptor: flock(descriptor, unlock)


def _windows_locks() -> "tuple[Callable[[int], bool], Callable[[int], None]] | None":
    msvcrt = standard_module("msvcrt")
    if msvcrt is None:
        return None

    def move(descriptor: int, how: int) -> None:
        system.lseek(descriptor, 0, 0)
        msvcrt.locking(descriptor, how, 1)

    def try_to_lock(descriptor: int) -> bool:
        try:
            move(descriptor, msvcrt.LK_NBLCK)
        except PermissionError as error:
            if is_foreign(error):
                raise
            return False
        return True

    return try_to_lock, lambda descriptor: move(descriptor, msvcrt.LK_UNLCK)


def _lock_path(directory: CacheDir, entry: str) -> str:
    below = entry[len(directory.path) :]  # relative, because other processes may mount the cache elsewhere
    number = source_hash(system.fsencode(below))[0] % LOCKS
    return f"{directory.path}/{OWN_DIR}/locks/{number:02x}"


def _locks_held(path: str) -> tuple[bool, bool]:
    """Return whether this thread holds any lock, and whether another thread holds the one at `path`."""
    nested = taken = False
    for held, (thread, file) in list(_held.items()):
        if getattr(file(), "closed", True):
            continue
        if thread == system.get_ident():
            nested = True
        elif held == path:
            taken = True
    return nested, taken


def _open_lock_file(directory: CacheDir, path: str) -> "FileIO":
    folder = path.rpartition("/")[0]
    check_inside(directory, folder)
    try:
        return open_own(path, "ab", LOCK_MODE)
    except FileNotFoundError as error:
        if is_foreign(error):
            raise
        directory.is_marked = False
        prepare(directory)
        make_directories(folder, SHARED_MODE)
        return open_own(path, "ab", LOCK_MODE)


def _wait(lock: "Callable[[int], bool]", file: "FileIO", patience: float) -> bool:
    """Return whether the lock was acquired within `patience` seconds."""
    end = system.monotonic() + patience
    pause = FIRST_POLL
    while not lock(file.fileno()):
        remaining = end - system.monotonic()
        if remaining <= 0:
            return False
        system.sleep(min(pause, remaining))
        pause = min(2 * pause, POLL)
    return True


def _drop_inherited_locks() -> None:
    for _, reference in _held.values():
        file = reference()
        if file is not None:
            file.close()
    _held.clear()


if system.register_at_fork is not None:
    system.register_at_fork(after_in_child=_drop_inherited_locks)
