"""Starts from a slow disk: a file system without caching on which every operation takes an additional millisecond.

    cpython    bytecode in each package's `__pycache__`
    archive    this project, an `unchecked-hash` archive, with `gc = "pause"`

The environment, the standard library and the archive are all on it (FUSE, with the kernel's caching of names and
attributes off; `slow_fs`), as a model of network and cluster file systems. One process, eight and 64 at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from .applications import Application
from .conditions import slow
from .counts import WARM
from .environment import Environment
from .measure import Measurement, measure

DEFAULT = ("flask",)
PROCESSES = (1, 8, 64)
DELAY = 0.001  # seconds


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time starts from an archive against CPython's."""
    condition = partial(slow, environment.root, Path(os.__file__).parent, delay=DELAY)
    cases = {
        f"{processes} x {case}": [
            tree.variant(name, application.code, claim=WARM, condition=condition, processes=processes)
            for name, tree in {
                "cpython": environment.compiled,
                "archive": environment.archived(case, application, "paused")["paused"],
            }.items()
        ]
        for processes in PROCESSES
        for case, application in applications.items()
    }
    return measure(cases, rounds, "cpython")
