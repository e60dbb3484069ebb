"""A process that imports some batches of modules and ends."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import signal
import sys
from collections.abc import Sequence

from . import mishaps
from .board import WORKER_FIELDS, WORKERS, Board
from .importing import Importer
from .settings import Settings
from .subjects import SUBJECTS, Counters, Subject
from .tree import Tree

NOBODY = 65534  # a user who owns no file of the run


class Worker:
    """One process's life, chosen by `drawn`; it adds to the counts in `row` of the board."""

    def __init__(self, settings: Settings, row: int, rows: int, drawn: random.Random) -> None:
        self._drawn = drawn
        self._row = row
        self._settings = settings
        self._board = Board(settings.board(WORKERS), WORKER_FIELDS, rows)
        self._tree = Tree(settings.tree, settings.seed)
        self._importer = Importer(self._tree, self._board, row)
        self._subject: Subject = SUBJECTS[settings.subject](settings, drawn)
        self._counted: Counters = {}
        self._limited = False

    def live(self) -> None:
        """Import batches until the chosen number is done, or the supervisor stops or ends."""
        drawn, parent = self._drawn, os.getppid()
        self._limited = mishaps.arrange(drawn, self._settings.tree, self._board, self._row)
        self._subject.install()
        if self._settings.other_user and drawn.random() < 0.1:
            self._importer.forget()
            _become_somebody_else()
            self._subject.install()
        for _ in range(drawn.choice((1, 3, 10, 50, 100, 200))):
            if self._board.stopping() or os.getppid() != parent:
                break
            self._batch()
            if drawn.random() < 0.5:  # a process stops writing after it has met a full disk
                self._subject.install()

    def _batch(self) -> None:
        drawn = self._drawn
        self._importer.forget()
        names = drawn.sample(list(self._tree.modules), drawn.choice((1, 5, 10, 20, 40)))
        limited = self._subject.harassed and (self._limited or drawn.random() < 0.01)
        if limited:
            mishaps.limit_files(drawn.randrange(6000))
            self._board.add(self._row, "limits")
        try:
            self._import(names)
        finally:
            if limited:
                mishaps.limit_files(None)
        self._count()

    def _import(self, names: Sequence[str]) -> None:
        if self._drawn.random() < 0.1:
            self._board.add(self._row, "threads")
            self._importer.check(names, threads=3)
            return
        for name in names:
            self._importer.check([name])
            if self._board.stopping():
                break

    def _count(self) -> None:
        """Add the subject's counts since the last call to the board."""
        now = self._subject.counters()
        for name, value in now.items():
            self._board.add(self._row, name, value - self._counted.get(name, 0))
        self._counted = now


def _become_somebody_else() -> None:
    """Continue as a user who can only read the cache.

    It loads all modules that this process still needs before, because that user may not be able to read the
    interpreter's.
    """
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def main() -> None:
    """Run a worker: `python -m tests.stress.worker SETTINGS SERIAL ROW ROWS`."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)  # so that the supervisor can find out where this process hangs
    settings = Settings.from_text(sys.argv[1])
    serial, row, rows = map(int, sys.argv[2:5])
    sys.path.insert(0, settings.tree)
    Worker(settings, row, rows, random.Random(f"{settings.seed}/worker/{serial}")).live()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
