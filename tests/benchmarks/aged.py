"""The cost of recording the use of entries: a hit records it for an entry not used for a day.

fresh    this project, every entry written or used today aged     this project, every entry last used two days ago, so
that the start records their use
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from .applications import Application
from .counts import WARM
from .environment import Environment
from .measure import Measurement, measure

DEFAULT = ("sympy", "django")
TWO_DAYS = 2 * 86400  # seconds


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Time starts that record the use of every entry against starts that record none."""
    checked = environment.checked
    cases = {
        case: [
            checked.variant("fresh", application.code, claim=WARM),
            checked.variant("aged", application.code, claim=WARM, condition=partial(aged, checked.cache)),
        ]
        for case, application in applications.items()
    }
    return measure(cases, rounds, "fresh")


@contextmanager
def aged(cache: Path) -> Iterator[None]:
    """Make every entry two days older, except those used since."""
    for entry in cache.rglob("*.pyc"):
        time = entry.stat().st_mtime - TWO_DAYS
        os.utime(entry, (time, time))
    yield
