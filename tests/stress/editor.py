"""A process that edits sources: in place and by rename, keeping the size and often the mtime, in bursts."""

from __future__ import annotations

import contextlib
import os
import py_compile
import random
import sys
import time

from .board import EDIT_FIELDS, EDITS, Board
from .settings import Settings
from .tree import CHECKED, FIRST_LINE, PINNED, TIMESTAMP, WIDTH, Module, Tree, digits

EDITORS = 2  # processes, each with its own modules
PER_SECOND = 20.0  # edits by each process


def edit(module: Module, settings: Settings, drawn: random.Random) -> tuple[str, bool]:
    """Write the next version of a source; return how ("in place", "by rename") and whether the mtime was kept.

    A version appears at once, never in parts: an edit in place writes one byte, and only if the versions differ in one.
    Packages that ship timestamp-based pycs get real mtimes, because CPython and the hook rely on these.
    """
    version = module.version() + 1
    keep_mtime = module.ships != TIMESTAMP and drawn.random() < 0.7
    if version % 10 and drawn.random() < 0.5:
        descriptor = os.open(module.path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, digits(version)[-1:].encode(), len(FIRST_LINE) + WIDTH - 1)
        finally:
            os.close(descriptor)
        if keep_mtime:
            os.utime(module.path, ns=(PINNED, PINNED))
        return "in place", keep_mtime
    staged = f"{settings.staging}/{module.name}"
    with open(staged, "w", encoding="utf-8") as file:
        file.write(module.text(version))
    if keep_mtime:
        os.utime(staged, ns=(PINNED, PINNED))
    os.replace(staged, module.path)
    return "by rename", keep_mtime


def ship(module: Module, mode: py_compile.PycInvalidationMode) -> None:
    """Write a pyc into the source's own `__pycache__`, as a build would."""
    folder, name = os.path.split(module.path)
    target = f"{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(module.path, cfile=target, doraise=True, invalidation_mode=mode)


def ship_all(tree: Tree) -> None:
    """Write pycs into the packages that ship some."""
    modes = {
        CHECKED: py_compile.PycInvalidationMode.CHECKED_HASH,
        TIMESTAMP: py_compile.PycInvalidationMode.TIMESTAMP,
    }
    for module in tree.modules.values():
        if module.ships in modes:
            ship(module, modes[module.ships])


def main() -> None:
    """Edit until told to stop: `python -m tests.stress.editor SETTINGS NUMBER`."""
    settings, number = Settings.from_text(sys.argv[1]), int(sys.argv[2])
    drawn = random.Random(f"{settings.seed}/editor/{number}")
    board = Board(settings.board(EDITS), EDIT_FIELDS, EDITORS)
    mine = list(Tree(settings.tree, settings.seed).modules.values())[number::EDITORS]
    parent = os.getppid()
    while not board.stopping() and os.getppid() == parent:
        module = drawn.choice(mine)
        burst = drawn.choice((1, 1, 2, 5))
        for _ in range(burst):
            how, kept = edit(module, settings, drawn)
            board.add(number, how)
            board.add(number, "mtime kept", int(kept))
            if module.ships == CHECKED and drawn.random() < 0.2:
                ship(module, py_compile.PycInvalidationMode.CHECKED_HASH)
                board.add(number, "in-tree bytecode")
            time.sleep(drawn.choice((0.0, 0.001, 0.01)))
        time.sleep(drawn.expovariate(PER_SECOND / burst))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
