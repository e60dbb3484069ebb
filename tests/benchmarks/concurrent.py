"""Many processes at once, all of them cold: workers, test runners, ranks.

The variants are those of `cold`, and `warm`: CPython with all its bytecode, which is the rest of a start without
compilation, and a lower limit for any cache. Times are from the first spawn to the last exit; processor time and counts
are sums over the processes. All processes of this project together must compile and store each file exactly once.
"""

from __future__ import annotations

from collections.abc import Mapping

from .applications import Application
from .cold import BASELINES, cold_starts
from .counts import ONCE, WARM
from .environment import Environment
from .measure import Measurement, measure

DEFAULT = ("sympy", "flask", "boto3")
PROCESSES = (8, 24)


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time concurrent cold starts against both variants of CPython."""
    cases = {
        f"{processes} x {case}": [
            *cold_starts(environment, each.code, processes, claim=ONCE),
            environment.compiled.variant("warm", each.code, processes=processes, claim=WARM),
        ]
        for processes in PROCESSES
        for case, each in applications.items()
    }
    return measure(cases, rounds, *BASELINES)
