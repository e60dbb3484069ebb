"""Imports with every result checked against the current source."""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence

from .board import Board
from .check import verdict
from .tree import Tree

_LINE = 3500  # bytes: the size of an atomic write to a pipe, less room for the rest of the line


class Importer:
    """Imports modules of `tree`, counts in `row` of `board`, and reports each failure as one JSON line."""

    def __init__(self, tree: Tree, board: Board, row: int) -> None:
        self._tree = tree
        self._board = board
        self._row = row

    def forget(self) -> None:
        """Remove all modules of the tree from `sys.modules`."""
        for name in [name for name in sys.modules if name in self._tree.modules]:
            del sys.modules[name]
        importlib.invalidate_caches()

    def check(self, names: Sequence[str], threads: int = 1) -> None:
        """Import modules in this many threads at once, and check all modules that were loaded.

        A module may have any version that its file had between the beginning and the end of the call.
        """
        loads = [name for name in dict.fromkeys(_flat(self._tree, names)) if name not in sys.modules]
        before = {name: self._tree.modules[name].version() for name in loads}
        self._import(names, threads)
        for name in loads:
            found = sys.modules.get(name)
            if found is None:  # an exception, which has been counted
                continue
            module = self._tree.modules[name]
            wrong = verdict(module, found, before[name], module.version())
            self._board.add(self._row, "imports")
            if wrong is not None:
                self._board.add(self._row, "wrong")
                report("wrong", name, wrong)
        self._board.put(self._row, "progress", time.monotonic_ns())

    def _import(self, names: Sequence[str], threads: int) -> None:
        if threads == 1:
            self._import_each(names)
            return
        started = [
            threading.Thread(target=self._import_each, args=(names[number::threads],)) for number in range(threads)
        ]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()

    def _import_each(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                importlib.import_module(name)
            except BaseException:  # noqa: BLE001 -- an import must not raise anything
                self._board.add(self._row, "exceptions")
                report("exception", name, traceback.format_exc())


def _flat(tree: Tree, names: Sequence[str]) -> list[str]:
    return [load for name in names for load in tree.loads(name)]


def report(kind: str, subject: str, text: str) -> None:
    """Send a report to the supervisor by one atomic write."""
    line = json.dumps({"kind": kind, "pid": os.getpid(), "subject": subject, "text": text[-_LINE // 2 :]})
    os.write(1, line.encode()[:_LINE] + b"\n")
