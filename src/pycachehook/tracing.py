"""Recording of a process's start: every import with its phases, garbage collections, and the exit.

One line of JSON is written for each, as a Chrome trace event, so that the file is a valid trace even if its process is
killed. Loaded only if `PYCACHEHOOK_TRACE` is set, before the program's first import.

Start-up module where it is loaded: imports nothing at module level that the interpreter has not already loaded, except
`atexit` and `gc`, which are built in.
"""

import atexit
import gc
import sys

from . import own_modules
from ._compat import wrap_imports
from .events import HIT, MISS, Event, process_listeners
from .system import BUILTINS, ENTRY_FLAGS, S_IFDIR, S_IFMT, is_foreign, system
from .terminal import is_plain, to_json

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Started = list[Any]  # an import whose module is being executed: its name, and the hit or miss of the cache

_now = system.perf_counter_ns
_MANY = 100  # records that are kept if they belong to no import of a module that exists
_SHORT = 200_000  # nanoseconds: shorter collections, of which there are hundreds, are summed up

# A new file for each process, private because lines contain paths and arguments. It is opened anew for each write,
# because programs close descriptors that they do not know; a link or another file in its place is not written to.
_constants = system.os_module
_APPEND = ENTRY_FLAGS | _constants.O_WRONLY | _constants.O_APPEND | getattr(_constants, "O_NOCTTY", 0)
_CREATE = _APPEND | _constants.O_CREAT | _constants.O_EXCL
_MODE = 0o600
_DIRECTORY: int = getattr(_constants, "O_DIRECTORY", 0)  # 0 where directories cannot be opened


