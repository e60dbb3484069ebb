"""The process that breaks the cache, in every way that this machine allows."""

from __future__ import annotations

import contextlib
import heapq
import importlib.util
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pycachehook.content_store import Names
from pycachehook.paths import Layout

from . import archives, faults, obstructions
from .board import FAULTS, Board
from .obstructions import Area
from .settings import Settings
from .subjects import ARCHIVE, SHARED
from .tree import Tree

PER_SECOND = 60.0  # attempts
HELD = (0.05, 0.5)  # seconds that an obstruction lasts
PAST = 50  # old entries kept, to be restored later
AGAIN = 0.05  # seconds until a failed undo is tried again
TRIES = 5  # entries examined to find one that can be broken

OWN_DISK = "root, unshare(1) and mount(8)"
ROOT = "root"
UNPRIVILEGED = "a user without special rights, or setpriv(1) to take them away"


class Kind(NamedTuple):
    """One way to break the cache: its relative frequency, and its requirement, or "".

    `subject` is the only subject that it is for, if there is one; `spares` is one that it is not for.
    """

    weight: float
    entry: faults.Fault | None = None
    obstruct: obstructions.Obstruction | None = None
    remove: obstructions.Removal | None = None
    damage: archives.Damage | None = None
    needs: str = ""
    subject: str = ""
    spares: str = ""


KINDS = {
    "byte flipped": Kind(20, faults.flip),
    "entry truncated": Kind(15, faults.truncate),
    "blocks zeroed": Kind(5, faults.zero),
    "bytes appended": Kind(3, faults.append),
    "garbage": Kind(5, faults.garbage),
    "another module's entry": Kind(5, faults.swap, spares=SHARED),  # because such a name identifies the entry's content
    "an old entry": Kind(5, faults.restore),
    "pyc of py_compile": Kind(5, faults.foreign),
    "entry removed": Kind(5, faults.remove),
    "FIFO": Kind(5, faults.fifo),
    "dangling link": Kind(5, faults.dangling_link),
    "link to an entry": Kind(3, faults.link),
    "entry's mode": Kind(6, faults.chmod, needs=UNPRIVILEGED),
    "entry's owner": Kind(4, faults.chown, needs=ROOT),
    "directory as entry": Kind(4, obstruct=obstructions.directory_as_entry),
    "file as directory": Kind(0.7, obstruct=obstructions.file_as_directory),
    "link as directory": Kind(0.7, obstruct=obstructions.link_as_directory),
    "directory's mode": Kind(1, obstruct=obstructions.chmod_directory, needs=UNPRIVILEGED),
    "cache's mode": Kind(0.3, obstruct=obstructions.chmod_cache, needs=UNPRIVILEGED),
    "directory as lock": Kind(0.5, obstruct=obstructions.lock_as_directory),
    "FIFO as lock": Kind(0.5, obstruct=obstructions.lock_as_fifo),
    "link as lock": Kind(0.5, obstruct=obstructions.lock_as_link),
    "file as own directory": Kind(0.2, obstruct=obstructions.own_as_file),
    "disk full": Kind(0.5, obstruct=obstructions.full_disk, needs=OWN_DISK),
    "no more files": Kind(0.3, obstruct=obstructions.no_more_files, needs=OWN_DISK),
    "read-only disk": Kind(0.3, obstruct=obstructions.read_only_disk, needs=OWN_DISK),
    "directory removed": Kind(3, remove=obstructions.removed_directory),
    "locks removed": Kind(1, remove=obstructions.removed_locks),
    "cache removed": Kind(0.4, remove=obstructions.removed_cache),
    "archive's byte flipped": Kind(2, damage=archives.flip, subject=ARCHIVE),
    "archive cut off": Kind(0.1, damage=archives.cut_off, subject=ARCHIVE),
    "archive removed": Kind(0.1, damage=archives.remove, subject=ARCHIVE),
    "archive built anew": Kind(0.3, damage=archives.build, subject=ARCHIVE),
}


