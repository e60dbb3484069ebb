"""The loaders for `gc = "pause"` and `gc = "freeze"`; loaded only if one of them is configured.

Programs mock `gc`, so everything that runs during an import or at exit uses functions that were taken when this module
was loaded. None of it runs code of the program.
"""

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

from ._compat import SourceFileLoader, hidden_from_tracebacks
from .gc_effects import are_inert, callbacks_could_act, could_act, has_finalizer, of_kinds
from .loader import CachingLoader
from .system import BUILTINS

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

# Objects: more than any start creates. A prime, so that a body's `threshold * n` can be recognised and undone.
NEVER = 100_000_007

MODULES = 25  # this many modules, first executed within one outermost import, make it a long start
EXAMINED_AT_ONCE = 2_000  # objects: few enough that they are still in the processor's cache
# Limits on other objects that are alive when a long start is frozen: objects created outside imports, including 7,000
# of the interpreter's own. After the first freeze the limit is lower, so that a late import in a server does not freeze
# the objects that its requests created.
FOREIGN_EARLY = 12_000
FOREIGN_LATE = 1_000
MOST_AT_EXIT = 300_000  # unfrozen objects; examining more could take longer than their collection
MOST_FINALIZED = 1_000  # track at most this many objects; if there are more, assume that one of them is alive at exit

# Freezing visits every object on a free-threaded build, so it happens once, at the end; other builds move a list.
_FREE_THREADED = "free-threading" in sys.version


class PausingLoader(CachingLoader):
    """A loader that pauses the cyclic garbage collector while a module's body runs.

    Modules keep what they create, so the collector would visit it again and again in vain. It is paused by a threshold
    that is never reached, so that a body may turn the collector off and on, or set its own thresholds, which stay in
    effect. Objects that are alive after the outermost body move to the oldest generation at once, where they would have
    ended up in any case.
    """

    __slots__ = ()

    @hidden_from_tracebacks
    def exec_module(self, module: "ModuleType") -> None:
        """Execute the module's code in `module`, as the standard loader does."""
        thresholds = get_threshold()
        if thresholds[0] % NEVER == 0:  # the collector is off, or an outer import has paused it
            SourceFileLoader.exec_module(self, module)
            return
        set_threshold(NEVER, *thresholds[1:])
        try:
            SourceFileLoader.exec_module(self, module)
        finally:
            _promote(thresholds[0])
            _resume(thresholds)


class FreezingLoader(CachingLoader):
    """A loader that pauses the collector, and moves what a long start imports to the permanent generation.

    No collection visits objects there, nor do the collections at interpreter exit, which take longer than all earlier
    ones together. The objects are still freed when their last reference goes away. `Start` describes when this happens,
    and when it is undone at exit.
    """

    __slots__ = ()

    @hidden_from_tracebacks
    def exec_module(self, module: "ModuleType") -> None:
        """Execute the module's code, and count it as a part of the start."""
        thresholds = get_threshold()
        if thresholds[0] % NEVER == 0:
            SourceFileLoader.exec_module(self, module)
            if thresholds[0]:
                start.executed(self.name)
            return
        set_threshold(NEVER, *thresholds[1:])
        start.begin()
        complete = False
        try:
            SourceFileLoader.exec_module(self, module)
            complete = True
        finally:
            start.end(self.name, thresholds[0], complete=complete)
            _resume(thresholds)


def _promote(threshold: int) -> None:
    """Move all objects to the oldest generation if a collection is due now and nothing is frozen."""
    if get_count()[0] > threshold and get_freeze_count() == 0:
        freeze()
        unfreeze()


def _resume(thresholds: tuple[int, ...]) -> None:
    left = get_threshold()
    if left[0] and left[0] % NEVER == 0:  # NEVER, or a multiple of it that the body has set
        set_threshold(thresholds[0] * (left[0] // NEVER), *left[1:])


class Start:
    """The record of what this process has imported, whether that is frozen, and which finalizers must still run.

    The objects created by one outermost import in the main thread are frozen if the import executed at least `MODULES`
    modules for the first time in this process, and if few other objects are alive. Frozen cycles are not collected at
    exit. If any object is alive then whose finalizer would not run (a file with unwritten data, an object with
    `__del__`, a suspended generator), everything is unfrozen, and the interpreter exits as it does without this loader.
    """

    def __init__(self) -> None:
        self.frozen = False
        self.doubtful = False  # an object has a finalizer, but supports no weak references
        self.finalized: list[ref[Any]] = []  # frozen objects with finalizers
        self._thread = get_ident()
        self._names: set[str] = set()  # of executed modules
        self._unfrozen = 0  # objects created by earlier imports that were not frozen
        self.begin()

    def begin(self) -> None:
        """Record the start of an outermost import."""
        self._modules = 0
        self._made = get_count()[0]  # the count before this import
        self._freezing = self._refused = False
        self._kinds: set[type] = set()  # seen during this import
        self._finalizing: set[type] = set()  # those of them that have finalizers

    def executed(self, name: str) -> None:
        """Record that a module within the outermost import has been executed."""
        if name not in self._names:
            self._names.add(name)
            self._modules += 1
        if self._modules >= MODULES and not _FREE_THREADED and get_count()[0] > EXAMINED_AT_ONCE:
            self._freeze()

    def end(self, name: str, threshold: int, *, complete: bool) -> None:
        """Record the end of the outermost import. After a failed one, its garbage is left to the collector."""
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
        except Exception:  # noqa: BLE001 -- too little memory or stack, which must not fail the import
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
        # (Objects that the program has unfrozen count as foreign. Counting the frozen objects would visit them all.)
        self._refused = get_ident() != self._thread or foreign > (FOREIGN_LATE if self.frozen else FOREIGN_EARLY)
        return not self._refused

    def _note_finalizers(self, objects: "list[Any]") -> None:
        kinds = set(map(type, objects))
        unseen = kinds - self._kinds
        self._kinds |= unseen
        self._finalizing.update(filter(has_finalizer, unseen))
        if kinds.isdisjoint(self._finalizing) or self.doubtful:
            return
        for finalizable in of_kinds(objects, self._finalizing):
            try:
                self.finalized.append(ref(finalizable))
            except TypeError:
                self.doubtful = True
        if len(self.finalized) > MOST_FINALIZED:
            self.finalized = [reference for reference in self.finalized if reference() is not None]
            self.doubtful |= len(self.finalized) > MOST_FINALIZED

    def exit(self) -> None:
        """Decide how the interpreter exits; called as the last exit function.

        If an object is alive whose finalizer must run, or a weak reference whose callback must, everything is unfrozen.
        Otherwise, what is not frozen yet is frozen, too, if it consists of objects whose deallocation has no effect
        outside the process.
        """
        if not self.frozen:
            return
        objects = get_objects()
        kinds = set(map(type, objects))
        finalizers_act = self.doubtful or any(map(could_act, self._finalizable(objects, kinds)))
        if finalizers_act or callbacks_could_act(objects, kinds):
            unfreeze()
        elif len(objects) <= MOST_AT_EXIT and are_inert(objects, kinds):
            freeze()

    def _finalizable(self, objects: "list[Any]", kinds: "set[type]") -> "list[Any]":
        """Return the live objects with finalizers: frozen ones, and those of `objects`, which are all others.

        It is a list, because a generator would find itself.
        """
        young = of_kinds(objects, set(filter(has_finalizer, kinds)))
        return [*filter(_is_there, [reference() for reference in self.finalized]), *young]


def _is_there(referent: object) -> bool:
    return referent is not None


start = Start()
atexit.register(start.exit)
