"""The loaders under `gc = "pause"` and `gc = "freeze"`. Loaded only where one of them is set.

Everything that runs during an import or at exit uses functions taken when this module is loaded, since programs mock
`gc`, and none of it runs code of the program.
"""

import _io
import atexit
import sys
from _thread import get_ident
from _weakref import ref
from gc import (
    freeze,
    get_count,
    get_freeze_count,
    get_objects,
    get_threshold,
    set_threshold,
    unfreeze,
)
from itertools import compress  # built in, as all of these are

from ._compat import SourceFileLoader, hidden_from_tracebacks
from .loader import CachingLoader
from .system import BUILTINS

__builtins__ = BUILTINS  # what programs patch in `builtins` later does not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

# Objects; no start makes so many. Prime, so that a body's `threshold * n` can be recognised and undone.
NEVER = 100_000_007

MODULES = 25  # so many modules, executed for the first time within one outermost import, are a long start
CHUNK = 2_000  # objects to examine at once: what was made just now is still in the processor's cache
# What else may be alive when a long start is frozen: objects made outside imports, the interpreter's own 7,000 included;
# and once that has happened, so that a late import in a server does not freeze what its requests have made.
FOREIGN_EARLY = 12_000
FOREIGN_LATE = 1_000
MOST_FINALIZED = 1_000  # remember no more objects than these; with more, assume that one of them is alive at exit

# A freeze visits every object on a free-threaded build; on others it moves a list. There it happens only once, at the end.
_FREE_THREADED = "free-threading" in sys.version

_mro_of: "Any" = type.__dict__["__mro__"].__get__  # whatever a metaclass defines
_names_of: "Any" = type.__dict__["__dict__"].__get__
_module_of: "Any" = type.__dict__["__module__"].__get__

# Files that hold nothing unwritten: the operating system closes them. (`-X dev` and `-W` may ask for a ResourceWarning.)
_UNBUFFERED = (_io.FileIO, _io.BufferedReader, _io.BytesIO, _io.StringIO)
_FILES = (_io.TextIOWrapper, _io.BufferedWriter, _io.BufferedRandom, _io.BufferedRWPair, *_UNBUFFERED)
_WARNS = sys.flags.dev_mode or bool(sys.warnoptions)
_GENERATOR = type(_ for _ in ())
# Types that write something when they are deallocated, but have no finalizer that Python code can see.
_WRITES_WHEN_DEALLOCATED = (("sqlite3", "Connection"), ("_gdbm", "gdbm"), ("_dbm", "dbm"))


class PausingLoader(CachingLoader):
    """A loader under which no cyclic garbage is collected while a module's body runs.

    What modules make, they keep: the collector would only visit it, again and again. It is paused by a threshold that
    is never reached, so that a body may turn the collector off and on, or set thresholds of its own, and these stay.
    What is alive after the outermost body goes to the oldest generation at once, as it would have gone in time.
    """

    __slots__ = ()

    @hidden_from_tracebacks
    def exec_module(self, module: "ModuleType") -> None:
        """Run the module's code in `module`, as the stock loader does."""
        found = get_threshold()
        if found[0] % NEVER == 0:  # it is off, or paused by an import around this one
            SourceFileLoader.exec_module(self, module)
            return
        set_threshold(NEVER, *found[1:])
        try:
            SourceFileLoader.exec_module(self, module)
        finally:
            _promote(found[0])
            _resume(found)


class FreezingLoader(CachingLoader):
    """As `PausingLoader`; and what a long start has imported goes to the collector's permanent generation.

    There no collection visits it, nor those at the interpreter's exit, which take longer than all before them. It is still
    freed when its last reference goes away. See `Start` for when, and for what is undone at exit.
    """

    __slots__ = ()

    @hidden_from_tracebacks
    def exec_module(self, module: "ModuleType") -> None:
        """Run the module's code in `module`, as the stock loader does."""
        found = get_threshold()
        if found[0] % NEVER == 0:
            SourceFileLoader.exec_module(self, module)
            if found[0]:
                start.executed(self.name)
            return
        set_threshold(NEVER, *found[1:])
        start.begin()
        complete = False
        try:
            SourceFileLoader.exec_module(self, module)
            complete = True
        finally:
            start.end(self.name, found[0], complete=complete)
            _resume(found)


def _promote(threshold: int) -> None:
    """Move everything to the oldest generation, if a collection would be due now and nothing is frozen."""
    if get_count()[0] > threshold and get_freeze_count() == 0:
        freeze()
        unfreeze()