class Faulter:
    """Injects faults of some `kinds`, and undoes those that would last."""

    def __init__(self, settings: Settings, kinds: Collection[str]) -> None:
        self._settings = settings
        self._kinds = {name: kind for name, kind in KINDS.items() if name in kinds}
        self._drawn = random.Random(f"{settings.seed}/faulter")
        self._modules = list(Tree(settings.tree, settings.seed).modules.values())
        self._board = Board(settings.board(FAULTS), tuple(KINDS), 1)
        self._past: list[tuple[str, bytes]] = []
        self._undo: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def run(self) -> None:
        """Inject faults until told to stop, and leave none that the next writer could not repair."""
        parent = os.getppid()
        try:
            while not self._board.stopping() and os.getppid() == parent:
                self._undo_until(time.monotonic())
                (name,) = self._drawn.choices(list(self._kinds), [kind.weight for kind in self._kinds.values()])
                done = False
                with contextlib.suppress(OSError):  # another fault or a writer was faster
                    done = self._inject(self._kinds[name])
                self._board.add(0, name, int(done))
                time.sleep(self._drawn.expovariate(PER_SECOND))
        finally:
            self._undo_until(float("inf"))
            archives.wait()

    def _inject(self, kind: Kind) -> bool:
        if kind.entry is not None:
            return self._break(kind.entry)
        if kind.damage is not None:
            return kind.damage(self._settings, self._drawn)
        area = Area(self._settings, self._place(self._drawn.randrange(len(self._modules))), self._drawn)
        if kind.remove is not None:
            return kind.remove(area)
        assert kind.obstruct is not None
        began = time.time_ns()
        undo = kind.obstruct(area)
        if undo is None:
            return False
        until = time.monotonic() + self._drawn.uniform(*HELD)
        self._later(until, partial(self._end, undo, area.blocked, began))
        return True

    def _break(self, fault: faults.Fault) -> bool:
        aside = f"{self._settings.disk}/aside"
        for _ in range(TRIES):
            number = self._drawn.randrange(len(self._modules))
            path, other = self._place(number), self._place(self._drawn.randrange(len(self._modules)))
            self._remember(path)
            with contextlib.suppress(FileNotFoundError):
                if fault(faults.Target(path, self._modules[number], other, self._drawn, self._past, aside=aside)):
                    return True
        return False

    def _remember(self, path: str) -> None:
        data = faults.entry(path)
        if not data:
            return
        if len(self._past) < PAST:
            self._past.append((path, data))
        elif self._drawn.random() < 0.1:
            self._past[self._drawn.randrange(PAST)] = (path, data)

    def _place(self, number: int) -> str:
        path = self._modules[number].path
        if self._settings.subject != SHARED:
            return importlib.util.cache_from_source(path)
        layout = Layout(sys.implementation.cache_tag, sys.flags.optimize)
        return Names(layout).entry(self._settings.cache, Path(path).read_bytes())

    def _later(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._undo, (when, next(self._order), what))

    def _undo_until(self, now: float) -> None:
        while self._undo and self._undo[0][0] <= now:
            heapq.heappop(self._undo)[2]()

    def _end(self, undo: Callable[[], None], blocked: str | None, began: int) -> None:
        try:
            undo()
        except FileNotFoundError:  # removed altogether
            pass
        except OSError:  # another obstruction is in the way
            self._later(time.monotonic() + AGAIN, partial(self._end, undo, blocked, began))
            return
        if blocked is not None:
            with open(self._settings.windows, "a", encoding="utf-8") as file:
                file.write(json.dumps([blocked, began, time.time_ns()]) + "\n")


def is_for(name: str, subject: str) -> bool:
    """Return whether a kind of fault is for this subject."""
    kind = KINDS[name]
    return kind.subject in {"", subject} and kind.spares != subject


def available(*, mounted: bool, root: bool, unprivileged: bool) -> Iterator[tuple[str, str]]:
    """Yield (name, "") for each possible kind of fault, and (name, requirement) for each impossible one."""
    had = {"": True, OWN_DISK: mounted, ROOT: root, UNPRIVILEGED: unprivileged}
    for name, kind in KINDS.items():
        yield name, "" if had[kind.needs] else kind.needs


def main() -> None:
    """Break the cache until told to stop: `python -m tests.stress.faulter SETTINGS KINDS`, the latter in JSON."""
    settings = Settings.from_text(sys.argv[1])
    sys.pycache_prefix = settings.cache
    Faulter(settings, json.loads(sys.argv[2])).run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
