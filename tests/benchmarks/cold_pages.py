"""Starts with a cold page cache: after a boot, on a node or in a container where nothing has been read yet.

    cpython    bytecode in each package's `__pycache__`
    archive    ours, an `unchecked-hash` archive, with `pause_gc`

Before each start the kernel is told to forget all files, directories and names (`drop_caches`), the interpreter's too.
"""

from __future__ import annotations

from collections.abc import Mapping

from .applications import Application
from .conditions import uncached
from .counts import WARM
from .environment import Environment
from .measure import Measurement, means, measure

DEFAULT = ("sympy", "sqlalchemy", "django", "flask", "boto3", "pandas")


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time starts from an archive against CPython's."""
    trees = {"cpython": environment.compiled, "archive": environment.archived()["paused"]}
    cases = {
        case: [tree.variant(name, application.code, claim=WARM, condition=uncached) for name, tree in trees.items()]
        for case, application in applications.items()
    }
    timed = measure(cases, rounds, "cpython")
    heading = f"geometric means over {', '.join(cases)}"
    return Measurement({**timed.tables, heading: means(timed.samples, ["cpython"])}, timed.samples)