def _resume(found: tuple[int, ...]) -> None:
    left = get_threshold()
    if left[0] and left[0] % NEVER == 0:  # ours, or a multiple that the body made of it
        set_threshold(found[0] * (left[0] // NEVER), *left[1:])


class Start:
    """What this process has imported, whether that is frozen, and which finalizers have to run all the same.

    Frozen is what one outermost import in the main thread has made, if it executed at least `MODULES` modules that this
    process had not executed before, and if little else is alive. Frozen cycles are not collected at exit. So where
    something is alive then whose finalizer could be missed (a file with unwritten data, an object with `__del__`, a suspended generator), everything is unfrozen, and the interpreter exits as it does without this.
    """

    def __init__(self) -> None:
        self.frozen = False
        self.doubtful = False  # something has a finalizer, and cannot be referred to weakly
        self.finalized: list[ref[Any]] = []  # what has a finalizer, and was frozen
        self._thread = get_ident()
        self._names: set[str] = set()  # of modules executed
        self._unfrozen = 0  # objects made by earlier imports that were no long start
        self.begin()

    def begin(self) -> None:
        """Note that an outermost import begins."""
        self._modules = 0
        self._made = get_count()[0]  # becomes what this import has made
        self._freezing = self._refused = False
        self._kinds: set[type] = set()  # seen during this import
        self._finalizing: set[type] = set()  # those of them that have finalizers

    def executed(self, name: str) -> None:
        """Note that a module within the outermost one has been executed."""
        if name not in self._names:
            self._names.add(name)
            self._modules += 1
        if self._modules >= MODULES and not _FREE_THREADED and get_count()[0] > CHUNK:
            self._freeze()

    def end(self, name: str, threshold: int, *, complete: bool) -> None:
        """Note that the outermost import has ended, or failed: then what is garbage now is left to the collector."""
        self.executed(name)
        if complete and self._modules >= MODULES:
            self._freeze()
        elif self._freezing and not complete:
            unfreeze()
            self.frozen = self._freezing = False
        if not self._freezing:
            self._unfrozen += max(0, get_count()[0] - self._made)
            if not self.frozen:
                _promote(threshold)
        self._kinds, self._finalizing = set(), set()

    def _freeze(self) -> None:
        try:
            if self._may_freeze(objects := get_objects()):
                self._note_finalizers(objects)
                del objects
                freeze()
                self.frozen = self._freezing = True
        except Exception:  # noqa: BLE001 -- too little memory or stack: an import does not fail for that
            self._refused = True

    def _may_freeze(self, objects: "list[Any]") -> bool:
        if self._refused:
            return False
        if self._freezing:
            if len(objects) > get_count()[0] + FOREIGN_LATE and get_freeze_count() == 0:
                self._refused = True  # a body has unfrozen everything
            return not self._refused
        made = max(0, get_count()[0] - self._made)
        foreign = len(objects) - made - self._unfrozen
        # (What the program has unfrozen counts as foreign. To ask for the number of frozen objects would visit them all.)
        self._refused = get_ident() != self._thread or foreign > (FOREIGN_LATE if self.frozen else FOREIGN_EARLY)
        return not self._refused

    def _note_finalizers(self, objects: "list[Any]") -> None:
        kinds = set(map(type, objects))
        unseen = kinds - self._kinds
        self._kinds |= unseen
        self._finalizing.update(filter(_has_finalizer, unseen))
        if kinds.isdisjoint(self._finalizing) or self.doubtful:
            return
        for each in compress(objects, map(self._finalizing.__contains__, map(type, objects))):
            try:
                self.finalized.append(ref(each))
            except TypeError:
                self.doubtful = True
        if len(self.finalized) > MOST_FINALIZED:
            self.finalized = [each for each in self.finalized if each() is not None]
            self.doubtful |= len(self.finalized) > MOST_FINALIZED

    def exit(self) -> None:
        """Unfreeze everything, if anything alive could be finalized now. Called as the last of the exit functions."""
        if self.frozen and (self.doubtful or any(map(_could_act, self._alive()))):
            unfreeze()

    def _alive(self) -> "list[Any]":
        """Return what has a finalizer and is alive; as a list, since a generator would find itself."""
        objects = get_objects()
        kinds = set(filter(_has_finalizer, set(map(type, objects))))
        young = [each for each in objects if type(each) in kinds] if kinds else []
        return [*filter(_is_there, [reference() for reference in self.finalized]), *young]


def _is_there(referent: object) -> bool:
    return referent is not None


def _has_finalizer(kind: type) -> bool:
    for base in _mro_of(kind):
        if "__del__" in _names_of(base):
            if _module_of(base) == "_socket":  # closes a descriptor, as the operating system does
                return _WARNS
            return _WARNS or kind not in _UNBUFFERED
    return (_module_of(kind), kind.__qualname__) in _WRITES_WHEN_DEALLOCATED


def _could_act(found: "Any") -> bool:
    """Say whether the finalizer of `found` may do anything that is seen from outside."""
    kind = type(found)
    if kind is _GENERATOR:
        return bool(found.gi_suspended)  # one that has not begun, or has ended, runs nothing
    if kind not in _FILES:
        return True
    if any(found is each for each in _standard_streams()):
        return False
    try:
        return not found.closed
    except Exception:  # noqa: BLE001 -- detached, or its raw file is some tool's
        return True


def _standard_streams() -> "list[Any]":
    """Return the standard streams, which the interpreter flushes itself, and what they write to."""
    names = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")
    streams = [getattr(sys, name, None) for name in names]
    for name in ("buffer", "raw"):
        streams += [getattr(each, name, None) for each in streams if type(each) in _FILES]
    return streams


start = Start()
atexit.register(start.exit)
