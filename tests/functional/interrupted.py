"""Imports that a signal handler's exception interrupts at random times, over and over: what each leaves open.

`python interrupted.py stock|hook TREE CACHE OPTIONS SEED TIMES` prints, for an empty and for a full cache, how many
imports were interrupted and how many file descriptors stayed open, as JSON.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import signal
import sys
import time
import warnings
from typing import Any

ENOUGH = 200  # descriptors left open


class OutOfTimeError(OSError):
    """What the handler raises: an OSError, as TimeoutError is."""


def out_of_time(*_: object) -> None:
    """Handle the signal."""
    raise OutOfTimeError


def entries(cache: str, suffix: str) -> list[str]:
    """Return the files in the cache whose names end so."""
    return [f"{folder}/{name}" for folder, _, names in os.walk(cache) for name in names if name.endswith(suffix)]


def attempt(names: list[str], delay: float) -> bool:
    """Import everything, and return whether that was interrupted after `delay` seconds."""
    for name in names:
        sys.modules.pop(name, None)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, delay)
            for name in names:
                importlib.import_module(name)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except (OutOfTimeError, ImportError):  # which CPython's finders make of the first
        return True
    return False


def descriptors() -> int:
    """Return how many file descriptors are open."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def main() -> None:
    """Import, as described above."""
    side, tree, cache = sys.argv[1:4]
    options, drawn, times = json.loads(sys.argv[4]), random.Random(int(sys.argv[5])), int(sys.argv[6])
    warnings.simplefilter("ignore")  # of files that were not closed by those who opened them
    sys.unraisablehook = lambda _: None  # an exception that came in a weak reference's callback
    signal.signal(signal.SIGALRM, out_of_time)
    sys.path.insert(0, tree)
    names = sorted(name[:-3] for name in os.listdir(tree) if name.endswith(".py"))
    report: dict[str, Any] = {}
    if side == "stock":
        sys.pycache_prefix = cache
    else:
        import pycachehook

        hook = pycachehook.install(cache, in_tree="ignore", lock_timeout=1, **options)
    for state in ("cold", "warm"):

        def prepare(state: str = state) -> None:
            for path in entries(cache, ".pyc") if state == "cold" else ():
                os.unlink(path)

        usual = []
        for _ in range(5):
            prepare()
            began = time.perf_counter()
            attempt(names, 1000)
            usual.append(time.perf_counter() - began)
        interrupted = left = 0
        for _ in range(times):
            prepare()
            before = descriptors()
            if attempt(names, drawn.uniform(1e-6, 1.2 * min(usual))):
                interrupted += 1
                left += max(0, descriptors() - before)
                if left > ENOUGH:
                    break
        report[state] = [interrupted, left]
    attempt(names, 1000)
    report["right"] = all(name == sys.modules[name].VALUE for name in names)
    report["temporary"] = len(entries(cache, ".tmp"))
    report["errors"] = 0 if side == "stock" else hook.stats.errors
    print(json.dumps(report))


if __name__ == "__main__":
    main()
