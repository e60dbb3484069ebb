"""The process started by the option `compile_ahead`, which compiles what the modules of a cold start import.

It executes no module. The imports of a module are read from its text: the import statements at its top level, and those
in `try`, `if` and `with` blocks there. The modules are searched for on the program's `sys.path`, and compiled and
stored as for a miss in the program, under the same locks. A source that another process is compiling is skipped, and
its imports are followed later.
"""

import marshal
import os
import re
import select
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import FrozenImporter
from typing import Any

from pycachehook import runtime
from pycachehook.events import IN_TREE, Stats
from pycachehook.finder import CachingFinder
from pycachehook.loader import CachingLoader, Policies
from pycachehook.on_miss.compiling import compile_and_store
from pycachehook.on_miss.single_flight import being_compiled
from pycachehook.stats_log import write_at_exit

IDLE = 2.0  # seconds without work after which a worker ends
_INPUT = 0
_SIZE = 4  # bytes that say how long the settings are

_STATEMENT = re.compile(
    rb"[ \t]*(?:from[ \t]+(?P<base>[.\w]+)[ \t]+import[ \t]*(?P<names>\([^)]*\)|[^\n#;(]+)"
    rb"|import[ \t]+(?P<modules>[^\n#;]+))"
)
_NAME = re.compile(rb"(?:^|,)\s*([.\w]+)")
# Blocks at the top level that do not run at an import, or seldom: an `except` holds what stands in for a module.
_NOT_RUN = re.compile(rb"async\b|def\b|class\b|@|except\b|if\b.*(?:TYPE_CHECKING|__name__|win32|emscripten|\bnt\b)")
_CHECKED_EVERY = 0.005  # seconds between two looks at what has come from the program


def serve() -> None:
    """Work for the program that started this process, until it ends or has sent nothing new for a while."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what a program lets its children inherit is not for this one
    sys.dont_write_bytecode = False  # was set for this package's own modules
    warnings.simplefilter("error")  # what warns is left to the program, which shows the warning
    settings = marshal.loads(_read_settings())
    sys.path[:] = settings["path"]
    os.set_blocking(_INPUT, False)
    program = _Program(settings["pid"])
    worker = Worker(settings["values"], settings["stats"], private=settings["private"], number=settings["number"])
    checked = 0.0
    while program.lives:
        if not worker.todo or time.monotonic() - checked > _CHECKED_EVERY:
            worker.add(program.received(0.0 if worker.todo else IDLE))
            if not worker.todo:
                break
            checked = time.monotonic()
        worker.step()


def _read_settings() -> bytes:
    data = b""
    size = _SIZE
    while len(data) < size:
        part = os.read(_INPUT, size - len(data))
        if not part:
            sys.exit()
        data += part
        if size == len(data) == _SIZE:
            size += int.from_bytes(data, "big")
    return data[_SIZE:]


class _Program:
    """The process that this one works for: module names arrive on standard input; `lives` is whether to continue."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._rest = b""
        self._watched: list[int] = [_INPUT]
        self.lives = True
        with suppress(OSError, AttributeError):  # Linux
            self._watched.append(os.pidfd_open(pid))

    def received(self, patience: float) -> list[str]:
        """Return the names of modules that have arrived, waiting at most `patience` seconds for some."""
        ready = select.select(self._watched, [], [], patience)[0]
        if len(self._watched) > 1:
            self.lives = self._watched[1] not in ready
        else:
            try:
                os.kill(self._pid, 0)
            except OSError:
                self.lives = False
        if _INPUT not in ready:
            return []
        data = os.read(_INPUT, 1 << 16)
        if not data:
            self.lives = False
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "surrogatepass") for line in lines]


