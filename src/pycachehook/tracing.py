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
from .stats_log import FLAGS, MODE, absolute_target, append, to_json
from .system import BUILTINS, is_foreign, system

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_now = system.perf_counter_ns
_SHORT = 200_000  # nanoseconds: shorter collections, of which there are hundreds, are summed up


class _Import:
    """An import whose module is being executed: the times at which its phases began, in nanoseconds."""

    __slots__ = ("began", "event", "found", "name")

    def __init__(self, name: str, began: int, found: int) -> None:
        self.name = name
        self.began = began
        self.found = found  # time at which its spec was known
        self.event: Event | None = None  # the hit or miss of the cache


class Recorder:
    """Writes one file in a directory for this process, and one for each forked child.

    During an import it only keeps tuples of numbers and strings. They become text when an outermost import has ended,
    so that they are in the file if the process is killed.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._epoch = system.time_ns() - _now()  # so that times of several processes can be compared
        self._stacks: dict[int, list[_Import]] = {}  # imports in progress, by thread
        self._records: list[tuple[Any, ...]] = []  # see `_line`
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
        stacks, ident, now, ended, not_found = self._stacks, system.get_ident, _now, self._ended, self._not_found
        found: dict[int, tuple[object, int, int]] = {}  # the last spec of each thread, and the times of the search

        def recorded_find(name: str, *arguments: object) -> object:
            began = now()
            spec = None
            try:
                spec = find(name, *arguments)
            finally:
                if spec is None:
                    not_found(name, began)
            found[ident()] = spec, began, now()
            return spec

        def recorded_load(spec: "Any") -> object:
            thread = ident()
            last, began, at = found.pop(thread, (None, 0, 0))
            if last is not spec:  # `importlib.util.find_spec` and `importlib.reload` only find
                began = at = now()
            one = _Import(spec.name, began, at)
            stack = stacks.get(thread)
            if stack is None:
                stack = stacks[thread] = []
            stack.append(one)
            try:
                return load(spec)
            finally:
                ended(stack, one, spec, thread)

        return recorded_find, recorded_load

    def note(self, event: Event) -> None:
        """Keep a hit or miss for the record of its import."""
        if event.event in (HIT, MISS):
            for one in reversed(self._stacks.get(system.get_ident(), ())):
                if one.name == event.module:
                    one.event = event
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

    def last_line(self, now: int) -> "tuple[str, bytes]":
        """Return the path of this process's file, and a line with the time at which its modules were gone.

        Uses no globals, which no longer exist at that time.
        """
        count, spent = self._collections
        at = self._epoch + now
        line = f'{{"ph": "X", "name": "torn down", "cat": "process", "ts": {at // 1000}.{at % 1000:03}, "dur": 0.0, '
        arguments = f'{{"count": {count}, "spent": {spent}}}'
        return self._path, f'{line}"pid": {self._pid}, "tid": 0, "args": {arguments}}},\n'.encode()

    def _begin(self) -> None:
        """Begin a separate file for this process."""
        self._pid = system.getpid()
        self._path = f"{self._folder}/{self._pid}-{system.time_ns():x}.json"
        self._ending = False
        for stack in self._stacks.values():
            stack.clear()  # imports that began in the parent are in its recording
        self._first = "[\n"
        self._collections[:] = 0, 0
        argv = [str(each) for each in getattr(sys, "orig_argv", ())]
        now = _now()
        begin = {"argv": " ".join(argv), "python": sys.version.split()[0]}
        self._records[:] = [("begin", "process", now, now, begin)]

    def _not_found(self, name: str, began: int) -> None:
        now, thread = _now(), system.get_ident()
        self._records.append((name, "import", began, now, {"find": now - began, "found": 0}, thread))
        if not self._stacks.get(thread):
            self._flush()

    def _ended(self, stack: "list[_Import]", one: _Import, spec: "Any", thread: int) -> None:
        now = _now()
        if stack and stack[-1] is one:  # not in the forked child of a process in which the import began
            del stack[-1]
            event: Any = one.event
            if event is None:
                loader = getattr(spec, "loader", None)
                event = getattr(loader, "__name__", type(loader).__name__), getattr(spec, "origin", None)
            self._records.append((one.name, one.began, one.found, now, event, thread))
            if not stack:
                self._flush()

    def _line(self, record: "tuple[Any, ...]") -> str:
        """Return a record as a line of text.

        It is a tuple (name, began, found, ended, event or pair of loader and file, thread) for an import, and
        (name, kind, began, ended, arguments[, thread]) for anything else.
        """
        name, began, found, ended, event, *thread = record
        kind = "import"
        if type(began) is str:
            kind, began = began, found
            arguments = to_json(event)
        elif type(event) is Event:
            phases = "".join([f', "{phase}": {time}' for phase, time in event.nanoseconds.items()])
            words = f'"verdict": "{event.event}", "place": "{event.place}", "reason": "{event.reason}"'
            arguments = f'{{"find": {found - began}{phases}, {words}, "path": {to_json(event.path)}}}'
        else:
            loader, origin = event
            origin = to_json(origin if isinstance(origin, str) else "")
            arguments = f'{{"find": {found - began}, "loader": {to_json(str(loader))}, "path": {origin}}}'
        since, spent = self._epoch + began, ended - began  # written as decimals, which is faster than by float
        return (
            f'{{"ph": "X", "name": {to_json(name)}, "cat": "{kind}", "ts": {since // 1000}.{since % 1000:03}, '
            f'"dur": {spent // 1000}.{spent % 1000:03}, "pid": {self._pid}, "tid": {thread[0] if thread else 0}, '
            f'"args": {arguments}}},\n'
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
            text = self._first + "".join([self._line(record) for record in records])
            self._first = ""
            append(self._path, text)


class _Last:
    """An object in `sys` whose deletion shows that the interpreter has dropped all modules, with their globals."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._how = FLAGS, MODE
        self._functions = _now, system.open, system.write, system.close, OSError

    def __del__(self) -> None:
        now, open_, write, close, failure = self._functions
        path, line = self._recorder.last_line(now())
        try:
            descriptor = open_(path, *self._how)
            write(descriptor, line)
            close(descriptor)
        except failure:
            pass


def start(folder: str) -> None:
    """Record this process in the directory `folder`, which is created if necessary."""
    folder = absolute_target(folder)  # the program may change its current directory
    if not folder:
        return
    try:
        system.mkdir(folder, 0o700)
    except OSError as error:  # it exists already, or nothing will be written
        if is_foreign(error):
            raise
    Recorder(folder).start()