class Recorder:
    """Writes one file in a directory for this process, and one for each forked child.

    During an import it only keeps tuples of numbers and strings. They become text when an outermost import has ended,
    so that they are in the file if the process is killed.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._identity_of_folder = _identity(system.lstat(folder))
        self._epoch = system.time_ns() - _now()  # so that times of several processes can be compared
        self._stacks: dict[int, list[Started]] = {}  # imports in progress, by thread
        self._records: list[tuple[Any, ...]] = []  # see `_line` and `_line_of_import`
        self._collection = 0
        self._collections = [0, 0]  # number and duration of the short ones since the last record of them
        self._begin()

    def start(self) -> None:
        """Record all imports of this process from now on."""
        wrap_imports(self.wrappers)
        process_listeners.append(self.note)
        gc.callbacks.append(self.collected)
        atexit.register(self.exiting)
        if system.register_at_fork is not None:
            system.register_at_fork(after_in_child=self._begin)
        sys.__dict__["_pycachehook_last"] = _Last(self)  # cleared after all other modules

    def wrappers(self, find: "Any", load: "Any") -> "tuple[Any, Any]":
        """Return functions that record calls of importlib's functions that find a spec, and that load its module."""
        stacks, records, ident, now, flush = self._stacks, self._records, system.get_ident, _now, self._flush
        found: dict[int, tuple[object, int, int]] = {}  # the last spec of each thread, and the times of the search

        def recorded_find(name: str, *arguments: object) -> object:
            began = now()
            spec = None
            try:
                spec = find(name, *arguments)
            finally:
                ended = now()
                if spec is None:
                    records.append((name, began, ended, ended, None, ident()))
                    if len(records) > _MANY and not stacks.get(ident()):
                        flush()
            found[ident()] = spec, began, ended
            return spec

        def recorded_load(spec: "Any") -> object:
            thread = ident()
            last, began, at = found.pop(thread, (None, 0, 0))
            if last is not spec:  # `importlib.util.find_spec` and `importlib.reload` only find
                began = at = now()
            one = [spec.name, None]
            stack = stacks.get(thread)
            if stack is None:
                stack = stacks[thread] = []
            stack.append(one)
            try:
                return load(spec)
            finally:
                ended = now()
                if stack and stack[-1] is one:  # not in the forked child of a process in which the import began
                    del stack[-1]
                    records.append((one[0], began, at, ended, one[1] or _words_of(spec), thread))
                    if not stack:
                        flush()

        return recorded_find, recorded_load

    def note(self, event: Event) -> None:
        """Keep a hit or miss for the record of its import."""
        if event.event in (HIT, MISS):
            for one in reversed(self._stacks.get(system.get_ident(), ())):
                if one[0] == event.module:
                    one[1] = event
                    break

    def collected(self, phase: str, information: "dict[str, Any]") -> None:
        """Record a collection of the cyclic garbage collector during an import or at exit; short ones are summed up."""
        if phase == "start":
            self._collection = _now()
        elif self._collection and (self._ending or self._stacks.get(system.get_ident())):
            began, self._collection = self._collection, 0
            now = _now()
            if now - began < _SHORT:
                self._collections[0] += 1
                self._collections[1] += now - began
            else:
                self._records.append(("collection", "gc", began, now, {"generation": information["generation"]}))
                if self._ending:
                    self._flush()

    def exiting(self) -> None:
        """Record that the program has ended and its exit callbacks have run."""
        now = _now()
        self._ending = True
        freezing = own_modules.loaded("gc_control")  # `gc = "freeze"`
        frozen = freezing is not None and freezing.start.frozen
        self._records.append(("exit", "process", now, now, {"frozen": 1} if frozen else {}))
        self._flush()

    def last_line(self, now: int) -> "tuple[str, tuple[int, int] | None, bytes]":
        """Return path and identity of this process's file, and a line with the time at which its modules were gone.

        Uses no globals, which no longer exist at that time.
        """
        count, spent = self._collections
        line = f'{{"ph": "X", "name": "torn down", "cat": "process", "ts": {self._epoch + now}e-3, "dur": 0.0, '
        arguments = f'{{"count": {count}, "spent": {spent}}}'
        data = f'{line}"pid": {self._pid}, "tid": 0, "args": {arguments}}},\n'.encode()
        return self._path, None if self._full else self._identity, data

    def _begin(self) -> None:
        """Begin a separate file for this process."""
        self._pid = system.getpid()
        self._name = f"{self._pid}-{system.time_ns():x}.json"
        self._path = f"{self._folder}/{self._name}"
        self._identity: tuple[int, int] | None = None  # of the file, once it exists
        self._full = False  # whether the disk took only a part of a write
        self._ending = False
        for stack in self._stacks.values():
            stack.clear()  # imports that began in the parent are in its recording
        self._collections[:] = 0, 0
        argv = [str(each) for each in getattr(sys, "orig_argv", ())]
        now = _now()
        begin = {"argv": " ".join(argv), "python": sys.version.split()[0]}
        self._records[:] = [("begin", "process", now, now, begin)]

    def _line(self, name: str, kind: str, began: int, ended: int, arguments: "dict[str, Any]") -> str:
        """Return a record of anything but an import as a line of text."""
        return (  # nanoseconds as integers with an exponent, which is faster than microseconds as floats
            f'{{"ph": "X", "name": "{name}", "cat": "{kind}", "ts": {self._epoch + began}e-3, '
            f'"dur": {ended - began}e-3, "pid": {self._pid}, "tid": 0, "args": {to_json(arguments)}}},\n'
        )

    def _line_of_import(self, record: "tuple[Any, ...]", quoted: "Callable[[str], str]") -> str:
        """Return a record of an import as a line of text, with strings as `quoted` returns them.

        It is a tuple (name, began, found, ended, outcome, thread). The outcome is the hit or miss of the cache, or the
        pair of `_words_of`, or None if there is no such module.
        """
        name, began, found, ended, outcome, thread = record
        if type(outcome) is Event:
            # The text of a dict of plain strings and numbers is JSON but for the quotation marks.
            phases = f"{outcome.nanoseconds}"[1:-1].replace("'", '"')
            phases += ", " if phases else ""
            words = f'"verdict": "{outcome.event}", "place": "{outcome.place}", "reason": "{outcome.reason}", '
            arguments = f'{phases}{words}"path": {quoted(outcome.path)}'
        elif outcome is None:
            arguments = '"found": 0'
        else:
            loader, path = outcome
            arguments = f'"loader": {quoted(loader)}, "path": {quoted(path)}'
        return (
            f'{{"ph": "X", "name": {quoted(name)}, "cat": "import", "ts": {self._epoch + began}e-3, '
            f'"dur": {ended - began}e-3, "pid": {self._pid}, "tid": {thread}, '
            f'"args": {{"find": {found - began}, {arguments}}}}},\n'
        )

    def _flush(self) -> None:
        count, spent = self._collections
        now = _now()
        if count:
            self._collections[:] = 0, 0
            self._records.append(("collections", "gc", now, now, {"count": count, "spent": spent}))
        records = self._records[:]
        del self._records[: len(records)]  # another thread may have added more
        if records:
            # To check all strings at once is faster than each for itself.
            plain = is_plain("".join([text for each in records for text in _strings(each)]))
            quoted = '"{}"'.format if plain else to_json
            lines = [
                self._line(*each) if type(each[1]) is str else self._line_of_import(each, quoted) for each in records
            ]
            self._append("".join(lines).encode("ascii"))

    def _append(self, data: bytes) -> None:
        """Append to the file of this process in one call. What cannot be written is dropped."""
        descriptor = -1
        try:
            if self._identity is None:
                descriptor = self._create()
                data = b"[\n" + data
                self._identity = _identity(system.fstat(descriptor))
            elif not self._full:
                descriptor = system.open(self._path, _APPEND)
            if descriptor >= 0 and _identity(system.fstat(descriptor)) == self._identity:
                self._full = system.write(descriptor, data) != len(data)
        except (OSError, ValueError) as error:  # ValueError: a null character in the path
            if is_foreign(error):
                raise
        finally:
            if descriptor >= 0:
                system.close(descriptor)

    def _create(self) -> int:
        """Return a descriptor of a new file; raises OSError if something else has replaced the directory."""
        if not _DIRECTORY:
            return system.open(self._path, _CREATE, _MODE)  # type: ignore[no-any-return]
        folder = system.open(self._folder, ENTRY_FLAGS | _DIRECTORY)
        try:
            if _identity(system.fstat(folder)) != self._identity_of_folder:
                raise OSError(None, "the directory has been replaced", self._folder)
            return system.open(self._name, _CREATE, _MODE, dir_fd=folder)  # type: ignore[no-any-return]
        finally:
            system.close(folder)