class Worker:
    """The traversal of imports from the modules that the program has compiled; `todo` is a stack of modules.

    The last import of a module is compiled first, because the program starts with the first one, and would have to wait
    for a worker that compiles the module it needs next. Several workers start with different modules for the same
    reason.
    """

    def __init__(self, values: dict[str, Any], statistics: str, *, private: bool, number: int = 0) -> None:
        self.stats = Stats()
        if statistics:
            write_at_exit(self.stats, statistics)
        composition = runtime.compose({**values, "compile_ahead": 0}, self.stats, private=private)
        self._policies = Policies()
        self._policies.replace(composition.default, composition.rules, runtime.listings_of(composition.archives))
        self._finder = CachingFinder(self._policies)
        self._number = number
        self._specs: dict[str, Any] = {}
        self._seen: set[str] = set()
        self.todo: list[tuple[str, bool]] = []  # names, and whether the program itself has compiled that module

    def add(self, names: list[str]) -> None:
        """Add modules that the program has compiled, whose imports are needed next."""
        self.todo += [(name, True) for name in names]

    def step(self) -> None:
        """Compile one module if necessary, and add its imports."""
        name, compiled = self.todo.pop()
        if not compiled and name in self._seen:
            return
        self._seen.add(name)
        spec = self._locate(name)
        loader = None if spec is None else spec.loader
        if type(loader) is not CachingLoader:
            return
        path = loader.path
        if not compiled and not self._compile(name, loader):
            return
        with suppress(OSError):
            with open(path, "rb") as file:
                source = file.read()
            package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
            wanted = [*dict.fromkeys(module for module in imported(source, package) if module not in self._seen)]
            shift = self._number % len(wanted) if wanted else 0
            self.todo += [(module, False) for module in wanted[-shift:] + wanted[:-shift]]

    def _compile(self, name: str, loader: CachingLoader) -> bool:
        """Make sure that the module has an entry in the cache, and return whether to follow its imports."""
        policy = self._policies.of(loader.path)
        if policy is None or policy.store is None:
            return False
        code, outcome = policy.look_up(loader.path)
        if code is not None:
            return outcome.place != IN_TREE  # what was compiled at its installation imports what was, too
        store = policy.store
        if being_compiled(store.directory, store.path(loader.path)):
            self._seen.discard(name)
            self.todo.insert(0, (name, False))
            return False
        try:
            _, outcome = compile_and_store(loader, name, store, self.stats, outcome)
        except (SyntaxError, ValueError, OSError, RecursionError, MemoryError, Warning):
            return False  # the program will see for itself, if it comes to import this module
        self.stats.count(outcome, name, loader.path)
        return True

    def _locate(self, name: str) -> Any:
        """Return the module's spec and add its parents; None if it is not cached by pycachehook."""
        if name in self._specs:
            return self._specs[name]
        self._specs[name] = None
        if name in sys.builtin_module_names or FrozenImporter.find_spec(name) is not None:
            return None
        parent = name.rpartition(".")[0]
        path = None
        if parent:
            above = self._locate(parent)
            path = None if above is None else above.submodule_search_locations
            if path is None:
                return None
        with suppress(Exception):  # a path entry's own finder may raise anything
            self._specs[name] = self._finder.find_spec(name, path)
        return self._specs[name]


def imported(source: bytes, package: str) -> Iterator[str]:
    """Yield the full names of the modules that a source may import when it is executed, parents first.

    For `from a import b` these are `a` and, because it may be a module, `a.b`. `package` is the base of relative names.
    """
    position = source.find(b"import")
    while position >= 0:
        start = source.rfind(b"\n", 0, position) + 1
        statement = _STATEMENT.match(source, start)
        position = source.find(b"import", position + 6 if statement is None else max(statement.end(), position + 6))
        if statement is None or (source[start] in b" \t" and not _block_runs(source, start)):
            continue
        if statement["modules"] is not None:
            for module in _NAME.findall(statement["modules"]):
                yield from _with_parents(module.decode())
        else:
            base = _absolute(statement["base"].decode(), package)
            if base:
                yield from _with_parents(base)
                for name in _NAME.findall(statement["names"].strip(b"()")):
                    yield f"{base}.{name.decode()}"


def _block_runs(source: bytes, start: int) -> bool:
    """Return whether an import executes the top-level block that contains the line at `start`."""
    while start > 0:
        start = source.rfind(b"\n", 0, start - 1) + 1
        if source[start] not in b" \t\r\n#)":
            return _NOT_RUN.match(source, start) is None
    return True


def _absolute(name: str, package: str) -> str:
    tail = name.lstrip(".")
    level = len(name) - len(tail)
    if level == 0:
        return name
    parts = package.split(".") if package else []
    if level > len(parts):
        return ""
    return ".".join(parts[: len(parts) - level + 1] + ([tail] if tail else []))


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])
