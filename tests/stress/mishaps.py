"""A mishap of a worker at a chosen point of an import: it dies, stops, or sleeps.

The points are events of CPython's audit hooks (PEP 578), so the hook under test needs no code for them.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable

from .board import Board

# The points at which a process may end: audit events, each with the step that follows.
POINTS = (
    "compile",  # the source is compiled: the lock is held
    "open",  # the temporary file is made
    "os.rename",  # it is complete, and is renamed
    "os.remove",  # it is incomplete, and is removed
)

TEMPORARY = ".tmp"


class Mishap:
    """An audit hook that acts when this process has reached `point` the given number of times.

    `act` is "kill" (SIGKILL), "stop" (SIGSTOP), or "dawdle" (a short sleep at some of the events).
    """

    def __init__(self, point: str, act: str, countdown: int, tree: str, die: Callable[[], None]) -> None:
        self._point = point
        self._act = act
        self._every = self._left = countdown
        self._tree = tree
        self._die = die

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        """Count an audit event."""
        if event != self._point or not self._concerns(arguments):
            return
        self._left -= 1
        if self._left:
            return
        if self._act == "kill":
            self._die()
        elif self._act == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            self._left = self._every
            time.sleep(0.02)

    def _concerns(self, arguments: tuple[object, ...]) -> bool:
        if self._point == "compile":
            return isinstance(arguments[1], str) and arguments[1].startswith(self._tree)
        return isinstance(arguments[0], str) and arguments[0].endswith(TEMPORARY)


def arrange(drawn: random.Random, tree: str, board: Board, row: int) -> bool:
    """Arrange a mishap for this process, or none; return whether it needs a limit of file sizes."""
    chance = drawn.random()
    if chance < 0.5:
        return False
    act = "kill" if chance < 0.75 else "stop" if chance < 0.9 else "dawdle"
    point = drawn.choice(POINTS if act != "stop" else ("compile", "compile", "open", "os.rename"))
    countdown = drawn.randint(1, 3 if point == "os.remove" else 40)

    def die() -> None:
        board.put(row, "intent", POINTS.index(point) + 1)
        os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(Mishap(point, act, countdown, tree, die))
    return point == "os.remove"


def limit_files(size: int | None) -> None:
    """Limit the size of files that this process writes to `size` bytes (`ulimit -f`); None lifts the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
