"""Recording of a process's start: every import with its phases, garbage collections, and the exit.

One line of JSON is written for each, as a Chrome trace event, so that the file is a valid trace even if its process is
killed. Loaded only if `PYCACHEHOOK_TRACE` is set, before the program's first import.

Start-up module where it is loaded: imports nothing at module level that the interpreter has not already loaded, except
`atexit` and `gc`, which are built in.
"""

import atexit
import gc
import sys

from ._compat import wrap_imports
from .events import HIT, MISS, Event, process_listeners
from .stats_log import FLAGS, MODE, absolute_target, append, to_json
from .system import BUILTINS, is_foreign, system

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_now = system.perf_counter_ns


class _Import:
    """An import that has begun: its name, and the times at which its phases began, in nanoseconds."""

    __slots__ = ("began", "event", "found", "name")

    def __init__(self, name: str, began: int) -> None:
        self.name = name
        self.began = began
        self.found = began  # time at which its spec was known
        self.event: Event | None = None  # the hit or miss of the cache


class Recorder:
    """Writes one file in a directory for this process, and one for each forked child."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._epoch = system.time_ns() - _now()  # so that times of several processes can be compared
        self._stacks: dict[int, list[_Import]] = {}  # imports in progress, by thread
        self._find: Any = None
        self._load: Any = None
        self._collection = 0
        self._begin()

    def start(self) -> None:
        """Record all imports of this process from now on."""
        self._find, self._load = wrap_imports(self.find, self.load)
        process_listeners.append(self.note)
        gc.callbacks.append(self.collected)
        atexit.register(self.exiting)
        if system.register_at_fork is not None:
            system.register_at_fork(after_in_child=self._begin)
        sys.__dict__["_pycachehook_last"] = _Last(self)  # cleared after all other modules

    def find(self, name: str, *arguments: object) -> object:
        """Replace importlib's function that finds a module's spec, and call it."""
        stack = self._stacks.setdefault(system.get_ident(), [])
        one = _Import(name, _now())
        stack.append(one)
        spec = None
        try:
            spec = self._find(name, *arguments)
        finally:
            one.found = _now()
            if spec is None:
                self._end(stack, one)
        return spec

    def load(self, spec: "Any") -> object:
        """Replace importlib's function that makes a module from its spec and executes it, and call it."""
        stack = self._stacks.setdefault(system.get_ident(), [])
        if not stack or stack[-1].name != spec.name:
            stack.append(_Import(spec.name, _now()))
        one = stack[-1]
        try:
            return self._load(spec)
        finally:
            self._end(stack, one, spec)

    def note(self, event: Event) -> None:
        """Keep a hit or miss for the record of its import."""
        if event.event in (HIT, MISS):
            for one in reversed(self._stacks.get(system.get_ident(), [])):
                if one.name == event.module:
                    one.event = event
                    break

    def collected(self, phase: str, information: "dict[str, Any]") -> None:
        """Record a collection of the cyclic garbage collector."""
        now = _now()
        if phase == "start":
            self._collection = now
        elif self._collection:
            self._write("collection", "gc", self._collection, now, {"generation": information["generation"]})
            self._collection = 0
            if not self._stacks.get(system.get_ident()):
                self._flush()

    def exiting(self) -> None:
        """Record that the program has ended and its exit callbacks have run."""
        now = _now()
        self._write("exit", "process", now, now, {})
        self._flush()

    def last_line(self, now: int) -> "tuple[str, bytes]":
        """Return the path of this process's file, and a line with the time at which its modules were gone.

        Uses no globals, which no longer exist at that time.
        """
        line = f'{{"ph": "X", "name": "torn down", "cat": "process", "ts": {(self._epoch + now) / 1000}, "dur": 0.0, '
        return self._path, f'{line}"pid": {self._pid}, "tid": 0, "args": {{}}}},\n'.encode()

    def _begin(self) -> None:
        """Begin a separate file for this process."""
        self._pid = system.getpid()
        self._path = f"{self._folder}/{self._pid}-{system.time_ns():x}.json"
        self._stacks.clear()
        self._lines = ["["]
        argv = [str(each) for each in getattr(sys, "orig_argv", [])]
        self._write("begin", "process", _now(), _now(), {"argv": " ".join(argv), "python": sys.version.split()[0]})

    def _end(self, stack: "list[_Import]", one: _Import, spec: "Any" = None) -> None:
        while stack and stack.pop() is not one:
            pass
        now = _now()
        arguments: dict[str, object] = {"find": one.found - one.began}
        event = one.event
        if spec is None:
            arguments["found"] = 0
        elif event is not None:
            arguments.update(event.nanoseconds)
            arguments.update(verdict=event.event, place=event.place, reason=event.reason, path=event.path)
        else:
            origin = getattr(spec, "origin", None)
            kind = getattr(spec.loader, "__name__", type(spec.loader).__name__)
            arguments.update(loader=str(kind), path=origin if isinstance(origin, str) else "")
        self._write(one.name, "import", one.began, now, arguments)
        if not stack:
            self._flush()

    def _write(self, name: str, kind: str, began: int, ended: int, arguments: "dict[str, Any]") -> None:
        self._lines.append(
            f'{{"ph": "X", "name": {to_json(name)}, "cat": "{kind}", "ts": {(self._epoch + began) / 1000}, '
            f'"dur": {(ended - began) / 1000}, "pid": {self._pid}, "tid": {system.get_ident()}, "args": {to_json(arguments)}}},'
        )

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            append(self._path, "\n".join(lines) + "\n")


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