class _Last:
    """An object in `sys` whose deletion shows that the interpreter has dropped all modules, with their globals."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._flags = _APPEND
        self._functions = _now, system.open, system.fstat, system.write, system.close, OSError

    def __del__(self) -> None:
        now, open_, fstat, write, close, failure = self._functions
        path, identity, line = self._recorder.last_line(now())
        if identity is None:
            return
        try:
            descriptor = open_(path, self._flags)
            status = fstat(descriptor)
            if (status.st_dev, status.st_ino) == identity:
                write(descriptor, line)
            close(descriptor)
        except failure:
            pass


def _strings(record: "tuple[Any, ...]") -> "tuple[str, ...]":
    """Return the strings in a record of an import that may need escaping."""
    outcome = record[4]
    if type(outcome) is Event:
        return record[0], outcome.path
    return record[:1] if outcome is None or type(outcome) is dict else (record[0], *outcome)


def _words_of(spec: "Any") -> "tuple[str, str]":
    """Return the name of the spec's loader, and its origin."""
    loader, origin = getattr(spec, "loader", None), getattr(spec, "origin", None)
    return str(getattr(loader, "__name__", type(loader).__name__)), origin if isinstance(origin, str) else ""


def _identity(status: "Any") -> "tuple[int, int]":
    return status.st_dev, status.st_ino


def start(folder: str) -> str:
    """Record this process in the directory `folder`, which is created if necessary.

    Return why nothing is recorded, or "".
    """
    if folder[:1] != "/":  # the program may change its current directory
        folder = own_modules.require("stats_log").absolute_target(folder)
    if not folder:
        return "nothing is recorded: the current directory has been removed"
    folder = folder.rstrip("/") or "/"  # `lstat` follows a link that ends in a slash
    try:
        try:
            system.mkdir(folder, 0o700)
        except OSError as error:  # it exists already, or cannot be created
            if is_foreign(error):
                raise
        if system.lstat(folder).st_mode & S_IFMT != S_IFDIR:
            return f"nothing is recorded: {folder} is no directory; a link is not followed"
        Recorder(folder).start()
    except (OSError, ValueError) as error:  # ValueError: a null character
        if is_foreign(error):
            raise
        return f"nothing is recorded in {folder}: {getattr(error, 'strerror', error)}"
    return ""
