"""Starts with a cold page cache, as after a boot, or in a new node or container.

    cpython    bytecode in each package's `__pycache__`
    archive    this project, an `unchecked-hash` archive, with `gc = "pause"`
    floor      only the marshalled code of all modules, read from one file into a dictionary; without garbage collection

Before each start the kernel drops all cached files, directories and names (`drop_caches`), the interpreter's too.
"""

from __future__ import annotations

from collections.abc import Mapping

from .applications import Application
from .conditions import uncached
from .counts import WARM
from .environment import Environment
from .floor import PAUSE, floor
from .measure import Measurement, means, measure

DEFAULT = ("sympy", "sqlalchemy", "django", "flask", "boto3", "pandas")


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time starts from an archive against CPython's."""
    cases = {}
    for case, application in applications.items():
        ours = environment.archived(case, application, "paused")["paused"]
        cases[case] = [
            environment.compiled.variant("cpython", application.code, claim=WARM, condition=uncached),
            ours.variant("archive", application.code, claim=WARM, condition=uncached),
            environment.compiled.variant(
                "floor", floor(environment, case, application) + PAUSE + application.code, condition=uncached
            ),
        ]
    timed = measure(cases, rounds, "cpython")
    heading = f"geometric means over {', '.join(cases)}"
    return Measurement({**timed.tables, heading: means(timed.samples, ["cpython"])}, timed.samples)
