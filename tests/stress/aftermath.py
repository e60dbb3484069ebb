"""Checks after a run: the files that are left over, and whether the next process finds the cache in order."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from .board import WORKER_FIELDS, WORKERS, Board
from .importing import Importer
from .settings import PROJECT, Settings, clean_environment
from .subjects import SUBJECTS, Plain
from .tree import NOTHING, Tree

_TEMPORARY = re.compile(r"\.pycachehook-(?P<pid>\d+)-(?P<nanoseconds>[0-9a-f]+)\.tmp")

_SLOW = 10 * 10**9  # nanoseconds between a temporary file's creation and its removal, at most; stops included


class LeftOvers(NamedTuple):
    """Temporary files in the cache: of killed processes, of ones that could not remove them, and others."""

    killed: list[str]
    obstructed: list[str]
    unexplained: list[str]


def left_overs(settings: Settings, dead: Collection[int]) -> LeftOvers:
    """Return the temporary files that are left; `dead` are the process ids of those that were killed."""
    found = LeftOvers([], [], [])
    windows = _windows(settings)
    for path in _temporaries(settings.cache):
        match = _TEMPORARY.fullmatch(os.path.basename(path))
        if match is not None and int(match["pid"]) in dead:
            found.killed.append(path)
        elif match is not None and _was_blocked(path, int(match["nanoseconds"], 16), windows):
            found.obstructed.append(path)
        else:
            found.unexplained.append(path)
    return found


def _temporaries(folder: str) -> Iterator[str]:
    for here, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".tmp"):
                yield f"{here}/{name}"


def _windows(settings: Settings) -> list[tuple[str, int, int]]:
    try:
        with open(settings.windows, encoding="utf-8") as file:
            return [tuple(json.loads(line)) for line in file]
    except FileNotFoundError:
        return []


def _was_blocked(path: str, made: int, windows: Sequence[tuple[str, int, int]]) -> bool:
    return any(path.startswith(f"{folder}/") and began - _SLOW <= made <= ended for folder, began, ended in windows)


def litter_in_tree(tree: Tree) -> list[str]:
    """Return the files in the tree that are neither sources nor bytecode that a package ships."""
    expected = {module.path for module in tree.modules.values()}
    silent = {os.path.dirname(module.path) for module in tree.modules.values() if module.ships == NOTHING}
    return [
        f"{here}/{name}"
        for here, _, names in os.walk(tree.root)
        for name in names
        if f"{here}/{name}" not in expected
        and (os.path.basename(here) != "__pycache__" or os.path.dirname(here) in silent or not name.endswith(".pyc"))
    ]


def final_pass(settings: Settings, workers: int, prefix: Sequence[str], patience: float) -> list[str]:
    """Import everything in two new processes, one after the other; return one sentence for each failure.

    The first one replaces all broken entries, so the second one must compile nothing. Each must end within three times
    `patience` seconds.
    """
    problems = []
    for number in (1, 2):
        command = [*prefix, sys.executable, "-m", "tests.stress.aftermath", settings.as_text(), str(workers)]
        try:
            done = subprocess.run(
                command,
                cwd=PROJECT,
                env=clean_environment(),
                capture_output=True,
                text=True,
                check=False,
                timeout=3 * patience,
            )
        except subprocess.TimeoutExpired:
            problems.append(f"final pass {number} hangs")
            continue
        if done.returncode or done.stderr:
            problems.append(f"final pass {number} ended with {done.returncode}: {done.stdout}{done.stderr}")
            continue
        *reports, last = done.stdout.splitlines()
        problems += [f"final pass {number}: {report}" for report in reports]
        counted = json.loads(last)
        if number == 2 and settings.subject != "stock" and (counted["compiled"] or counted["status"] != "writable"):
            problems.append(f"final pass {number} should have compiled nothing: {last}")
    return problems


def main() -> None:
    """Import everything once: `python -m tests.stress.aftermath SETTINGS WORKERS`; print reports, and the counters."""
    settings = Settings.from_text(sys.argv[1])
    sys.path.insert(0, settings.tree)
    tree = Tree(settings.tree, settings.seed)
    rows = int(sys.argv[2])
    board = Board(settings.board(WORKERS), WORKER_FIELDS, rows)
    subject = (Plain if settings.subject != "stock" else SUBJECTS["stock"])(settings, random.Random(0))
    subject.install()
    Importer(tree, board, 0).check(list(tree.modules))
    counters: dict[str, object] = dict(subject.counters())
    if isinstance(subject, Plain):
        import pycachehook

        hook = pycachehook.active()
        counters |= {"status": hook and hook.status, "reason": hook and hook.reason}
    print(json.dumps(counters))


if __name__ == "__main__":
    main()
