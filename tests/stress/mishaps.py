"""What a worker does to itself at a chosen point of an import: die, stop, or dawdle.

The points are those that CPython's audit hooks (PEP 578) show: nothing in the hook under test knows of them.
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

# Where a process may meet its end: audit events, and what is about to happen then.
POINTS = (
    "compile",  # the source is compiled: the lock is held
    "open",  # the temporary file is made
    "os.rename",  # it is whole, and is put in place
    "os.remove",  # it is not whole, and is removed
)

TEMPORARY = ".tmp"


class Mishap:
    """An audit hook that acts when this process has come to `point` so many times.

    `act` is "kill" (SIGKILL), "stop" (SIGSTOP), or "dawdle" (a moment's sleep, every so many times).
    """

    def __init__(self, point: str, act: str, countdown: int, tree: str, die: Callable[[], None]) -> None:
        self._point = point
        self._act = act
        self._every = self._left = countdown
        self._tree = tree
        self._die = die

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        """Take note of an audit event."""
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
    """Arrange for a mishap to this process, or for none; return whether it needs a limit to the size of its files."""
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
    """Let no file that this process writes grow beyond `size` bytes (`ulimit -f`); None lifts the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
